/** `mqttzoo replay`: publishes what `mqttzoo record` has written, with the same pauses, or faster. */
import { Command, InvalidArgumentError } from "commander";
import { systemClock } from "../src/base/clock.ts";
import type { PublishOptions } from "../src/client/connection-options.ts";
import type { QoS } from "../src/mqtt/constants.ts";
import { type Filter, filterMatches } from "../src/mqtt/topic.ts";
import {
  addConnectionOptions,
  type ConnectionFlags,
  checkTopic,
  defaultQos,
  filterOf,
  readConnection,
} from "./flags/client-flags.ts";
import { collect, usage, wholeNumber } from "./flags/parsers.ts";
import { complain, say, tell } from "./output/print.ts";
import { Publisher, tellRefusals } from "./pubsub/publisher.ts";
import { SnPublisher } from "./pubsub/sn-publisher.ts";
import type { RecordedMessage } from "./recording/recorded-message.ts";
import { readRecording } from "./recording/recording-file.ts";

interface ReplayFlags extends Omit<ConnectionFlags, "qos"> {
  readonly qos?: QoS;
  readonly topic?: readonly string[];
  readonly filterOut?: readonly string[];
  readonly speed: number;
  /** True: until it is interrupted. */
  readonly loop?: number | true;
  readonly prefix?: string;
  /** False: `--no-retain`. */
  readonly retain: boolean;
  readonly maxInflight: number;
  readonly retryFor: number;
}

/** Pauses are made of pieces of this length, in ms: a timer takes 24 days at most. */
const pauseMsMax = 3_600_000;

export function replayCommand(): Command {
  const command = addConnectionOptions(new Command("replay").description("Publish what was recorded, at any speed."));
  return defaultQos(command, undefined, "publish with this quality of service (default: as recorded)")
    .argument("<FILE>", "a recording, see mqttzoo record; - is standard input")
    .option("--speed <N>", "so many times as fast as it was; max: without any pauses", speed, 1)
    .option("--loop [N]", "so many times one after the other; without N until Ctrl-C", wholeNumber(1, 1_000_000_000))
    .option("-t, --topic <FILTER>", "only what it matches; may be given several times", collect)
    .option("-T, --filter-out <FILTER>", "leave out what it matches; may be given several times", collect)
    .option("--prefix <TEXT>", "put this before each topic")
    .option("--no-retain", "publish nothing as retained")
    .option("-M, --max-inflight <N>", "messages at QoS 1 and 2 that are not acknowledged", wholeNumber(1, 65_535), 20)
    .option("--retry-for <SECONDS>", "when the connection is lost, try so long to go on", wholeNumber(0, 2_000_000), 30)
    .addHelpText(
      "after",
      `
The first message goes out at once, the others as long after it as they came when they were recorded.
Ends with 0 when the broker has taken the messages over, with its reason code when it has refused one.

Examples:
  mqttzoo replay session.jsonl
  mqttzoo replay session.jsonl --speed 10 --loop        ten times as fast, again and again
  mqttzoo replay session.jsonl --speed max -h test.example.org
  mqttzoo replay session.jsonl -t 'home/#' --prefix copy/ --no-retain
  zcat home.jsonl.gz | mqttzoo replay -`,
    )
    .action(run);
}

async function run(path: string, flags: ReplayFlags): Promise<void> {
  const connection = readConnection({ ...flags, qos: flags.qos ?? 0 });
  if (path === "-" && flags.loop !== undefined) usage("--loop needs a file: standard input is read once");
  const replay = new Replay(path, flags);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => replay.stop());
  const publisher = new (connection.isSn ? SnPublisher : Publisher)(connection, {
    topicOf: () => replay.topic,
    optionsOf: () => replay.options,
    inflight: flags.maxInflight,
    retryForMs: 1000 * flags.retryFor,
    onConnected: (remote) => flags.debug === true && tell(`connected to ${remote}`),
    onLost: (why) => flags.quiet !== true && complain(why),
  });
  const beganAt = systemClock.now();
  const refusals = await publisher.run(replay.messages());
  const { count } = replay;
  const seconds = ((systemClock.now() - beganAt) / 1000).toFixed(1);
  if (flags.quiet !== true) say(`${count} message${count === 1 ? "" : "s"} in ${seconds} s`);
  tellRefusals(refusals, { isQuiet: flags.quiet === true });
  // A pause may be under way.
  process.exit();
}

/** The messages of a recording, each when it is due. */
class Replay {
  readonly #path: string;
  readonly #flags: ReplayFlags;
  readonly #wanted: readonly Filter[];
  readonly #unwanted: readonly Filter[];
  #isStopped = false;
  #wake: () => void = () => {};
  #message: RecordedMessage | undefined;
  count = 0;

  constructor(path: string, flags: ReplayFlags) {
    this.#path = path;
    this.#flags = flags;
    this.#wanted = (flags.topic ?? []).map(filterOf);
    this.#unwanted = (flags.filterOut ?? []).map(filterOf);
    if (flags.prefix !== undefined) checkTopic(`${flags.prefix}a`);
  }

  /** The topic of the message that was handed out last. */
  get topic(): string {
    return `${this.#flags.prefix ?? ""}${this.#message!.topic}`;
  }

  /** The options of that message. */
  get options(): PublishOptions {
    const { options } = this.#message!;
    const { qos = options.qos, retain } = this.#flags;
    return { ...options, qos, retain: options.retain && retain };
  }

  /** Ends it after the message that is under way; at the second time at once. */
  stop(): void {
    if (this.#isStopped) process.exit(1);
    this.#isStopped = true;
    this.#wake();
  }

  /** Throws `OperatingError` if the recording cannot be read. */
  async *messages(): AsyncGenerator<Uint8Array> {
    const { loop = 1, speed } = this.#flags;
    for (let round = 0; (loop === true || round < loop) && !this.#isStopped; round++) {
      const beganAt = systemClock.now();
      let first: number | undefined;
      for await (const message of readRecording(this.#path, () => this.#tellCut())) {
        if (!this.#isWanted(message.topic)) continue;
        first ??= message.ms;
        await this.#until(beganAt + (message.ms - first) / speed);
        if (this.#isStopped) return;
        checkTopic(`${this.#flags.prefix ?? ""}${message.topic}`);
        this.#message = message;
        this.count++;
        yield message.payload;
      }
      if (first === undefined) usage(`there is nothing to publish in ${this.#path}`);
    }
  }

  #isWanted(topic: string): boolean {
    const levels = topic.split("/");
    const matches = (filters: readonly Filter[]): boolean =>
      filters.some((filter) => filterMatches(filter.levels, levels));
    return (this.#wanted.length === 0 || matches(this.#wanted)) && !matches(this.#unwanted);
  }

  #tellCut(): void {
    if (this.#flags.quiet !== true) complain(`the last line of ${this.#path} is cut off: it is left out`);
  }

  async #until(dueAt: number): Promise<void> {
    for (let left = dueAt - systemClock.now(); left > 0 && !this.#isStopped; left = dueAt - systemClock.now()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        void Bun.sleep(Math.min(left, pauseMsMax)).then(resolve);
      });
    }
  }
}

function speed(text: string): number {
  if (text === "max") return Infinity;
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 0.001 && value <= 1_000_000))
    throw new InvalidArgumentError("It must be a number from 0.001 to 1000000, or max.");
  return value;
}
