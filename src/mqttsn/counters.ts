/**
 * The counters of protected packets (2.0, 3.17), so that each is taken once. They outlive the broker: before one is
 * taken the store knows that it may have been, in ranges that belong to one broker's life alone. A sender that is slow
 * has ranges of one counter, a fast one about as many as it needs in a second; what is left of a range is lost when
 * the broker ends, or the sender goes to another one, and its sender must count past it.
 */
import { snCountersAheadMax, snCountersHeldMax, snCountersRangeMs } from "../base/sn-limits.ts";

/** The place where ranges are granted, one after the other, to all brokers of a cluster. */
export interface CounterStore {
  /**
   * Grants the counters from the lowest that nobody was granted, up to below `until`: none, if that is not above it.
   * `done` is called when it is committed, with that lowest one.
   */
  reserve(sender: string, until: number, done: (from: number) => void): void;
}

/** Told whether a counter is a new one. */
type Judged = (isNew: boolean) => void;

/** Packets by which a counter may be late: the network may turn them round. */
const lateMax = 64;

/** The counters of one sender that have come: the highest, and which of those just below it. */
class Window {
  #highest = -1;
  #seen = 0n;

  /** Returns true if the counter has not come before; it counts as come from now on. */
  take(counter: number): boolean {
    if (counter > this.#highest) {
      const shift = counter - this.#highest;
      this.#seen = shift > lateMax ? 1n : BigInt.asUintN(lateMax, (this.#seen << BigInt(shift)) | 1n);
      this.#highest = counter;
      return true;
    }
    const late = this.#highest - counter;
    if (late >= lateMax) return false;
    const bit = 1n << BigInt(late);
    if ((this.#seen & bit) !== 0n) return false;
    this.#seen |= bit;
    return true;
  }
}

/** The counters that this broker may take of one sender: from `from`, to below `until`. */
interface Range {
  window: Window;
  from: number;
  until: number;
  /** Counters that were asked for beyond the one that came. */
  ahead: number;
  askedAt: number;
  /** Packets that wait for the store; undefined: it is not asked. */
  held: { readonly counter: number; readonly judged: Judged }[] | undefined;
}

export class Counters {
  readonly #store: CounterStore | undefined;
  /** By sender: as many as there have been keys for. */
  readonly #ranges = new Map<string, Range>();

  /** `store`: undefined: counters are remembered as long as this object is. */
  constructor(store: CounterStore | undefined) {
    this.#store = store;
  }

  /** Takes a counter of a packet that its sender has proved. `now` in ms. `judged` is called at once, or later. */
  take(sender: string, { counter, now }: { counter: number; now: () => number }, judged: Judged): void {
    const range = this.#rangeOf(sender);
    if (range.held !== undefined) {
      // More than these are lost, as the network loses.
      if (range.held.length >= snCountersHeldMax) return judged(false);
      range.held.push({ counter, judged });
      return;
    }
    if (counter < range.until) return judged(counter >= range.from && range.window.take(counter));
    range.held = [{ counter, judged }];
    this.#ask(sender, range, counter, now);
  }

  #rangeOf(sender: string): Range {
    const known = this.#ranges.get(sender);
    if (known !== undefined) return known;
    const until = this.#store === undefined ? Infinity : 0;
    const range = { window: new Window(), from: 0, until, ahead: 0, askedAt: -Infinity, held: undefined };
    this.#ranges.set(sender, range);
    return range;
  }

  #ask(sender: string, range: Range, counter: number, now: () => number): void {
    const isFast = now() - range.askedAt < snCountersRangeMs;
    range.ahead = isFast ? Math.min(2 * range.ahead + 1, snCountersAheadMax) : range.ahead >> 1;
    range.askedAt = now();
    const wanted = counter + 1 + range.ahead;
    this.#store!.reserve(sender, wanted, (from) => {
      // Others were granted what is between, or this broker was before it was started again.
      if (from !== range.until) {
        range.from = from;
        range.window = new Window();
      }
      range.until = Math.max(wanted, from);
      const held = range.held!;
      range.held = undefined;
      for (const one of held) this.take(sender, { counter: one.counter, now }, one.judged);
    });
  }
}
