/**
 * Stamps: the bytes of the nodes that a broker leaves wherever its clients subscribe or publish. Each names the epoch
 * in which it was written, and counts only while that incarnation lives. Nodes of format 1 are empty.
 */
import { encodeUtf8 } from "../base/bytes.ts";

/** The epoch that a node names; "unnamed": it was written in format 1; undefined: it was written by no broker. */
export type Stamp = number | "unnamed" | undefined;

/** The digits of every safe integer, and the mark. */
const stampBytesMax = 17;
const zero = 0x30;

/**
 * Returns a node's data: the epoch in decimal digits, behind a 0 that says that the broker pays for the node. Brokers
 * that know nothing of that read the same number.
 */
export function encodeStamp(epoch: number): Uint8Array {
  return encodeUtf8(`0${epoch}`);
}

/** Returns true for the data of a node that its broker pays for. */
export function isPaidStamp(data: Uint8Array): boolean {
  return data.length > 1 && data[0] === zero;
}

/** Returns the stamp of a node's data; undefined if no broker has written it. */
export function decodeStamp(data: Uint8Array): Stamp {
  if (data.length === 0) return "unnamed";
  if (data.length > stampBytesMax) return undefined;
  let epoch = 0;
  for (const byte of data) {
    if (byte < zero || byte > 0x39) return undefined;
    epoch = 10 * epoch + (byte - zero);
  }
  return Number.isSafeInteger(epoch) ? epoch : undefined;
}
