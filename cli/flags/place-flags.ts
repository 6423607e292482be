/** The flags that say where a broker is and who we are, for all tools that connect: `pub`, `sub`, `bench`, `doctor`. */
import { type Command, InvalidArgumentError } from "commander";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import type { Place } from "../../src/client/dial.ts";
import { listTexts, readSecret, readText } from "../../src/server/operator-files.ts";
import { placesBySrv } from "../cluster/srv.ts";
import { complain } from "../output/print.ts";
import { type AuthFlags, addAuthOptions } from "./auth-flags.ts";
import { type BrokerUrl, readBrokerUrl, urlForms } from "./broker-url.ts";
import { usage, wholeNumber } from "./parsers.ts";
import { profileOption } from "./profiles.ts";
import { addWebSocketOptions, type WebSocketFlags, webSocketOf } from "./web-socket-flags.ts";

/** The flags of `addPlaceOptions`. */
export interface PlaceFlags extends WebSocketFlags, AuthFlags {
  readonly url?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly pw?: string;
  readonly pwFile?: string;

  readonly cafile?: string;
  readonly capath?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly keyPassphraseFile?: string;
  readonly ciphers?: string;
  readonly tlsVersion?: string;
  readonly tlsAlpn?: string;
  readonly tlsUseOsCerts?: boolean;
  readonly insecure?: boolean;
  /** False: `--no-tls`. */
  readonly tls?: boolean;
  readonly srv?: boolean;
  readonly dns?: string;
}

/** The port on which TLS is spoken, whether anything is said of it or not. */
const tlsPort = 8883;
const webSocketPorts = { plain: 80, tls: 443 } as const;

/** Where a broker is, who we are, TLS: what all who connect need. */
export function addPlaceOptions(command: Command): Command {
  command
    .helpOption("--help", "print this help")
    .option(
      "-h, --host <HOST>",
      "broker to connect to; several, separated by commas, are tried in turn (default: localhost)",
    )
    .option(
      "-p, --port <PORT>",
      "its port (default: 1883, or 8883 with TLS; with --ws 80 and 443); 8883 means TLS",
      wholeNumber(1, 65_535),
    )
    .option("-u, --username <NAME>", "user name")
    .option("-P, --pw <PASSWORD>", "password; others can see it in the list of processes, so rather:")
    .option("--pw-file <FILE>", "file with the password (also env: MQTTZOO_PASSWORD)")
    .option("--cafile <FILE>", "TLS: who has signed the broker's certificate, PEM")
    .option("--capath <DIR>", "TLS: folder with such files")
    .option("--tls-use-os-certs", "TLS: trust whom the system trusts")
    .option("--cert <FILE>", "TLS: certificate to show, PEM")
    .option("--key <FILE>", "TLS: its private key, PEM")
    .option("--key-passphrase-file <FILE>", "TLS: file with the passphrase of an encrypted --key")
    .option("--insecure", "TLS: whatever name the certificate bears; without --cafile, whatever certificate")
    .option("--ciphers <LIST>", "TLS: ciphers to offer")
    .option("--tls-version <VERSION>", "TLS: tlsv1.2 or tlsv1.3", tlsVersion)
    .option("--tls-alpn <PROTOCOL>", "TLS: protocol to ask for (ALPN)")
    .option("--no-tls", "plain text, also on port 8883");
  return addAuthOptions(addWebSocketOptions(command)).addOption(profileOption());
}

/** All that says where a broker is in one; where -L means it, that is another name of it. */
export function addUrlOption(command: Command, { isShort }: { readonly isShort: boolean }): Command {
  return command
    .option(`${isShort ? "-L, " : ""}--url <URL>`, `all at once: ${urlForms}`)
    .option(`${isShort ? "-S, " : ""}--srv`, "-h is a domain: the DNS says where its brokers are (SRV records)")
    .option("--dns <ADDRESS>", "... DNS server to ask (default: the system's), such as 127.0.0.1:8600", dnsServer);
}

/** Where to connect, in the order in which it is tried. */
export interface Where {
  readonly tls: ConnectionOptions["tls"];
  readonly places: readonly Place[];
}

/**
 * Reads what flags and a URL say of where a broker is; flags go before the URL. `isTlsAsked`: TLS is spoken though
 * neither says so. Throws `OperatingError` (EUSAGE).
 */
