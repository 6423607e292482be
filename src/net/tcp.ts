/** TCP and Unix sockets, on Bun's, with TLS where it is asked for: listening and dialling. */

import { chmodSync, rmSync } from "node:fs";
import type { Socket, SocketHandler, TCPSocketListener, UnixSocketListener } from "bun";
import { orCrash } from "../base/assert.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { restBytesMin } from "../base/limits.ts";
import { SocksHandshake, type SocksProxy } from "./socks.ts";
import { TcpTransport } from "./tcp-transport.ts";
import { alpnOf, type TlsIdentity, versionNumbers } from "./tls.ts";
import { believes, loudly, type TlsOptions, type TransportEvents } from "./transport.ts";

interface Attached<Owner> {
  readonly owner: Owner;
  readonly transport: TcpTransport;
}

function handlers<Owner>(given: TransportEvents<Owner>): SocketHandler<Attached<Owner>> {
  const events = loudly(given);
  return {
    // Bun's type for the handler of Uint8Arrays does not fit its own Bun.listen.
    binaryType: "uint8array" as "buffer",
    open(socket) {
      socket.setNoDelay(true);
      const transport = new TcpTransport(socket, socket);
      socket.data = { transport, owner: events.opened(transport) };
    },
    data(socket, bytes) {
      const { transport, owner } = socket.data;
      events.received(owner, bytes);
      // Of who has sent faster than is read Bun would read ten chunks before anybody else's turn.
      if (bytes.length >= restBytesMin) transport.rest();
    },
    drain(socket) {
      events.drained(socket.data.owner);
    },
    close(socket, error) {
      if (!socket.data) return;
      const { transport, owner } = socket.data;
      transport.isClosed = true;
      events.closed(owner, transport.handshakeError ?? (error && messageOf(error)));
    },
    error(socket) {
      // An exception out of our own handlers would arrive here as well: those are `loudly`'s. What is left is the
      // network's.
      socket.terminate();
    },
  };
}

/** Bun takes `isServer`, though its types do not say so. */
interface ServerUpgrade<Data> {
  readonly tls: object;
  readonly isServer: true;
  readonly data: Data;
  readonly socket: SocketHandler<Data>;
}

/**
 * TLS over connections that are accepted as plain ones: so each handshake uses the certificate that is the newest then,
 * and what the broker counts and limits begins before the handshake.
 */
function secureHandlers<Owner>(
  events: TransportEvents<Owner>,
  { identity, protocol }: ServerTls,
): SocketHandler<Attached<Owner>> {
  const plain = handlers(events);
  const secure: SocketHandler<Attached<Owner>> = {
    ...plain,
    open() {},
    handshake(socket, isDone, error) {
      orCrash(() => {
        // Its owner has closed it as soon as it was opened.
        if (!socket.data) return;
        const { transport } = socket.data;
        const { refusal, standing } = identity.judge(socket, isDone ? undefined : (error ?? undefined));
        transport.handshakeError = refusal;
        if (standing !== undefined) transport.shown = { standing, to: identity.revocations! };
        if (transport.handshakeError !== undefined) socket.terminate();
      });
    },
  };
  return {
    ...plain,
    open(socket) {
      socket.setNoDelay(true);
      // Asked now: afterwards the plain socket knows it no more.
      const { remoteAddress, remotePort } = socket;
      const upgrade: ServerUpgrade<Attached<Owner>> = {
        tls: identity.options(protocol),
        isServer: true,
        data: undefined as unknown as Attached<Owner>,
        socket: secure,
      };
      const [, over] = socket.upgradeTLS<Attached<Owner>>(
        upgrade as Parameters<typeof socket.upgradeTLS<Attached<Owner>>>[0],
      );
      const transport = new TcpTransport(over, { remoteAddress, remotePort });
      over.data = { transport, owner: events.opened(transport) };
    },
    // What comes in is ciphertext here; the socket over it has it in clear, and hears of its end.
    data() {},
    drain() {},
    close() {},
  };
}

export interface Listener {
  /** 0: a Unix socket. */
  readonly port: number;
  close(): void;
}

