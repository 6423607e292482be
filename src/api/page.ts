/**
 * Pages of long lists. A page is found by one walk over all that is listed, which keeps the rows that come next after
 * the cursor: so a list is sorted without ever being held as a whole, and what comes or goes between two pages neither
 * repeats nor hides others. The walk is done in slices of the event loop.
 */
import { createHash } from "node:crypto";
import { cursorKeyMax, pageBytesMax } from "../base/api-limits.ts";

/** The place of a row in a list: what it is sorted by, and its name, by which rows that are the same there differ. */
export interface Key {
  readonly by: string | number;
  readonly name: string;
}

/** The page that is wanted. */
export interface Wanted {
  /** The place after which it begins; undefined: the first page. */
  readonly after: Key | undefined;
  readonly isDescending: boolean;
  readonly limit: number;
}

/** A row that may be on the page; it is made when it is needed. */
export interface Candidate<Row> {
  readonly key: Key;
  readonly row: () => Row;
}

/** Candidates one by one; undefined: a step of the walk that has found none. */
export type Candidates<Row> = Iterable<Candidate<Row> | undefined>;

export interface Page {
  /** The rows, each as JSON, and their keys. */
  readonly items: readonly string[];
  readonly keys: readonly Key[];
  /** The place after which the next page begins; undefined: this is the last one. */
  readonly next: Key | undefined;
}

/** Candidates that are looked at in one step: some microseconds. */
const stepCandidates = 32;

/** A page that is being found. */
export class Selection<Row> {
  readonly #wanted: Wanted;
  readonly #chosen: { readonly key: Key; readonly row: Row }[] = [];
  readonly #written: string[] = [];

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  /** Walks over candidates, and writes the page, step by step. */
  *walk(candidates: Candidates<Row>): Generator<void, void, void> {
    yield* this.choose(candidates);
    yield* this.write();
  }

  /** Walks over candidates, step by step; others may follow. */
  *choose(candidates: Candidates<Row>): Generator<void, void, void> {
    let seen = 0;
    for (const candidate of candidates) {
      if (candidate !== undefined) this.#consider(candidate);
      if (++seen % stepCandidates === 0) yield;
    }
  }

  /** Returns true if nothing that is at a place, or behind it, can be on the page any more. */
  isBefore(place: Key): boolean {
    const last = this.#chosen[this.#wanted.limit];
    return last !== undefined && this.#compare(place, last.key) > 0;
  }

  /** The rows of the page, when the walk is over. */
  get rows(): readonly Row[] {
    return this.#chosen.slice(0, this.#wanted.limit).map(({ row }) => row);
  }

  /** Writes the page, step by step; `complete`: adds to a row what is known only now. */
  *write(complete: (row: Row) => Row = (row) => row): Generator<void, void, void> {
    let bytes = 0;
    for (const row of this.rows) {
      const json = JSON.stringify(complete(row));
      bytes += json.length;
      if (this.#written.length > 0 && bytes > pageBytesMax) return;
      this.#written.push(json);
      if (this.#written.length % stepCandidates === 0) yield;
    }
  }

  /** Returns the page, when the walk is over. */
  get page(): Page {
    const count = this.#written.length;
    const isLast = count === this.#chosen.length;
    const keys = this.#chosen.slice(0, count).map(({ key }) => key);
    return { items: this.#written, keys, next: isLast ? undefined : keys[count - 1] };
  }

  #consider({ key, row }: Candidate<Row>): void {
    const { after, limit } = this.#wanted;
    if (after !== undefined && this.#compare(key, after) <= 0) return;
    const chosen = this.#chosen;
    if (chosen.length > limit && this.#compare(key, chosen[limit]!.key) >= 0) return;
    let [low, high] = [0, chosen.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(chosen[middle]!.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    // What went and came back during the walk is met twice.
    if (low < chosen.length && this.#compare(chosen[low]!.key, key) === 0) return;
    chosen.splice(low, 0, { key, row: row() });
    // One more than the page holds says whether there is a next one.
    if (chosen.length > limit + 1) chosen.pop();
  }

  #compare(a: Key, b: Key): number {
    return compareKeys(a, b, this.#wanted);
  }
}

function compareKeys(a: Key, b: Key, { isDescending }: Pick<Wanted, "isDescending">): number {
  const order = compare(a.by, b.by) || compare(a.name, b.name);
  return isDescending ? -order : order;
}

/**
 * Makes one page of those of several brokers, each of what follows the same cursor. What lies behind the end of a page
 * that is not the last one of its broker is left for the next page, since that broker may have more before it.
 */
export function mergePages(pages: readonly Page[], wanted: Wanted): Page {
  const order = (a: Key, b: Key): number => compareKeys(a, b, wanted);
  const ends = pages.flatMap(({ next }) => (next === undefined ? [] : [next])).sort(order);
  const rows = pages.flatMap(({ items, keys }) => items.map((item, index) => ({ item, key: keys[index]! })));
  rows.sort((a, b) => order(a.key, b.key));
  // A session that has just moved to another broker may be told of by both.
  const known = rows.filter(({ key }, index) => index === 0 || order(rows[index - 1]!.key, key) !== 0);
  const sure = ends[0] === undefined ? known : known.filter(({ key }) => order(key, ends[0]!) <= 0);
  const chosen = sure.slice(0, wanted.limit);
  const isLast = chosen.length === known.length && ends.length === 0;
  const keys = chosen.map(({ key }) => key);
  return { items: chosen.map(({ item }) => item), keys, next: isLast ? undefined : (keys.at(-1) ?? ends[0]) };
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Returns a name that is short enough for a cursor: of a long one its beginning and a hash. */
export function shortName(name: string): string {
  if (name.length <= cursorKeyMax) return name;
  return name.slice(0, cursorKeyMax) + createHash("sha256").update(name).digest("base64url");
}

/** Writes a cursor: the list's order, with the place after which the next page begins. */
export function encodeCursor(order: string, { by, name }: Key): string {
  return Buffer.from(JSON.stringify([order, by, name])).toString("base64url");
}

/** Reads a cursor of a list in that order; undefined if it is none. */
export function decodeCursor(text: string, order: string): Key | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts) || parts.length !== 3 || parts[0] !== order) return undefined;
  const [, by, name] = parts as unknown[];
  if (typeof name !== "string" || (typeof by !== "string" && typeof by !== "number")) return undefined;
  return { by, name };
}
