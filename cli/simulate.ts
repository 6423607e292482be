/** `mqttzoo simulate`: devices that connect, measure, publish, vanish and come back, as a YAML file describes them. */
import { isatty } from "node:tty";
import { Command, Option } from "commander";
import { systemClock } from "../src/base/clock.ts";
import { OperatingError } from "../src/base/errors.ts";
import { readText } from "../src/server/operator-files.ts";
import { addConnectionOptions, type ConnectionFlags, readConnection } from "./flags/client-flags.ts";
import { argument, duration, usage, wholeNumber } from "./flags/parsers.ts";
import { say, sayJson, tell } from "./output/print.ts";
import { print, printError } from "./output/standard-output.ts";
import { printRows } from "./output/table.ts";
import { failureOf, rowOf, sumOf } from "./simulate/counts.ts";
import { example } from "./simulate/example.ts";
import { Fleet } from "./simulate/fleet.ts";
import { readScenario } from "./simulate/scenario.ts";

interface SimulateFlags extends ConnectionFlags {
  readonly duration?: number;
  readonly seed?: number;
  readonly check?: boolean;
  readonly example?: boolean;
  readonly json?: boolean;
}

/** Flags that are of one client, and what stands in the file instead. */
const inFile = {
  id: ["-i", "client-id:"],
  idPrefix: ["-I", "client-id:"],
  disableCleanSession: ["-c", "session-expiry:"],
  sessionExpiryInterval: ["-x", "session-expiry:"],
  willTopic: ["--will-topic", "will:"],
  willPayload: ["--will-payload", "will:"],
  sn: ["--sn", undefined],
} as const;

export function simulateCommand(): Command {
  return addConnectionOptions(new Command("simulate").description("Simulate devices that a YAML file describes."))
    .argument("[FILE]", "the devices, see below")
    .addOption(
      new Option("--duration <TIME>", "how long: 30, 30s, 10m (default: as the file says, or until Ctrl-C)").argParser(
        argument(duration(1, 31_536_000)),
      ),
    )
    .option("--seed <N>", "the same values and times again for the same number", wholeNumber(0, 2 ** 48))
    .option("--check", "only read the file, and say what there would be")
    .option("--example", "print the file below, to begin with")
    .option("--json", "print one JSON object a line at the end")
    .addHelpText(
      "after",
      `
A file has devices, each kind with a name. The rest may be left away:

${example.replace(/^/gm, "  ")}

Values: uniform: [MIN, MAX], normal: [MEAN, DEVIATION], exponential: MEAN, walk: { from, step, min, max },
    sine: { min, max, period, noise }, count: FROM, choice: [WORDS]; with digits, min and max.
Places in texts: {{device}} its number, {{client}} its id, the names of values, and those of mqttzoo pub --template.
A message has payload: or json:, and may have qos, retain, format (cbor, msgpack, hex, base64), first, limit, expiry.

Ends with 1 if a connection failed, or something was refused.

Examples:
  mqttzoo simulate --example > devices.yaml
  mqttzoo simulate devices.yaml
  mqttzoo simulate devices.yaml --check
  mqttzoo simulate devices.yaml -h broker.example.org -u alice --pw-file secret --duration 1h
  mqttzoo simulate devices.yaml --seed 7 --json`,
    )
    .action(run);
}

async function run(path: string | undefined, flags: SimulateFlags): Promise<void> {
  if (flags.example === true) return print(`${example}\n`);
  if (path === undefined) usage("name the file with the devices; --example prints one to begin with");
  await simulate(path, flags);
}

async function simulate(path: string, flags: SimulateFlags): Promise<void> {
  for (const [name, [flag, instead]] of Object.entries(inFile))
    if (flags[name as keyof typeof inFile] !== undefined)
      usage(`${flag} does not go with simulate${instead === undefined ? "" : `: ${instead} in ${path} says it`}`);
  const connection = readConnection(flags);
  const read = await readScenario(path, readText(path), flags.qos);
  const { seed = read.seed } = flags;
  const durationMs = flags.duration === undefined ? read.durationMs : flags.duration * 1000;
  if (flags.check === true) {
    const rows = read.groups.map(({ name, count, publish, subscribe }) => ({
      ...{ devices: name, count, publishes: publish.length, subscriptions: subscribe.length },
    }));
    return printRows(rows, flags.json === true);
  }
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => (interrupted.signal.aborted ? process.exit(1) : interrupted.abort()));
  const isQuiet = flags.json === true || flags.quiet === true;
  const isTerminal = isatty(2);
  const progress = (line: string): void => {
    if (isQuiet) return;
    if (isTerminal) printError(`\r\x1b[K${line}`);
    else tell(line);
  };
  const fleet = new Fleet(connection, { ...read, seed, durationMs }, progress);
  const seconds = await fleet.run(interrupted.signal);
  if (isTerminal && !isQuiet) printError("\r\x1b[K");
  const sum = sumOf(fleet.counts);
  const all = fleet.counts.length === 1 ? fleet.counts : [...fleet.counts, sum];
  if (flags.json === true)
    for (const one of all) sayJson({ ...rowOf(one), seconds: Math.round(seconds * 1000) / 1000 });
  else {
    printRows(all.map(rowOf), false);
    say(`${seconds.toFixed(1)} s, ended at ${new Date(systemClock.wall()).toISOString()}`);
  }
  const failure = failureOf(sum);
  if (failure !== undefined) throw new OperatingError("EFAILED", failure);
}
