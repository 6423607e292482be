/**
 * Faults in how the embedded store knows that it is as it was written: each would serve less, or something else, in
 * silence.
 */
import type { Fault } from "./faults.ts";

const tests = "test/unit/damage.test.ts";
const formats = "test/unit/formats.test.ts";

const power = "test/chaos/disk.test.ts -t losses";
const full = "test/chaos/disk.test.ts -t full";
const newcomers = "test/broker/full-disk.test.ts";
const filled = "test/chaos/disk.test.ts -t others";

export const faults: readonly Fault[] = [
  {
    what: "damage: a record's checksum is not looked at when it is read",
    file: "src/embedded/node-table.ts",
    find: "&& !isWhole(row)) throw",
    replace: "&& !isWhole(row) && row.version < 0) throw",
    tests,
  },
  {
    what: "damage: the checksum leaves out the data",
    file: "src/embedded/checksum.ts",
    find: "Bun.hash.crc32(row.data, Bun",
    replace: "Bun.hash.crc32(new Uint8Array(row.data.length), Bun",
    tests,
  },
  {
    what: "damage: records that are older than they should be are not missed",
    file: "src/embedded/scan.ts",
    find: "totals.rows !== counter.rows || totals.digest !== counter.digest",
    replace: "totals.rows !== counter.rows",
    tests,
  },
  {
    what: "damage: SQLite's word is taken for where the log ends",
    file: "src/embedded/wal.ts",
    find: 'return { state: "damaged", frames, readable };',
    replace: 'return { state: "torn", frames, readable };',
    tests,
  },
  {
    what: "damage: the torn end of a crash is taken for damage",
    file: "src/embedded/wal.ts",
    find: "if (!this.#isCommit(index) || !this.#hasSalts(index + 1)) continue;",
    replace: "if (!this.#hasSalts(index + 1)) continue;",
    tests,
  },
  {
    what: "damage: nobody asks how far acknowledged commits went",
    file: "src/embedded/assess.ts",
    find: "zxid < testimony.zxid)",
    replace: "zxid < 0)",
    tests,
  },
  {
    what: "damage: the witness is not told of a commit",
    file: "src/embedded/database.ts",
    find: "        this.#store?.witness.committed(this.#zxid);\n",
    replace: "",
    tests,
  },
  {
    what: "damage: what is salvaged ends where the log is damaged",
    file: "src/embedded/assess.ts",
    find: "  rechainWal(walPath(folder), walPath(copy));\n",
    replace: "  if (existsSync(walPath(folder))) copyFileSync(walPath(folder), walPath(copy));\n  void rechainWal;\n",
    tests,
  },
  {
    what: "damage: a damaged record is salvaged",
    file: "src/embedded/salvage.ts",
    find: ": isWhole(row);",
    replace: ": isWhole(row) || row.data.length > 0;",
    tests,
  },
  {
    what: "formats: an older store is brought up without a copy",
    file: "src/embedded/open-store.ts",
    find: ".new`, copy);",
    replace: ".new`, copy.toUpperCase());",
    tests: formats,
  },
  {
    what: "formats: the copy goes at the next start, whatever the end was",
    file: "src/embedded/open-store.ts",
    find: "else if (wasClean) removeCopies(folder);",
    replace: "else removeCopies(folder);",
    tests: formats,
  },
  {
    what: "formats: a newer store is opened as if it were known",
    file: "src/embedded/formats.ts",
    find: "if (format <= currentFormat) return;",
    replace: "if (format <= currentFormat + 1) return;",
    tests: formats,
  },
  {
    what: "disk: commits are not synced",
    file: "src/embedded/open-store.ts",
    find: "PRAGMA synchronous=FULL",
    replace: "PRAGMA synchronous=OFF",
    tests: power,
    needsBuild: true,
  },
  {
    what: "disk: a full disk takes what is new",
    file: "src/broker/publish/publish-admission.ts",
    find: "if (coordinator.isFull === true)",
    replace: "if (coordinator.isFull === undefined)",
    tests: full,
    needsBuild: true,
  },
  {
    what: "disk: what goes into a file that somebody has moved away is acknowledged",
    file: "src/embedded/worker.ts",
    find: "database?.file.isInPlace === false",
    replace: "database?.file.isInPlace === undefined",
    tests: "test/chaos/disk.test.ts -t moved",
    needsBuild: true,
  },
  {
    what: "disk: a full disk takes new sessions and wills",
    file: "src/broker/core/full-disk.ts",
    find: "if (isFull !== true) return undefined;",
    replace: "if (isFull !== undefined) return undefined;",
    tests: newcomers,
  },
  {
    what: "disk: whoever comes back to a full disk brings a will of any size",
    file: "src/broker/core/full-disk.ts",
    find: "isStored ? fullDiskWillBytesMax : 0;",
    replace: "isStored ? Infinity : 0;",
    tests: newcomers,
  },
  {
    what: "disk: a full disk takes new subscriptions",
    file: "src/broker/handle-subscribe.ts",
    find: "coordinator.isFull === true && (mailbox",
    replace: "coordinator.isFull === undefined && (mailbox",
    tests: newcomers,
  },
  {
    what: "mqtt: CONNACK says why, however little its client takes",
    file: "src/mqtt/control.ts",
    find: "if (bytes.length <= bytesMax) return bytes;",
    replace: "if (bytesMax > 0) return bytes;",
    tests: newcomers,
  },
  {
    what: "disk: what is refused when the disk was full once is refused for ever",
    file: "src/embedded/room.ts",
    find: "if (this.#isReserved) this.#become(false);",
    replace: "",
    tests: full,
    needsBuild: true,
  },
  {
    what: "disk: the reserve is kept, whatever happens",
    file: "src/embedded/disk-space.ts",
    find: "      if (size === 0) return false;\n",
    replace: "      if (size >= 0) return false;\n",
    tests: filled,
    needsBuild: true,
  },
  {
    what: "disk: the reserve is filled bit by bit",
    file: "src/embedded/disk-space.ts",
    find: "for (let filled = size; filled < this.target;",
    replace: "for (let filled = size; filled < size + 1;",
    tests: "test/unit/store-file.test.ts",
  },
  {
    what: "disk: the reserve is not there when the store is opened",
    file: "src/embedded/worker.ts",
    find: "  room.look();",
    replace: "",
    tests: "test/contract/embedded.test.ts -t reserve",
  },
  {
    what: "disk: the store's log is never written into the database",
    file: "src/embedded/store-file.ts",
    find: "PRAGMA wal_autocheckpoint=$",
    replace: "PRAGMA wal_autocheckpoint=0 -- $",
    tests: "test/unit/store-file.test.ts",
  },
  {
    what: "damage: nobody looks at the description of the tables",
    file: "src/embedded/formats.ts",
    find: "columnsOf(db, table) === columnsOf(ours, table)",
    replace: "columnsOf(db, table) === columnsOf(db, table)",
    tests: "test/unit/damage.test.ts -t description",
  },
  {
    what: "walk of a tool: siblings whose names begin alike are walked over, too",
    file: "src/embedded/node-table.ts",
    find: "if (row.parent !== path && !row.parent",
    replace: "if (row.parent === '' && !row.parent",
    tests: "test/unit/reader-walk.test.ts",
  },
  {
    what: "walk of a tool: a damaged record is taken as it is",
    file: "src/embedded/node-table.ts",
    find: "yield this.#verified(row.parent, row.name, row);",
    replace: "yield row;",
    tests: "test/unit/reader-walk.test.ts",
  },
];
