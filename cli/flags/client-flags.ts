/** The flags that `pub` and `sub` share, as mosquitto's clients have them; what we cannot do is refused in words. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { checkText } from "../../src/client/checks.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import type { Place } from "../../src/client/dial.ts";
import { type ProtocolVersion, type QoS, sessionNeverExpires } from "../../src/mqtt/constants.ts";
import { type Filter, isTopicName, parseFilter } from "../../src/mqtt/topic.ts";
import { isThere, type KeeperFiles, readBytes } from "../../src/server/operator-files.ts";
import { findBrokers } from "../cluster/find-brokers.ts";
import { withUser } from "./auth-flags.ts";
import { readBrokerUrl } from "./broker-url.ts";
import { usage, wholeNumber } from "./parsers.ts";
import {
  addPlaceOptions,
  addUrlOption,
  lookedUp,
  type PlaceFlags,
  secretOf,
  warnOfPlainText,
  whereOf,
} from "./place-flags.ts";
import { type GivenProperties, readProperties } from "./property-flags.ts";
import { bytesOf, textOf } from "./raw-words.ts";
import { refuseWithSn } from "./sn-client-flags.ts";

export interface ConnectionFlags extends KeeperFiles, PlaceFlags {
  readonly sn?: boolean;
  readonly zk?: string;
  readonly unix?: string;
  readonly bind?: string;
  readonly proxy?: Place["proxy"];
  readonly qos: QoS;
  readonly id?: string;
  readonly idPrefix?: string;
  readonly keepalive: number;
  readonly disableCleanSession?: boolean;
  readonly sessionExpiryInterval?: number;
  readonly protocolVersion?: ProtocolVersion;
  readonly property?: readonly string[];
  readonly debug?: boolean;
  readonly quiet?: boolean;
  readonly willTopic?: string;
  readonly willPayload?: string;
  readonly willQos: QoS;
  readonly willRetain?: boolean;
}

/** As mosquitto_sub ends when `-W` has run out. */
export const timeoutExitCode = 27;

/** Flags of mosquitto's clients that are not here, and what to do instead. */
const missing: Record<string, string> = {
  "--psk <KEY>": "TLS with a shared key is not to be had here; give --cafile",
  "--psk-identity <NAME>": "TLS with a shared key is not to be had here; give --cafile",
  "--tls-engine <ENGINE>": "keys are read from files; give --key",
  "--tls-engine-kpass-sha1 <HASH>": "keys are read from files; give --key",
};

export function addConnectionOptions(command: Command): Command {
  addUrlOption(addPlaceOptions(command), { isShort: true })
    .option("--zk <HOSTS>", "find the brokers of a cluster through ZooKeeper; the first that answers is taken")
    .option("--zk-auth-file <FILE>", "... file with user:password for ZooKeeper")
    .option("--zk-tls-ca <FILE>", "... who signs ZooKeeper's certificates: TLS")
    .option("--zk-tls-cert <FILE>", "... certificate to show to ZooKeeper")
    .option("--zk-tls-key <FILE>", "... its private key")
    .option("--sn", "speak MQTT-SN 1.2 over UDP, to a broker's --sn-port")
    .option("-A, --bind <ADDRESS>", "address of this machine that connections come from")
    .option("--proxy <URL>", "SOCKS 5: socks5h://[user[:password]@]host[:port]", proxy)
    .option("--unix <PATH>", "Unix socket of the broker, instead of host and port")
    .option("-q, --qos <QOS>", "quality of service: 0, 1 or 2", wholeNumber(0, 2), 0)
    .option("-i, --id <ID>", "client id (default: made up)")
    .option("-I, --id-prefix <PREFIX>", "client id is this and the process id")
    .option(
      "-k, --keepalive <SECONDS>",
      "how often the connection is tried when nothing is sent",
      wholeNumber(0, 65_535),
      60,
    )
    .option("-c, --disable-clean-session", "go on with the session of this client id, and leave it at the broker")
    .option("-x, --session-expiry-interval <SECONDS>", "how long the broker keeps the session; -1: for ever", expiry)
    .option(
      "-V, --protocol-version <VERSION>",
      "5, 311 or 31, also as mqttv5, mqttv311, mqttv31 (default: 5, and 311 where it is not spoken)",
      protocolVersion,
    )
    .option("-D, --property <WORDS...>", "property of a packet: -D publish content-type text/plain")
    .option("--will-topic <TOPIC>", "topic of the message that the broker publishes when we vanish")
    .option("--will-payload <TEXT>", "... what it says")
    .option("--will-qos <QOS>", "... its quality of service", wholeNumber(0, 2), 0)
    .option("--will-retain", "... have the broker keep it")
    .option("-d, --debug", "say on stderr what happens")
    .option("--quiet", "do not say what goes wrong");
  command.addOption(new Option("--nodelay", "taken for mosquitto's sake: output never waits").hideHelp());
  command.addOption(new Option("--keyform <FORM>", "pem").choices(["pem"]).hideHelp());
  for (const [flags, why] of Object.entries(missing)) {
    const refuse = (): never => {
      throw new InvalidArgumentError(`It is not supported: ${why}.`);
    };
    command.addOption(new Option(flags, why).argParser(refuse).hideHelp());
  }
  return command;
}

