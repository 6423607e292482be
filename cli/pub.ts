/** `mqttzoo pub`: publishes messages, with mosquitto_pub's flags. */
import { Command, Option } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import type { Message } from "../src/client/connection-options.ts";
import { describeReason } from "../src/mqtt/reason.ts";
import { readBytes } from "../src/server/operator-files.ts";
import {
  addConnectionOptions,
  type Connection,
  type ConnectionFlags,
  checkTopic,
  readConnection,
  timeoutExitCode,
} from "./flags/client-flags.ts";
import { usage, wholeNumber } from "./flags/parsers.ts";
import { bytesOf } from "./flags/raw-words.ts";
import {
  codecOf,
  NotOfFormat,
  type PayloadCodec,
  type PayloadFormat,
  payloadFormats,
} from "./output/payload-formats.ts";
import { complain, shown, tell } from "./output/print.ts";
import { print } from "./output/standard-output.ts";
import { Publisher } from "./pubsub/publisher.ts";
import { connectAny } from "./pubsub/reconnect.ts";
import { asksForTopic, Request } from "./pubsub/requests.ts";
import { SnPublisher } from "./pubsub/sn-publisher.ts";

interface PubFlags extends ConnectionFlags {
  readonly topic?: string;
  readonly file?: string;
  readonly stdinLine?: boolean;
  readonly message?: string;
  readonly maxInflight: number;
  readonly nullMessage?: boolean;
  readonly retain?: boolean;
  readonly stdinFile?: boolean;
  readonly repeat: number;
  readonly repeatDelay: number;
  readonly request?: boolean;
  readonly wait: number;
  readonly retryFor?: number;
  readonly format?: PayloadFormat;
}

/** Seconds for which a single message is tried to be sent again. */
const retryForDefault = 30;

export function pubCommand(): Command {
  return addConnectionOptions(new Command("pub").description("Publish messages."))
    .option("-t, --topic <TOPIC>", "topic to publish to")
    .option("-m, --message <TEXT>", "message; bytes that are not UTF-8 are sent as they are")
    .option("-f, --file <FILE>", "message: the contents of a file")
    .option("-s, --stdin-file", "message: all of standard input")
    .option("-l, --stdin-line", "messages: each line of standard input")
    .option("-n, --null-message", "publish an empty message")
    .addOption(
      new Option(
        "--format <FORMAT>",
        "what is given, of which the payload is made; CBOR and MessagePack are made of JSON",
      ).choices(payloadFormats),
    )
    .option("-r, --retain", "have the broker keep it for later subscribers")
    .option("-M, --max-inflight <N>", "messages at QoS 1 and 2 that are not acknowledged", wholeNumber(1, 65_535), 20)
    .option("--repeat <N>", "publish it so often", wholeNumber(1, Number.MAX_SAFE_INTEGER), 1)
    .option("--repeat-delay <SECONDS>", "... with so much time between", seconds, 0)
    .option(
      "--retry-for <SECONDS>",
      "when the connection is lost, try so long to go on (default: for ever with -l, else 30)",
      wholeNumber(0, 2_000_000),
    )
    .option("--request", "wait for the answer, and print it (MQTT 5)")
    .option("-W, --wait <SECONDS>", `... so long; then end with ${timeoutExitCode}`, wholeNumber(1, 2_000_000), 30)
    .addHelpText(
      "after",
      `
Ends with 0 when the broker has taken the messages over, with its reason code when it has refused one, or us.
When the connection is lost it goes on at the next broker of -h, at one that --zk finds, or when the broker is back.
What stands in ~/.config/mqttzoo_pub, a flag a line, goes before the command line.

Examples:
  mqttzoo pub -t home/kitchen/temp -m 21.5
  mqttzoo pub -h a.example.org,b.example.org -t home/door -m open -q 2 -r
  mqttzoo pub -L mqtts://alice@broker.example.org/home/door --pw-file secret -m open
  mqttzoo pub -L wss://broker.example.org/mqtt -t home/door -m open          over WebSocket
  tail -f log | mqttzoo pub -t logs -l -q 1        goes on when the broker has been restarted
  mqttzoo pub -t home/door -m open -q 1 --retry-for 300
  mqttzoo pub -t jobs -m now -q 1 -D publish message-expiry-interval 60 -D publish user-property from shell
  mqttzoo pub -t meters/7 --format cbor -m '{"kWh": 21.5}'
  mqttzoo pub -t relay/7 --format hex -m 'a5 01 ff'
  mqttzoo pub --zk zk1:2181,zk2:2181 -t home/door -m open
  mqttzoo pub -t time -n --request                 ask, see mqttzoo sub --respond
  mqttzoo pub --sn -t home/kitchen/temp -m 21.5 -q 1   over MQTT-SN (UDP), to a broker with --sn-port
  mqttzoo pub -t home/door -n -r                   clear the retained message`,
    )
    .action(run);
}

