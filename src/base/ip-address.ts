/** IP addresses as texts: one text for each address, and ranges of them. */

/** A number from 0 to 255 without leading zeros, which some read as octal. */
const octet = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const fourForm = new RegExp(`^(?!.*\\b0\\d)${octet}(?:\\.${octet}){3}$`);

/** Returns where this machine reaches what listens on an address: of all of them ("0.0.0.0", "::"), at its own. */
export function hostOnThisMachine(host: string): string {
  return /^(0\.0\.0\.0|::|)$/.test(host) ? "127.0.0.1" : host;
}

/** Returns true for the text of an IPv4 address. */
export function isIPv4(text: string): boolean {
  return fourForm.test(text);
}

/** Returns true for the text of an IPv6 address without a zone. */
export function isIPv6(text: string): boolean {
  return /^[\da-f:.]{2,45}$/i.test(text) && URL.canParse(`http://[${text}]`);
}

/**
 * Returns the one text by which an address is known: an IPv4 address that is written as IPv6 is its IPv4, IPv6 is
 * lower case and as short as can be, without a zone. What is no address stays as it is.
 */
export function canonicalAddress(text: string): string {
  const bytes = parse(text);
  if (bytes === undefined || !text.includes(":")) return text;
  if (bytes.length === 4) return bytes.join(".");
  return new URL(`http://[${withoutZone(text)}]`).hostname.slice(1, -1);
}

/** An address range: an address, and how many of its first bits count. */
interface Range {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** A set of ranges of addresses. */
export class AddressRanges {
  readonly #ranges: readonly Range[];

  /** Takes ranges, 10.0.0.0/8, or addresses. Throws an error in words for what is neither. */
  constructor(ranges: readonly string[]) {
    this.#ranges = ranges.map(parseRange);
  }

  /** Returns true if an address lies in one of the ranges. What is no address lies in none. */
  holds(text: string): boolean {
    const bytes = parse(text);
    return bytes !== undefined && this.#ranges.some((range) => isWithin(bytes, range));
  }
}

/** Checks the text of a range, and returns it. Throws an error in words. */
export function checkRange(text: string): string {
  parseRange(text);
  return text;
}

/** Throws an error in words. */
function parseRange(text: string): Range {
  const [, address = "", suffix] = /^([^/%]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = parse(address);
  const length = (bytes?.length ?? 0) * 8;
  // The bits of an IPv4 address that is written as IPv6 are its last ones.
  const isMapped = bytes?.length === 4 && address.includes(":");
  const bits = suffix === undefined ? length : Number(suffix) - (isMapped ? 96 : 0);
  if (bytes === undefined || bits < 0 || bits > length)
    throw new Error(`${JSON.stringify(text)} is no range of addresses; write 10.0.0.0/8, fd00::/8 or an address`);
  return { bytes, bits };
}

function isWithin(address: Uint8Array, { bytes, bits }: Range): boolean {
  if (address.length !== bytes.length) return false;
  const whole = bits >> 3;
  for (let at = 0; at < whole; at++) if (address[at] !== bytes[at]) return false;
  const rest = bits & 7;
  return rest === 0 || (address[whole]! ^ bytes[whole]!) >> (8 - rest) === 0;
}

/** Returns an address's bytes: 4, also for one that is mapped into IPv6 (RFC 4291 2.5.5.2), or 16. */
function parse(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  const bare = withoutZone(text);
  if (!isIPv6(bare)) return undefined;
  // As URL prints it: groups in hexadecimal, the longest run of zeros as "::".
  const [head = "", tail] = new URL(`http://[${bare}]`).hostname.slice(1, -1).split("::");
  const [first, last] = [head, tail ?? ""].map((part) => (part === "" ? [] : part.split(":")));
  const zeros = Array<string>(8 - first!.length - last!.length).fill("0");
  const bytes = Uint8Array.from(
    [...first!, ...zeros, ...last!].flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 255];
    }),
  );
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return isMapped ? bytes.slice(12) : bytes;
}

/** The zone of a link-local address, `%eth0`, is this machine's matter. */
function withoutZone(text: string): string {
  return text.replace(/%.*$/s, "");
}
