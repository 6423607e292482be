/**
 * The last things that were refused, with the reason of each, for whoever asks why. Nothing is done for them but when
 * something is refused, and a flood of one kind from one client takes one place.
 */
import { recentRefusalsMax, rememberedTextMax } from "../../base/api-limits.ts";
import type { Clock } from "../../base/clock.ts";
import { Ring } from "../../base/ring.ts";

/** The kinds of what is refused: a connection, a publish, a subscription, a will, or a packet against the protocol. */
export type RefusedKind = "connect" | "publish" | "subscribe" | "will" | "protocol";

/** A refusal as it is noted. */
export interface Refused {
  readonly kind: RefusedKind;
  /** The limit, rule or reason code, in a word. */
  readonly cause: string;
  /** Returns the reason in words; called only where it is remembered. */
  readonly reason: () => string;
  /** Undefined: the client had not said who it is. */
  readonly clientId: string | undefined;
  /** Address and port from which it came; undefined: nobody was connected. */
  readonly remote: string | undefined;
}

/** A refusal as it is remembered. */
export interface RememberedRefusal extends Omit<Refused, "reason"> {
  readonly reason: string;
  readonly number: number;
  /** When it was refused last, in ms since 1970, and how often in a row. */
  at: number;
  times: number;
}

/** Remembers the last refusals. */
export class RecentRefusals {
  readonly #clock: Pick<Clock, "wall">;
  readonly #told: (refusal: RememberedRefusal) => void;
  readonly #recent = new Ring<RememberedRefusal>();
  #last: RememberedRefusal | undefined;
  #number = 0;

  /** `told`: told of each that takes a new place: of a flood the first. */
  constructor(clock: Pick<Clock, "wall">, told: (refusal: RememberedRefusal) => void) {
    this.#clock = clock;
    this.#told = told;
  }

  /** Notes a refusal. */
  note({ kind, cause, reason, clientId, remote }: Refused): void {
    const at = this.#clock.wall();
    const last = this.#last;
    if (last?.kind === kind && last.cause === cause && last.clientId === clientId && last.remote === remote) {
      last.at = at;
      last.times++;
      return;
    }
    const short = reason().slice(0, rememberedTextMax);
    this.#last = { kind, cause, reason: short, clientId, remote, number: ++this.#number, at, times: 1 };
    this.#recent.push(this.#last);
    if (this.#recent.length > recentRefusalsMax) this.#recent.shift();
    this.#told(this.#last);
  }

  /** All that are remembered, the oldest first. */
  *all(): Generator<RememberedRefusal> {
    for (let index = 0; index < this.#recent.length; index++) yield this.#recent.at(index)!;
  }
}
