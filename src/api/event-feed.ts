/**
 * The last events of a broker, for those who ask again and again: other brokers, which tell them on. It watches only
 * while it is asked, and keeps so many.
 */
import { feedBatchMs, feedBytesMax, feedEventsMax, feedKeptMs, feedWaitMs } from "../base/api-limits.ts";
import type { Reading } from "./ports.ts";
import type { Later } from "./route.ts";
import type { EventRow } from "./rows.ts";

/** The events behind a place, and the place behind them. */
export interface FedEvents {
  readonly events: readonly EventRow[];
  readonly next: string;
  /** True if there were others between them and the place: they are not kept any more, or were not watched. */
  readonly gap: boolean;
}

interface Waiting {
  readonly after: number;
  readonly done: (fed: FedEvents) => void;
}

/** Keeps events while it is asked for them. */
export class EventFeed {
  readonly #reading: Reading;
  readonly #later: Later;
  /** Events, with their lengths as JSON; the first one has the number `#first`. */
  #kept: { readonly event: EventRow; readonly bytes: number }[] = [];
  #bytes = 0;
  #first = 0;
  /** Counts the times that it has begun to watch: a place of an earlier one says nothing of what was between. */
  #watch = 0;
  #stop: (() => void) | undefined;
  #forget: (() => void) | undefined;
  #waiting: Waiting[] = [];
  #answering: (() => void) | undefined;

  constructor(reading: Reading, later: Later) {
    this.#reading = reading;
    this.#later = later;
  }

  /**
   * Tells the events behind a place, as soon as there are some, or that there are none yet. `after`: the place;
   * undefined: the present one, which is told at once.
   */
  poll(after: string | undefined, done: (fed: FedEvents) => void): void {
    this.#stop ??= this.#begin();
    this.#forget?.();
    this.#forget = this.#later(feedKeptMs, () => this.#end());
    const end = this.#first + this.#kept.length;
    const [watch, number] = (after ?? "").split(".").map(Number);
    const isKnown = watch === this.#watch && Number.isSafeInteger(number) && number! >= 0 && number! <= end;
    if (!isKnown) return done({ events: [], next: this.#place(end), gap: after !== undefined });
    if (number! < end) return done(this.#behind(number!));
    const waiting: Waiting = { after: number!, done };
    this.#waiting.push(waiting);
    this.#later(feedWaitMs, () => {
      if (!this.#waiting.includes(waiting)) return;
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
      done(this.#behind(waiting.after));
    });
  }

  #begin(): () => void {
    this.#watch++;
    return this.#reading.watch((event) => this.#keep(event));
  }

  #end(): void {
    this.#stop?.();
    this.#stop = this.#forget = undefined;
    this.#first += this.#kept.length;
    this.#kept = [];
    this.#bytes = 0;
  }

  #keep(event: EventRow): void {
    const bytes = JSON.stringify(event).length;
    this.#kept.push({ event, bytes });
    this.#bytes += bytes;
    while (this.#kept.length > feedEventsMax || this.#bytes > feedBytesMax) {
      this.#bytes -= this.#kept.shift()!.bytes;
      this.#first++;
    }
    // Of many events at once most are told together.
    this.#answering ??= this.#later(feedBatchMs, () => {
      this.#answering = undefined;
      for (const { after, done } of this.#waiting.splice(0)) done(this.#behind(after));
    });
  }

  #behind(number: number): FedEvents {
    const events = this.#kept.slice(Math.max(0, number - this.#first)).map(({ event }) => event);
    return { events, next: this.#place(this.#first + this.#kept.length), gap: number < this.#first };
  }

  #place(number: number): string {
    return `${this.#watch}.${number}`;
  }
}
