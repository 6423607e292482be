/**
 * This broker's claims on users' shares: asked for when a user needs more than the branch may bind for him, and given
 * back when he does not. A broker whose store nobody else uses needs none.
 */
import type { Branch } from "../../bank/branch.ts";
import { type Claims, type ClaimTerms, claim, type Wanted } from "../../bank/claims.ts";
import type { Runtime } from "./runtime.ts";

export interface ShareClaimsParts {
  readonly account: Pick<Branch, "shares">;
  /** The name of the branch. */
  readonly branch: string;
  /** Asks other brokers for claims that they do not use. */
  readonly askOthers: () => void;
}

/** Makes claims, all users' at once, one commit after the other. */
export class ShareClaims {
  readonly #runtime: Pick<Runtime, "coordinator" | "clock">;
  readonly #parts: ShareClaimsParts;
  /** Milli-credits that are needed for users right now, besides what they hold. */
  readonly #needed = new Map<string, number>();
  #isAsking = false;
  #isAskedAgain = false;
  /** When the last question was asked that has been answered, by the clock's `now`. */
  #answeredAt = -Infinity;

  constructor(runtime: Pick<Runtime, "coordinator" | "clock">, parts: ShareClaimsParts) {
    this.#runtime = runtime;
    this.#parts = parts;
  }

  /** True if what a user holds at other brokers counts. */
  get areNeeded(): boolean {
    return this.#runtime.coordinator.isAlone !== true && this.#parts.account.shares.percent < 100;
  }

  /** Returns true if claims were asked for at `since` or later (ms, by the clock), and the answer is there. */
  hasAnswered(since: number): boolean {
    return this.#answeredAt >= since;
  }

  /** Asks for a claim by which a user may bind so many milli-credits more. */
  need(user: string, credits: number): void {
    this.#needed.set(user, Math.max(credits, this.#needed.get(user) ?? 0));
    this.ask();
  }

  /** Looks whether claims fit what users hold; asks for what is missing, and gives back what is far too much. */
  look(): void {
    if (this.areNeeded && this.#parts.account.shares.areClaimsUnfit()) this.ask();
  }

  /** Gives back all that is not used: another broker needs it. */
  giveBack(): void {
    if (this.areNeeded) this.#ask("used");
  }

  /** Asks for what is needed now, with a reserve. `done` is called when there is an answer. */
  ask(done: () => void = () => {}): void {
    if (!this.areNeeded) return done();
    this.#ask("reserve", done);
  }

  #ask(what: "used" | "reserve", done: () => void = () => {}): void {
    if (this.#isAsking) {
      this.#isAskedAgain = true;
      return done();
    }
    const { account, branch, askOthers } = this.#parts;
    const { shares } = account;
    const { coordinator, clock } = this.#runtime;
    this.#isAsking = true;
    this.#isAskedAgain = false;
    const askedAt = clock.now();
    const wanted = new Map<string, Wanted>();
    for (const holder of shares.holders()) {
      const { user, held } = holder;
      wanted.set(user, { claim: shares.claimFor(user, this.#needed.get(user) ?? 0, what), held });
    }
    for (const [user, credits] of this.#needed)
      if (!wanted.has(user)) wanted.set(user, { claim: shares.claimFor(user, credits, what), held: 0 });
    const needed = new Map(this.#needed);
    this.#needed.clear();
    // What is on its way back must not be spent meanwhile.
    shares.lower(new Map([...wanted].map(([user, { claim: most }]) => [user, most])));
    const terms: ClaimTerms = { id: branch, limit: shares.limit, spareOf: (count) => shares.spareOf(count), wanted };
    claim(coordinator, terms, (claims: Claims | undefined) => {
      this.#isAsking = false;
      if (claims !== undefined) {
        this.#answeredAt = askedAt;
        shares.madeClaims(claims);
        if ([...needed].some(([user, credits]) => !shares.hasRoom(user, credits))) askOthers();
      }
      if (this.#isAskedAgain) this.ask();
      done();
    });
  }
}