export function whereOf(
  flags: PlaceFlags & { readonly unix?: string },
  url: BrokerUrl = flags.url === undefined ? { isTls: false } : readBrokerUrl(flags.url),
  { isTlsAsked = false }: { readonly isTlsAsked?: boolean } = {},
): Where {
  if (url.isTls && flags.tls === false) usage("--no-tls does not go with a URL that says TLS, such as mqtts://");
  const webSocket = webSocketOf(flags, url);
  const said = flags.port ?? url.port;
  const isItsPort = url.port === tlsPort || (webSocket !== undefined && said === webSocketPorts.tls);
  const tls = tlsOf(flags, isTlsAsked || url.isTls || isItsPort);
  const socket = flags.unix ?? (flags.host === undefined ? url.socket : undefined);
  const port =
    said ?? (webSocket === undefined ? defaultPort(tls) : webSocketPorts[tls === undefined ? "plain" : "tls"]);
  const places =
    socket === undefined ? placesOf({ host: flags.host ?? url.host, port }) : [{ host: "", port: 0, socket }];
  const all = places.map((place) => ({ ...place, ...(webSocket && { webSocket }) }));
  checkSrv(flags, url, all);
  return { tls, places: all };
}

/** A password: as given, from a file, from the environment. Throws `OperatingError`. */
export function secretOf(given: string | undefined, file: string | undefined): string | undefined {
  return given ?? readSecret(file ?? "") ?? process.env.MQTTZOO_PASSWORD;
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

export function defaultPort(tls: ConnectionOptions["tls"]): number {
  return tls === undefined ? 1883 : tlsPort;
}

/**
 * Returns the places to try now: the brokers that the DNS names where --srv says so, or those that are given. Rejects
 * with `OperatingError`.
 */
export async function lookedUp({ tls, places }: Where, { srv, dns }: PlaceFlags): Promise<readonly Place[]> {
  return srv === true ? placesBySrv(places, { isTls: tls !== undefined, dns }) : places;
}

/** Refuses what does not go with --srv. Throws `OperatingError` (EUSAGE). */
function checkSrv(flags: PlaceFlags, url: BrokerUrl, places: readonly Place[]): void {
  if (flags.srv !== true) return flags.dns === undefined ? undefined : usage("--dns belongs to --srv");
  if ((flags.host ?? url.host) === undefined) usage("--srv needs a domain: give it with -h");
  if (flags.port !== undefined || url.port !== undefined) usage("--srv does not go with a port: the DNS says it");
  if (places.some(({ webSocket, socket }) => (webSocket ?? socket) !== undefined))
    usage("--srv does not go with --ws or --unix: the DNS names brokers for MQTT over TCP");
}

function dnsServer(text: string): string {
  if (!/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/.test(text))
    throw new InvalidArgumentError("It must be an address, maybe with a port, such as 127.0.0.1:8600.");
  return text;
}

/** Says once that a password can be read on the way, unless it does not leave this machine. */
export function warnOfPlainText(places: readonly Place[]): void {
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
function tlsOf(flags: PlaceFlags, isAsked: boolean): ConnectionOptions["tls"] {
  const {
    cafile,
    capath,
    cert,
    key,
    keyPassphraseFile,
    insecure,
    tlsUseOsCerts,
    ciphers,
    tlsVersion,
    tlsAlpn,
    port,
    host = "",
  } = flags;
  const isPlain = flags.tls === false;
  if ((cert === undefined) !== (key === undefined)) usage("--cert and --key go together");
  if (keyPassphraseFile !== undefined && key === undefined) usage("--key-passphrase-file belongs to --key");
  const passphrase = readSecret(keyPassphraseFile ?? "");
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
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(insecure === true ? { isInsecure: true } : {}),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(tlsVersion === undefined ? {} : { version: tlsVersion as "1.2" | "1.3" }),
    ...(tlsAlpn === undefined ? {} : { protocol: tlsAlpn }),
  };
}

function tlsVersion(text: string): string {
  const version = { "tlsv1.2": "1.2", "tlsv1.3": "1.3" }[text];
  if (version === undefined) throw new InvalidArgumentError("It must be tlsv1.2 or tlsv1.3.");
  return version;
}
