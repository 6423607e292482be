/**
 * The traffic of one connection: what has come and gone, and how fast. Packets and bytes are added up as they come; a
 * look at all connections now and then makes rates of the sums.
 */

/** Rates per second: PUBLISH packets and bytes from the client, and to it. */
export interface Rates {
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** A rate over less than this time says little, in ms. */
const leastMs = 1_000;

export class Traffic {
  /** PUBLISH packets from the client, and to it, and bytes from it. What goes to it is counted by its writer. */
  messagesIn = 0;
  messagesOut = 0;
  bytesIn = 0;
  /** The sums at the last look, and when that was, in ms by the clock's `now`; before, when the connection opened. */
  #messagesIn = 0;
  #messagesOut = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #lookedAt = 0;
  #rates: Rates | undefined;

  /** Notes when the connection was opened. */
  begin(now: number): void {
    this.#lookedAt = now;
  }

  /** Looks at the sums. `bytesOut`: all bytes that have gone to the client. */
  look(now: number, bytesOut: number): void {
    const { messagesIn, messagesOut, bytesIn } = this;
    const isSilent = messagesIn === this.#messagesIn && bytesIn === this.#bytesIn && bytesOut === this.#bytesOut;
    // Most connections are idle: nothing is made for them.
    this.#rates = isSilent && messagesOut === this.#messagesOut ? silence : this.#ratesAt(now, bytesOut);
    this.#messagesIn = messagesIn;
    this.#messagesOut = messagesOut;
    this.#bytesIn = bytesIn;
    this.#bytesOut = bytesOut;
    this.#lookedAt = now;
  }

  /** Returns the rates between the last two looks; since the connection was opened, if there was one at most. */
  rates(now: number, bytesOut: number): Rates {
    return this.#rates ?? this.#ratesAt(now, bytesOut);
  }

  #ratesAt(now: number, bytesOut: number): Rates {
    const seconds = Math.max(leastMs, now - this.#lookedAt) / 1000;
    return {
      messagesIn: (this.messagesIn - this.#messagesIn) / seconds,
      messagesOut: (this.messagesOut - this.#messagesOut) / seconds,
      bytesIn: (this.bytesIn - this.#bytesIn) / seconds,
      bytesOut: (bytesOut - this.#bytesOut) / seconds,
    };
  }
}

const silence: Rates = { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 };
