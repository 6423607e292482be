/**
 * An address from which datagrams come. UDP's source addresses are easily forged, so until it has answered something
 * that only the receiver of our datagrams can know, it is never sent more bytes than it has sent.
 */
import type { SnMessage } from "./message-kinds.ts";
import { encodeMessage } from "./messages.ts";

/** The way out: one datagram to an address. */
export type SendDatagram = (bytes: Uint8Array, port: number, address: string) => void;

/** The smallest REGISTER (a topic name of one character), by which an address may be asked to prove itself. */
export const challengeBytes = 7;

/** One address; behind a forwarder, one wireless node. */
export class Peer {
  /** The key under which it is known: address, port, and the wireless node behind a forwarder. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** The wireless node id behind a forwarder; undefined: there is no forwarder. */
  readonly node: Uint8Array | undefined;
  /** True once it has shown that it receives what is sent to it. */
  isProven = false;
  /** Bytes that may be sent to it before that. */
  credit = 0;
  readonly #send: SendDatagram;

  constructor(key: string, from: { address: string; port: number; node: Uint8Array | undefined }, send: SendDatagram) {
    this.key = key;
    this.address = from.address;
    this.port = from.port;
    this.node = from.node;
    this.#send = send;
  }

  /** Address and port as people read them. */
  get remote(): string {
    return this.address.includes(":") ? `[${this.address}]:${this.port}` : `${this.address}:${this.port}`;
  }

  /** The room that a forwarder's wrapping takes. */
  get overhead(): number {
    return this.node === undefined ? 0 : 3 + this.node.length;
  }

  /** Returns true if so many bytes may be sent to it now. */
  allows(bytes: number): boolean {
    return this.isProven || bytes + this.overhead <= this.credit;
  }

  /** Sends a message, unless that would be more than a stranger may be sent. Returns whether it was sent. */
  tell(message: SnMessage): boolean {
    return this.send(encodeMessage(message));
  }

  /** Sends the bytes of a message; see `tell`. */
  send(bytes: Uint8Array): boolean {
    if (!this.allows(bytes.length)) return false;
    this.#transmit(bytes);
    return true;
  }

  /** Sends the smallest REGISTER though the credit is used up: its answer is what ends that. */
  challenge(bytes: Uint8Array): void {
    this.#transmit(bytes);
  }

  #transmit(bytes: Uint8Array): void {
    const { node } = this;
    const whole = node === undefined ? bytes : encodeMessage({ kind: "encapsulated", radius: 0, node, inner: bytes });
    if (!this.isProven) this.credit = Math.max(0, this.credit - whole.length);
    this.#send(whole, this.port, this.address);
  }
}
