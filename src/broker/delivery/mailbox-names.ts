/**
 * The names of a mailbox's slips, by which slips of other brokers are told from own ones. The store tells of every slip
 * that is committed, also of this broker's own, whose names are known only when their commits are answered. Slips are
 * numbered in the order of their commits.
 */
import type { Slip } from "../../mail/slips.ts";

/** The known names of one mailbox's slips, and those that the store has told of and that may be news. */
export class MailboxNames {
  /** The names of all slips that have their place in the mailbox. */
  readonly #known = new Set<string>();
  /** The names that the store has told of; some of them may be of slips stored by this broker. */
  readonly #noticed = new Set<string>();
  /** The number of this broker's slips whose commits are under way. */
  #unnamed = 0;

  /**
   * The number of slips in the mailbox: those whose names are known, and this broker's own whose names are not told
   * yet.
   */
  get size(): number {
    return this.#known.size + this.#unnamed;
  }

  /** True if the store has told of no slip that has not been taken up. */
  get isQuiet(): boolean {
    return this.#noticed.size === 0;
  }

  /** Notes that the store has told of a slip. */
  notice(name: string): void {
    this.#noticed.add(name);
  }

  /** Forgets a slip that is gone from the store. */
  forget(name: string): void {
    this.#noticed.delete(name);
    this.#known.delete(name);
  }

  /** Notes that a slip of this broker is on its way to the store. */
  expect(): void {
    this.#unnamed++;
  }

  /**
   * Takes the name of a slip of this broker that was committed; undefined: it will not be, or its name was not told.
   * "placed": the slip has its place in the mailbox, so its name is not news.
   *
   * Invariant: no read has found it yet. The store answers in order, also what it is asked again.
   */
  arrived(name: string | undefined, where: "placed" | "elsewhere"): void {
    this.#unnamed--;
    if (name !== undefined && where === "placed") this.#known.add(name);
  }

  /** Replaces the known names by those that a read of the whole mailbox has found: those sent already, and others. */
  know(sent: Iterable<string>, others: readonly Slip[]): void {
    this.#known.clear();
    for (const name of sent) this.#known.add(name);
    for (const { name } of others) if (name !== undefined) this.#known.add(name);
  }

  /** Forgets all names: the connection is gone. */
  clear(): void {
    this.#known.clear();
    this.#noticed.clear();
  }

  /**
   * Returns, and takes up, names that the store has told of and that are none of this broker's own: all of them if no
   * own slip is on its way, otherwise those up to `upTo`, the last own slip that has been named.
   */
  takeNews(upTo?: string): string[] {
    if (this.#unnamed > 0 && upTo === undefined) return [];
    const noticed = [...this.#noticed].filter((name) => this.#unnamed === 0 || name <= upTo!);
    for (const name of noticed) this.#noticed.delete(name);
    const news = noticed.filter((name) => !this.#known.has(name));
    for (const name of news) this.#known.add(name);
    return news;
  }
}

/** Compares slips by the order of their commits; those not committed yet come last, in their own order. */
export function byNumber(a: Slip, b: Slip): number {
  if (a.name === undefined || b.name === undefined) return Number(a.name === undefined) - Number(b.name === undefined);
  return a.name < b.name ? -1 : 1;
}
