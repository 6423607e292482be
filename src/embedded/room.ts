/**
 * Whether the store may take anything new. When the disk is nearly full nothing new is taken any more, and the reserve
 * serves the commits that make room; when enough has gone, and the reserve is there again, everything is as it was.
 */
import { logPagesMax } from "../base/store-limits.ts";
import type { DiskSpace } from "./disk-space.ts";
import type { StoreFile } from "./store-file.ts";

const pageBytes = 4096;

export class Room {
  /** True if nothing new should be stored. */
  isFull = false;
  readonly #space: DiskSpace;
  readonly #file: StoreFile;
  readonly #changed: (isFull: boolean) => void;
  #isReserved = false;

  constructor(space: DiskSpace, file: StoreFile, changed: (isFull: boolean) => void) {
    this.#space = space;
    this.#file = file;
    this.#changed = changed;
    file.limitLog(this.#logPages);
  }

  /** A commit has failed for want of room. True: there is some now, try again. */
  ranOut(): boolean {
    this.#become(true);
    this.#isReserved = false;
    return this.#space.release();
  }

  /** Looks after commits whether there is still room for what may be on its way here. */
  committed(): void {
    if (!this.isFull && this.#spare < this.#space.target / 2) this.#become(true);
  }

  /** Looks at the disk; called now and then. */
  look(): void {
    this.committed();
    if (this.isFull) this.#recover();
    else if (!this.#isReserved) this.#isReserved = this.#space.fill();
  }

  #recover(): void {
    const { target, free } = this.#space;
    const { freeBytes, usedBytes } = this.#file;
    // What lies free within the file is given back when what is left is little, and finds room for a copy.
    if (free < target && freeBytes > 3 * usedBytes && usedBytes < free / 2) this.#file.compact();
    this.#file.truncateLog();
    if (this.#spare < target) return;
    this.#isReserved = this.#space.fill();
    if (this.#isReserved) this.#become(false);
  }

  /** Bytes that can still be stored: on the disk, and in pages of the file that hold nothing. */
  get #spare(): number {
    return this.#space.free + this.#file.freeBytes;
  }

  /** The log must find its place in the reserve, too. */
  get #logPages(): number {
    return Math.min(logPagesMax, Math.floor(this.#space.target / 2 / pageBytes));
  }

  #become(isFull: boolean): void {
    if (isFull === this.isFull) return;
    this.isFull = isFull;
    // While it is full the log is written into the database at once, so that it does not grow.
    this.#file.limitLog(isFull ? 1 : this.#logPages);
    this.#changed(isFull);
  }
}
