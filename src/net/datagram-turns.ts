/**
 * Datagrams, handed on for a part of each turn of the event loop: Bun reads a UDP socket for as long as something
 * comes, so whoever sends faster than is handled would hold everybody else for ever. What is left waits for the next
 * turn; of what is too much for that the newest is lost, as the kernel would lose it.
 */
import { systemClock } from "../base/clock.ts";
import { datagramsWaitingBytesMax, datagramsWaitingMax, datagramTurnMs } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";

interface Waiting<From> {
  readonly bytes: Uint8Array;
  readonly from: From;
}

export class DatagramTurns<From> {
  readonly #hand: (bytes: Uint8Array, from: From) => void;
  readonly #waiting = new Ring<Waiting<From>>();
  #waitingBytes = 0;
  /** Milliseconds of this turn that have been spent; undefined: nothing has come in it. */
  #spentMs: number | undefined;

  /** `hand` is handed each datagram that is not lost; its bytes are its own for as long as it runs. */
  constructor(hand: (bytes: Uint8Array, from: From) => void) {
    this.#hand = hand;
  }

  /** Takes a datagram that has come. Returns false if it is lost. */
  take(bytes: Uint8Array, from: From): boolean {
    if (this.#spentMs === undefined) {
      this.#spentMs = 0;
      setImmediate(() => this.#nextTurn());
    }
    if (this.#waiting.length === 0 && this.#spentMs < datagramTurnMs) {
      this.#spend(() => this.#hand(bytes, from));
      return true;
    }
    const hasRoom = this.#waitingBytes + bytes.length <= datagramsWaitingBytesMax;
    if (this.#waiting.length >= datagramsWaitingMax || !hasRoom) return false;
    this.#waitingBytes += bytes.length;
    this.#waiting.push({ bytes: bytes.slice(), from });
    return true;
  }

  #nextTurn(): void {
    this.#spentMs = undefined;
    if (this.#waiting.length === 0) return;
    this.#spentMs = 0;
    setImmediate(() => this.#nextTurn());
    while (this.#waiting.length > 0 && this.#spentMs < datagramTurnMs) {
      const { bytes, from } = this.#waiting.shift()!;
      this.#waitingBytes -= bytes.length;
      this.#spend(() => this.#hand(bytes, from));
    }
  }

  #spend(work: () => void): void {
    const startedAt = systemClock.now();
    work();
    this.#spentMs! += systemClock.now() - startedAt;
  }
}
