/** Packets as bytes, written down in hex: for what no encoder would write. */

/** The bytes of a hex string; spaces and bars are for the eye. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/[\s|]/g, ""), "hex"));
}

/** A UTF-8 Encoded String in hex: its length, and its bytes. */
export function textHex(text: string): string {
  return binaryHex(Buffer.from(text).toString("hex"));
}

/** Binary Data in hex, or a string that is not UTF-8: the length of `hex`, and `hex`. */
export function binaryHex(hex: string): string {
  return `${bytesOf(hex).length.toString(16).padStart(4, "0")}${hex}`;
}

/** A whole packet: its first byte, its remaining length (the shortest form), its body in hex. */
export function packetOf(firstByte: number, ...body: readonly string[]): Uint8Array {
  const rest = bytesOf(body.join(""));
  return Uint8Array.of(firstByte, ...varint(rest.length), ...rest);
}

/** A property section in hex: its length, and the properties. */
export function sectionHex(...properties: readonly string[]): string {
  const rest = bytesOf(properties.join(""));
  return Buffer.from([...varint(rest.length), ...rest]).toString("hex");
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}
