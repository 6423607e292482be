/**
 * An address from which datagrams come. UDP's source addresses are easily forged, so until it has answered something
 * that only the receiver of our datagrams can know, it is never sent more bytes than it has sent.
 */
import type { DeviceProtocol } from "../net/transport.ts";
import { ReturnCode } from "./constants.ts";
import { encodeMessage2 } from "./encode-2.ts";
import type { SnMessage } from "./message-kinds.ts";
import { encodeMessage } from "./messages.ts";

/** The way out: one datagram to an address. */
export type SendDatagram = (bytes: Uint8Array, port: number, address: string) => void;

/** The address that a datagram came from. */
export interface Source {
  readonly address: string;
  readonly port: number;
}

/** The smallest REGISTER (a topic name of one character), by which an address may be asked to prove itself. */
export const challengeBytes = 7;

/** The way in which what is sent to a peer is protected. */
export interface PeerProtection {
  /** The sender's id, in hex. */
  readonly sender: string;
  /** The user as whom the sender comes; undefined: the one as whom all come. */
  readonly user: string | undefined;
  /** Bytes by which a packet becomes longer. */
  readonly overhead: number;
  wrap(packet: Uint8Array): Uint8Array;
}

interface PeerFacts {
  readonly address: string;
  readonly port: number;
  readonly node: Uint8Array | undefined;
  readonly version?: 1 | 2;
  readonly protection?: PeerProtection | undefined;
}

/** One address; behind a forwarder, one wireless node. */
export class Peer {
  /** The key under which it is known: address, port, and the wireless node behind a forwarder. */
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** The wireless node id behind a forwarder; undefined: there is no forwarder. */
  readonly node: Uint8Array | undefined;
  /** The version that it speaks. */
  readonly version: 1 | 2;
  /** The protection of what is sent to it; undefined: none (2.0, 3.17). */
  readonly protection: PeerProtection | undefined;
  /** The largest packet that it takes; 0: any. */
  packetBytesMax = 0;
  /** True once it has shown that it receives what is sent to it. */
  isProven = false;
  /** Bytes that may be sent to it before that. */
  credit = 0;
  readonly #send: SendDatagram;
  /** The packet ids of the last CONNECT, PINGREQ and SLEEPREQ of 2.0, which their answers name. */
  #connectId = 0;
  #pingId = 0;
  #sleepId: number | undefined;

  constructor(key: string, from: PeerFacts, send: SendDatagram) {
    this.key = key;
    this.version = from.version ?? 1;
    this.protection = from.protection;
    // Whoever has the key has sent this from where he is.
    this.isProven = from.protection !== undefined;
    this.address = from.address;
    this.port = from.port;
    this.node = from.node;
    this.#send = send;
  }

  /** Address and port as people read them. */
  get remote(): string {
    return this.address.includes(":") ? `[${this.address}]:${this.port}` : `${this.address}:${this.port}`;
  }

  /** The protocol that it speaks, as people call it. */
  get protocol(): DeviceProtocol {
    return this.version === 1 ? "MQTT-SN 1.2" : "MQTT-SN 2.0";
  }

  /** The room that a forwarder's wrapping takes. */
  get overhead(): number {
    return (this.node === undefined ? 0 : 3 + this.node.length) + (this.protection?.overhead ?? 0);
  }

  /** The end of the ids of protected clients: whose key they have. */
  get suffix(): string {
    return this.protection === undefined ? "" : `@${this.protection.sender}`;
  }

  /** Notes the packet id that the answer to a message must name. */
  note(message: SnMessage): void {
    if (message.kind === "connect") this.#connectId = message.of2?.messageId ?? 0;
    if (message.kind === "pingreq") this.#pingId = message.messageId ?? 0;
    if (message.kind === "sleepreq") this.#sleepId = message.messageId;
    else if (message.kind === "disconnect") this.#sleepId = undefined;
  }

  /** Returns the bytes of a message, as it is in the version that the peer speaks. */
  encode(message: SnMessage): Uint8Array {
    if (this.version === 1) return encodeMessage(message);
    if (message.kind === "connack") return encodeMessage2({ ...message, messageId: this.#connectId });
    if (message.kind === "pingresp") return encodeMessage2({ ...message, messageId: this.#pingId });
    if (message.kind !== "disconnect" || this.#sleepId === undefined) return encodeMessage2(message);
    const messageId = this.#sleepId;
    this.#sleepId = undefined;
    return encodeMessage2({ kind: "sleepresp", messageId, code: ReturnCode.accepted });
  }

  /** Returns true if so many bytes may be sent to it now. */
  allows(bytes: number): boolean {
    return this.isProven || bytes + this.overhead <= this.credit;
  }

  /** Sends a message, unless that would be more than a stranger may be sent. Returns whether it was sent. */
  tell(message: SnMessage): boolean {
    // An id that is assigned makes CONNACK 8 bytes longer than the shortest CONNECT: it cannot be told in fewer.
    if (message.kind === "connack" && message.assignedId !== undefined) {
      this.#transmit(this.encode(message));
      return true;
    }
    return this.send(this.encode(message));
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
    const inner = this.protection?.wrap(bytes) ?? bytes;
    const encode = this.version === 1 ? encodeMessage : encodeMessage2;
    const whole = node === undefined ? inner : encode({ kind: "encapsulated", radius: 0, node, inner });
    if (!this.isProven) this.credit = Math.max(0, this.credit - whole.length);
    this.#send(whole, this.port, this.address);
  }
}

/** Returns the key under which an address is known: with the wireless node behind a forwarder, and the sender. */
export function keyOf(
  { address, port }: Source,
  { node, protection }: { node?: Uint8Array | undefined; protection?: PeerProtection | undefined },
): string {
  const plain = node === undefined ? `${address} ${port}` : `${address} ${port} ${Buffer.from(node).toString("hex")}`;
  return protection === undefined ? plain : `${plain} ${protection.sender}`;
}
