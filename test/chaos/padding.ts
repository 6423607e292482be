/** Large payloads: words, and filler that shows whether a part of it is missing, comes twice or is out of place. */
import { decodeUtf8, encodeUtf8 } from "../../src/base/bytes.ts";

const lineEnd = 0x0a;

/** Words, made so many bytes long. Returns them as they are for 0. */
export function pad(words: string, bytes: number): Uint8Array | string {
  if (bytes === 0) return words;
  const padded = new Uint8Array(bytes);
  const head = encodeUtf8(`${words} ${bytes}\n`);
  for (let at = head.length; at < bytes; at++) padded[at] = at ^ (at >> 8) ^ (at >> 16);
  padded.set(head);
  return padded;
}

/** The words of a payload, padded or not; with more words, if the filler is not what it was. */
export function unpad(payload: Uint8Array): string {
  const end = payload.indexOf(lineEnd);
  if (end === -1) return decodeUtf8(payload);
  const head = decodeUtf8(payload, 0, end);
  const space = head.lastIndexOf(" ");
  const words = head.slice(0, space);
  const expected = pad(words, Number(head.slice(space + 1))) as Uint8Array;
  return Buffer.compare(payload, expected) === 0 ? words : `${words}, damaged`;
}
