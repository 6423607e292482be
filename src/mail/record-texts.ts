/** The texts that records hold: names of branches, clients and users. */
import { decodeUtf8, encodeUtf8, noBytes } from "../base/bytes.ts";
import { badFormat } from "../base/errors.ts";

let branchText = "";
let branchBytes = noBytes as Uint8Array;

/** Encodes a branch's name. A broker's own name is in all that it writes: it is encoded once. */
export function encodeBranch(text: string): Uint8Array {
  if (text === branchText) return branchBytes;
  branchText = text;
  branchBytes = encodeUtf8(text);
  return branchBytes;
}

/** Reads a text. Throws `OperatingError` with EFORMAT if it is not UTF-8. */
export function textIn(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decodeUtf8(bytes, start, end);
  } catch {
    throw badFormat("holds a text that is not UTF-8");
  }
}

/** The origin of a message. */
export interface Author {
  /** The client that has published it, if it lies in a mail drop; "": the broker itself. */
  readonly publisher: string | undefined;
  /** The user whose it is; "": anonymous clients, or nobody knows. */
  readonly payer: string;
}

/**
 * Encodes the origin of a message. Brokers that know nothing of users read no client id where the message lies in no
 * mail drop, and where it does one that is nobody's: there such a client may be handed its own message in spite of No
 * Local.
 */
export function encodeAuthor({ publisher, payer }: Author): Uint8Array {
  if (payer === "") return publisher === undefined ? noBytes : encodeUtf8(publisher);
  return encodeUtf8(publisher === undefined ? payer : `${publisher}\0${payer}`);
}

/** Tells apart what `encodeAuthor` has put together. */
export function authorOf(text: string, { isInDrop, hasPayer }: { isInDrop: boolean; hasPayer: boolean }): Author {
  if (!hasPayer) return { publisher: isInDrop ? text : undefined, payer: "" };
  if (!isInDrop) return { publisher: undefined, payer: text };
  // No client id holds U+0000 [MQTT-1.5.4-2].
  const at = text.indexOf("\0");
  return { publisher: text.slice(0, Math.max(0, at)), payer: text.slice(at + 1) };
}