/** Gives `-q` of a command that has it another default; undefined: none. */
export function defaultQos(command: Command, qos: QoS | undefined, help?: string): Command {
  const option = command.options.find(({ long }) => long === "--qos")!;
  option.default(qos);
  option.description = help ?? option.description;
  return command.setOptionValueWithSource("qos", qos, "default");
}

export interface Connection {
  /** Where to try, in this order; asked again when a connection is lost. Rejects with `OperatingError`. */
  readonly places: () => Promise<readonly Place[]>;
  readonly options: ConnectionOptions;
  readonly properties: GivenProperties;
  /** True: over MQTT-SN. */
  readonly isSn: boolean;
  /** The topic of `-L`. */
  readonly topic: string | undefined;
}

/** Throws `OperatingError` for what does not go together, and for a file that cannot be read. */
export function readConnection(flags: ConnectionFlags): Connection {
  if (flags.sn === true) refuseWithSn(flags);
  const url = flags.url === undefined ? undefined : readBrokerUrl(flags.url);
  const where = whereOf(flags, url);
  const { tls, places: fixed } = where;
  const properties = readProperties(flags.property ?? []);
  // -D is of MQTT 5 alone.
  const version = flags.protocolVersion ?? (flags.property === undefined ? undefined : 5);
  if (version !== undefined && version !== 5 && flags.property !== undefined) usage("-D needs MQTT 5: leave -V away");
  if (flags.id !== undefined && flags.idPrefix !== undefined) usage("-i and -I do not go together");
  const id = flags.idPrefix === undefined ? flags.id : `${flags.idPrefix}${process.pid}`;
  if (flags.disableCleanSession === true && id === undefined) usage("-c needs a client id: give -i");
  const username = flags.username ?? url?.username;
  const password = secretOf(flags.pw ?? url?.password, flags.pwFile);
  if (flags.authMethod !== undefined && version !== undefined && version !== 5)
    usage("--auth-method needs MQTT 5: leave -V away");
  if (password !== undefined && username === undefined && version !== undefined && version !== 5)
    usage("a password needs a user name: give -u");
  const expiry = flags.sessionExpiryInterval ?? (flags.disableCleanSession === true ? sessionNeverExpires : undefined);
  const plain = {
    ...(version === undefined ? {} : { version }),
    // Before MQTT 5 no broker has to make up a client id; 3.1 has ids of up to 23 characters.
    clientId: id ?? `mqttzoo-${systemRandom.hex(6)}`,
    clean: flags.disableCleanSession !== true,
    keepAlive: flags.keepalive,
    ...(tls === undefined ? {} : { tls }),
    ...(expiry === undefined ? {} : { sessionExpiryInterval: expiry }),
    ...(properties.connect === undefined ? {} : { properties: properties.connect }),
    ...willOf(flags, properties),
  };
  const options = withUser(plain, flags, { username, password });
  const { zk } = flags;
  if (zk !== undefined && (flags.host ?? flags.unix ?? url) !== undefined)
    usage("--zk does not go with -h, -L or --unix");
  if (zk !== undefined && fixed.some(({ webSocket }) => webSocket !== undefined))
    usage("--zk does not go with --ws: ZooKeeper knows where brokers take MQTT over TCP");
  if (password !== undefined && flags.authMethod === undefined && tls === undefined && flags.quiet !== true)
    warnOfPlainText(fixed);
  const way = { ...(flags.bind && { localAddress: flags.bind }), ...(flags.proxy && { proxy: flags.proxy }) };
  const places = async (): Promise<readonly Place[]> => {
    const found = zk === undefined ? await lookedUp(where, flags) : await findBrokers(zk, flags);
    return found.map((place) => ({ ...place, ...way }));
  };
  return { places, options, properties, isSn: flags.sn === true, topic: url?.topic };
}

