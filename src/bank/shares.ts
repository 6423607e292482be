/**
 * The shares of the bank: how much each user's things bind at this branch, and whether they may bind more. No user may
 * take it all: a user's share is a part of the capital, and when the bank is nearly empty the largest holders are
 * refused first.
 */
import { bankScarcePartMin, shareSpareOfCapitalMin, shareSparePartMin, shareStepPartMin } from "../base/bank-limits.ts";
import type { ClaimsByUser } from "./account-records.ts";
import type { Claims } from "./claims.ts";

/**
 * One user, or one client of a user's, and how much its things bind. Anonymous clients are one user, "".
 */
export class Holder {
  readonly user: string;
  /** The client whose things they are, and the user as a whole; undefined: it is that whole. */
  readonly clientId: string | undefined;
  readonly whole: Holder | undefined;
  /** Milli-credits that are bound by what is stored for the user or client, or set aside for it. */
  held = 0;

  constructor(user: string, client?: { readonly clientId: string; readonly whole: Holder }) {
    this.user = user;
    this.clientId = client?.clientId;
    this.whole = client?.whole;
  }
}

/** The state of the bank by which shares are reckoned; in milli-credits. */
export interface SharedBank {
  readonly capital: number;
  readonly vault: number;
  /** The part of the capital that one user may bind, in percent; 100: all of it, and nobody is kept from it. */
  readonly percent: number;
  /** True if other brokers may hold some of a user's share: then much of it must be claimed before it is bound. */
  readonly isShared: boolean;
}

/**
 * The reason why a user may bind no more. share: the user's share is used up. scarce: the bank is nearly empty, and the
 * user holds more than is left; where he may bind all there is, his client does.
 * unclaimed: this branch has not claimed so much of the share, and may yet.
 */
export type ShareDenial = "share" | "scarce" | "unclaimed";

/** The holders of one branch, and the limits that they have. */
export class Shares {
  /** The holder of what belongs to no user: what brokers announce. */
  readonly brokers = new Holder("");
  /** All users that hold something, and those that have held something since the last `forget`. */
  readonly #holders = new Map<string, Holder>();
  /**
   * Where a user may bind all there is: the clients that hold something, by client id, U+0000 and user. What was found
   * in the store is in none of them, for records do not name clients.
   */
  readonly #clients = new Map<string, Holder>();
  /** The holder that was asked for last: mostly it is asked for again. */
  #last = this.brokers;
  #lastClient: Holder | undefined;
  #bank: SharedBank = { capital: 0, vault: 0, percent: 100, isShared: false };
  #claims: ClaimsByUser = new Map();
  /** The claims of other branches for users, as they were when claims were last made here. */
  #claimedElsewhere: ClaimsByUser = new Map();
  /** The number of branches when claims were last made. */
  #branches = 1;

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

  /**
   * Returns what a user holds, or a client of his, to be changed by `add` alone; null: what belongs to no user. Clients
   * are told apart only where nothing else keeps one of them from taking all.
   */
  of(user: string | null, clientId = ""): Holder {
    if (user === null) return this.brokers;
    if (this.#last === this.brokers || this.#last.user !== user)
      this.#last = this.#holders.get(user) ?? this.#begin(user);
    return clientId === "" || this.percent < 100 ? this.#last : this.#clientOf(this.#last, clientId);
  }

  /** Milli-credits that a user holds, or where clients are told apart one of his; none is begun for whoever asks. */
  heldByClient(user: string, clientId: string): number {
    const holder = this.percent < 100 ? this.#holders.get(user) : this.#clients.get(`${clientId}\0${user}`);
    return holder?.held ?? 0;
  }

  #clientOf(whole: Holder, clientId: string): Holder {
    if (this.#lastClient?.whole === whole && this.#lastClient.clientId === clientId) return this.#lastClient;
    const name = `${clientId}\0${whole.user}`;
    const client = this.#clients.get(name) ?? new Holder(whole.user, { clientId, whole });
    this.#clients.set(name, client);
    this.#lastClient = client;
    return client;
  }

  #begin(user: string): Holder {
    const holder = new Holder(user);
    this.#holders.set(user, holder);
    return holder;
  }