async function run(flags: PubFlags): Promise<void> {
  const connection = readConnection(flags);
  const topic = flags.topic ?? connection.topic ?? usage("no topic: give one with -t");
  checkTopic(topic);
  const source = await sourceOf(flags);
  if (flags.request === true) return request(connection, topic, source, flags);
  const publisher = new (connection.isSn ? SnPublisher : Publisher)(connection, {
    topic,
    inflight: flags.maxInflight,
    retryForMs: 1000 * (flags.retryFor ?? (flags.stdinLine === true ? Infinity : retryForDefault)),
    publish: {
      qos: flags.qos,
      retain: flags.retain === true,
      ...(connection.properties.publish && { properties: connection.properties.publish }),
    },
    onConnected: (remote) => flags.debug === true && tell(`connected to ${remote}`),
    onLost: (why) => flags.quiet !== true && complain(why),
  });
  const refusals = await publisher.run(source.messages);
  source.check();
  const [first] = refusals;
  if (first === undefined) return;
  if (flags.quiet !== true) {
    const many = refusals.length === 1 ? "the message" : `${refusals.length} messages`;
    complain(`the broker refused ${many}: ${describeReason(first.reason)}${first.text ? `: ${first.text}` : ""}`);
  }
  process.exitCode = first.reason;
}

/** One question, one answer. */
async function request(
  connection: Connection,
  topic: string,
  { messages, check, codec }: Source,
  { qos, wait, protocolVersion }: PubFlags,
): Promise<void> {
  if ((protocolVersion ?? 5) !== 5) usage("--request needs MQTT 5: leave -V away");
  setTimeout(() => process.exit(timeoutExitCode), wait * 1000).unref();
  const { properties } = connection.options;
  const asked = new Request();
  const client = await connectAny(connection, {
    version: 5,
    properties: { ...properties, ...asksForTopic },
    onMessage: asked.receive,
  });
  const given = connection.properties.publish;
  for await (const question of messages) {
    const answer = await asked.ask(client, topic, question, { qos, ...(given && { properties: given }) });
    print(shown(answerOf(answer, codec)));
    print("\n");
    break;
  }
  check();
  client.disconnect(connection.properties.disconnect);
}

/** The answer's payload in the format of the question; as it is where it is of another one. */
function answerOf({ payload }: Message, codec: PayloadCodec | undefined): Uint8Array {
  try {
    return codec === undefined ? payload : Buffer.from(codec.show(payload));
  } catch (error) {
    if (!(error instanceof NotOfFormat)) throw error;
    return payload;
  }
}

interface Source {
  readonly messages: AsyncIterable<Uint8Array | string>;
  readonly codec: PayloadCodec | undefined;
  /** To be called at their end. Throws `OperatingError` (EUSAGE) if that was before one that is not of its format. */
  readonly check: () => void;
}

/** Rejects with `OperatingError` unless there is exactly one source. */
async function sourceOf(flags: PubFlags): Promise<Source> {
  const { format, stdinLine } = flags;
  const written = messagesOf(flags);
  if (format === undefined) return { messages: written, codec: undefined, check: () => {} };
  const codec = await codecOf(format);
  let wrong: string | undefined;
  async function* made(): AsyncGenerator<Uint8Array> {
    let line = 0;
    for await (const message of written) {
      line++;
      let payload: Uint8Array;
      try {
        payload = codec.read(Buffer.from(message as string));
      } catch (error) {
        if (!(error instanceof NotOfFormat)) throw error;
        const [what, then] =
          stdinLine === true ? [`line ${line}`, "; what follows is not published"] : ["the message", ""];
        const needed = /^(cbor|msgpack)$/.test(format!) ? `JSON to make ${format} of` : format;
        wrong = `${what} is not ${needed} (${error.message})${then}`;
        return;
      }
      yield payload;
    }
  }
  return { messages: made(), codec, check: () => wrong !== undefined && usage(wrong) };
}

/** Throws `OperatingError` unless there is exactly one source. */
function messagesOf(flags: PubFlags): AsyncIterable<Uint8Array | string> {
  const { message, file, stdinLine, stdinFile, nullMessage } = flags;
  const sources = [message, file, stdinLine, stdinFile, nullMessage].filter((source) => source !== undefined);
  if (sources.length === 0) usage("nothing to publish: give the message with -m, -f, -s or -l, or -n for an empty one");
  if (sources.length > 1) usage("-m, -f, -s, -l and -n do not go together");
  if (stdinLine === true) return linesOf(process.stdin);
  const payload = file === undefined ? bytesOf(message ?? "") : readBytes(file);
  return repeated(stdinFile === true ? () => Bun.stdin.bytes() : () => Promise.resolve(payload), flags);
}

async function* repeated(
  read: () => Promise<Uint8Array | string>,
  { repeat, repeatDelay }: PubFlags,
): AsyncGenerator<Uint8Array | string> {
  const payload = await read();
  for (let left = repeat; left > 0; left--) {
    yield payload;
    if (left > 1 && repeatDelay > 0) await Bun.sleep(repeatDelay * 1000);
  }
}

/** Lines as bytes, without what ends them; what follows the last end counts if it is not empty. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const chunk of input) {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      yield rest.subarray(0, rest[end - 1] === 13 ? end - 1 : end);
      rest = rest.subarray(end + 1);
    }
  }
  if (rest.length > 0) yield rest;
}

function seconds(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw new OperatingError("EUSAGE", `${JSON.stringify(text)} is no number of seconds`);
  return value;
}
