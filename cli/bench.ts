/** `mqttzoo bench`: load for any broker, with emqtt_bench's habits, and what it came to. */
import { Command, Option } from "commander";
import { systemClock } from "../src/base/clock.ts";
import { OperatingError } from "../src/base/errors.ts";
import { snRequestsMax } from "../src/base/sn-limits.ts";
import type { ConnectionOptions } from "../src/client/connection-options.ts";
import type { Place } from "../src/client/dial.ts";
import { fill, fillUsername, type Plan, unlimited } from "../src/load/plan.ts";
import { type Preset, presetNames, presetPayloadBytes, presetQos, readPreset } from "../src/load/presets.ts";
import { publishersMax } from "../src/load/stamp.ts";
import type { ProtocolVersion, QoS } from "../src/mqtt/constants.ts";
import { readBytes, replaceText } from "../src/server/operator-files.ts";
import { type Crew, OtherCrew, OwnCrew, serveCrew, type Task, workerCommand } from "./bench/crew.ts";
import { toHtml } from "./bench/html.ts";
import { Load } from "./bench/load.ts";
import { brokenPromise, toJson, toLines } from "./bench/report.ts";
import { withUser } from "./flags/auth-flags.ts";
import { readBrokerUrl } from "./flags/broker-url.ts";
import { checkTopic, filterOf, protocolVersion } from "./flags/client-flags.ts";
import { usage, wholeNumber } from "./flags/parsers.ts";
import { addPlaceOptions, addUrlOption, lookedUp, type PlaceFlags, secretOf, whereOf } from "./flags/place-flags.ts";
import { refuseWithSn } from "./flags/sn-client-flags.ts";
import { complain, say, sayJson } from "./output/print.ts";
import { connectAsItCan } from "./pubsub/reconnect.ts";

interface BenchFlags extends PlaceFlags {
  readonly count?: number;
  readonly publishers?: number;
  readonly subscribers?: number;
  readonly startnumber: number;
  readonly interval?: number;
  readonly connrate?: number;
  readonly topic?: string;
  readonly filter?: string;
  readonly size: number;
  readonly message?: string;
  readonly qos: QoS;
  readonly retain?: boolean;
  readonly intervalOfMsg?: number;
  readonly rate?: number;
  readonly limit?: number;
  readonly inflight: number;
  readonly duration?: number;
  readonly processes: number;
  readonly prefix?: string;
  readonly ifaddr?: string;
  readonly numRetryConnect?: number;
  readonly shortids?: boolean;
  readonly template?: string;
  readonly html?: string;
  readonly keepalive: number;
  readonly clean: boolean;
  readonly sessionExpiry: number;
  readonly protocolVersion?: ProtocolVersion;
  readonly ssl?: boolean;
  readonly sn?: boolean;
  readonly json?: boolean;
}

type Mode = "conn" | "pub" | "sub" | "e2e";

