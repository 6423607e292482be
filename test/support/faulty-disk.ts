/** A disk that is slow, fails, is full or forgets, for processes of their own: `faulty-disk.c` says how it is done. */
import {
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compilePreload } from "./preload.ts";

let library: string | undefined;

/** As the journal names them. */
const kinds = { changed: 1, synced: 2, created: 3, unlinked: 4, renamed: 5 } as const;

interface Entry {
  readonly kind: number;
  readonly path: string;
  readonly offset: number;
  /** The size of the file, before. */
  readonly size: number;
  /** The bytes that stood there before, or another path. */
  readonly data: Buffer;
}

/** Blocks in which a disk forgets. */
const blockBytes = 4096;

export interface FaultyDiskOptions {
  /** Names are never lost: ZooKeeper syncs no folders, and relies on file systems that need no such sync. */
  readonly keepsNames?: boolean;
  /** True if `losePower` can take back what was not synced; it makes writes slower, and syncs fast. */
  readonly remembers?: boolean;
}

export class FaultyDisk {
  readonly #folder: string;
  readonly #side = mkdtempSync(join(tmpdir(), "mqttzoo-disk-"));
  readonly #remembers: boolean;
  readonly #keepsNames: boolean;

  /** A disk that everything in a folder lies on. */
  constructor(folder: string, { remembers = false, keepsNames = false }: FaultyDiskOptions = {}) {
    library ??= compilePreload("faulty-disk");
    this.#folder = folder;
    this.#remembers = remembers;
    this.#keepsNames = keepsNames;
    this.set("");
  }

  /** A command before the one that shall use this disk; several processes may. */
  get within(): readonly string[] {
    const journal = join(this.#side, `journal-${readdirSync(this.#side).length}`);
    return [
      "env",
      `LD_PRELOAD=${library}`,
      `FAULTY_DISK_FOLDERS=${this.#folder}`,
      `FAULTY_DISK_CONTROL=${join(this.#side, "control")}`,
      ...(this.#remembers ? [`FAULTY_DISK_JOURNAL=${journal}`] : []),
    ];
  }

  /** From now on: `sync-ms=50`, `eio=sync`, `eio=write`, `room=BYTES`, several with spaces between; "": it is well. */
  set(words: string): void {
    const path = join(this.#side, "control");
    writeFileSync(`${path}.new`, words);
    renameSync(`${path}.new`, path);
  }

  /** All that was written so far comes to disk, as it does after half a minute without a sync. */
  writeBack(): void {
    for (const name of readdirSync(this.#side)) if (name.startsWith("journal-")) truncateSync(join(this.#side, name));
  }

  /**
   * Takes back what all processes that used it, and are dead now, had not synced: each block of it is gone, or has come
   * to disk, as `isKept` says for each. Names too.
   */
  losePower(isKept: () => boolean): void {
    for (const name of readdirSync(this.#side).filter((one) => /^journal-\d+$/.test(one))) {
      const entries = unsynced(readEntries(join(this.#side, name)));
      const paths = new Set(entries.filter(({ kind }) => kind === kinds.changed).map(({ path }) => path));
      const last = new Map([...paths].map((path) => [path, existsSync(path) ? readFileSync(path) : undefined]));
      for (const entry of entries.toReversed())
        if (entry.kind === kinds.changed || !this.#keepsNames) takeBack(entry, isKept);
      for (const [path, bytes] of last) {
        if (bytes === undefined || !existsSync(path)) continue;
        writeFileSync(path, mixed(readFileSync(path), bytes, isKept));
      }
    }
    for (const name of readdirSync(this.#side)) if (name.startsWith("journal-")) rmSync(join(this.#side, name));
  }

  remove(): void {
    rmSync(this.#side, { recursive: true, force: true });
  }
}

function readEntries(path: string): Entry[] {
  const bytes = readFileSync(path);
  const entries: Entry[] = [];
  for (let at = 0; at + 32 <= bytes.length; ) {
    const pathEnd = at + 32 + bytes.readUInt32LE(at + 4);
    const end = pathEnd + Number(bytes.readBigUInt64LE(at + 24));
    // The last one may have been cut off by kill -9, before what it tells of happened.
    if (end > bytes.length) break;
    entries.push({
      kind: bytes.readUInt32LE(at),
      path: bytes.toString("utf8", at + 32, pathEnd),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      size: Number(bytes.readBigUInt64LE(at + 16)),
      data: bytes.subarray(pathEnd, end),
    });
    at = end;
  }
  return entries;
}

/**
 * A sync of a file makes what was written to it safe, and its name if it is new (as ext4 and xfs do); of a folder the
 * names in it.
 */
function unsynced(entries: readonly Entry[]): Entry[] {
  const left: Entry[] = [];
  const synced = new Set<string>();
  for (const entry of entries.toReversed()) {
    const { kind, path } = entry;
    if (kind === kinds.synced) synced.add(path);
    else if (!isSafe(entry, synced)) left.push(entry);
  }
  return left.reverse();
}

function isSafe({ kind, path }: Entry, synced: ReadonlySet<string>): boolean {
  if (kind === kinds.changed) return synced.has(path);
  return synced.has(path.slice(0, path.lastIndexOf("/"))) || (kind === kinds.created && synced.has(path));
}

function takeBack({ kind, path, offset, size, data }: Entry, isKept: () => boolean): void {
  if (kind === kinds.changed) {
    if (!existsSync(path)) return;
    const bytes = Buffer.alloc(Math.max(size, offset + data.length));
    readFileSync(path).copy(bytes, 0, 0, bytes.length);
    data.copy(bytes, offset);
    writeFileSync(path, bytes.subarray(0, size));
  } else if (isKept()) return;
  else if (kind === kinds.created) rmSync(path, { force: true });
  else if (kind === kinds.unlinked && !existsSync(path)) linkSync(data.toString(), path);
  else if (kind === kinds.renamed && existsSync(data.toString())) renameSync(data.toString(), path);
}

/** The file as it was safe, with those blocks of its last state that have come to disk nevertheless. */
function mixed(safe: Buffer, last: Buffer, isKept: () => boolean): Buffer {
  const size = isKept() ? last.length : safe.length;
  const bytes = Buffer.alloc(size);
  safe.copy(bytes, 0, 0, size);
  for (let at = 0; at < size; at += blockBytes) {
    const end = Math.min(size, at + blockBytes);
    if (at >= last.length) break;
    if (last.subarray(at, end).equals(safe.subarray(at, end))) continue;
    if (isKept()) last.copy(bytes, at, at, Math.min(end, last.length));
  }
  return bytes;
}
