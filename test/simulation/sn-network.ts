/**
 * The datagrams of the simulated world: lost, doubled, late and out of order, all by the world's chance. It counts what
 * strangers are sent: never more than they have sent, but for questions.
 */
import { challengeBytes } from "../../src/mqttsn/peer.ts";
import type { World } from "./world.ts";

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: string;
  readonly sentAt: number;
}

type Take = (datagram: Datagram) => void;

/** Questions that one datagram may bring about: each is asked again, four times. */
const questionsMax = 5;
/** A question is a byte longer in 2.0. */
const questionBytesMax = challengeBytes + 1;

/** The part of all datagrams that is lost; so many come twice, and so many late. */
const misfortunePart = 0.15;
/** The longest that one is under way, in ms: less than a broker is down, or a device away from one. */
export const underWayMs = 250;

/** The ledger of an address that never answers: what has come from it, and what it was sent. */
interface Stranger {
  datagrams: number;
  bytes: number;
  bytesGot: number;
  questions: number;
}

export class SnNetwork {
  readonly wrong: string[] = [];
  /** True: nothing is lost, doubled or late any more. */
  isKind = false;
  passed = 0;
  readonly #world: World;
  readonly #takers = new Map<string, Take>();
  readonly #strangers = new Map<string, Stranger>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Hands what comes to an address to `take`, from now on; what is under way to who had it before is lost. */
  bind(address: string, take: Take): void {
    this.#takers.set(address, take);
  }

  unbind(address: string): void {
    this.#takers.delete(address);
  }

  send(from: string, to: string, bytes: Uint8Array): void {
    this.#count(to, bytes);
    const datagram = { bytes: bytes.slice(), from, sentAt: this.#world.now() };
    const taker = this.#takers.get(to);
    const pass = (ms: number): void =>
      this.#world.after(ms, () => {
        if (taker === undefined || this.#takers.get(to) !== taker) return;
        this.passed++;
        const stranger = this.#strangers.get(from);
        if (stranger !== undefined) {
          stranger.datagrams++;
          stranger.bytes += bytes.length;
        }
        taker(datagram);
      });
    const happens = (): boolean => !this.isKind && this.#world.random.next() < misfortunePart;
    const late = (): number => this.#world.random.next() * underWayMs;
    if (happens()) return;
    if (happens()) pass(late());
    pass(happens() ? late() : this.#world.latency());
  }

  /** Sends from an address at which nobody hears. */
  forge(from: string, to: string, bytes: Uint8Array): void {
    const ledger = { datagrams: 0, bytes: 0, bytesGot: 0, questions: 0 };
    if (!this.#strangers.has(from)) this.#strangers.set(from, ledger);
    this.send(from, to, bytes);
  }

  #count(to: string, bytes: Uint8Array): void {
    const stranger = this.#strangers.get(to);
    if (stranger === undefined) return;
    const isQuestion = bytes.length <= questionBytesMax && bytes.at(-1) === 0x7e;
    if (isQuestion) stranger.questions++;
    else stranger.bytesGot += bytes.length;
    const { datagrams, bytes: bytesSent, bytesGot, questions } = stranger;
    if (bytesGot > bytesSent || questions > questionsMax * datagrams)
      this.wrong.push(`${to} has sent ${bytesSent} bytes, and is sent ${bytesGot}, and ${questions} questions`);
  }
}
