/**
 * The formats that a store has had, and how it gets from one to the next. A store of an older format is brought up in
 * one transaction when a broker opens it, and a copy of it is kept until the next clean start, for an older program to
 * go back to. A newer one is refused.
 */
import { Database } from "bun:sqlite";
import { OperatingError } from "../base/errors.ts";
import { checksumOf, checksumOfTotals, noRows, type Row, type Totals, withRow } from "./checksum.ts";
import { encodeNames } from "./encode-names.ts";

/** The format that SQLite keeps as `user_version`. The first format had none: 0. */
export const currentFormat = 2;

interface Step {
  readonly from: number;
  readonly to: number;
  /** Runs inside the transaction. It need not care for checksums: all rows get theirs when the last step is done. */
  readonly change: (db: Database) => void;
}

/** The steps in their order: each begins where the one before it ends. */
const steps: readonly Step[] = [
  { from: 0, to: 1, change: encodeNames },
  { from: 1, to: 2, change: addChecksums },
];

const schema = `
  CREATE TABLE node (
    parent TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, mode INTEGER NOT NULL,
    version INTEGER NOT NULL, czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, sequence INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
  ) WITHOUT ROWID;
  CREATE TABLE counter (zxid INTEGER NOT NULL, rows INTEGER NOT NULL, digest INTEGER NOT NULL, checksum INTEGER NOT NULL);
  INSERT INTO counter VALUES (0, 0, 0, ${checksumOfTotals(noRows, 0)});
  PRAGMA user_version = ${currentFormat};
`;

/** The first format's, as it made sure of it at every start. */
const schemaOfFirst = `
  CREATE TABLE IF NOT EXISTS node (
    parent TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, mode INTEGER NOT NULL,
    version INTEGER NOT NULL, czxid INTEGER NOT NULL, mzxid INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS counter (zxid INTEGER NOT NULL);
  INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
`;

export function formatOf(db: Database): number {
  return db.query<{ user_version: number }, []>("PRAGMA user_version").get()!.user_version;
}

/** True if nothing has been written to it yet. */
export function isEmpty(db: Database): boolean {
  return db.query("SELECT 1 FROM sqlite_schema WHERE name = 'node'").get() === null;
}

/** The columns of a table of the current format, as SQLite knows them. */
function columnsOf(db: Database, table: string): string {
  return JSON.stringify(db.query('SELECT name, type, "notnull", pk FROM pragma_table_info(?)').all(table));
}

/**
 * True if the tables of a store of the current format are described as they were made. The description is text in the
 * file, which no row's checksum covers: with another name for a column every row would seem damaged.
 */
export function hasOurTables(db: Database): boolean {
  const ours = new Database(":memory:");
  try {
    ours.exec(schema);
    return ["node", "counter"].every((table) => columnsOf(db, table) === columnsOf(ours, table));
  } finally {
    ours.close();
  }
}

export function hasChecksums(db: Database): boolean {
  return formatOf(db) >= 2;
}

/** Throws `OperatingError` if this program is too old for the store. */
export function checkFormat(db: Database, folder: string): void {
  const format = formatOf(db);
  if (format <= currentFormat) return;
  throw new OperatingError(
    "EFORMAT",
    `the store in ${folder} has format ${format}, and this mqttzoo knows those up to ${currentFormat}: use a newer one`,
  );
}

/** Makes the tables of an empty store. */
export function create(db: Database): void {
  inTransaction(db, () => db.exec(schema));
}

/** Brings a store of an older format to the current one; all of it, or nothing. */
export function migrate(db: Database): void {
  inTransaction(db, () => {
    for (const step of steps) if (formatOf(db) === step.from) takeStep(db, step);
    seal(db);
  });
}

function takeStep(db: Database, { change, to }: Step): void {
  change(db);
  db.exec(`PRAGMA user_version = ${to}`);
}

function inTransaction(db: Database, run: () => void): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    run();
    db.exec("COMMIT");
  } catch (error) {
    if (db.inTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function addChecksums(db: Database): void {
  db.exec(`
    ${schemaOfFirst}
    DROP INDEX IF EXISTS ephemeral;
    ALTER TABLE node ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE counter ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE counter ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE counter ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
  `);
}

/** Rows that are sealed at once. */
const sealedRows = 64;

/** Gives each row its checksum, and the store its totals, as they stand. */
function seal(db: Database): void {
  const page = db.query<Row, [string, string, number]>(
    "SELECT * FROM node WHERE (parent, name) > (?, ?) ORDER BY parent, name LIMIT ?",
  );
  const put = db.query("UPDATE node SET checksum = ? WHERE parent = ? AND name = ?");
  let totals: Totals = noRows;
  let last: { readonly parent: string; readonly name: string } | undefined = { parent: "", name: "" };
  while (last !== undefined) {
    const rows: Row[] = page.all(last.parent, last.name, sealedRows);
    for (const row of rows) {
      const checksum = checksumOf(row);
      put.run(checksum, row.parent, row.name);
      totals = withRow(totals, checksum);
    }
    last = rows.at(-1);
  }
  const { zxid } = db.query<{ zxid: number }, []>("SELECT zxid FROM counter").get()!;
  db.query("UPDATE counter SET rows = ?, digest = ?, checksum = ?").run(
    totals.rows,
    totals.digest,
    checksumOfTotals(totals, zxid),
  );
}
