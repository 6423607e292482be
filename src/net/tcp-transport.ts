/** A connection of Bun's, TCP or a Unix socket, with or without TLS, as what is over it uses it. */
import type { Socket } from "bun";
import { canonicalAddress } from "../base/ip-address.ts";
import { heldProbeMs, lingerMs } from "../base/limits.ts";
import type { Revocations, Standing } from "./revocations.ts";
import { certificateOf } from "./tls.ts";
import type { Certificate, Transport } from "./transport.ts";

export class TcpTransport implements Transport {
  readonly address: string;
  readonly remote: string;
  /** The socket is closed on both sides: nothing is left to do. */
  isClosed = false;
  /** The reason why the TLS handshake failed. */
  handshakeError: string | undefined;
  /** The certificate that was looked up in lists of revoked ones, and these; undefined: none was. */
  shown: { readonly standing: Standing; readonly to: Revocations } | undefined;
  /** The socket itself, or what speaks TLS over it. */
  readonly #socket: Socket<unknown>;
  /** True while the connection's owner does not read. */
  #isPaused = false;
  #isResting = false;

  constructor(socket: Socket<unknown>, { remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">) {
    this.#socket = socket;
    // A dual-stack listener names IPv4 addresses as IPv6 ones.
    this.address = canonicalAddress(remoteAddress ?? "");
    this.remote = this.address === "" ? "a Unix socket" : `${this.address}:${remotePort}`;
  }

  get certificate(): Certificate | undefined {
    return certificateOf(this.#socket);
  }

  get isRevoked(): boolean {
    return this.shown?.to.isRevoked(this.shown.standing) ?? false;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    return Math.max(0, this.#socket.write(bytes, start, end - start));
  }

  pause(): void {
    this.#isPaused = true;
    if (!this.#isResting) this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isResting) this.#socket.resume();
  }

  /** Leaves what else has come to the next turn of the event loop: until then others are read. */
  rest(): void {
    if (this.#isResting || this.#isPaused || this.isClosed) return;
    this.#isResting = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#isResting = false;
      if (!this.#isPaused && !this.isClosed) this.#socket.resume();
    });
  }

  probe(): void {
    this.#socket.setKeepAlive(true, heldProbeMs);
  }

  close(): void {
    // A socket that is closed with unread input is reset, and the peer may lose what it was told last. So only
    // our side is closed; the rest of the input is read away until the peer closes too, or time is up.
    if (this.isClosed) return;
    this.#isPaused = false;
    this.#socket.resume();
    this.#socket.shutdown();
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }

  abort(): void {
    this.#socket.terminate();
  }
}
