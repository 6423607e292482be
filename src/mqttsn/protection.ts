/**
 * Protection Encapsulation of MQTT-SN 2.0 (3.17): who has a sender's key can be nobody else, whatever address he sends
 * from. HMAC-SHA256 and AES-GCM are spoken. Whether a packet has come before is for `counters.ts` to say.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual } from "node:crypto";
import { concatBytes, encodeUtf8, readUint16, readUint32, writeUint16, writeUint32 } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { Type2 } from "./constants-2.ts";
import type { PeerProtection } from "./peer.ts";

/** Schemes (3.17.3): their indexes. GCM's key size says which of the three it is. */
const hmacSha256 = 0x00;
const gcmByKeyBytes: Record<number, number> = { 16: 0x46, 24: 0x47, 32: 0x48 };
/** The tag's nominal length, as the flags say it. */
const nominalTag = 1;
const hmacTagBytes = 32;
const gcmTagBytes = 16;
/** Type, flags, scheme, sender and random: what stands before the optional fields. */
const fixedBytes = 1 + 1 + 1 + 8 + 4;
/** Bytes of the Cryptographic Material by its length in the flags. */
const materialBytes = [0, 2, 4, 12] as const;

/** Counters of what is sent began then, and go up by one each eighth of a second: 32 bits last for 17 years. */
const countingSince = Date.UTC(2026, 0, 1);
const countingMs = 125;

/** A sender as the operator's file has him. */
interface Sender {
  readonly key: Uint8Array;
  readonly user: string | undefined;
}

/** A packet that was opened; or why not, with a reason code where the sender may be told. */
export type Opened =
  | {
      readonly isOpen: true;
      /** The packet within, a copy. */
      readonly inner: Uint8Array;
      readonly protection: PeerProtection;
      /** A counter that may have come before. */
      readonly counter: number;
    }
  | { readonly isOpen: false; readonly why: "malformed" | "unknown sender" | "forged" };

export class SnKeys {
  readonly #random: Random;
  readonly #ownId: Uint8Array;
  #senders = new Map<string, Sender>();
  readonly #wall: () => number;
  /** The last counter that was sent to each sender. */
  readonly #counters = new Map<string, number>();

  /** `gatewayId`: the last byte of the gateway's own Sender Identifier. `wall` in ms since 1970. */
  constructor(random: Random, gatewayId: number, wall: () => number = () => countingSince) {
    this.#random = random;
    this.#wall = wall;
    this.#ownId = concatBytes([encodeUtf8("MQTTZoo"), Uint8Array.of(gatewayId)]);
  }

  get size(): number {
    return this.#senders.size;
  }

