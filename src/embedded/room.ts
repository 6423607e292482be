/**
 * Whether the store may take anything new. When the disk is nearly full nothing new is taken any more, and the reserve serves the commits
 * that make room; when enough has gone, and the reserve is there again, everything is as it was.
 */
import { logPagesMax } from "../base/limits.ts";
import type { TreeDatabase } from "./database.ts";
import type { DiskSpace } from "./disk-space.ts";

const pageBytes = 4096;

type Store = Pick<TreeDatabase, "freeBytes" | "usedBytes" | "limitLog" | "truncateLog" | "compact">;

export class Room {
  /** Nothing new should be stored. */
  isFull = false;
  readonly #space: DiskSpace;
  readonly #store: Store;
  readonly #changed: (isFull: boolean) => void;
  #isReserved = false;

  constructor(space: DiskSpace, store: Store, changed: (isFull: boolean) => void) {
    this.#space = space;
    this.#store = store;
    this.#changed = changed;
    store.limitLog(this.#logPages);
  }

  /** A commit has failed for want of room. True: there is some now, try again. */
  ranOut(): boolean {
    this.#become(true);
    this.#isReserved = false;
    return this.#space.release();
  }

  /** After commits: whether there is still room for what may be on its way here. */
  committed(): void {
    if (!this.isFull && this.#spare < this.#space.target / 2) this.#become(true);
  }

  /** Now and then. */
  look(): void {
    this.committed();
    if (this.isFull) this.#recover();
    else if (!this.#isReserved) this.#isReserved = this.#space.fill();
  }

  #recover(): void {
    const { target, free } = this.#space;
    const { freeBytes, usedBytes } = this.#store;
    // What lies free within the file is given back when what is left is little, and finds room for a copy.
    if (free < target && freeBytes > 3 * usedBytes && usedBytes < free / 2) this.#store.compact();
    this.#store.truncateLog();
    if (this.#spare < target) return;
    this.#isReserved = this.#space.fill();
    if (this.#isReserved) this.#become(false);
  }

  /** What can still be stored: on the disk, and in pages of the file that hold nothing. */
  get #spare(): number {
    return this.#space.free + this.#store.freeBytes;
  }

  /** The log must find its place in the reserve, too. */
  get #logPages(): number {
    return Math.min(logPagesMax, Math.floor(this.#space.target / 2 / pageBytes));
  }

  #become(isFull: boolean): void {
    if (isFull === this.isFull) return;
    this.isFull = isFull;
    // While it is full the log is written into the database at once, so that it does not grow.
    this.#store.limitLog(isFull ? 1 : this.#logPages);
    this.#changed(isFull);
  }
}
