/** TCP and Unix sockets, on Bun's: listening and dialling. */
import { chmodSync, rmSync } from "node:fs";
import type { Socket, SocketHandler, TCPSocketListener } from "bun";
import { messageOf, OperatingError } from "../base/errors.ts";
import { lingerMs } from "../base/limits.ts";
import type { Transport, TransportEvents } from "./transport.ts";

interface Attached<Owner> {
  readonly owner: Owner;
  readonly transport: TcpTransport;
}

class TcpTransport implements Transport {
  readonly remote: string;
  /** The socket is closed on both sides: nothing is left to do. */
  isClosed = false;
  readonly #socket: Socket<unknown>;

  constructor(socket: Socket<unknown>) {
    this.#socket = socket;
    this.remote = `${socket.remoteAddress}:${socket.remotePort}`;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    return Math.max(0, this.#socket.write(bytes, start, end - start));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    // A socket that is closed with unread input is reset, and the peer may lose what it was told last. So only
    // our side is closed; the rest of the input is read away until the peer closes too, or time is up.
    if (this.isClosed) return;
    this.#socket.resume();
    this.#socket.shutdown();
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }

  abort(): void {
    this.#socket.terminate();
  }
}

function handlers<Owner>(events: TransportEvents<Owner>): SocketHandler<Attached<Owner>> {
  return {
    // Bun's type for the handler of Uint8Arrays does not fit its own Bun.listen.
    binaryType: "uint8array" as "buffer",
    open(socket) {
      socket.setNoDelay(true);
      const transport = new TcpTransport(socket);
      socket.data = { transport, owner: events.opened(transport) };
    },
    data(socket, bytes) {
      events.received(socket.data.owner, bytes);
    },
    drain(socket) {
      events.drained(socket.data.owner);
    },
    close(socket, error) {
      if (socket.data === undefined) return;
      socket.data.transport.isClosed = true;
      events.closed(socket.data.owner, error === undefined ? undefined : messageOf(error));
    },
    error(socket, error) {
      // An exception out of our own handlers arrives here as well: that is our bug and must not be hidden.
      if (!("code" in error)) throw error;
      socket.terminate();
    },
  };
}

export interface Listener {
  readonly port: number;
  close(): void;
}

/** Listens. Throws `OperatingError` with the system's code: EADDRINUSE, EACCES, EADDRNOTAVAIL. */
export function listenTcp<Owner>(host: string, port: number, events: TransportEvents<Owner>): Listener {
  let listener: TCPSocketListener<Attached<Owner>>;
  try {
    listener = Bun.listen<Attached<Owner>>({ hostname: host, port, socket: handlers(events) });
  } catch (error) {
    const code = (error as { code?: string }).code ?? "EUNKNOWN";
    throw new OperatingError(code, `cannot listen on ${host}:${port}: ${explain(code, port) ?? messageOf(error)}`);
  }
  return { port: listener.port, close: () => listener.stop(false) };
}

/** Listens on a Unix socket that only its own user may open, in place of one of an earlier life. Throws the system's error. */
export function listenUnix<Owner>(path: string, events: TransportEvents<Owner>): { close(): void } {
  rmSync(path, { force: true });
  const listener = Bun.listen<Attached<Owner>>({ unix: path, socket: handlers(events) });
  chmodSync(path, 0o600);
  return {
    close() {
      listener.stop(true);
      rmSync(path, { force: true });
    },
  };
}

/** Dials a Unix socket. Rejects with the system's error. */
export async function dialUnix<Owner>(path: string, events: TransportEvents<Owner>): Promise<Owner> {
  const socket = await Bun.connect<Attached<Owner>>({ unix: path, socket: handlers(events) });
  return socket.data.owner;
}

function explain(code: string, port: number): string | undefined {
  if (code === "EADDRINUSE") return `the port is in use; choose another with --port, or stop what uses ${port}`;
  if (code === "EACCES") return `ports below 1024 need more rights; choose another with --port`;
  return undefined;
}

/** How to speak TLS to the other side: PEM texts. Without `ca` the system's authorities are trusted. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name that the other side's certificate must bear; the host's by default. */
  readonly serverName?: string;
}

export interface DialOptions {
  readonly tls?: TlsOptions | undefined;
}

/** Dials. The promise rejects with `OperatingError`. */
export async function dialTcp<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  { tls }: DialOptions = {},
): Promise<Owner> {
  try {
    if (tls !== undefined) return await dialTls(host, port, events, tls);
    const socket = await Bun.connect<Attached<Owner>>({ hostname: host, port, socket: handlers(events) });
    return socket.data.owner;
  } catch (error) {
    const code = (error as { code?: string }).code ?? "EUNKNOWN";
    throw new OperatingError(
      code,
      `cannot connect to ${host}:${port}: ${code === "EUNKNOWN" ? messageOf(error) : code}`,
    );
  }
}

/** A connection is opened when the other side has proved who it is, not before. */
async function dialTls<Owner>(
  host: string,
  port: number,
  events: TransportEvents<Owner>,
  tls: TlsOptions,
): Promise<Owner> {
  const { promise, resolve, reject } = Promise.withResolvers<Owner>();
  const plain = handlers(events);
  await Bun.connect<Attached<Owner>>({
    hostname: host,
    port,
    tls: { serverName: host, rejectUnauthorized: true, ...tls },
    socket: {
      ...plain,
      open() {},
      handshake(socket, isTrusted, error) {
        if (!isTrusted) return reject(new Error(`TLS: ${error?.message ?? "the handshake failed"}`));
        plain.open!(socket);
        resolve(socket.data.owner);
      },
      close(socket, error) {
        reject(error ?? new Error("TLS: the other side has hung up"));
        plain.close!(socket, error);
      },
    },
  });
  return promise;
}