  /**
   * Takes the place of what was read before. A line is `SENDER,KEY` or `SENDER,KEY,USER`, in hex. Throws
   * `OperatingError` (EUSAGE) that names the line that is wrong.
   */
  load(text: string): void {
    const senders = new Map<string, Sender>();
    text.split("\n").forEach((line, index) => {
      const trimmed = line.trim();
      if (trimmed !== "" && !trimmed.startsWith("#")) readLine(senders, trimmed, index + 1);
    });
    this.#senders = senders;
    for (const sender of this.#counters.keys()) if (!senders.has(sender)) this.#counters.delete(sender);
  }

  /** Opens a protected packet; never throws. */
  open(bytes: Uint8Array): Opened {
    const head = bytes[0] === 1 ? 3 : 1;
    const refused = (why: "malformed" | "unknown sender" | "forged") => ({ isOpen: false, why }) as const;
    if (bytes.length < head + fixedBytes) return refused("malformed");
    const [flags, scheme] = [bytes[head + 1]!, bytes[head + 2]!];
    const counterBytes = [0, 2, 4, -1][flags & 3]!;
    const counterAt = head + fixedBytes + materialBytes[(flags >> 2) & 3]!;
    const innerAt = counterAt + counterBytes;
    const length = head === 3 ? readUint16(bytes, 1) : bytes[0]!;
    // Without a counter anybody could send a packet again.
    if (counterBytes <= 0 || length !== bytes.length) return refused("malformed");
    const sender = Buffer.from(bytes.subarray(head + 3, head + 11)).toString("hex");
    const known = this.#senders.get(sender);
    if (known === undefined) return refused("unknown sender");
    const tagBytes = tagBytesOf(scheme, flags >> 4, known.key.length);
    if (tagBytes === undefined || bytes.length < innerAt + 2 + tagBytes) return refused("malformed");
    const parts = { header: bytes.subarray(0, innerAt), rest: bytes.subarray(innerAt), tagBytes };
    const inner = scheme === hmacSha256 ? verify(known.key, parts) : decrypt(known.key, parts);
    if (inner === undefined) return refused("forged");
    const counter = counterBytes === 2 ? readUint16(bytes, counterAt) : readUint32(bytes, counterAt);
    return { isOpen: true, inner, protection: this.#protectionOf(sender, known, scheme), counter };
  }

  /**
   * Returns the counter of the next packet to a sender. It goes by the time of day, so that it goes on above what was
   * sent before when the broker is started again, or another one speaks to the sender, who would refuse a lower one.
   */
  #nextOf(sender: string): number {
    const byTime = Math.floor((this.#wall() - countingSince) / countingMs);
    const next = Math.max(byTime, (this.#counters.get(sender) ?? 0) + 1);
    this.#counters.set(sender, next);
    return next;
  }

  #protectionOf(sender: string, { key, user }: Sender, scheme: number): PeerProtection {
    const tagBytes = scheme === hmacSha256 ? hmacTagBytes : gcmTagBytes;
    const wrap = (packet: Uint8Array): Uint8Array => {
      const counter = this.#nextOf(sender);
      const random = Uint8Array.from({ length: 4 }, () => Math.floor(this.#random.next() * 256));
      return protect(packet, { key, scheme, sender: this.#ownId, random, counter });
    };
    // Its length may need three bytes.
    return { sender, user, overhead: 3 + fixedBytes + 4 + tagBytes, wrap };
  }
}

export interface ProtectOptions {
  readonly key: Uint8Array;
  readonly scheme: number;
  /** Eight bytes. */
  readonly sender: Uint8Array;
  /** Four bytes. */
  readonly random: Uint8Array;
  readonly counter: number;
}

/**
 * Protects a packet, with a counter of four bytes: with the random ones it is what makes each nonce another one.
 */
export function protect(packet: Uint8Array, { key, scheme, sender, random, counter }: ProtectOptions): Uint8Array {
  const tagBytes = scheme === hmacSha256 ? hmacTagBytes : gcmTagBytes;
  const length = 1 + fixedBytes + 4 + packet.length + tagBytes;
  const isLong = length > 255;
  const header = new Uint8Array((isLong ? 3 : 1) + fixedBytes + 4);
  if (isLong) {
    header[0] = 1;
    writeUint16(header, 1, length + 2);
  } else header[0] = length;
  const at = isLong ? 3 : 1;
  header[at] = Type2.protection;
  header[at + 1] = (nominalTag << 4) | 2;
  header[at + 2] = scheme;
  header.set(sender, at + 3);
  header.set(random, at + 11);
  writeUint32(header, at + 15, counter >>> 0);
  if (scheme === hmacSha256) {
    const tag = createHmac("sha256", key).update(header).update(packet).digest();
    return concatBytes([header, packet, tag]);
  }
  const cipher = createCipheriv(cipherOf(key), key, nonceOf(header), { authTagLength: gcmTagBytes });
  cipher.setAAD(header);
  const hidden = concatBytes([cipher.update(packet), cipher.final()]);
  return concatBytes([header, hidden, cipher.getAuthTag()]);
}

interface Parts {
  readonly header: Uint8Array;
  readonly rest: Uint8Array;
  readonly tagBytes: number;
}

function verify(key: Uint8Array, { header, rest, tagBytes }: Parts): Uint8Array | undefined {
  const inner = rest.subarray(0, rest.length - tagBytes);
  const tag = createHmac("sha256", key).update(header).update(inner).digest().subarray(0, tagBytes);
  return timingSafeEqual(tag, rest.subarray(rest.length - tagBytes)) ? inner.slice() : undefined;
}

function decrypt(key: Uint8Array, { header, rest, tagBytes }: Parts): Uint8Array | undefined {
  const decipher = createDecipheriv(cipherOf(key), key, nonceOf(header), { authTagLength: gcmTagBytes });
  decipher.setAAD(header);
  decipher.setAuthTag(rest.subarray(rest.length - tagBytes));
  try {
    return concatBytes([decipher.update(rest.subarray(0, rest.length - tagBytes)), decipher.final()]);
  } catch {
    return undefined;
  }
}

function cipherOf(key: Uint8Array): "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" {
  return `aes-${(key.length * 8) as 128 | 192 | 256}-gcm`;
}

/** Returns the nonce of GCM: of what stands before the protected packet (3.17.3). */
function nonceOf(header: Uint8Array): Uint8Array {
  return createHash("sha256").update(header).digest().subarray(0, 12);
}

/** Returns the length of the tag; undefined: the scheme is not spoken, not with that key, or not with such a tag. */
function tagBytesOf(scheme: number, tagLength: number, keyBytes: number): number | undefined {
  if (scheme === hmacSha256) {
    if (tagLength === nominalTag) return hmacTagBytes;
    return tagLength >= 4 ? tagLength * 2 : undefined;
  }
  return gcmByKeyBytes[keyBytes] === scheme && tagLength === nominalTag ? gcmTagBytes : undefined;
}

function readLine(senders: Map<string, Sender>, line: string, number: number): void {
  const wrong = (why: string): never => {
    throw new OperatingError(
      "EUSAGE",
      `line ${number} of the keys of MQTT-SN: ${why}; write SENDER,KEY or SENDER,KEY,USER`,
    );
  };
  const [sender = "", key = "", user, ...more] = line.split(",").map((part) => part.trim());
  if (more.length > 0) wrong("it has more than three parts");
  if (!/^[0-9a-f]{16}$/i.test(sender)) wrong("a sender has 8 bytes, as 16 digits of hex");
  if (!/^([0-9a-f]{2}){16,}$/i.test(key)) wrong("a key has 16 bytes or more, in hex; for AES-GCM 16, 24 or 32");
  if (senders.has(sender.toLowerCase())) wrong("the sender is given twice");
  senders.set(sender.toLowerCase(), { key: Uint8Array.fromHex(key), user: user === "" ? undefined : user });
}
