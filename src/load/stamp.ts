/** The stamp at the beginning of a load's payload: who sent the message, as which of his, and when. */
import { readUint16, readUint32, writeUint16, writeUint32 } from "../base/bytes.ts";

/** Tells such payloads from others. */
const mark = 0x4d5a;
/** mark u16 · publisher u24 · sequence u32 · time u56 in µs since 1970 */
export const stampBytes = 16;
export const publishersMax = 2 ** 24;

export class Stamp {
  publisher = 0;
  sequence = 0;
  /** ms since 1970. */
  sentAt = 0;

  write(bytes: Uint8Array): void {
    writeUint16(bytes, 0, mark);
    bytes[2] = this.publisher >>> 16;
    writeUint16(bytes, 3, this.publisher & 0xffff);
    writeUint32(bytes, 5, this.sequence >>> 0);
    const micros = Math.round(this.sentAt * 1000);
    const high = Math.floor(micros / 2 ** 32);
    bytes[9] = high >>> 16;
    writeUint16(bytes, 10, high & 0xffff);
    writeUint32(bytes, 12, micros % 2 ** 32);
  }

  /** False if the payload is another one. */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start < stampBytes || readUint16(bytes, start) !== mark) return false;
    this.publisher = (bytes[start + 2]! << 16) | readUint16(bytes, start + 3);
    this.sequence = readUint32(bytes, start + 5);
    const high = (bytes[start + 9]! << 16) | readUint16(bytes, start + 10);
    this.sentAt = (high * 2 ** 32 + readUint32(bytes, start + 12)) / 1000;
    return true;
  }
}
