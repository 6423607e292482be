/** The flags that `pub` and `sub` share, as mosquitto's clients have them; what we cannot do is refused in words. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { checkText } from "../../src/client/checks.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import type { Place } from "../../src/client/dial.ts";
import { type ProtocolVersion, type QoS, sessionNeverExpires } from "../../src/mqtt/constants.ts";
import { type Filter, isTopicName, parseFilter } from "../../src/mqtt/topic.ts";
import {
  isThere,
  type KeeperFiles,
  listTexts,
  readBytes,
  readSecret,
  readText,
} from "../../src/server/operator-files.ts";
import { findBrokers } from "../cluster/find-brokers.ts";
import { complain } from "../output/print.ts";
import { type GivenProperties, readProperties } from "./property-flags.ts";
import { bytesOf, textOf } from "./raw-words.ts";
import { refuseWithSn } from "./sn-client-flags.ts";

export interface ConnectionFlags extends KeeperFiles, PlaceFlags {
  readonly sn?: boolean;
  readonly zk?: string;
  readonly unix?: string;
  readonly bind?: string;
  readonly proxy?: Place["proxy"];
  readonly url?: string;
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

/** The flags of `addPlaceOptions`. */
export interface PlaceFlags {
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly pw?: string;
  readonly pwFile?: string;

  readonly cafile?: string;
  readonly capath?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly ciphers?: string;
  readonly tlsVersion?: string;
  readonly tlsAlpn?: string;
  readonly tlsUseOsCerts?: boolean;
  readonly insecure?: boolean;
  /** False: `--no-tls`. */
  readonly tls?: boolean;
}

/** The port on which TLS is spoken, whether anything is said of it or not. */
const tlsPort = 8883;

/** As mosquitto_sub ends when `-W` has run out. */
export const timeoutExitCode = 27;

/** Flags of mosquitto's clients that are not here, and what to do instead. */
const missing: Record<string, string> = {
  "--psk <KEY>": "TLS with a shared key is not to be had here; give --cafile",
  "--psk-identity <NAME>": "TLS with a shared key is not to be had here; give --cafile",
  "--tls-engine <ENGINE>": "keys are read from files; give --key",
  "--tls-engine-kpass-sha1 <HASH>": "keys are read from files; give --key",
};

/** Where a broker is, who we are, TLS: what all who connect need. */
export function addPlaceOptions(command: Command): Command {
  return command
    .helpOption("--help", "print this help")
    .option(
      "-h, --host <HOST>",
      "broker to connect to; several, separated by commas, are tried in turn (default: localhost)",
    )
    .option("-p, --port <PORT>", "its port (default: 1883, or 8883 with TLS); 8883 means TLS", wholeNumber(1, 65_535))
    .option("-u, --username <NAME>", "user name")
    .option("-P, --pw <PASSWORD>", "password; others can see it in the list of processes, so rather:")
    .option("--pw-file <FILE>", "file with the password (also env: MQTTZOO_PASSWORD)")
    .option("--cafile <FILE>", "TLS: who has signed the broker's certificate, PEM")
    .option("--capath <DIR>", "TLS: folder with such files")
    .option("--tls-use-os-certs", "TLS: trust whom the system trusts")
    .option("--cert <FILE>", "TLS: certificate to show, PEM")
    .option("--key <FILE>", "TLS: its private key, PEM")
    .option("--insecure", "TLS: whatever name the certificate bears; without --cafile, whatever certificate")
    .option("--ciphers <LIST>", "TLS: ciphers to offer")
    .option("--tls-version <VERSION>", "TLS: tlsv1.2 or tlsv1.3", tlsVersion)
    .option("--tls-alpn <PROTOCOL>", "TLS: protocol to ask for (ALPN)")
    .option("--no-tls", "plain text, also on port 8883");
}

