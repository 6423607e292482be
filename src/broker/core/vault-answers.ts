/**
 * The questions that the vault has answered: when each was asked, and for how much. A publisher that waits for credits
 * waits for such an answer, however slow the store is, and not until some time has passed.
 */
import { vaultAnswersMax } from "../../base/bank-limits.ts";

interface Answer {
  /** By the clock's `now`. */
  readonly askedAt: number;
  readonly credits: number;
}

export class VaultAnswers {
  /** The last ones; each was asked for less than those before it, or it would stand in their place. */
  #answers: Answer[] = [];

  /** The vault has answered what was asked then for so much. */
  answered(askedAt: number, credits: number): void {
    this.#answers = this.#answers.filter((answer) => answer.credits > credits).slice(1 - vaultAnswersMax);
    this.#answers.push({ askedAt, credits });
  }

  /** Returns true if it was asked at `since` or later for so much or more, and has answered. */
  has(since: number, credits: number): boolean {
    return this.#answers.some((answer) => answer.askedAt >= since && answer.credits >= credits);
  }
}