const descriptions: Record<Mode, string> = {
  conn: "Connect clients, and hold the connections.",
  pub: "Publish.",
  sub: "Subscribe, and count what comes.",
  e2e: "Publish and subscribe: nothing may be lost, come twice, or out of order.",
};
/** As emqtt_bench has them: so many clients, so many ms between two messages of one. */
const countDefault = 200;
const intervalDefault = 1000;
const prefixDefault = "bench";
const durationDefault = 10;
export function benchCommand(): Command {
  const bench = new Command("bench")
    .description("Put load on a broker: connections, publishers, subscribers.")
    .argument("[SCENARIO]", `of the Open MQTT Benchmark Suite: ${presetNames.join(", ")}, or with other numbers`);
  addFlags(bench, "e2e").action((name: string | undefined, flags: BenchFlags) => runPreset(name, withLogin(flags)));
  for (const mode of Object.keys(descriptions) as Mode[]) {
    const command = new Command(mode).description(descriptions[mode]);
    bench.addCommand(
      addFlags(command, mode).action((given: BenchFlags) => {
        const flags = withLogin(given);
        return run(mode, planOf(mode, flags), flags);
      }),
    );
  }
  return bench.enablePositionalOptions().addHelpText(
    "after",
    `
Ends with 1 if a connection failed, a message was refused, or one was lost, came twice or out of order where its QoS forbids it.

conn, pub and sub take emqtt_bench's flags as they are; what makes no sense here is refused in words. They end after
${durationDefault} s where emqtt_bench goes on: -d 0.

Examples:
  mqttzoo bench e2e -c 10 -I 0 -q 1               as fast as it goes, ten publishers to ten subscribers
  mqttzoo bench pub -c 100 -t 'home/%i/temp' -I 10 -h broker.example.org
  mqttzoo bench sub -c 5 -t '$share/group/home/#' -q 1 -d 60
  mqttzoo bench conn -c 10000 -R 500 -d 30        10,000 connections, 500 a second
  mqttzoo bench pub -c 50 -t 'm/%c/%s' --template reading.json --html results.html   charts to be looked at
  mqttzoo bench fanout-1-1K-1-1K --json           a scenario of the Open MQTT Benchmark Suite
  mqttzoo bench e2e -c 1000 --rate 100000 --processes 4
  mqttzoo bench e2e --ws -p 8080 -c 10 -I 0       over WebSocket, at a broker's --ws-port
  mqttzoo bench e2e --sn -c 100 -q 1 -I 100       over MQTT-SN (UDP), at a broker's --sn-port`,
  );
}

/** The hidden subcommand of the processes that a load starts. */
export function benchWorkerCommand(): Command {
  return new Command(workerCommand).action(serveCrew);
}

/** The URL may say who we are, too. Throws `OperatingError` (EUSAGE). */
function withLogin(flags: BenchFlags): BenchFlags {
  if (flags.url === undefined) return flags;
  const { username, password, topic } = readBrokerUrl(flags.url);
  if (topic !== undefined) usage("a topic is given with -t, not in the URL");
  return { ...(username !== undefined && { username }), ...(password !== undefined && { pw: password }), ...flags };
}

function addFlags(command: Command, mode: Mode): Command {
  const publishes = mode === "pub" || mode === "e2e";
  const hasTopics = publishes || mode === "sub";
  addUrlOption(addPlaceOptions(command), { isShort: false })
    .option("-c, --count <N>", `clients (default: ${countDefault})`, wholeNumber(1, publishersMax))
    .option("-n, --startnumber <N>", "number of the first one", wholeNumber(0, publishersMax), 0)
    .option("-i, --interval <MS>", "between two connections (default: none)", wholeNumber(0, 3_600_000))
    .option("-R, --connrate <N>", "connections a second, instead", wholeNumber(1, 1_000_000));
  if (mode === "e2e") addParties(command);
  if (hasTopics) {
    command.option(
      "-t, --topic <TOPIC>",
      "%i: number of the client, %c: its id, %u: its user name, %rand_N: a number at random; in pub %s: of the message " +
        "(default: bench/%i)",
    );
    command.option("-q, --qos <QOS>", "quality of service: 0, 1 or 2", wholeNumber(0, 2), 0);
  }
  if (mode === "e2e") command.option("--filter <FILTER>", "what is subscribed to (default: the topic)");
  if (publishes) {
    command
      .option("-s, --size <BYTES>", "payload", wholeNumber(0, 268_435_000), 256)
      .option("-m, --message <TEXT>", "payload; then nothing is found out about loss, order and latency")
      .option("-r, --retain", "retained")
      .option(
        "-I, --interval-of-msg <MS>",
        "between two messages of one client; 0: as fast as it goes (default: 1000)",
        wholeNumber(0, 3_600_000),
      )
      .option("--rate <N>", "messages a second of all clients together, instead", wholeNumber(1, 1_000_000_000))
      .option("-L, --limit <N>", "messages of each client; then it ends (default: none)", wholeNumber(1, unlimited))
      .option(
        "-F, --inflight <N>",
        "messages of one client that are not acknowledged, at QoS 1 and 2",
        wholeNumber(1, 65_535),
        100,
      );
  }
  return addEmqttOptions(command, publishes)
    .option(
      "-d, --duration <SECONDS>",
      `how long; 0: until ^C (default: ${durationDefault})`,
      wholeNumber(0, 31_536_000),
    )
    .option("--processes <N>", "processes that share the clients, where one core is not enough", wholeNumber(1, 256), 1)
    .option(
      "--prefix <TEXT>",
      "client ids begin with it; %i in a user name is the number of the client (default: bench)",
    )
    .option("-k, --keepalive <SECONDS>", "keep alive", wholeNumber(0, 65_535), 300)
    .option("--no-clean", "go on with the sessions of these client ids")
    .option(
      "-x, --session-expiry <SECONDS>",
      "how long the broker keeps the sessions (MQTT 5)",
      wholeNumber(0, 0xffff_ffff),
      0,
    )
    .option(
      "-V, --protocol-version <VERSION>",
      "5, 311 or 31, also 4 and 3 (default: 5, and 311 where it is not spoken)",
      protocolVersion,
    )
    .option("-S, --ssl", "TLS, trusting whom the system trusts")
    .option("--sn", "speak MQTT-SN 1.2 over UDP, to a broker's --sn-port")
    .addOption(new Option("--json", "print one JSON object"))
    .option("--html <FILE>", "write the results to a page with charts");
}