export function addConnectionOptions(command: Command): Command {
  addPlaceOptions(command)
    .option("--zk <HOSTS>", "find the brokers of a cluster through ZooKeeper; the first that answers is taken")
    .option("--zk-auth-file <FILE>", "... file with user:password for ZooKeeper")
    .option("--zk-tls-ca <FILE>", "... who signs ZooKeeper's certificates: TLS")
    .option("--zk-tls-cert <FILE>", "... certificate to show to ZooKeeper")
    .option("--zk-tls-key <FILE>", "... its private key")
    .option("--sn", "speak MQTT-SN 1.2 over UDP, to a broker's --sn-port")
    .option("-A, --bind <ADDRESS>", "address of this machine that connections come from")
    .option("--proxy <URL>", "SOCKS 5: socks5h://[user[:password]@]host[:port]", proxy)
    .option("--unix <PATH>", "Unix socket of the broker, instead of host and port")
    .option("-L, --url <URL>", "all at once: mqtt(s)://[user[:password]@]host[:port]/topic")
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
  const url = flags.url === undefined ? undefined : readUrl(flags.url);
  if (url?.isTls === true && flags.tls === false) usage("--no-tls does not go with mqtts://");
  const tls = tlsOf(flags, url?.isTls === true || url?.port === tlsPort);
  const properties = readProperties(flags.property ?? []);
  // -D is of MQTT 5 alone.
  const version = flags.protocolVersion ?? (flags.property === undefined ? undefined : 5);
  if (version !== undefined && version !== 5 && flags.property !== undefined) usage("-D needs MQTT 5: leave -V away");
  if (flags.id !== undefined && flags.idPrefix !== undefined) usage("-i and -I do not go together");
  const id = flags.idPrefix === undefined ? flags.id : `${flags.idPrefix}${process.pid}`;
  if (flags.disableCleanSession === true && id === undefined) usage("-c needs a client id: give -i");
  const username = flags.username ?? url?.username;
  const password = secretOf(flags.pw ?? url?.password, flags.pwFile);
  if (password !== undefined && username === undefined && version !== undefined && version !== 5)
    usage("a password needs a user name: give -u");
  const port = flags.port ?? url?.port ?? defaultPort(tls);
  const expiry = flags.sessionExpiryInterval ?? (flags.disableCleanSession === true ? sessionNeverExpires : undefined);
  const options = {
    ...(version === undefined ? {} : { version }),
    // Before MQTT 5 no broker has to make up a client id; 3.1 has ids of up to 23 characters.
    clientId: id ?? `mqttzoo-${systemRandom.hex(6)}`,
    clean: flags.disableCleanSession !== true,
    keepAlive: flags.keepalive,
    ...(tls === undefined ? {} : { tls }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(expiry === undefined ? {} : { sessionExpiryInterval: expiry }),
    ...(properties.connect === undefined ? {} : { properties: properties.connect }),
    ...willOf(flags, properties),
  };
  const { zk } = flags;
  if (zk !== undefined && (flags.host ?? flags.unix ?? url) !== undefined)
    usage("--zk does not go with -h, -L or --unix");
  const fixed =
    flags.unix === undefined
      ? placesOf({ host: flags.host ?? url?.host, port })
      : [{ host: "", port: 0, socket: flags.unix }];
  if (password !== undefined && tls === undefined && flags.quiet !== true) warnOfPlainText(fixed);
  const way = { ...(flags.bind && { localAddress: flags.bind }), ...(flags.proxy && { proxy: flags.proxy }) };
  const places = async (): Promise<readonly Place[]> => {
    const found = zk === undefined ? fixed : await findBrokers(zk, flags);
    return found.map((place) => ({ ...place, ...way }));
  };
  return { places, options, properties, isSn: flags.sn === true, topic: url?.topic };
}

/** A password: as given, from a file, from the environment. Throws `OperatingError`. */
export function secretOf(given: string | undefined, file: string | undefined): string | undefined {
  return given ?? readSecret(file ?? "") ?? process.env.MQTTZOO_PASSWORD;
}

/** Throws the `OperatingError` (EUSAGE) for flags that cannot be meant. */
export function usage(why: string): never {
  throw new OperatingError("EUSAGE", why);
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

/** Hosts with commas between, each maybe with a port of its own. */
export function placesOf({ host: hosts = "localhost", port }: { host?: string | undefined; port: number }): Place[] {
  return hosts.split(",").map((place) => {
    const [, host, own] = /^(.*?)(?::(\d+))?$/.exec(place)!;
    // More colons: an IPv6 address.
    return place.split(":").length > 2 || own === undefined
      ? { host: place, port }
      : { host: host!, port: Number(own) };
  });
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

function readUrl(text: string) {
  const match = /^(mqtts?):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(\[[^\]]*\]|[^:/]+)(?::(\d+))?\/(.*)$/.exec(text);
  if (match === null) return usage(`${JSON.stringify(text)} is not mqtt(s)://[user[:password]@]host[:port]/topic`);
  const [, scheme, username, password, host, port, topic] = match;
  return {
    isTls: scheme === "mqtts",
    username: username && decodeURIComponent(username),
    password: password && decodeURIComponent(password),
    host: host!.replace(/^\[(.*)\]$/, "$1"),
    port: port === undefined ? undefined : Number(port),
    topic: topic!,
  };
}

export function defaultPort(tls: ConnectionOptions["tls"]): number {
  return tls === undefined ? 1883 : tlsPort;
}

/** Says once that a password can be read on the way, unless it does not leave this machine. */
function warnOfPlainText(places: readonly Place[]): void {
  const far = places.find(({ host }) => host !== "" && !/^(localhost|127\..*|::1)$/.test(host));
  if (far !== undefined)
    complain(
      `the password goes to ${far.host} in plain text, for anybody to read on the way; TLS: --cafile or -p 8883`,
    );
}

/**
 * The options of TLS, which is spoken where anything is said of it, and on its own port, as mosquitto's clients have
 * it. Throws `OperatingError` (EUSAGE).
 */
export function tlsOf(flags: PlaceFlags, isAsked: boolean): ConnectionOptions["tls"] {
  const { cafile, capath, cert, key, insecure, tlsUseOsCerts, ciphers, tlsVersion, tlsAlpn, port, host = "" } = flags;
  const isPlain = flags.tls === false;
  if ((cert === undefined) !== (key === undefined)) usage("--cert and --key go together");
  const authorities = [
    ...(cafile === undefined ? [] : [readText(cafile)]),
    ...(capath === undefined ? [] : listTexts(capath)),
  ];
  const says = authorities.length > 0 || cert !== undefined || insecure === true || tlsUseOsCerts === true;
  if (isPlain && says) usage("--no-tls does not go with what is said of TLS");
  const isItsPort = port === tlsPort || (port === undefined && /^([^,]+:8883(,|$))+$/.test(host));
  if (isPlain || (!says && !isAsked && !isItsPort)) return undefined;
  return {
    ...(authorities.length === 0 || tlsUseOsCerts === true ? {} : { ca: authorities.join("\n") }),
    ...(cert === undefined ? {} : { cert: readText(cert), key: readText(key!) }),
    ...(insecure === true ? { isInsecure: true } : {}),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(tlsVersion === undefined ? {} : { version: tlsVersion as "1.2" | "1.3" }),
    ...(tlsAlpn === undefined ? {} : { protocol: tlsAlpn }),
  };
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

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
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

function tlsVersion(text: string): string {
  const version = { "tlsv1.2": "1.2", "tlsv1.3": "1.3" }[text];
  if (version === undefined) throw new InvalidArgumentError("It must be tlsv1.2 or tlsv1.3.");
  return version;
}

/** Reads a version as mosquitto's clients name it. Throws commander's error. */
export function protocolVersion(text: string): ProtocolVersion {
  const version = { "5": 5, mqttv5: 5, "311": 4, mqttv311: 4, "4": 4, "31": 3, mqttv31: 3, "3": 3 }[text];
  if (version === undefined) throw new InvalidArgumentError("It must be 5, 311 or 31.");
  return version as ProtocolVersion;
}
