/**
 * Which slips of a mailbox are news: the store tells of every one that is committed, also of this broker's own, whose names
 * are known only when their commits are answered. Slips are numbered in the order of their commits.
 */
import type { Slip } from "../../mail/slips.ts";

export class MailboxNames {
  /** Of all slips that are known. */
  readonly #known = new Set<string>();
  /** Told by the store, and perhaps of slips stored from here. */
  readonly #heard = new Set<string>();
  /** Slips of our own that are being committed. */
  #unnamed = 0;

  /** Slips in the mailbox: those that are known, and those of our own whose names are not told yet. */
  get size(): number {
    return this.#known.size + this.#unnamed;
  }

  /** True if the store has told of nothing that has not been taken up. */
  get isQuiet(): boolean {
    return this.#heard.size === 0;
  }

  hear(name: string): void {
    this.#heard.add(name);
  }

  /** It is gone. */
  forget(name: string): void {
    this.#heard.delete(name);
    this.#known.delete(name);
  }

  /** A slip of our own is on its way to the store. */
  expect(): void {
    this.#unnamed++;
  }

  /**
   * The store has named it, or it will not be stored. placed: it has its place, so its name is not news. True if it has two: a
   * reading that was asked for before it was stored, and answered after contact had been lost, has found it too.
   */
  arrived(name: string | undefined, where: "placed" | "elsewhere"): boolean {
    this.#unnamed--;
    if (name === undefined || where === "elsewhere") return false;
    const isTwin = this.#known.has(name);
    this.#known.add(name);
    return isTwin;
  }

  /** The mailbox has been read: these are in it. */
  know(names: Iterable<string | undefined>): void {
    this.#known.clear();
    for (const name of names) if (name !== undefined) this.#known.add(name);
  }

  clear(): void {
    this.#known.clear();
    this.#heard.clear();
  }

  /**
   * Takes up what was heard of and is none of our own: everything if none of our own is on its way, or else up to the last of
   * our own that has been named.
   */
  takeNews(upTo?: string): string[] {
    if (this.#unnamed > 0 && upTo === undefined) return [];
    const heard = [...this.#heard].filter((name) => this.#unnamed === 0 || name <= upTo!);
    for (const name of heard) this.#heard.delete(name);
    const news = heard.filter((name) => !this.#known.has(name));
    for (const name of news) this.#known.add(name);
    return news;
  }
}

/** In the order of the commits; what is not committed yet comes last, in its own order. */
export function byNumber(a: Slip, b: Slip): number {
  if (a.name === undefined || b.name === undefined) return Number(a.name === undefined) - Number(b.name === undefined);
  return a.name < b.name ? -1 : 1;
}