export interface ListenOptions {
  readonly tls?: ServerTls | undefined;
  /** The option that chooses the port, for what is said if it cannot be opened. */
  readonly flag: string;
}

export interface ServerTls {
  readonly identity: TlsIdentity;
  /** The protocol that is spoken there (ALPN). */
  readonly protocol: string;
}

/** Listens. Throws `OperatingError` (ELISTEN), whose message has the system's code. */
export function listenTcp<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  { tls, flag }: ListenOptions,
): Listener {
  const socket = tls === undefined ? handlers(events) : secureHandlers(events, tls);
  let listener: TCPSocketListener<Attached<Owner>>;
  try {
    listener = Bun.listen<Attached<Owner>>({ hostname: host, port, socket });
  } catch (error) {
    throw notListening(host, port, explain(codeOf(error), port, flag) ?? messageOf(error));
  }
  return { port: listener.port, close: () => listener.stop(false) };
}

/**
 * Listens on a Unix socket that only its own user may open, in place of one of an earlier life. Throws `OperatingError`
 * (ELISTEN).
 */
export function listenUnix<Owner>(path: string, events: TransportEvents<Owner>): Listener {
  let listener: UnixSocketListener<Attached<Owner>>;
  try {
    removeSocket(path);
    listener = Bun.listen<Attached<Owner>>({ unix: path, socket: handlers(events) });
    closeToOthers(path);
  } catch (error) {
    throw new OperatingError("ELISTEN", `cannot listen on ${path}: ${messageOf(error)}`);
  }
  return {
    port: 0,
    close() {
      listener.stop(true);
      removeSocket(path);
    },
  };
}

/** Dials a Unix socket. Rejects with `OperatingError` (ECONNECT). */
export async function dialUnix<Owner>(path: string, events: TransportEvents<Owner>): Promise<Owner> {
  try {
    const socket = await Bun.connect<Attached<Owner>>({ unix: path, socket: handlers(events) });
    return socket.data.owner;
  } catch (error) {
    throw new OperatingError("ECONNECT", `cannot connect to ${path}: ${codeOf(error) ?? messageOf(error)}`);
  }
}

function notListening(host: string, port: number, why: string): OperatingError {
  return new OperatingError("ELISTEN", `cannot listen on ${host}:${port}: ${why}`);
}

/** Returns the error of a port that is found to be in use before it is listened on. */
export function portInUse(host: string, port: number, flag: string): OperatingError {
  return notListening(host, port, explain("EADDRINUSE", port, flag)!);
}

function explain(code: string | undefined, port: number, flag: string): string | undefined {
  if (code === "EADDRINUSE") return `the port is in use; choose another with ${flag}, or stop what uses ${port}`;
  if (code === "EACCES") return `ports below 1024 need more rights; choose another with ${flag}`;
  return undefined;
}

export interface DialOptions {
  readonly tls?: TlsOptions | undefined;
  /** Address of this machine that the connection comes from; the system chooses unless set. */
  readonly localAddress?: string | undefined;
  readonly proxy?: SocksProxy | undefined;
  /** The time in which the other side must have proved who it is over TLS, in ms; undefined: any. Not for a proxy. */
  readonly handshakeMs?: number;
}

/** Dials. The promise rejects with `OperatingError` (ECONNECT), whose message has the system's code. */
export async function dialTcp<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  options: DialOptions = {},
): Promise<Owner> {
  const { tls, proxy } = options;
  try {
    if (proxy !== undefined) return await dialThrough(proxy, { host, port }, events, options);
    if (tls !== undefined) return await dialTls(host, port, events, options);
    const where = placeOf(host, port, options);
    const socket = await Bun.connect<Attached<Owner>>({ ...where, socket: handlers(events) });
    return socket.data.owner;
  } catch (error) {
    const why = error instanceof OperatingError ? error.message : (codeOf(error) ?? messageOf(error));
    throw new OperatingError("ECONNECT", `cannot connect to ${host}:${port}: ${why}`);
  }
}

/** The system's code; undefined: it has none. */
function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

