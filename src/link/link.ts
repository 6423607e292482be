/**
 * One direction-pair between two incarnations of brokers, whatever TCP connection carries it: numbered frames are
 * kept until the other side has acknowledged them, and sent again over the next connection. So nothing is lost,
 * doubled or overtaken while both brokers live.
 */
import { linkUnacknowledgedBytesMax } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";
import type { Sink } from "../mqtt/sink.ts";
import { isNumbered, writeAckFrame } from "./frames.ts";

/** The connection that carries a link now. */
export interface Carrier extends Sink {
  /** Bytes that the kernel has not taken. */
  readonly unsent: number;
}

export class Link {
  readonly peerEpoch: number;
  /** Numbered frames received, ever; in 32 bits, as it is told to the other side. */
  received = 0;
  carrier: Carrier | undefined;
  readonly #unacknowledged = new Ring<Uint8Array>();
  #bytes = 0;
  /** Numbered frames that the other side has acknowledged, in 32 bits too. */
  #acknowledged = 0;
  #acknowledgedToPeer = 0;
  /** Told when there is room again after `full` was true. */
  onRelief: () => void = () => {};
  #wasFull = false;

  /** `counted`: with how many frames both sides begin; a test begins near the limit. */
  constructor(peerEpoch: number, counted = 0) {
    this.peerEpoch = peerEpoch;
    this.received = this.#acknowledged = this.#acknowledgedToPeer = counted;
  }

  get isUp(): boolean {
    return this.carrier !== undefined;
  }

  /** More waits for the other side than it should: whoever sends to it must wait. */
  get full(): boolean {
    if (this.#bytes < linkUnacknowledgedBytesMax) return false;
    this.#wasFull = true;
    return true;
  }

  /** A connection carries the link; the other side has received so many numbered frames. */
  up(carrier: Carrier, received: number): void {
    this.carrier = carrier;
    this.#acknowledgedToPeer = this.received;
    this.acknowledged(received);
    for (let index = 0; index < this.#unacknowledged.length; index++) {
      const bytes = this.#unacknowledged.at(index)!;
      carrier.append(bytes, 0, bytes.length);
    }
  }

  down(): void {
    this.carrier = undefined;
  }

  /** Sends a numbered frame: now, or over the next connection. */
  send(bytes: Uint8Array): void {
    this.#unacknowledged.push(bytes);
    this.#bytes += bytes.length;
    this.carrier?.append(bytes, 0, bytes.length);
  }

  /** The other side has received so many numbered frames. */
  acknowledged(count: number): void {
    const news = (count - this.#acknowledged) >>> 0;
    // An earlier connection's word, or more than was ever sent.
    if (news <= this.#unacknowledged.length) {
      for (let left = news; left > 0; left--) this.#bytes -= this.#unacknowledged.shift()!.length;
      this.#acknowledged = count >>> 0;
    }
    if (!this.#wasFull || this.#bytes > linkUnacknowledgedBytesMax / 2) return;
    this.#wasFull = false;
    this.onRelief();
  }

  /** A frame has come. */
  count(type: number): void {
    if (isNumbered(type)) this.received = (this.received + 1) >>> 0;
  }

  /** Acknowledges what has come since the last time. */
  acknowledge(): void {
    if (this.received === this.#acknowledgedToPeer || this.carrier === undefined) return;
    this.#acknowledgedToPeer = this.received;
    writeAckFrame(this.carrier, this.received);
  }
}
