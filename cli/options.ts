/**
 * The broker's options, each once: as a flag, as an environment variable `MQTTZOO_…`, as a key of the
 * configuration file. A flag beats a variable beats the file beats the default.
 */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { logLevels } from "../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../src/broker/options.ts";
import { parseFilter } from "../src/mqtt/topic.ts";
import { parseConnectString } from "../src/zookeeper/connect-string.ts";

interface OptionSpec {
  readonly key: keyof BrokerOptions;
  readonly value: string;
  readonly help: string;
  readonly parse: (text: string) => string | number;
  /** May be given several times; in a variable separated by spaces. */
  readonly isList?: true;
  /** How the default is shown, where that is not its plain text. */
  readonly shown?: string;
}

const specs: readonly OptionSpec[] = [
  { key: "host", value: "ADDRESS", help: "address to listen on", parse: parseText },
  { key: "port", value: "PORT", help: "TCP port to listen on; 0 chooses a free one", parse: integer(0, 65_535) },
  { key: "data", value: "DIR", help: "folder of the embedded store", parse: parseText },
  { key: "id", value: "NAME", help: "this broker's name", parse: parseText, shown: "the host name" },
  {
    key: "zk",
    value: "HOSTS",
    help: "join a cluster through these ZooKeeper servers: zk1:2181,zk2:2181,zk3:2181/chroot; without: alone",
    parse: parseServers,
    shown: "none; chroot /mqttzoo",
  },
  {
    key: "zkSessionTimeout",
    value: "SECONDS",
    help: "so long after a broker's death the others take its place",
    parse: integer(1, 600),
  },
  {
    key: "zkWait",
    value: "SECONDS",
    help: "how long to look for ZooKeeper at the start, before the broker ends with an error",
    parse: integer(1, 86_400),
  },
  { key: "linkHost", value: "ADDRESS", help: "address to listen on for the other brokers", parse: parseText },
  {
    key: "linkPort",
    value: "PORT",
    help: "TCP port for the other brokers; 0 chooses a free one",
    parse: integer(0, 65_535),
  },
  {
    key: "advertise",
    value: "HOST",
    help: "the name under which other brokers and clients reach this one",
    parse: parseText,
    shown: "the host name",
  },
  {
    key: "serverReference",
    value: "HOST:PORT",
    help: "where clients reach this broker when others send them here; none: they are told no address",
    parse: parseText,
    shown: "--advertise and --port",
  },
  {
    key: "drainTime",
    value: "SECONDS",
    help: "how long it takes at the end to send clients to other brokers; 0: they are just disconnected",
    parse: integer(0, 3600),
  },
  {
    key: "linkSecretFile",
    value: "FILE",
    help: "file with the secret that all brokers of the cluster share",
    parse: parseText,
    shown: "none",
  },
  {
    key: "httpHost",
    value: "ADDRESS",
    help: "address to listen on for probes and metrics",
    parse: parseText,
  },
  {
    key: "httpPort",
    value: "PORT",
    help: "TCP port for /livez, /readyz, /startupz and /metrics; 0: none",
    parse: integer(0, 65_535),
  },
  {
    key: "maxPacketSize",
    value: "BYTES",
    help: "largest packet taken from a client; 64k, 8M",
    parse: size(1024, 268_435_460),
    shown: "8M",
  },
  { key: "maxConnections", value: "N", help: "clients connected at once", parse: integer(1, 10_000_000) },
  {
    key: "maxInflight",
    value: "N",
    help: "unacknowledged QoS 1 and 2 messages per client, each way",
    parse: integer(1, 65_535),
  },
  { key: "maxQueued", value: "N", help: "messages that wait for one client", parse: integer(1, 10_000_000) },
  {
    key: "keepaliveMax",
    value: "SECONDS",
    help: "longest keep alive; MQTT 5 clients are told",
    parse: integer(1, 65_535),
  },
  {
    key: "sessionExpiryMax",
    value: "SECONDS",
    help: "longest life of a session without its client; 4294967295: for ever",
    parse: integer(0, 0xffff_ffff),
  },
  {
    key: "bankCapital",
    value: "CREDITS",
    help: "credits that a new bank begins with; 1 credit keeps 25 bytes",
    parse: integer(1, 1_000_000_000_000),
  },
  {
    key: "bankTtlMin",
    value: "SECONDS",
    help: "shortest time that a stored message is kept, if its publisher does not say",
    parse: duration(1, 31_536_000),
  },
  {
    key: "bankTtlMax",
    value: "SECONDS",
    help: "longest time that a stored message is kept, if its publisher does not say",
    parse: duration(1, 31_536_000),
  },
  {
    key: "bankTtl",
    value: "HOW",
    help: "random: between the two; max: always the longest",
    parse: oneOf(["random", "max"]),
  },
  {
    key: "bankWait",
    value: "SECONDS",
    help: "how long a publish that the bank cannot pay is held before MQTT 5",
    parse: integer(0, 3600),
  },
  {
    key: "mailDrop",
    value: "FILTER",
    help: "store what is published on these topics, for whoever subscribes later; may be given several times",
    parse: parseDrop,
    isList: true,
    shown: "none",
  },
  {
    key: "settleAfter",
    value: "MS",
    help: "a connected subscriber that has not acknowledged by then has the message stored",
    parse: integer(1, 60_000),
  },
  {
    key: "logLevel",
    value: "LEVEL",
    help: `least level that is logged: ${logLevels.join(", ")}`,
    parse: oneOf(logLevels),
  },
  { key: "logFormat", value: "FORMAT", help: "text for people, json for programs", parse: oneOf(["text", "json"]) },
];

