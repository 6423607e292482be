/** Frames of WebSocket (RFC 6455, 5.2) as clients send them, right or wrong. */

/** Returns a frame; its length is written in the shortest form. */
export function frame(payload: Uint8Array, { opcode = 2, final = true, mask = [1, 2, 3, 4] } = {}): Uint8Array {
  const { length } = payload;
  const size =
    length < 126
      ? [length]
      : length < 65_536
        ? [126, length >> 8, length & 255]
        : [127, 0, 0, 0, 0, ...bytes32(length)];
  size[0]! |= 0x80;
  const head = [(final ? 0x80 : 0) | opcode, ...size, ...mask];
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  for (let at = 0; at < length; at++) bytes[head.length + at] = payload[at]! ^ mask[at & 3]!;
  return bytes;
}

function bytes32(value: number): number[] {
  return [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
}
