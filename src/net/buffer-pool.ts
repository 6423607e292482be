/** Output buffers that are used again: most connections need one for a moment only. */
import { writerBytesMin, writerPoolBytesMax, writerPooledBufferBytesMax } from "../base/limits.ts";

/** Free buffers by size class: index n holds buffers of 2^n bytes. */
const pool: Uint8Array[][] = Array.from({ length: 32 }, () => []);
let pooledBytes = 0;

/** Returns a buffer of at least so many bytes, whose contents are whatever was in it. */
export function takeBuffer(bytes: number): Uint8Array {
  const sizeClass = 32 - Math.clz32(Math.max(bytes, writerBytesMin) - 1);
  const free = pool[sizeClass]!.pop();
  if (free === undefined) return new Uint8Array(2 ** sizeClass);
  pooledBytes -= free.length;
  return free;
}

/** Keeps a buffer that nobody uses any more for the next one, unless it is large or enough are kept. */
export function returnBuffer(buffer: Uint8Array): void {
  if (buffer.length === 0 || buffer.length > writerPooledBufferBytesMax) return;
  if (pooledBytes + buffer.length > writerPoolBytesMax) return;
  pooledBytes += buffer.length;
  pool[31 - Math.clz32(buffer.length)]!.push(buffer);
}