/** Bun takes `localAddress`, though its types do not say so. */
function placeOf(hostname: string, port: number, { localAddress }: DialOptions) {
  return { hostname, port, ...(localAddress === undefined ? {} : { localAddress }) };
}

/**
 * Returns the handlers that speak TLS to a server. The connection counts as opened when that has proved who it is, not
 * before.
 */
function secureClient<Owner>(events: TransportEvents<Owner>, host: string, tls: TlsOptions) {
  const { promise, resolve, reject } = Promise.withResolvers<Owner>();
  const plain = handlers(events);
  const { isInsecure = false, version, protocol, ...given } = tls;
  const only = version && { minVersion: versionNumbers[version], maxVersion: versionNumbers[version] };
  const alpn = protocol === undefined ? undefined : { ALPNProtocols: alpnOf(protocol) };
  const socket: SocketHandler<Attached<Owner>> = {
    ...plain,
    open() {},
    handshake(socket, isTrusted, error) {
      if (error === null ? !isTrusted : !believes(tls, error)) {
        reject(new Error(`TLS: ${error?.message ?? "the handshake failed"}`));
        return socket.terminate();
      }
      plain.open!(socket);
      resolve(socket.data.owner);
    },
    close(socket, error) {
      reject(error ?? new Error("TLS: the other side has hung up"));
      plain.close!(socket, error);
    },
  };
  const options = { serverName: host, rejectUnauthorized: !isInsecure, ...given, ...only, ...alpn } as object;
  return { opened: promise, reject, socket, options };
}

async function dialTls<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  options: DialOptions,
): Promise<Owner> {
  const secure = secureClient(events, host, options.tls!);
  const where = placeOf(host, port, options);
  const socket = await Bun.connect<Attached<Owner>>({ ...where, tls: secure.options, socket: secure.socket });
  const { handshakeMs } = options;
  if (handshakeMs === undefined) return secure.opened;
  const limit = setTimeout(() => {
    secure.reject(new Error("TLS: no handshake in time"));
    socket.terminate();
  }, handshakeMs);
  return secure.opened.finally(() => clearTimeout(limit));
}

/** Dials a proxy, has it connect, and goes on as if it were the host. */
async function dialThrough<Owner>(
  proxy: SocksProxy,
  target: { readonly host: string; readonly port: number },
  events: TransportEvents<Owner>,
  options: DialOptions,
): Promise<Owner> {
  const { promise, resolve, reject } = Promise.withResolvers<Owner>();
  const handshake = new SocksHandshake(proxy, target);
  const goOn = (socket: Socket<Attached<Owner>>): void => {
    if (options.tls !== undefined) {
      const secure = secureClient(events, target.host, options.tls);
      const data = undefined as unknown as Attached<Owner>;
      socket.upgradeTLS<Attached<Owner>>({ tls: secure.options, data, socket: secure.socket });
      secure.opened.then(resolve, reject);
      return;
    }
    const plain = handlers(events);
    socket.reload({ socket: plain });
    plain.open!(socket);
    resolve(socket.data.owner);
    if (handshake.rest.length > 0) events.received(socket.data.owner, handshake.rest);
  };
  await Bun.connect<Attached<Owner>>({
    ...placeOf(proxy.host, proxy.port, options),
    socket: {
      binaryType: "uint8array" as "buffer",
      open(socket) {
        socket.write(handshake.greeting);
      },
      data(socket, bytes) {
        try {
          socket.write(handshake.receive(bytes));
        } catch (error) {
          reject(error);
          return socket.terminate();
        }
        if (handshake.isDone) goOn(socket);
      },
      close() {
        reject(new OperatingError("ECONNECT", "the proxy has hung up"));
      },
    },
  }).catch((error) => {
    throw new OperatingError(
      "ECONNECT",
      `the proxy ${proxy.host}:${proxy.port} cannot be reached: ${codeOf(error) ?? messageOf(error)}`,
    );
  });
  return promise;
}

/** Removes the file of a Unix socket, if it is there. */
export function removeSocket(path: string): void {
  rmSync(path, { force: true });
}

/** Lets nobody but its owner open a Unix socket. */
export function closeToOthers(path: string): void {
  chmodSync(path, 0o600);
}
