/** The place that the store's file and its log take on the disk, and how it is given back. */
import type { Database } from "bun:sqlite";

const freeBytesOf = "SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count(), pragma_page_size()";
const usedBytesOf = `SELECT (page_count - freelist_count) * page_size AS bytes
  FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`;

export class StoreFile {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Pages of the file that hold nothing now, in bytes. */
  get freeBytes(): number {
    return this.#db.query<{ bytes: number }, []>(freeBytesOf).get()!.bytes;
  }

  /** Pages of the file that hold something, in bytes. */
  get usedBytes(): number {
    return this.#db.query<{ bytes: number }, []>(usedBytesOf).get()!.bytes;
  }

  /**
   * Gives pages that hold nothing back to the disk; takes as long as writing what is left. Where that fails all stays
   * as it is.
   */
  compact(): void {
    try {
      this.#db.exec("VACUUM");
    } catch {
      // There is no room for it.
    }
  }

  /** Sets the pages that the log may grow to, about. */
  limitLog(pages: number): void {
    this.#db.exec(`PRAGMA wal_autocheckpoint=${pages}`);
  }

  /** Writes the log into the database, and gives its place back. Where that fails now it may succeed later. */
  truncateLog(): void {
    try {
      this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // The log stays as it is.
    }
  }
}