function addParties(command: Command): void {
  command
    .option("--publishers <N>", "publishers, where there are not as many as subscribers", wholeNumber(1, publishersMax))
    .option("--subscribers <N>", "subscribers", wholeNumber(1, publishersMax));
}

/** Flags that are there since scripts for emqtt_bench have them. */
function addEmqttOptions(command: Command, publishes: boolean): Command {
  command
    .option("--ifaddr <ADDRESSES>", "addresses of this machine to connect from, with commas between, in turn")
    .option("--num-retry-connect <N>", "try a connection that fails so often again", wholeNumber(0, 1_000_000))
    .option("--shortids", "client ids are their numbers alone, behind --prefix if there is one");
  if (!publishes) return command;
  return command.option(
    "--template <FILE>",
    "payload, with %TIMESTAMP% (MS, US, NS), %UNIQUE% and %RANDOM% in it filled",
  );
}

async function runPreset(name: string | undefined, flags: BenchFlags): Promise<void> {
  if (name === undefined) usage(`name conn, pub, sub, e2e or a scenario: ${presetNames.join(", ")}`);
  const preset = readPreset(name!);
  if (preset === undefined)
    usage(`there is no scenario ${name}; there are ${presetNames.join(", ")}, and the like with other numbers`);
  await run(name!, planOfPreset(preset!, flags), preset!.isTls ? { ...flags, ssl: true } : flags);
}

function planOfPreset(preset: Preset, flags: BenchFlags): Plan {
  const { isTls: _, ...parties } = preset;
  const common = planOf("e2e", flags);
  return {
    ...common,
    ...parties,
    qos: presetQos,
    payloadBytes: presetPayloadBytes,
    payload: undefined,
    limit: unlimited,
  };
}

