/**
 * The listeners for clients: TCP, TLS, WebSocket, WebSocket over TLS, and a Unix socket; with the checks of the options
 * that open them.
 */
import { Access } from "../access/access.ts";
import { Hook } from "../access/hook.ts";
import { type Get, KeySet } from "../access/key-set.ts";
import { keySetBytesMax } from "../base/access-limits.ts";
import { systemClock } from "../base/clock.ts";
import { OperatingError } from "../base/errors.ts";
import { hostOnThisMachine } from "../base/ip-address.ts";
import type { Log } from "../base/log.ts";
import type { Work } from "../base/slices.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { ListenerName } from "../broker/delivery/connection.ts";
import { getHttp, postHttp } from "../net/http.ts";
import { behindProxy } from "../net/proxy-protocol.ts";
import { Revocations } from "../net/revocations.ts";
import { dialTcp, type Listener, listenTcp, listenUnix, portInUse } from "../net/tcp.ts";
import { TlsIdentity } from "../net/tls.ts";
import type { TransportEvents } from "../net/transport.ts";
import { overWebSocket } from "../net/websocket.ts";
import type { OperatorFiles } from "./operator-files.ts";
import { RevocationWatch } from "./revocation-watch.ts";

/** The ports that are listened on, as they are where the options said 0 (any); -1: none. */
export interface Ports {
  readonly tcp: number;
  readonly tls: number;
  readonly ws: number;
  readonly wss: number;
}

/** The parts of the broker that listeners serve. */
export interface OpenedFor<Owner> {
  /** Returns the handlers for connections that come by a listener. */
  readonly events: (listener: ListenerName) => TransportEvents<Owner>;
  readonly identity: TlsIdentity | undefined;
  /** Told the address of a connection that was refused: its PROXY header would not be believed. */
  readonly untrusted: (address: string) => void;
}

export interface Listeners {
  readonly ports: Ports;
  /** The port that other brokers are told, since clients can use it; 0: there is none. */
  readonly told: number;
  close(): void;
}

const loopback = "127.0.0.1";
const anywhere = "0.0.0.0";
/** Clients whose users have named no path come to "/". */
const webSocket = { paths: ["/mqtt", "/"], protocols: ["mqtt", "mqttv3.1"] };

/**
 * Checks the options for doors. Throws `OperatingError` if they contradict each other, or would let everybody in though
 * the operator has not asked for that.
 */
export function checkDoors(options: BrokerOptions): void {
  const { tlsPort, wssPort, tlsCert, tlsKey, tlsCa, tlsCrl, tlsClientCert } = options;
  const { proxyProtocol, proxyFrom, proxyCertificates } = options;
  const wrong = (why: string): never => {
    throw new OperatingError("EUSAGE", why);
  };
  const isTls = tlsPort !== -1 || wssPort !== -1;
  if (options.httpTls && (tlsCert === "" || tlsKey === "")) wrong("--http-tls needs --tls-cert and --tls-key");
  if (options.httpTls && options.httpPort === 0) wrong("--http-tls is for the port of HTTP: it needs --http-port");
  if (isTls && (tlsCert === "" || tlsKey === "")) wrong("--tls-port and --wss-port need --tls-cert and --tls-key");
  if (isTls && tlsClientCert !== "off" && tlsCa === "")
    wrong("--tls-client-cert needs --tls-ca: who has signed the clients' certificates");
  if (tlsCrl !== "" && (!isTls || tlsClientCert === "off"))
    wrong("--tls-crl says which clients' certificates are revoked: it needs --tls-client-cert and a port for TLS");
  if (isTls && proxyProtocol)
    wrong("--proxy-protocol is for balancers that end TLS themselves: leave out --tls-port and --wss-port");
  if (!proxyProtocol && (proxyFrom.length > 0 || proxyCertificates))
    wrong("--proxy-from and --proxy-certificates say what is believed of PROXY headers: they need --proxy-protocol");
  if (options.jwtKey === "" && (options.jwtAudience !== "" || options.jwtIssuer !== "" || options.jwtClaim.length > 0))
    wrong("--jwt-audience, --jwt-issuer and --jwt-claim say what tokens must hold: they need --jwt-key");
  const saysSn = options.snTopics !== "" || options.snUser !== "" || options.snPublishAnonymous !== "";
  if (options.snPort === -1 && (saysSn || options.snMulticast !== ""))
    wrong("--sn-topics, --sn-user, --sn-publish-anonymous and --sn-multicast are for MQTT-SN: they need --sn-port");
  if ((options.sn2 || options.snKeys !== "") && options.snPort === -1)
    wrong("--sn-2 and --sn-keys are for MQTT-SN: they need --sn-port");
  if (options.snKeys !== "" && !options.sn2) wrong("--sn-keys protects what MQTT-SN 2.0 sends: it needs --sn-2");
  if (options.snPort !== -1 && options.snUser === "" && hasCredentials(options) && !options.allowAnonymous)
    wrong("MQTT-SN has no passwords: --sn-port needs --sn-user, as whom its clients come, or --allow-anonymous");
  if (options.port === -1 && tlsPort === -1 && options.wsPort === -1 && wssPort === -1 && options.socket === "")
    wrong("nothing to listen on: give --port, --tls-port, --ws-port, --wss-port or --socket");
  if (isExposed(options) && !hasCredentials(options) && !options.allowAnonymous)
    wrong(
      `anybody who reaches ${options.host} could publish and subscribe: give --password-file, --jwt-key, --auth-hook or ` +
        "--tls-client-cert, or say --allow-anonymous",
    );
}

