/**
 * The shares of the bank: how much each user's things bind at this branch, and whether they may bind more. No user may
 * take it all: a user's share is a part of the capital, and when the bank is nearly empty the largest holders are
 * refused first.
 */
import { bankScarcePartMin } from "../base/bank-limits.ts";

/** One user, and how much his things bind. Anonymous clients are one user, "". */
export class Holder {
  readonly user: string;
  /** Milli-credits that are bound by what is stored for the user, or set aside for it. */
  held = 0;

  constructor(user: string) {
    this.user = user;
  }
}

/** The state of the bank by which shares are reckoned; in milli-credits. */
export interface SharedBank {
  readonly capital: number;
  readonly vault: number;
  /** The part of the capital that one user may bind, in percent; 100: all of it, and nobody is kept from it. */
  readonly percent: number;
}

/**
 * The reason why a user may bind no more. share: the user's share is used up. scarce: the bank is nearly empty, and the
 * user holds more than is left.
 */
export type ShareDenial = "share" | "scarce";

/** The holders of one branch, and the limits that they have. Users that hold nothing are forgotten. */
export class Shares {
  /** The holder of what belongs to no user: what brokers announce. */
  readonly brokers = new Holder("");
  readonly #holders = new Map<string, Holder>();
  /** The holder that was asked for last: mostly it is asked for again. */
  #last = this.brokers;
  #bank: SharedBank = { capital: 0, vault: 0, percent: 100 };

  /** Takes over how the bank stands now. */
  set(bank: SharedBank): void {
    this.#bank = bank;
  }

  /** The part of the capital that one user may bind, in percent. */
  get percent(): number {
    return this.#bank.percent;
  }

  /** Milli-credits that one user may bind; Infinity: as many as there are. */
  get limit(): number {
    const { capital, percent } = this.#bank;
    return percent === 100 ? Infinity : Math.floor((capital * percent) / 100);
  }

  /** Returns what a user holds, to be changed by `add` alone; null: what belongs to no user. */
  of(user: string | null): Holder {
    if (user === null) return this.brokers;
    if (this.#last !== this.brokers && this.#last.user === user) return this.#last;
    this.#last = this.#holders.get(user) ?? new Holder(user);
    return this.#last;
  }

  /** Returns the milli-credits that a user's things bind here. */
  heldBy(user: string): number {
    return this.#holders.get(user)?.held ?? 0;
  }

  /** Changes what a holder's things bind by so many milli-credits. */
  add(holder: Holder, credits: number): void {
    holder.held += credits;
    if (holder === this.brokers || credits === 0) return;
    if (holder.held > 0) this.#holders.set(holder.user, holder);
    else this.#holders.delete(holder.user);
  }

  /**
   * Says why so many milli-credits more may not be bound for a holder, while `free` are free at this branch; undefined:
   * they may.
   */
  whyNot(holder: Holder, credits: number, free: number): ShareDenial | undefined {
    const { capital, vault, percent } = this.#bank;
    if (percent === 100 || holder === this.brokers || credits === 0) return undefined;
    const after = holder.held + credits;
    if (after > this.limit) return "share";
    const left = Math.max(0, free) + vault;
    return left - credits < capital * bankScarcePartMin && after > left ? "scarce" : undefined;
  }

  /** Returns all users that hold something. */
  holders(): IterableIterator<Holder> {
    return this.#holders.values();
  }

  /** Returns how many users can bind no more than a hundredth of their share. */
  countSpent(): number {
    const { limit } = this;
    let count = 0;
    for (const { held } of this.#holders.values()) if (held >= 0.99 * limit) count++;
    return count;
  }

  /** Returns the most that one user holds, in milli-credits. */
  largest(): number {
    let most = 0;
    for (const { held } of this.#holders.values()) most = Math.max(most, held);
    return most;
  }
}
