/** A client's store in a file of SQLite's, as both Bun and Node (from 22.13 on) have it. */
import type { QoS } from "../mqtt/constants.ts";
import { StoreFailed } from "./errors.ts";
import type { Kept, Store, StoreChange } from "./store.ts";

/** The part of Bun's and Node's databases that is used here: they agree on it. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  close(): void;
}

interface SqliteStatement {
  run(...values: (string | number | null | Uint8Array)[]): unknown;
  all(): unknown[];
  /** Bun's closed databases are held by their statements, and so is the lock. Node closes these itself. */
  finalize?(): void;
}

/** Opens a file; imports the runtime's SQLite only then. */
export type OpenDatabase = (path: string) => Promise<SqliteDatabase>;

interface Row {
  readonly key: number;
  readonly packet_id: number | null;
  readonly is_released: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: number;
  readonly expires_at: number | null;
  readonly properties: Uint8Array;
}

const format = 1;
const schema = `
  CREATE TABLE client (id TEXT NOT NULL);
  CREATE TABLE messages (
    key INTEGER PRIMARY KEY, packet_id INTEGER, is_released INTEGER NOT NULL DEFAULT 0, topic TEXT NOT NULL,
    payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires_at REAL, properties BLOB NOT NULL
  );
  CREATE TABLE received (packet_id INTEGER PRIMARY KEY);
  PRAGMA user_version = ${format};
`;
const statements = {
  // Node 22 binds no bytes as NULL, where no memory is behind them.
  add: `INSERT INTO messages (key, topic, payload, qos, retain, expires_at, properties)
    VALUES (?, ?, ifnull(?, x''), ?, ?, ?, ifnull(?, x''))`,
  sent: "UPDATE messages SET packet_id = ?, is_released = 0 WHERE key = ?",
  released: "UPDATE messages SET is_released = 1 WHERE key = ?",
  removed: "DELETE FROM messages WHERE key = ?",
  received: "INSERT OR REPLACE INTO received VALUES (?)",
  forgotten: "DELETE FROM received WHERE packet_id = ?",
  "all forgotten": "DELETE FROM received",
} as const;

export class SqliteStore implements Store {
  readonly #path: string;
  readonly #openDatabase: OpenDatabase;
  #database: SqliteDatabase | undefined;
  readonly #prepared = new Map<keyof typeof statements, SqliteStatement>();

  constructor(path: string, openDatabase: OpenDatabase) {
    this.#path = path;
    this.#openDatabase = openDatabase;
  }

  /** Rejects with `StoreFailed`. */
  async open(clientId: string): Promise<Kept> {
    let database: SqliteDatabase | undefined;
    try {
      database = await this.#openDatabase(this.#path);
      const kept = this.#begin(database, clientId);
      this.#database = database;
      return kept;
    } catch (error) {
      database?.close();
      throw error instanceof StoreFailed
        ? error
        : new StoreFailed(`the store ${this.#path} ${wordsOf(error)}`, { cause: error });
    }
  }

  /** Throws `StoreFailed`. */
  write(changes: readonly StoreChange[], { isDurable }: { readonly isDurable: boolean }): void {
    const database = this.#database;
    if (database === undefined) throw new StoreFailed(`the store ${this.#path} is closed`);
    try {
      // In the write-ahead log, FULL syncs what was written before as well.
      if (isDurable) database.exec("PRAGMA synchronous = FULL");
      database.exec("BEGIN");
      try {
        for (const change of changes) this.#make(database, change);
        database.exec("COMMIT");
      } catch (error) {
        // SQLite may have done so itself.
        tryTo(() => database.exec("ROLLBACK"));
        throw error;
      } finally {
        if (isDurable) tryTo(() => database.exec("PRAGMA synchronous = NORMAL"));
      }
    } catch (error) {
      throw new StoreFailed(`the store ${this.#path} ${wordsOf(error)}`, { cause: error });
    }
  }

  close(): void {
    for (const statement of this.#prepared.values()) statement.finalize?.();
    this.#prepared.clear();
    this.#database?.close();
    this.#database = undefined;
  }

  /** Throws what SQLite throws, and `StoreFailed`. */
  #begin(database: SqliteDatabase, clientId: string): Kept {
    // Whoever comes second is told so by the lock, which ends with the process.
    database.exec("PRAGMA locking_mode = EXCLUSIVE");
    database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = NORMAL");
    database.exec("BEGIN IMMEDIATE");
    const [{ user_version: found }] = allOf(database, "PRAGMA user_version") as [{ user_version: number }];
    if (found === 0) {
      database.exec(schema);
      const insert = database.prepare("INSERT INTO client VALUES (?)");
      insert.run(clientId);
      insert.finalize?.();
    } else if (found !== format)
      throw new StoreFailed(`the store ${this.#path} is of format ${found}; this version reads format ${format}`);
    database.exec("COMMIT");
    const [owner] = allOf(database, "SELECT id FROM client") as [{ id: string }];
    if (owner.id !== clientId)
      throw new StoreFailed(
        `the store ${this.#path} is of the client ${JSON.stringify(owner.id)}, not ${JSON.stringify(clientId)}`,
      );
    const rows = allOf(database, "SELECT * FROM messages ORDER BY key") as Row[];
    const received = allOf(database, "SELECT packet_id FROM received") as { packet_id: number }[];
    return {
      messages: rows.map(({ key, packet_id, is_released, retain, expires_at, topic, payload, qos, properties }) => ({
        key,
        packetId: packet_id ?? undefined,
        isReleased: is_released === 1,
        message: { topic, payload, qos, retain: retain === 1, expiresAt: expires_at ?? undefined, properties },
      })),
      received: received.map(({ packet_id }) => packet_id),
    };
  }

  #make(database: SqliteDatabase, change: StoreChange): void {
    const statement = this.#prepared.get(change.kind) ?? database.prepare(statements[change.kind]);
    this.#prepared.set(change.kind, statement);
    switch (change.kind) {
      case "add": {
        const { topic, payload, qos, retain, expiresAt, properties } = change.message;
        return void statement.run(change.key, topic, payload, qos, retain ? 1 : 0, expiresAt ?? null, properties);
      }
      case "sent":
        return void statement.run(change.packetId ?? null, change.key);
      case "released":
      case "removed":
        return void statement.run(change.key);
      case "received":
      case "forgotten":
        return void statement.run(change.packetId);
      case "all forgotten":
        return void statement.run();
    }
  }
}

function allOf(database: SqliteDatabase, sql: string): unknown[] {
  const statement = database.prepare(sql);
  const rows = statement.all();
  statement.finalize?.();
  return rows;
}

function tryTo(run: () => unknown): void {
  try {
    run();
  } catch {
    // What matters is thrown already.
  }
}

/** The words of SQLite, and what they mean where that is not plain. */
function wordsOf(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  if (/locked|busy/i.test(said)) return `is in use by another client (${said})`;
  if (/not a database|malformed/i.test(said)) return `is damaged, or no store (${said}): move it away`;
  if (/unable to open/i.test(said)) return `cannot be opened (${said}): is its folder there, and may it be written to?`;
  if (/full/i.test(said)) return `has no room (${said})`;
  return `fails: ${said}`;
}
