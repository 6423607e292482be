/** The place that the store's file and its log take on the disk, and how it is given back. */
import type { Database } from "bun:sqlite";
import { chmodSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const freeBytesOf = "SELECT freelist_count * page_size AS bytes FROM pragma_freelist_count(), pragma_page_size()";
const usedBytesOf = `SELECT (page_count - freelist_count) * page_size AS bytes
  FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`;

export class StoreFile {
  readonly #db: Database;
  readonly #opened: string | undefined;

  constructor(db: Database) {
    this.#db = db;
    this.#opened = identityOf(db.filename);
  }

  /**
   * False when somebody has moved or removed the open file, or its folder: nobody will find what is written there.
   */
  get isInPlace(): boolean {
    return identityOf(this.#db.filename) === this.#opened;
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

/** Names of the files that a store is made of, and of those that go with them. */
const storeFiles = /^(tree\.db|lock\.db|tree\.witness|tree\.reserve)/;

/**
 * Closes the store's files to everybody but their owner. SQLite gives its log the rights of the database. Rights that
 * the system does not let us change stay: the folder may lie where there are none.
 */
export function closeToOthers(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!storeFiles.test(name)) continue;
    try {
      chmodSync(join(folder, name), 0o600);
    } catch (error) {
      if ((error as { syscall?: string }).syscall === undefined) throw error;
    }
  }
}

/** The device and the number of a file, which tell it from all others; undefined: there is none of that name. */
function identityOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}
