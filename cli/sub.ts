/** `mqttzoo sub`: prints what is published, with mosquitto_sub's flags. */
import { Command, InvalidArgumentError, Option } from "commander";
import { systemClock } from "../src/base/clock.ts";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { systemRandom } from "../src/base/random.ts";
import { Backoff } from "../src/client/backoff.ts";
import { ClientSession } from "../src/client/client-session.ts";
import { MqttConnection } from "../src/client/connection.ts";
import type { Message } from "../src/client/connection-options.ts";
import { SnConnection } from "../src/client/sn-connection.ts";
import { describeReason, Reason } from "../src/mqtt/reason.ts";
import { type Filter, filterMatches } from "../src/mqtt/topic.ts";
import {
  addConnectionOptions,
  type Connection,
  type ConnectionFlags,
  filterOf,
  readConnection,
  timeoutExitCode,
} from "./flags/client-flags.ts";
import { usage, wholeNumber } from "./flags/parsers.ts";
import { parseFormat } from "./output/format.ts";
import { MessageFolder } from "./output/message-folder.ts";
import { MessagePrinter } from "./output/message-printer.ts";
import { codecOf, type PayloadFormat, payloadFormats } from "./output/payload-formats.ts";
import { complain, tell } from "./output/print.ts";
import { OutputQueue } from "./output/standard-output.ts";
import { connectAgain, connectAny, connectAnySn, untilConnected } from "./pubsub/reconnect.ts";
import { respond } from "./pubsub/requests.ts";

interface SubFlags extends ConnectionFlags {
  readonly topic?: readonly string[];
  readonly filterOut?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly verbose?: boolean;
  readonly print?: Format;
  readonly format?: PayloadFormat | Format;
  readonly output?: "text" | "json";
  readonly saveDir?: string;
  readonly pretty?: boolean;
  /** `-N`. */
  readonly eol: boolean;
  readonly count?: number;
  readonly wait?: number;
  /** `-E`. */
  readonly exitAfterSuback?: boolean;
  /** `-R`. */
  readonly skipRetained?: boolean;
  readonly retainedOnly?: boolean;
  readonly removeRetained?: boolean;
  readonly retainAsPublished?: boolean;
  readonly randomFilter?: number;
  readonly respond?: string;
  readonly sleep?: number;
}

type Format = ReturnType<typeof parseFormat>;

/** A connection, over MQTT or MQTT-SN. */
type Line = MqttConnection | SnConnection;

export function subCommand(): Command {
  return addConnectionOptions(new Command("sub").description("Subscribe to topics and print their messages."))
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
    payloads: payloads && { name: payloads, codec: await codecOf(payloads) },
    folder: saveDir === undefined ? undefined : new MessageFolder(saveDir),
    report: (what) => quiet !== true && complain(what),
  });
}

/** Bytes of output that may wait for their reader before the broker is not read any more. */
const unwrittenMax = 65_536;
/** A reader that takes nothing for so long is not waited for when it is time to end. */
const readerStallMs = 10_000;

class Subscriber {
  readonly #flags: SubFlags;
  readonly #connection: Connection;
  readonly #topics: readonly string[];
  readonly #printer: MessagePrinter;
  readonly #filterOut: readonly Filter[];
  readonly #session = new ClientSession();
  readonly #ended = Promise.withResolvers<void>();
  #client: Line | undefined;
  #left: number;
  #isEnding = false;
  /** The broker is not read until what was printed is written. */
  #isHeld = false;
  readonly #output = new OutputQueue(() => this.#goOn());
  #exitCode = 0;
  /** DISCONNECT's; as with mosquitto_sub, whoever is interrupted has the broker publish its will. */
  #leavingReason: number = Reason.success;

  constructor(flags: SubFlags, connection: Connection, topics: readonly string[], printer: MessagePrinter) {
    this.#flags = flags;
    this.#connection = connection;
    this.#topics = topics;
    this.#printer = printer;
    this.#filterOut = (flags.filterOut ?? []).map(filterOf);
    this.#left = flags.count ?? Infinity;
  }

