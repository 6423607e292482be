/**
 * Bytes: UTF-8, copying, comparing, hashing, and MQTT's variable byte integer. Everything on the fast path
 * works on `(bytes, start, end)` so that no view object is made per packet.
 */
import { isUtf8 } from "node:buffer";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const noBytes = new Uint8Array(0);

export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes UTF-8 that has been validated before. */
export function decodeUtf8(bytes: Uint8Array, start = 0, end = bytes.length): string {
  return strictDecoder.decode(bytes.subarray(start, end));
}

/**
 * True if the range is what MQTT calls a UTF-8 Encoded String: well-formed, no surrogates, no U+0000
 * [MQTT-1.5.4-1, MQTT-1.5.4-2].
 */
export function isMqttText(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === 0) return false;
    if (byte >= 0x80) return isMqttTextSlow(bytes, at, end);
  }
  return true;
}

function isMqttTextSlow(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes.indexOf(0, start) !== -1 && bytes.subarray(start, end).indexOf(0) !== -1) return false;
  try {
    strictDecoder.decode(bytes.subarray(start, end));
    return true;
  } catch {
    return false;
  }
}

/** Short ranges are copied by hand: the call into native code costs as much as some ninety steps of a loop. */
const copyByHandMax = 80;

export function copyBytes(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  if (end - start > copyByHandMax) {
    to.set(from.subarray(start, end), at);
    return;
  }
  for (let index = start; index < end; index++) to[at++] = from[index]!;
}

/** A copy with memory of its own: a kept view would keep its whole chunk alive. */
export function ownBytes(bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array {
  return start === end ? noBytes : bytes.slice(start, end);
}

export function equalRange(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let index = 0; index < length; index++) {
    if (a[aStart + index] !== b[bStart + index]) return false;
  }
  return true;
}

/** FNV-1a, 32 bits. Not for anything that an attacker may choose without a bound on the table. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash >>> 0;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = (value >>> 16) & 0xff;
  bytes[at + 2] = (value >>> 8) & 0xff;
  bytes[at + 3] = value & 0xff;
}

/** How many bytes a variable byte integer takes: 1 to 4 (1.5.5). */
export function varintSize(value: number): 1 | 2 | 3 | 4 {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4;
}

/** Writes a variable byte integer and returns the position after it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/**
 * Reads a variable byte integer. -1: the range ends inside it; -2: longer than four bytes or not the
 * shortest form, which the standard forbids [MQTT-1.5.5-1]. The size is `varintSize(value)`.
 */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let index = 0; index < 4; index++) {
    if (at + index >= end) return -1;
    const byte = bytes[at + index]!;
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) return index > 0 && byte === 0 ? -2 : value;
  }
  return -2;
}

/** A whole number below 2^53. */
export function writeUint64(bytes: Uint8Array, at: number, value: number): void {
  writeUint32(bytes, at, Math.floor(value / 2 ** 32));
  writeUint32(bytes, at + 4, value % 2 ** 32);
}

export function readUint64(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) * 2 ** 32 + readUint32(bytes, at + 4);
}

/** The most bytes of a character in UTF-8 that may be missing behind a cut. */
const cutBytesMax = 3;

/** Returns the beginning of a payload that is cut: of a text, no part of a character. */
export function withoutCutCharacter(cut: Uint8Array): Uint8Array {
  for (let less = 0; less <= cutBytesMax; less++)
    if (isUtf8(cut.subarray(0, cut.length - less))) return cut.subarray(0, cut.length - less);
  return cut;
}
