/** `mqttzoo sub`: prints what is published. */
import { Command } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { connect, type Message } from "../src/client/client.ts";
import { describeReason, Reason } from "../src/mqtt/reason.ts";
import { parseFilter } from "../src/mqtt/topic.ts";
import { addConnectionOptions, type ConnectionFlags, toClientOptions, wholeNumber } from "./connection-options.ts";

interface SubFlags extends ConnectionFlags {
  readonly topic: readonly string[];
  readonly verbose?: boolean;
  readonly count?: number;
  readonly wait?: number;
}

/** As mosquitto_sub ends when `-W` has run out. */
const timeoutExitCode = 27;

export function subCommand(): Command {
  return addConnectionOptions(new Command("sub").description("Subscribe to topics and print their messages."))
    .requiredOption("-t, --topic <FILTER>", "topic filter; may be given several times", collect)
    .option("-v, --verbose", "print the topic before each message")
    .option("-C, --count <N>", "end after this many messages", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("-W, --wait <SECONDS>", `end after this long, with exit code ${timeoutExitCode}`, wholeNumber(1, 2_000_000))
    .addHelpText(
      "after",
      `
Examples:
  mqttzoo sub -t 'home/#' -v
  mqttzoo sub -t home/door -t home/window -q 1 -C 1 -W 10
  mqttzoo sub -h localhost --cafile server.crt -u alice --pw-file secret -t 'home/#'
  mqttzoo sub -t '$SYS/#' -v                       what the broker counts`,
    )
    .action(run);
}

async function run(flags: SubFlags): Promise<void> {
  for (const topic of flags.topic) {
    if (parseFilter(topic) === undefined) {
      throw new OperatingError(
        "EUSAGE",
        `${JSON.stringify(topic)} is not a topic filter: + stands for a whole level, # for the last ones`,
      );
    }
  }
  if (flags.wait !== undefined) setTimeout(() => process.exit(timeoutExitCode), flags.wait * 1000);
  let left = flags.count ?? Infinity;
  const ended = Promise.withResolvers<void>();
  const onMessage = (message: Message): void => {
    if (left <= 0) return;
    print(message, flags.verbose === true);
    left--;
    if (left === 0) setImmediate(() => ended.resolve());
  };
  const onClose = (why: string): void => ended.reject(new OperatingError("ECLOSED", why));
  const client = await connect({ ...toClientOptions(flags), onMessage, onClose });
  const granted = await client.subscribe(flags.topic, { qos: flags.qos });
  const refused = granted.findIndex((code) => code >= Reason.unspecifiedError);
  if (refused !== -1) {
    throw new OperatingError(
      "EREFUSED",
      `the broker refused ${flags.topic[refused]}: ${describeReason(granted[refused]!)}`,
    );
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => ended.resolve());
  await ended.promise;
  client.disconnect();
  process.exit(0);
}

function print({ topic, payload }: Message, verbose: boolean): void {
  if (verbose) process.stdout.write(`${topic} `);
  process.stdout.write(payload);
  process.stdout.write("\n");
}

function collect(topic: string, topics: readonly string[] | undefined): string[] {
  return [...(topics ?? []), topic];
}