  /**
   * Resolves with the exit code when it has ended, and all that it had to print is written. Rejects with
   * `OperatingError` if there is no broker at the start, none of the topics is granted, or the output cannot be
   * written.
   */
  async run(): Promise<number> {
    const { wait } = this.#flags;
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => this.#interrupt(signal));
    if (wait !== undefined) setTimeout(() => this.#timeOut(wait), wait * 1000);
    await Promise.race([this.#ended.promise, this.#output.failed, this.#start()]);
    await Promise.race([this.#ended.promise, this.#output.failed]);
    const { disconnect } = this.#connection.properties;
    if (this.#client instanceof SnConnection) this.#client.disconnect();
    else this.#client?.disconnect(disconnect, this.#client.version === 5 ? this.#leavingReason : Reason.success);
    await this.#output.written();
    return this.#exitCode;
  }

  async #start(): Promise<void> {
    this.#client = await this.#connect();
    if (this.#flags.debug === true) tell(`connected to ${this.#client.remote}`);
    await this.#begin(this.#client);
  }

  #connect(): Promise<Line> {
    return this.#connection.isSn
      ? connectAnySn(this.#connection, this.#callbacks())
      : connectAny(this.#connection, this.#callbacks());
  }

  /** Ends, or at once if it was about to end already. */
  #interrupt(signal: string): void {
    if (this.#isEnding) process.exit(1);
    this.#hurry(signal);
  }

  #timeOut(seconds: number): void {
    if (!this.#isEnding) this.#exitCode = timeoutExitCode;
    this.#hurry(`${seconds} s are over (-W)`);
  }

  #hurry(why: string): void {
    if (this.#flags.debug === true) tell(`ending: ${why}`);
    this.#leavingReason = Reason.disconnectWithWill;
    this.#end();
    void this.#output.hurry(readerStallMs);
  }

  #callbacks() {
    return {
      session: this.#session,
      // At once: what comes right behind it is not printed any more.
      onGranted: () => {
        if (this.#flags.exitAfterSuback === true) this.#isEnding = true;
      },
      onMessage: (message: Message) => this.#receive(message),
      onClose: (why: string) => void this.#comeBack(why).catch(this.#ended.reject),
    };
  }

  /**
   * A connection that is lost meanwhile is not its trouble: whoever is told of that connects again, and begins again.
   */
  async #begin(client: Line): Promise<void> {
    try {
      await this.#subscribe(client);
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== "ECLOSED") throw error;
    }
  }

  async #subscribe(client: Line): Promise<void> {
    const { unsubscribe, qos, retainAsPublished = false, exitAfterSuback } = this.#flags;
    const { properties } = this.#connection;
    if (unsubscribe !== undefined) await client.unsubscribe(unsubscribe, properties.unsubscribe);
    if (this.#topics.length > 0) {
      const granted = await client.subscribe(this.#topics, {
        qos,
        retainAsPublished,
        ...(properties.subscribe && { properties: properties.subscribe }),
      });
      this.#judge(granted);
    }
    if (exitAfterSuback === true || this.#topics.length === 0) return this.#end();
    if (client instanceof SnConnection && this.#flags.sleep !== undefined) await client.sleep(this.#flags.sleep);
  }

  /** Some topics may be refused, but not all. */
  #judge(granted: readonly number[]): void {
    const refused = granted.flatMap((code, index) => (code >= Reason.unspecifiedError ? [{ code, index }] : []));
    const words = refused.map(({ code, index }) => `${this.#topics[index]}: ${describeReason(code)}`).join("; ");
    if (refused.length > 0 && refused.length === granted.length)
      throw new OperatingError("EREFUSED", `the broker refused ${words}`);
    if (refused.length > 0) this.#report(`the broker refused ${words}`);
  }

  async #comeBack(why: string): Promise<void> {
    // While there is none yet, whoever connects is told what goes wrong.
    if (this.#isEnding || this.#client === undefined) return;
    this.#client = undefined;
    this.#report(`${why}; connecting again`);
    const again = {
      report: (what: string) => this.#report(what),
      backoff: new Backoff({}, systemRandom),
      retryForMs: Infinity,
    };
    const client = this.#connection.isSn
      ? await untilConnected(() => this.#connect(), again)
      : await connectAgain(this.#connection, this.#callbacks(), again);
    this.#client = client;
    if (this.#isHeld) client.pause();
    // It may be gone already, and nobody was told: there was no client yet.
    if (client.whyClosed !== undefined) return this.#comeBack(client.whyClosed);
    await this.#begin(client);
  }

  #receive(message: Message): void {
    if (this.#isEnding) return;
    const { retainedOnly, removeRetained, skipRetained, respond: respondWith, randomFilter = 100 } = this.#flags;
    if (retainedOnly === true && !message.retain) return this.#end();
    const levels = message.topic.split("/");
    if (this.#filterOut.some((filter) => filterMatches(filter.levels, levels))) return;
    if (removeRetained === true && message.retain)
      void this.#client?.publish(message.topic, "", { qos: 1, retain: true }).catch(() => {});
    if (respondWith !== undefined && this.#client instanceof MqttConnection)
      void respond(this.#client, respondWith, message).catch((error) => this.#report(messageOf(error)));
    if (skipRetained === true && message.retain) return;
    if (randomFilter === 100 || systemRandom.next() * 100 < randomFilter) {
      try {
        this.#print(message);
      } catch (error) {
        // It could not be saved: it is not acknowledged, and nothing more is taken.
        this.#isEnding = true;
        this.#ended.reject(error);
        return this.#client instanceof MqttConnection ? this.#client.abort() : this.#client?.close();
      }
    }
    this.#left--;
    if (this.#left === 0) this.#end();
  }

  #print(message: Message): void {
    const bytes = this.#printer.bytesOf(message, new Date(systemClock.wall()));
    if (bytes === undefined) return;
    this.#output.push(bytes);
    if (this.#output.unwritten <= unwrittenMax || this.#isHeld) return;
    // Whoever reads what we print is slower than the broker: so it has to wait, and not our memory to grow.
    this.#isHeld = true;
    this.#client?.pause();
  }

  #goOn(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#client?.resume();
  }

  /** Ends when all messages that have come are acknowledged. */
  #end(): void {
    this.#isEnding = true;
    setImmediate(() => this.#ended.resolve());
  }

  #report(what: string): void {
    if (this.#flags.quiet !== true) complain(what);
  }
}

function collect(topic: string, topics: readonly string[] | undefined): string[] {
  return [...(topics ?? []), topic];
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
