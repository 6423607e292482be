/** `mqttzoo sub`: prints what is published, with mosquitto_sub's flags. */
import { Command, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../src/base/errors.ts";
import { addConnectionOptions, filterOf, readConnection, timeoutExitCode } from "./flags/client-flags.ts";
import { collect, usage, wholeNumber } from "./flags/parsers.ts";
import { addProtoOptions, chosenFormat, type ProtoFlags } from "./flags/payload-flags.ts";
import { parseFormat } from "./output/format.ts";
import { MessageFolder } from "./output/message-folder.ts";
import { MessagePrinter } from "./output/message-printer.ts";
import { type PayloadFormat, payloadFormats } from "./output/payload-formats.ts";
import { complain } from "./output/print.ts";
import { Subscriber, type SubscriberFlags } from "./pubsub/subscriber.ts";

interface SubFlags extends SubscriberFlags, ProtoFlags {
  readonly topic?: readonly string[];
  readonly verbose?: boolean;
  readonly print?: Format;
  readonly format?: PayloadFormat | Format;
  readonly output?: "text" | "json";
  readonly saveDir?: string;
  readonly pretty?: boolean;
  /** `-N`. */
  readonly eol: boolean;
}

type Format = ReturnType<typeof parseFormat>;

export function subCommand(): Command {
  return addProtoOptions(
    addConnectionOptions(new Command("sub").description("Subscribe to topics and print their messages.")),
  )
    .option("-t, --topic <FILTER>", "topic filter; may be given several times", collect)
    .option("-T, --filter-out <FILTER>", "do not print what it matches; may be given several times", collect)
    .option("-U, --unsubscribe <FILTER>", "unsubscribe from it first; may be given several times", collect)
    .option("-v, --verbose", "print the topic before each message")
    .option("-F, --print <FORMAT>", "how to print a message, see below", format)
    .addOption(
      new Option("--format <FORMAT>", "what payloads are, and so how they are printed")
        .choices(payloadFormats)
        .argParser(payloadFormat),
    )
    .addOption(new Option("--output <FORM>", "text, or a line of JSON for each message").choices(["text", "json"]))
    .option("--pretty", "JSON over several lines; so is what --format prints on a terminal")
    .option("--save-dir <DIR>", "save each message as a file of its own, and print the file's name")
    .option("-N, --no-eol", "print nothing after a message")
    .option("-C, --count <N>", "end after this many messages", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("-W, --wait <SECONDS>", `end after this long, with exit code ${timeoutExitCode}`, wholeNumber(1, 2_000_000))
    .option("-E, --exit-after-suback", "end when the broker has taken the subscriptions")
    .option("-R, --skip-retained", "do not print retained messages")
    .option("--retained-only", "end with the first message that is not retained")
    .option("--remove-retained", "clear each retained message that comes")
    .option("--retain-as-published", "let the retain flag of new messages stand")
    .option("--respond <COMMAND>", "answer each request with what this command prints; see mqttzoo pub --request")
    .option("--sleep <SECONDS>", "with --sn: sleep, and wake so often for what waits", wholeNumber(1, 65_535))
    .option("--random-filter <PERCENT>", "print so many of a hundred messages", percent)
    .addHelpText(
      "after",
      `
When the connection is lost it connects again, to the next broker of -h, and subscribes again.
What stands in ~/.config/mqttzoo_sub, a flag a line, goes before the command line.

-F: %t topic  %p payload  %x %X payload in hex  %l its length  %q QoS  %r retain  %m packet id  %j JSON  %J with JSON payload
    %I ISO time  %U Unix time  @X strftime's %X  and of MQTT 5: %A alias  %C content type  %D correlation data  %E expiry
    %F payload format  %P user properties  %R response topic  %S subscription id;  %-20t %08l %.5t;  \\n \\t \\0 \\\\ %% @@

A payload that is not of the --format is told of once on stderr, and printed in hex. CBOR and MessagePack are printed as
JSON; bytes in them as base64url. With --output json a line has "format", too: hex is what is not of the format.

Examples:
  mqttzoo sub -t 'home/#' -v
  mqttzoo sub -t 'meters/#' -v --format cbor          CBOR as JSON, over several lines on a terminal
  mqttzoo sub -t 'meters/#' --proto meter.proto --message Reading
  mqttzoo sub -t 'home/#' --output json | jq .payload
  mqttzoo sub -t 'cameras/#' -q 1 --save-dir pictures   a file for each message
  mqttzoo sub -t home/door -t home/window -q 1 -C 1 -W 10
  mqttzoo sub -h a.example.org,b.example.org -i logger -c -q 1 -t 'logs/#' -F '@Y-@m-@d @H:@M:@S %t %p'
  mqttzoo sub -h localhost --cafile server.crt -u alice --pw-file secret -t 'home/#'
  mqttzoo sub -t time --respond date --quiet       answer whoever asks
  mqttzoo sub --ws -p 8080 --ws-header 'X-Key: abc' -t 'home/#'      over WebSocket
  mqttzoo sub --sn -t 'home/#' -v                  over MQTT-SN (UDP), from a broker with --sn-port
  mqttzoo sub --sn --sleep 60 -q 1 -t home/door    as a device on batteries: asleep, and awake for its mail each minute
  mqttzoo sub -t '$SYS/#' -v                       what the broker counts`,
    )
    .action(run);
}

async function run(flags: SubFlags): Promise<void> {
  const connection = readConnection(flags);
  const topics = flags.topic ?? (connection.topic === undefined ? [] : [connection.topic]);
  if (topics.length === 0 && flags.unsubscribe === undefined) usage("no topic: give one with -t");
  if (flags.sleep !== undefined && flags.sn !== true) usage("--sleep is of MQTT-SN: give --sn as well");
  for (const topic of [...topics, ...(flags.unsubscribe ?? [])]) filterOf(topic);
  process.exit(await new Subscriber(flags, connection, topics, await printerOf(flags)).run());
}

async function printerOf(flags: SubFlags): Promise<MessagePrinter> {
  const { format: said, output, saveDir, pretty = false, verbose = false, eol, quiet } = flags;
  const payloads = typeof said === "string" ? said : undefined;
  // In earlier versions -F was called --format.
  const print = flags.print ?? (typeof said === "string" ? undefined : said);
  if (output === "json" && print !== undefined) usage("--output json does not go with -F");
  return new MessagePrinter({
    ...{ print, verbose, eol, isPretty: pretty, isJson: output === "json" },
    payloads: await chosenFormat(payloads, flags),
    folder: saveDir === undefined ? undefined : new MessageFolder(saveDir),
    report: (what) => quiet !== true && complain(what),
  });
}

function format(text: string): ReturnType<typeof parseFormat> {
  try {
    return parseFormat(text);
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
}

/** A name, or what `-F` takes. */
function payloadFormat(text: string): PayloadFormat | Format {
  if (/[%@\\]/.test(text)) return format(text);
  if ((payloadFormats as readonly string[]).includes(text)) return text as PayloadFormat;
  throw new InvalidArgumentError(`Allowed choices are ${payloadFormats.join(", ")}.`);
}

function percent(text: string): number {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 100)) throw new InvalidArgumentError("It must be a number from 0.1 to 100.");
  return value;
}