function planOf(mode: Mode, flags: BenchFlags): Plan {
  const { count = countDefault, topic = "bench/%i", username, connrate, interval = 0, limit = unlimited } = flags;
  const publishers = mode === "pub" ? count : mode === "e2e" ? (flags.publishers ?? count) : 0;
  const subscribers = mode === "sub" ? count : mode === "e2e" ? (flags.subscribers ?? count) : 0;
  const { intervalOfMsg = intervalDefault } = flags;
  const rate = flags.rate ?? (intervalOfMsg === 0 ? 0 : (publishers * 1000) / intervalOfMsg);
  const template = payloadTemplateOf(flags);
  const isText = flags.message !== undefined && template.template === undefined;
  const plan: Plan = {
    version: flags.protocolVersion ?? 5,
    publishers,
    subscribers,
    idle: mode === "conn" ? count : 0,
    firstNumber: flags.startnumber,
    prefix: flags.prefix ?? (flags.shortids === true ? "" : prefixDefault),
    ...(flags.shortids === true && { shortIds: true }),
    ...(flags.numRetryConnect !== undefined && { connectRetries: flags.numRetryConnect }),
    ...template,
    username,
    password: secretOf(flags.pw, flags.pwFile),
    topic,
    filter: flags.filter ?? topic,
    qos: flags.qos ?? 0,
    retain: flags.retain === true,
    payloadBytes: isText ? Buffer.byteLength(flags.message!) : (flags.size ?? 0),
    payload: isText ? flags.message : undefined,
    rate,
    limit,
    inflight: flags.inflight ?? 1,
    connectRate: connrate ?? (interval === 0 ? 0 : 1000 / interval),
    keepAlive: flags.keepalive,
    clean: flags.clean,
    sessionExpiry: flags.sessionExpiry,
  };
  if (publishers > 0) checkTopic(fill(plan, topic, "pub", 0));
  if (subscribers > 0) filterOf(fill(plan, plan.filter, "sub", 0));
  return plan;
}

/** A file by --template, or as emqtt_bench has it: `-m template://FILE`. Throws `OperatingError`. */
function payloadTemplateOf({ template, message }: BenchFlags): Pick<Plan, "template"> {
  const path = template ?? /^template:\/\/(.*)$/s.exec(message ?? "")?.[1];
  if (path === undefined) return {};
  return { template: Buffer.from(readBytes(path)).toString("latin1") };
}

async function run(name: string, plan: Plan, flags: BenchFlags): Promise<void> {
  const isSn = flags.sn === true;
  if (isSn) refuseWithSn({ ...flags, ...(flags.sessionExpiry > 0 && { sessionExpiryInterval: flags.sessionExpiry }) });
  const where = whereOf(flags, undefined, { isTlsAsked: flags.ssl === true });
  const { tls } = where;
  const found = await lookedUp(where, flags);
  const addresses = flags.ifaddr?.split(",");
  const places = addresses?.flatMap((localAddress) => found.map((place) => ({ ...place, localAddress }))) ?? found;
  const { authMethod } = flags;
  const version = isSn
    ? 4
    : (flags.protocolVersion ?? (await versionOf(plan, { ...places[0]!, ...(tls && { tls }) }, flags)));
  const task = (at: number): Task => ({
    plan: { ...plan, version, ...(isSn && { inflight: Math.min(plan.inflight, snRequestsMax) }) },
    share: { at, of: flags.processes },
    places,
    tls: tls ?? null,
    isSn,
    ...(authMethod && { authMethod }),
  });
  const crews: Crew[] =
    flags.processes === 1
      ? [new OwnCrew(task(0))]
      : Array.from({ length: flags.processes }, (_, at) => new OtherCrew(task(at)));
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => interrupted.abort());
  const load = new Load(name, plan, crews, { signal: interrupted.signal, isQuiet: flags.json === true });
  const report = await load.run(flags.duration ?? (plan.limit === unlimited ? durationDefault : 0));
  if (flags.html !== undefined) replaceText(flags.html, toHtml(report, new Date(systemClock.wall()).toISOString()));
  if (flags.json === true) sayJson(toJson(report));
  else for (const line of toLines(report)) say(line);
  const broken = brokenPromise(report);
  if (broken !== undefined) complain(broken);
  process.exit(broken === undefined ? 0 : 1);
}

/** The newest version that the broker speaks; a client that is not let in finds out why when the load begins. */
async function versionOf(plan: Plan, where: ConnectionOptions & Place, flags: BenchFlags): Promise<ProtocolVersion> {
  try {
    const options = { ...where, clientId: `${plan.prefix}_version` };
    const who = { username: fillUsername(plan, 0), password: plan.password };
    const connection = await connectAsItCan(withUser(options, flags, who));
    connection.disconnect();
    return connection.version;
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return plan.version;
  }
}
