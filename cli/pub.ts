/** `mqttzoo pub`: publishes messages, with mosquitto_pub's flags. */
import { Command, Option } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import type { Message } from "../src/client/connection-options.ts";
import {
  addConnectionOptions,
  type Connection,
  type ConnectionFlags,
  checkTopic,
  readConnection,
  timeoutExitCode,
} from "./flags/client-flags.ts";
import { usage, wholeNumber } from "./flags/parsers.ts";
import { addProtoOptions } from "./flags/payload-flags.ts";
import { NotOfFormat, type PayloadCodec, payloadFormats } from "./output/payload-formats.ts";
import { complain, shown, tell } from "./output/print.ts";
import { print } from "./output/standard-output.ts";
import { MessageSource, type SourceFlags } from "./pubsub/message-source.ts";
import { Publisher, tellRefusals } from "./pubsub/publisher.ts";
import { connectAny } from "./pubsub/reconnect.ts";
import { asksForTopic, Request } from "./pubsub/requests.ts";
import { SnPublisher } from "./pubsub/sn-publisher.ts";

interface PubFlags extends ConnectionFlags, SourceFlags {
  readonly topic?: string;
  readonly maxInflight: number;
  readonly retain?: boolean;
  readonly request?: boolean;
  readonly wait: number;
  readonly retryFor?: number;
}

/** Seconds for which a single message is tried to be sent again. */
const retryForDefault = 30;

export function pubCommand(): Command {
  return addProtoOptions(addConnectionOptions(new Command("pub").description("Publish messages.")))
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
    .option(
      "--template",
      "fill {{count}} {{random 1 100}} {{time}} and the like in the message and the topic, see below",
    )
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

--template: {{count}} number of the message, {{count 7}} from 7 on; {{random 1 100}}, {{random 18.0 24.5}} a number;
    {{choice on off}} a word; {{time}} as 2026-01-31T12:00:00.000Z, {{time unix}} in s, {{time ms}}; {{uuid}}

Examples:
  mqttzoo pub -t home/kitchen/temp -m 21.5
  mqttzoo pub -t 'home/{{random 1 9}}/temp' -m '{"n": {{count}}, "t": {{random 18.0 24.5}}}' --template --repeat 100 --repeat-delay 0.5
  mqttzoo pub -h a.example.org,b.example.org -t home/door -m open -q 2 -r
  mqttzoo pub -L mqtts://alice@broker.example.org/home/door --pw-file secret -m open
  mqttzoo pub -L wss://broker.example.org/mqtt -t home/door -m open          over WebSocket
  tail -f log | mqttzoo pub -t logs -l -q 1        goes on when the broker has been restarted
  mqttzoo pub -t home/door -m open -q 1 --retry-for 300
  mqttzoo pub -t jobs -m now -q 1 -D publish message-expiry-interval 60 -D publish user-property from shell
  mqttzoo pub -t meters/7 --format cbor -m '{"kWh": 21.5}'
  mqttzoo pub -t meters/7 --proto meter.proto --message Reading -m '{"kWh": 21.5}'
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
  const source = await MessageSource.open(topic, flags);
  checkTopic(source.topic);
  if (flags.request === true) return request(connection, source, flags);
  const options = {
    qos: flags.qos,
    retain: flags.retain === true,
    ...(connection.properties.publish && { properties: connection.properties.publish }),
  };
  const publisher = new (connection.isSn ? SnPublisher : Publisher)(connection, {
    topicOf: () => source.topic,
    inflight: flags.maxInflight,
    retryForMs: 1000 * (flags.retryFor ?? (flags.stdinLine === true ? Infinity : retryForDefault)),
    optionsOf: () => options,
    onConnected: (remote) => flags.debug === true && tell(`connected to ${remote}`),
    onLost: (why) => flags.quiet !== true && complain(why),
  });
  const refusals = await publisher.run(source.messages);
  source.check();
  tellRefusals(refusals, { isQuiet: flags.quiet === true });
}

/** One question, one answer. */
async function request(
  connection: Connection,
  source: MessageSource,
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
  for await (const question of source.messages) {
    const answer = await asked.ask(client, source.topic, question, { qos, ...(given && { properties: given }) });
    print(shown(answerOf(answer, source.codec)));
    print("\n");
    break;
  }
  source.check();
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

function seconds(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw new OperatingError("EUSAGE", `${JSON.stringify(text)} is no number of seconds`);
  return value;
}
