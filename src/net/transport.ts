/** The door to sockets, as the rest of the house sees it. TCP is one implementation, WebSocket over it another. */
import type { Certificate } from "./tls.ts";

export interface Transport {
  /** For people: address and port of the other side. */
  readonly remote: string;
  /** The IP address of the other side; "": it has none. */
  readonly address: string;
  /** Who the other side is, where it has proved that with a certificate. */
  readonly certificate: Certificate | undefined;
  /** Hands bytes to the kernel and returns how many it took; the rest must be given again after `drained`. */
  write(bytes: Uint8Array, start: number, end: number): number;
  /** Stops and restarts reading: back-pressure that the peer feels. */
  pause(): void;
  resume(): void;
  /** Closes after what was written has been sent. */
  close(): void;
  /** Closes at once. */
  abort(): void;
}

/** What a listener or dialer tells the owner of its connections. `Owner` is whatever `opened` returned. */
export interface TransportEvents<Owner> {
  opened(transport: Transport): Owner;
  received(owner: Owner, bytes: Uint8Array): void;
  drained(owner: Owner): void;
  closed(owner: Owner, error: string | undefined): void;
}

/** A transport over another one, which does all that it does not do itself. */
export class Over implements Transport {
  readonly inner: Transport;

  constructor(inner: Transport) {
    this.inner = inner;
  }

  get remote(): string {
    return this.inner.remote;
  }

  get address(): string {
    return this.inner.address;
  }

  get certificate(): Certificate | undefined {
    return this.inner.certificate;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    return this.inner.write(bytes, start, end);
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  close(): void {
    this.inner.close();
  }

  abort(): void {
    this.inner.abort();
  }
}