/** The parts of the process that logins need. */
export interface AccessSurroundings {
  /** Called when users or rules have changed. */
  readonly changed: () => void;
  readonly warn: (why: string) => void;
  /** Returns the secret by which users that are not there are made up; undefined as long as the store is not open. */
  readonly decoySecret: () => Uint8Array | undefined;
}

/**
 * Opens the checks of logins and rules, which follow the operator's files; undefined: every client may do everything.
 * Throws `OperatingError` if a file cannot be read.
 */
export function openAccess(
  options: BrokerOptions,
  files: OperatorFiles,
  { changed, warn, decoySecret }: AccessSurroundings,
): Access | undefined {
  const { passwordFile, aclFile, jwtKey, authHook } = options;
  const hasKeySet = /^https?:/i.test(jwtKey);
  const isOpen = !isExposed(options) && !hasCredentials(options);
  const allowAnonymous = options.allowAnonymous || isOpen;
  if (allowAnonymous && !hasCredentials(options) && aclFile === "") return undefined;
  if (!hasCredentials(options))
    warn(
      "nobody's name is checked: who calls himself by a name in --acl-file has its rights; give --password-file, say",
    );
  const hook = authHook === "" ? undefined : new Hook(authHook, postHttp);
  const fetchKeys: Get = (url, ms) => getHttp(url, ms, keySetBytesMax);
  const keySet = hasKeySet ? new KeySet(jwtKey, fetchKeys, { warn, withdrawn: changed }) : undefined;
  if (keySet !== undefined) files.alongside(() => keySet.refresh(systemClock.now()));
  const tokenTerms = { audience: options.jwtAudience, issuer: options.jwtIssuer, claims: options.jwtClaim };
  const access = new Access({ allowAnonymous, hook, warn, tokenTerms, keySet, decoySecret }, systemClock);
  const follow = (path: string, load: (text: string) => Work): void => {
    if (path === "") return;
    files.followInSteps([path], function* ([text]) {
      yield* load(text!);
      changed();
    });
  };
  follow(passwordFile, (passwords) => access.load({ passwords }));
  follow(aclFile, (acl) => access.load({ acl }));
  if (!hasKeySet) follow(jwtKey, (tokenKey) => access.load({ tokenKey }));
  return access;
}

/** The parts of the process that certificates need. */
export interface IdentitySurroundings {
  readonly log: Log;
  /** Called when clients' certificates may have been revoked. */
  readonly changed: () => void;
}

/**
 * Opens the broker's TLS certificate, which follows its files; undefined if there is no port for TLS. Throws
 * `OperatingError`.
 */
export function openIdentity(
  options: BrokerOptions,
  files: OperatorFiles,
  { log, changed }: IdentitySurroundings,
): TlsIdentity | undefined {
  if (options.tlsPort === -1 && options.wssPort === -1 && !options.httpTls) return undefined;
  const { tlsCert, tlsKey, tlsCa, tlsCrl, tlsClientCert: clientCertificates, tlsVersionMin: versionMin } = options;
  const watch = new RevocationWatch(log, systemClock);
  const revocations =
    tlsCrl === "" ? undefined : new Revocations(systemClock, (cause, why) => watch.refused(cause, why));
  let identity: TlsIdentity | undefined;
  files.followInSteps(
    [tlsCert, tlsKey, tlsCa, tlsCrl].filter((path) => path !== ""),
    function* ([cert, key, ca], [, , , crl]) {
      const given = { cert: cert!, key: key!, ca, crl };
      if (identity === undefined) identity = new TlsIdentity(given, { clientCertificates, versionMin, revocations });
      else yield* identity.changeInSteps(given);
      if (revocations === undefined) return;
      watch.look(revocations.lists);
      changed();
    },
  );
  if (revocations !== undefined) files.alongside(() => watch.look(revocations.lists));
  return identity;
}