export type Source = "flag" | "environment" | "file" | "default";

export interface ResolvedOption {
  readonly name: string;
  readonly value: string | number | readonly string[];
  readonly source: Source;
}

export function addBrokerOptions(command: Command): Command {
  for (const spec of specs) {
    const help = `${spec.help} (default: ${spec.shown ?? defaultOptions[spec.key]}; env: ${variableOf(spec.key)})`;
    const option = new Option(`--${nameOf(spec.key)} <${spec.value}>`, help);
    if (spec.isList) option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
    command.addOption(option);
  }
  return command.addOption(
    new Option("--config <FILE>", "YAML file with any of these options, by their long names (env: MQTTZOO_CONFIG)"),
  );
}

/** Brings flags, variables and file together. Throws `OperatingError` that names the source of a bad value. */
export function resolveOptions(
  flags: Record<string, unknown>,
  env: Record<string, string | undefined>,
): ResolvedOption[] {
  const path = (flags.config as string | undefined) ?? env.MQTTZOO_CONFIG;
  const file = path === undefined ? {} : readConfigFile(path);
  return specs.map((spec) => {
    const name = nameOf(spec.key);
    const candidates: readonly [Source, unknown, string][] = [
      ["flag", flags[spec.key], `--${name}`],
      ["environment", env[variableOf(spec.key)], variableOf(spec.key)],
      ["file", file[name], `${name} in ${path}`],
    ];
    const found = candidates.find(([, value]) => value !== undefined);
    if (found === undefined) return { name, value: defaultOptions[spec.key], source: "default" };
    const [source, value, place] = found;
    const parseOne = (text: string): string | number => parseValue(spec, text, place);
    if (!spec.isList) return { name, value: parseOne(String(value)), source };
    const texts: readonly unknown[] = Array.isArray(value) ? value : String(value).split(/\s+/).filter(Boolean);
    return { name, value: texts.map((text) => String(parseOne(String(text)))), source };
  });
}

export function toBrokerOptions(resolved: readonly ResolvedOption[]): BrokerOptions {
  return Object.fromEntries(specs.map((spec, index) => [spec.key, resolved[index]!.value])) as unknown as BrokerOptions;
}

/** The secret that brokers prove to each other; undefined if no file is named. Throws `OperatingError`. */
export function readLinkSecret(path: string): string | undefined {
  if (path === "") return undefined;
  try {
    const secret = readFileSync(path, "utf8").trim();
    if (secret !== "") return secret;
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot read the link secret ${path}: ${messageOf(error)}`);
  }
  throw new OperatingError("EUSAGE", `the link secret ${path} is empty`);
}

function readConfigFile(path: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = Bun.YAML.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot read the configuration ${path}: ${messageOf(error)}`);
  }
  if (parsed === null || parsed === undefined) return {};
  if (typeof parsed !== "object" || Array.isArray(parsed)) {
    throw new OperatingError("EUSAGE", `the configuration ${path} must be lines of "option: value"`);
  }
  const known = new Set(specs.map((spec) => nameOf(spec.key)));
  for (const key of Object.keys(parsed)) {
    if (!known.has(key))
      throw new OperatingError("EUSAGE", `unknown option ${key} in ${path}; known are ${[...known].join(", ")}`);
  }
  return parsed as Record<string, unknown>;
}

function parseValue(spec: OptionSpec, text: string, place: string): string | number {
  try {
    return spec.parse(text);
  } catch (error) {
    throw new OperatingError("EUSAGE", `${place}: ${messageOf(error)}`);
  }
}

function nameOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function variableOf(key: string): string {
  return `MQTTZOO_${nameOf(key).replaceAll("-", "_").toUpperCase()}`;
}

function parseText(text: string): string {
  if (text === "") throw new Error("must not be empty");
  return text;
}

function parseDrop(text: string): string {
  const filter = parseFilter(text);
  if (filter === undefined || filter.group !== undefined || text.startsWith("$"))
    throw new Error(`${JSON.stringify(text)} is no topic filter of a mail drop`);
  return text;
}

function parseServers(text: string): string {
  parseConnectString(text);
  return text;
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is not a whole number from ${min} to ${max}`);
    return value;
  };
}

/** Whole seconds, or with a unit: 30, 30s, 10m, 24h, 7d. */
function duration(min: number, max: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([smhd]?)$/.exec(text);
    const unit = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 }[(match?.[2] ?? "") as "" | "s" | "m" | "h" | "d"];
    const value = match === null ? Number.NaN : Number(match[1]) * unit;
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is no time from ${min} to ${max} seconds; write 30, 30s, 10m or 24h`);
    return value;
  };
}

function size(min: number, max: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+)([kM]?)i?B?$/.exec(text);
    const value =
      match === null ? Number.NaN : Number(match[1]) * { "": 1, k: 1024, M: 1024 * 1024 }[match[2] as "" | "k" | "M"];
    if (!(value >= min && value <= max))
      throw new Error(`${JSON.stringify(text)} is not a size from ${min} to ${max} bytes; write 65536, 64k or 8M`);
    return value;
  };
}

function oneOf(values: readonly string[]): (text: string) => string {
  return (text) => {
    if (!values.includes(text)) throw new Error(`${JSON.stringify(text)} is none of ${values.join(", ")}`);
    return text;
  };
}
