/**
 * Room on the disk for what makes room: acks and deletions are commits too, and a full disk could never be emptied by
 * its readers. A file of nothing is kept in the store's folder; when the disk is full it gives its place away, bit by
 * bit, while nothing new is taken. It is filled again when there is room.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  diskReserveBytesMax,
  diskReserveBytesMin,
  diskReservePartMax,
  diskReserveStepBytes,
} from "../base/store-limits.ts";

export class DiskSpace {
  readonly #folder: string;
  readonly #path: string;
  /** As large as the reserve shall be, in bytes. */
  readonly target: number;

  /** Throws what the file system throws. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, "tree.reserve");
    const { blocks, bsize } = statfsSync(folder);
    const part = Math.floor(blocks * bsize * diskReservePartMax);
    this.target = Math.max(diskReserveBytesMin, Math.min(diskReserveBytesMax, part));
  }

  /** Bytes that others could still write; Infinity where that cannot be known: the commits themselves will show it. */
  get free(): number {
    try {
      const { bavail, bsize } = statfsSync(this.#folder);
      return bavail * bsize;
    } catch {
      return Infinity;
    }
  }

  /**
   * Fills the reserve, all at once: what was promised may need it at any time. True when it is complete; false: there
   * is no room for it.
   */
  fill(): boolean {
    try {
      return this.#change((file, size) => {
        for (let filled = size; filled < this.target; filled += diskReserveStepBytes) {
          if (this.free < diskReserveStepBytes) return false;
          writeSync(file, nothing());
        }
        return true;
      });
    } catch {
      // Whoever was faster has the room.
      return false;
    }
  }

  /** Gives a quarter of the reserve away; false: it is used up, or out of reach. */
  release(): boolean {
    try {
      return this.#change((file, size) => {
        if (size === 0) return false;
        ftruncateSync(file, Math.max(0, size - Math.ceil(this.target / 4)));
        return true;
      });
    } catch {
      // The folder is gone.
      return false;
    }
  }

  #change(change: (file: number, size: number) => boolean): boolean {
    const file = openSync(this.#path, "a", 0o600);
    try {
      return change(file, fstatSync(file).size);
    } finally {
      closeSync(file);
    }
  }
}

let step: Uint8Array | undefined;

/** No file system makes holes of it, or little of much. */
function nothing(): Uint8Array {
  if (step !== undefined) return step;
  step = new Uint8Array(diskReserveStepBytes);
  for (let at = 0, value = 1; at < step.length; at++) {
    value = (Math.imul(value, 1_103_515_245) + 12_345) >>> 0;
    step[at] = value >>> 16;
  }
  return step;
}