/** The addresses from which PROXY headers are believed where the operator has named none: this machine. */
const loopbackRanges = ["127.0.0.0/8", "::1"];

/** The options that choose ports for clients. */
const portOf = { "--port": "port", "--tls-port": "tlsPort", "--ws-port": "wsPort", "--wss-port": "wssPort" } as const;

/** The time in which whoever uses a port of this machine answers, in ms. */
const portLookMs = 1000;

/**
 * Looks whether somebody else answers at a port for clients: a broker whose port is in use never joins its cluster, nor
 * tells others to send it clients. Nothing is opened for it, since whoever waits for the port would take that for the
 * broker. Rejects with `OperatingError` (ELISTEN).
 */
export async function lookForOthers(options: BrokerOptions): Promise<void> {
  const host = hostOnThisMachine(options.host);
  for (const [flag, key] of Object.entries(portOf)) {
    const port = options[key];
    if (port > 0 && (await isAnswered(host, port))) throw portInUse(options.host, port, flag);
  }
}

async function isAnswered(host: string, port: number): Promise<boolean> {
  const events: TransportEvents<true> = {
    opened: (transport) => {
      transport.abort();
      return true;
    },
    received: () => {},
    drained: () => {},
    closed: () => {},
  };
  const dialled = dialTcp(host, port, events).catch(() => false);
  return Promise.race([dialled, Bun.sleep(portLookMs).then(() => false)]);
}

/** Opens all listeners. Throws `OperatingError` if, say, a port is in use; what was opened before is closed again. */
export function openListeners<Owner>(
  options: BrokerOptions,
  { events, identity, untrusted }: OpenedFor<Owner>,
): Listeners {
  const host = hostOf(options);
  const { proxyFrom, proxyCertificates: certificates } = options;
  const from = proxyFrom.length === 0 ? loopbackRanges : proxyFrom;
  const opened: Listener[] = [];
  const listen = <End>(flag: keyof typeof portOf, end: TransportEvents<End>, protocol?: string): number => {
    const port = options[portOf[flag]];
    if (port === -1) return -1;
    const tls = identity && protocol !== undefined ? { identity, protocol } : undefined;
    const listener =
      options.proxyProtocol && tls === undefined
        ? listenTcp(host, port, behindProxy(end, { from, certificates, refused: untrusted }), { flag })
        : listenTcp(host, port, end, { tls, flag });
    opened.push(listener);
    return listener.port;
  };
  const close = (): void => {
    for (const listener of opened) listener.close();
  };
  try {
    const overWeb = (name: ListenerName) => overWebSocket(events(name), webSocket);
    const ports: Ports = {
      tcp: listen("--port", events("tcp")),
      tls: listen("--tls-port", events("tls"), "mqtt"),
      ws: listen("--ws-port", overWeb("ws")),
      wss: listen("--wss-port", overWeb("wss"), "http/1.1"),
    };
    if (options.socket !== "") opened.push(listenUnix(options.socket, events("unix")));
    const told = [ports.tcp, ports.tls, ports.ws, ports.wss].find((port) => port > 0) ?? 0;
    return { ports, told, close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Returns the address to listen on. If the operator has set none, and clients need no login, only this machine is let
 * in.
 */
export function hostOf(options: BrokerOptions): string {
  if (options.host !== "") return options.host;
  return hasCredentials(options) || options.allowAnonymous ? anywhere : loopback;
}

/** Returns true if other machines can connect. */
function isExposed(options: BrokerOptions): boolean {
  const host = hostOf(options);
  return !(host === "localhost" || host === "::1" || /^127\./.test(host));
}

/** Returns true if the options have clients prove who they are. */
function hasCredentials(options: BrokerOptions): boolean {
  const { passwordFile, jwtKey, authHook, tlsClientCert, tlsPort, wssPort, proxyCertificates } = options;
  const hasCertificates = proxyCertificates || (tlsClientCert !== "off" && (tlsPort !== -1 || wssPort !== -1));
  return passwordFile !== "" || jwtKey !== "" || authHook !== "" || hasCertificates;
}
