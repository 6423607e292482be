/** `mqttzoo record`: writes what is published to a file, with times, for `mqttzoo replay`. */
import { Command } from "commander";
import { systemClock } from "../src/base/clock.ts";
import type { Message } from "../src/client/connection-options.ts";
import { addConnectionOptions, defaultQos, filterOf, readConnection, timeoutExitCode } from "./flags/client-flags.ts";
import { collect, wholeNumber } from "./flags/parsers.ts";
import { say } from "./output/print.ts";
import { Subscriber, type SubscriberFlags } from "./pubsub/subscriber.ts";
import { headingLine, messageLine } from "./recording/recorded-message.ts";
import { RecordingWriter } from "./recording/recording-file.ts";

interface RecordFlags extends SubscriberFlags {
  readonly topic?: readonly string[];
  readonly replace?: boolean;
}

export function recordCommand(): Command {
  const command = addConnectionOptions(new Command("record").description("Record messages to a file, with times."));
  return defaultQos(command, 2)
    .argument("<FILE>", "file to write, a line of JSON for each message; - is standard output")
    .option("-t, --topic <FILTER>", "topic filter; may be given several times (default: # and so all)", collect)
    .option("-T, --filter-out <FILTER>", "leave out what it matches; may be given several times", collect)
    .option("-R, --skip-retained", "leave out what is retained already")
    .option("-C, --count <N>", "end after this many messages", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("-W, --wait <SECONDS>", "end after this long", wholeNumber(1, 2_000_000))
    .option("--replace", "take the place of a file that is there")
    .addHelpText(
      "after",
      `
Topic, payload, QoS, retain flag and the publisher's properties are kept. A message is in the file before it is
acknowledged. When the connection is lost it connects again and goes on; Ctrl-C ends it.

Examples:
  mqttzoo record session.jsonl                      everything, until Ctrl-C
  mqttzoo record morning.jsonl -t 'home/#' -R -W 3600
  mqttzoo record - -t 'home/#' | gzip > home.jsonl.gz
  mqttzoo replay session.jsonl --speed 10           and back, ten times as fast`,
    )
    .action(run);
}

async function run(path: string, flags: RecordFlags): Promise<void> {
  const connection = readConnection(flags);
  const filters = flags.topic ?? [connection.topic ?? "#"];
  for (const filter of filters) filterOf(filter);
  const recorder = new Recorder(path, filters, { replaces: flags.replace === true });
  const subscriber = new Subscriber({ ...flags, retainAsPublished: true }, connection, filters, recorder);
  const code = await subscriber.run();
  recorder.close();
  process.exit(code === timeoutExitCode ? 0 : code);
}

/** Writes messages as the lines of a recording. */
class Recorder {
  readonly #beganAt = systemClock.now();
  readonly #topics = new Set<string>();
  readonly #file: RecordingWriter | undefined;
  /** Said before the first line on standard output. */
  #heading: string | undefined;
  #count = 0;

  constructor(path: string, filters: readonly string[], { replaces }: { readonly replaces: boolean }) {
    const heading = { at: new Date(systemClock.wall()).toISOString(), filters };
    if (path === "-") this.#heading = headingLine(heading);
    else this.#file = new RecordingWriter(path, heading, { replaces, now: this.#beganAt });
  }

  /** Throws `OperatingError` (EOUTPUT). */
  bytesOf(message: Message): Uint8Array | undefined {
    this.#count++;
    if (this.#topics.size < topicsCountedMax) this.#topics.add(message.topic);
    if (this.#file !== undefined) {
      this.#file.add(message, systemClock.now());
      return undefined;
    }
    const line = messageLine(message, systemClock.now() - this.#beganAt);
    const bytes = Buffer.from(`${this.#heading ?? ""}${line}`);
    this.#heading = undefined;
    return bytes;
  }

  /** Closes the file, and says what is in it. */
  close(): void {
    if (this.#file === undefined) return;
    this.#file.close();
    const { size } = this.#topics;
    const topics = `${size}${size === topicsCountedMax ? " or more" : ""} topic${size === 1 ? "" : "s"}`;
    const seconds = ((systemClock.now() - this.#beganAt) / 1000).toFixed(1);
    say(`${this.#count} message${this.#count === 1 ? "" : "s"} of ${topics} in ${seconds} s: ${this.#file.path}`);
  }
}

/** Topics that are remembered so that they can be counted. */
const topicsCountedMax = 100_000;