/** Runs a check of the library's. Throws `OperatingError` (EUSAGE) where that throws a `TypeError`. */
function orUsage(check: () => void): void {
  try {
    check();
  } catch (error) {
    usage(messageOf(error));
  }
}

/** Throws `OperatingError`. */
export function checkTopic(topic: string): void {
  orUsage(() => checkText("the topic", topic));
  if (!isTopicName(topic)) usage(`${JSON.stringify(topic)} is not a topic: it must not be empty nor hold + or #`);
}

/** Throws `OperatingError`. */
export function filterOf(text: string): Filter {
  orUsage(() => checkText("the topic filter", text));
  const filter = parseFilter(text);
  return (
    filter ?? usage(`${JSON.stringify(text)} is not a topic filter: + stands for a whole level, # for the last ones`)
  );
}

function willOf({ willTopic: topic, willPayload, willQos: qos, willRetain }: ConnectionFlags, given: GivenProperties) {
  if (topic === undefined) {
    if (willPayload !== undefined || willRetain === true || given.will !== undefined)
      usage("a will needs --will-topic");
    return {};
  }
  checkTopic(topic);
  const properties = given.will === undefined ? {} : { properties: given.will };
  return { will: { topic, payload: bytesOf(willPayload ?? ""), qos, retain: willRetain === true, ...properties } };
}

/** Reads the user's own file of flags, to go before the command line: a line is a flag and what belongs to it. */
export function ownArguments(command: string, env: Record<string, string | undefined>): string[] {
  const folder = env.XDG_CONFIG_HOME ?? (env.HOME === undefined ? undefined : `${env.HOME}/.config`);
  const path = `${folder}/mqttzoo_${command}`;
  if (folder === undefined || !isThere(path)) return [];
  return textOf(readBytes(path))
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .flatMap((line) => {
      const [, flag, rest] = /^(\S+)\s*(.*)$/.exec(line)!;
      return rest === "" ? [flag!] : [flag!, ...(/^(-D|--property)$/.test(flag!) ? rest!.split(/\s+/) : [rest!])];
    });
}

function expiry(text: string): number {
  return text === "-1" || text === "∞" ? sessionNeverExpires : wholeNumber(0, sessionNeverExpires)(text);
}

function proxy(text: string): Place["proxy"] {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!/^socks5h?:$/.test(url?.protocol ?? "") || url!.hostname === "")
    throw new InvalidArgumentError("It must be socks5h://[user[:password]@]host[:port].");
  const [username, password] = [url!.username, url!.password].map((part) => decodeURIComponent(part) || undefined);
  const host = url!.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(url!.port || 1080), username, password };
}

/** Reads a version as mosquitto's clients name it. Throws commander's error. */
export function protocolVersion(text: string): ProtocolVersion {
  const version = { "5": 5, mqttv5: 5, "311": 4, mqttv311: 4, "4": 4, "31": 3, mqttv31: 3, "3": 3 }[text];
  if (version === undefined) throw new InvalidArgumentError("It must be 5, 311 or 31.");
  return version as ProtocolVersion;
}