  /** Forgets users that hold nothing. It is not done when the last of it goes, for that is often for a moment only. */
  forget(): void {
    for (const [name, { held }] of this.#clients) if (held === 0) this.#clients.delete(name);
    for (const { user, held } of this.#holders.values()) if (held === 0) this.#holders.delete(user);
    this.#last = this.brokers;
    this.#lastClient = undefined;
  }

  /** Returns the milli-credits that a user's things bind here. */
  heldBy(user: string): number {
    return this.#holders.get(user)?.held ?? 0;
  }

  /** Changes what a holder's things bind by so many milli-credits. */
  add(holder: Holder, credits: number): void {
    holder.held += credits;
    if (holder.whole !== undefined) holder.whole.held += credits;
  }

  /**
   * Says why so many milli-credits more may not be bound for a holder, while `free` are free at this branch; undefined:
   * they may.
   */
  whyNot(holder: Holder, credits: number, free: number): ShareDenial | undefined {
    const { capital, vault, percent, isShared } = this.#bank;
    if (holder === this.brokers || credits === 0) return undefined;
    const left = Math.max(0, free) + vault;
    const isNearlyEmpty = left - credits < capital * bankScarcePartMin;
    if (percent === 100) {
      const isLarge = holder.whole !== undefined && holder.held > left;
      return isNearlyEmpty && isLarge ? "scarce" : undefined;
    }
    const after = (holder.whole ?? holder).held + credits;
    if (after > this.limit) return "share";
    // Who hoards at another broker is no small holder here.
    const everywhere = after + (this.#claimedElsewhere.get(holder.user) ?? 0);
    if (isNearlyEmpty && everywhere > left) return "scarce";
    return isShared && after > this.#roomOf(holder.user) ? "unclaimed" : undefined;
  }

  /** Returns true if a user may bind so many milli-credits more at this branch by its claim, or without one. */
  hasRoom(user: string, credits: number): boolean {
    return !this.#bank.isShared || this.heldBy(user) + credits <= this.#roomOf(user);
  }

  /** Returns how many milli-credits more a user may bind at this branch, with the claims that it has. */
  leftFor(user: string): number {
    const most = this.#bank.isShared ? Math.min(this.limit, this.#roomOf(user)) : this.limit;
    return Math.max(0, most - this.heldBy(user));
  }

  #roomOf(user: string): number {
    return Math.max(this.spareOf(this.#branches), this.#claims.get(user) ?? 0);
  }

  /** Returns what each of so many branches may bind for a user without a claim, in milli-credits. */
  spareOf(branches: number): number {
    const { limit } = this;
    const spare = Math.max(limit * shareSparePartMin, this.#bank.capital * shareSpareOfCapitalMin);
    return Math.floor(Math.min(spare, limit / branches));
  }

  /** Takes over the claims that the store holds for this branch. */
  claimed(claims: ClaimsByUser): void {
    this.#claims = claims;
  }

  /** Takes over what was found when claims were made: also of how many branches this is one, and what others claim. */
  madeClaims({ users, branches, elsewhere }: Claims): void {
    this.#claims = users;
    this.#branches = branches;
    this.#claimedElsewhere = elsewhere;
  }

  /** Goes by smaller claims from now on: the others are about to be given up. */
  lower(most: ClaimsByUser): void {
    const lowered = [...this.#claims].map(([user, claim]) => [user, Math.min(claim, most.get(user) ?? 0)] as const);
    this.#claims = new Map(lowered);
  }

  /**
   * Returns the claim that a user needs at this branch, who is to bind so many milli-credits more. reserve: with a step
   * above it, so that another one is not needed soon; used: just that.
   */
  claimFor(user: string, credits: number, how: "reserve" | "used"): number {
    const needed = this.heldBy(user) + credits;
    const isSmall = needed <= 0.75 * this.spareOf(this.#branches);
    if (how === "used" || isSmall) return needed;
    return Math.min(this.limit, needed + Math.ceil(Math.max(this.limit * shareStepPartMin, needed / 2)));
  }

  /** Returns true if a claim is nearly used up, or far more than is needed. */
  areClaimsUnfit(): boolean {
    const { limit } = this;
    for (const { user, held } of this.#holders.values()) {
      const room = this.#roomOf(user);
      if (held > 0.75 * room && room < limit) return true;
    }
    for (const [user, claim] of this.#claims) if (claim > 2 * this.heldBy(user) + limit / 4) return true;
    return false;
  }

  /** Returns all users that hold something. */
  holders(): Holder[] {
    return [...this.#holders.values()].filter(({ held }) => held > 0);
  }

  /** Returns how many users can bind no more than a hundredth of their share. */
  countSpent(): number {
    const { limit } = this;
    let count = 0;
    for (const { held } of this.#holders.values()) if (held > 0 && held >= 0.99 * limit) count++;
    return count;
  }

  /** Returns the most that one user holds, in milli-credits. */
  largest(): number {
    let most = 0;
    for (const { held } of this.#holders.values()) most = Math.max(most, held);
    return most;
  }
}
