/**
 * The witness: a file beside the store that says how far acknowledged commits went. SQLite's log cannot know that its
 * own end is missing; whoever finds less in the store than is written here finds it damaged.
 *
 * It is written after each commit and before anybody hears of it, without a sync of its own: so after kill -9 it knows
 * every acknowledged commit. It is synced once in `witnessSyncMs`: so after a loss of power it may lack what was
 * committed since, and the loss of no more than that would stay unseen. It is never ahead of the store: the commit was
 * synced before.
 */
import { closeSync, fdatasync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const magic = 0x4d515a57;
const recordBytes = 24;
/** Two records in sectors of their own, written in turn: a torn write leaves the other one. */
const slotBytes = 512;

export interface Testimony {
  /** The number of the last commit that anybody may have heard of. */
  readonly zxid: number;
  /** The store was closed in order after it. */
  readonly isClean: boolean;
}

export function witnessPath(folder: string): string {
  return join(folder, "tree.witness");
}

/** Undefined: there is no such file. "damaged": it holds no record that is whole. */
export function readWitness(folder: string): Testimony | "damaged" | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(witnessPath(folder));
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
  const records = [decode(bytes.subarray(0)), decode(bytes.subarray(slotBytes))].filter((one) => one !== undefined);
  return records.sort((one, other) => other.turn - one.turn)[0] ?? "damaged";
}

function decode(bytes: Buffer): (Testimony & { readonly turn: number }) | undefined {
  if (bytes.length < recordBytes || bytes.readUInt32BE(0) !== magic) return undefined;
  if (Bun.hash.crc32(bytes.subarray(0, recordBytes - 4)) !== bytes.readUInt32BE(recordBytes - 4)) return undefined;
  return { isClean: bytes[4] === 1, turn: bytes.readUIntBE(8, 6), zxid: bytes.readUIntBE(14, 6) };
}

export class Witness {
  readonly #file: number;
  readonly #record = Buffer.alloc(recordBytes);
  #turn: number;
  #isSynced = true;

  /** Says at once that the store is open, so that whatever ends now is no clean end. */
  constructor(folder: string, zxid: number) {
    const before = readFileOrNothing(witnessPath(folder));
    this.#turn = Math.max(0, ...before.map(({ turn }) => turn));
    this.#file = openSync(witnessPath(folder), before.length === 0 ? "w+" : "r+", 0o600);
    // Both records, so that none is older than the store.
    this.#write({ zxid, isClean: false });
    this.#write({ zxid, isClean: false });
    fsyncSync(this.#file);
  }

  /** A commit has been synced; nobody has heard of it yet. */
  committed(zxid: number): void {
    this.#isSynced = false;
    try {
      this.#write({ zxid, isClean: false });
    } catch {
      // The commit stands, and the next one is written here again: a disk that fails is noticed by the store itself.
    }
  }

  /** Brings what was written to disk, beside whatever else goes on. */
  sync(): void {
    if (this.#isSynced) return;
    this.#isSynced = true;
    // One that fails is made up for by the next: the store itself notices a disk that fails.
    fdatasync(this.#file, () => {});
  }

  /** The store has been closed in order. */
  close(zxid: number): void {
    try {
      this.#write({ zxid, isClean: true });
      fsyncSync(this.#file);
    } catch {
      // Then it was no end in order.
    } finally {
      closeSync(this.#file);
    }
  }

  #write({ zxid, isClean }: Testimony): void {
    const record = this.#record;
    record.writeUInt32BE(magic, 0);
    record[4] = isClean ? 1 : 0;
    record.writeUIntBE(++this.#turn, 8, 6);
    record.writeUIntBE(zxid, 14, 6);
    record.writeUInt32BE(Bun.hash.crc32(record.subarray(0, recordBytes - 4)), recordBytes - 4);
    writeSync(this.#file, record, 0, recordBytes, (this.#turn % 2) * slotBytes);
  }
}

function readFileOrNothing(path: string): readonly { readonly turn: number }[] {
  try {
    const bytes = readFileSync(path);
    return [decode(bytes.subarray(0)), decode(bytes.subarray(slotBytes))].filter((one) => one !== undefined);
  } catch {
    return [];
  }
}
