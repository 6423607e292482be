/**
 * TCP and TLS for programs on Node: dialling, which is all that a client needs. `tcp.ts` is the same on Bun, where it
 * is faster.
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { OperatingError } from "../base/errors.ts";
import { lingerMs } from "../base/limits.ts";
import { believes, type TlsOptions, type Transport, type TransportEvents } from "./transport.ts";

class NodeTransport implements Transport {
  readonly address: string;
  readonly remote: string;
  readonly certificate = undefined;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.address = socket.remoteAddress ?? "";
    this.remote = `${this.address}:${socket.remotePort}`;
  }

  /**
   * Node keeps what it is given until the kernel takes it, and the writer uses its memory again: so it is given a copy.
   */
  write(bytes: Uint8Array, start: number, end: number): number {
    if (this.#socket.writableNeedDrain || this.#socket.destroyed) return 0;
    this.#socket.write(Uint8Array.prototype.slice.call(bytes, start, end));
    return end - start;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), lingerMs).unref();
  }

  abort(): void {
    this.#socket.destroy();
  }
}

/** Dials. Rejects with `OperatingError`. */
export function dialNode<Owner>(
  { host, port, socket: path }: { readonly host: string; readonly port: number; readonly socket?: string },
  events: TransportEvents<Owner>,
  tls: TlsOptions | undefined,
): Promise<Owner> {
  return new Promise((resolve, reject) => {
    // A host that has several addresses is tried at each, as RFC 8305 says.
    const place = path === undefined ? { host, port, autoSelectFamily: true } : { path };
    const socket = tls === undefined ? connect(place) : connectTls({ ...place, ...tlsOptionsOf(host, tls) });
    let owner: { readonly is: Owner } | undefined;
    let error: Error | undefined;
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      error = tls === undefined ? undefined : distrust(socket as TLSSocket, tls);
      if (error !== undefined) {
        socket.destroy();
        return;
      }
      socket.setNoDelay(true);
      owner = { is: events.opened(new NodeTransport(socket)) };
      resolve(owner.is);
    });
    // Node's Buffer has a slice of its own, which does not copy.
    socket.on("data", (chunk: Buffer) => {
      if (owner !== undefined)
        events.received(owner.is, new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    });
    socket.on("drain", () => {
      if (owner !== undefined) events.drained(owner.is);
    });
    socket.on("error", (failure) => {
      error ??= failure;
    });
    socket.on("close", () => {
      if (owner !== undefined) {
        events.closed(owner.is, error?.message);
        return;
      }
      const why = error?.message || (error as { code?: string } | undefined)?.code || "it was closed";
      reject(new OperatingError("ECONNECT", `cannot connect to ${path ?? `${host}:${port}`}: ${why}`));
    });
  });
}

function tlsOptionsOf(host: string, tls: TlsOptions) {
  const { isInsecure: _, version, protocol, serverName = host, ...given } = tls;
  return {
    servername: /^[\d.]+$|:/.test(serverName) ? "" : serverName,
    // Whether it is believed is decided when its certificate has been seen.
    rejectUnauthorized: false,
    ...given,
    ...(version && { minVersion: `TLSv${version}` as const, maxVersion: `TLSv${version}` as const }),
    ...(protocol === undefined ? {} : { ALPNProtocols: [protocol] }),
  };
}

/** Returns why the other side's certificate is not trusted; undefined: it is. */
function distrust(socket: TLSSocket, tls: TlsOptions): Error | undefined {
  if (socket.authorized) return undefined;
  // Node says either what is wrong, or only its code.
  const said: unknown = socket.authorizationError;
  const error = said instanceof Error ? said : Object.assign(new Error(String(said)), { code: String(said) });
  return believes(tls, error) ? undefined : new Error(`TLS: ${error.message}`);
}
