/**
 * The frames that carry one message to receivers at another broker, with the name of its publish where nobody there may
 * be sent it twice.
 */
import {
  decodeUtf8,
  encodeUtf8,
  readUint16,
  readUint32,
  readUint64,
  writeUint16,
  writeUint32,
  writeUint64,
} from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { Reason } from "../mqtt/reason.ts";
import { frameHeadBytes } from "./frames.ts";

/** Names one QoS 2 publish whose packet id stands in the store, and no other one ever. */
export interface PublishName extends HeldBy {
  /**
   * The transaction that has committed the packet id; after a commit in doubt, to its broker, a later one before the
   * next of its commits.
   */
  readonly zxid: number;
}

/** The broker that has committed the packet id of a publish, as the store names it. */
export interface HeldBy {
  /** The broker's first epoch: it names its process. */
  readonly epoch: number;
  /** The publish's number among those of the process. */
  readonly number: number;
}

/** A message for receivers at another broker. */
export interface Delivery {
  /** 0: nothing has to be settled. */
  readonly id: number;
  /** The sender's last commit to the mailboxes of these sessions: nothing may overtake it. */
  readonly zxid: number;
  /** Sessions there that end with their connection. */
  readonly toInterest: boolean;
  /** Persistent sessions there, by their numbers. */
  readonly handles: readonly number[];
  /** Shared subscriptions of which a member there is to be chosen. */
  readonly groups: readonly string[];
  /**
   * The user who pays for what is stored of it, "": anonymous clients; undefined: the receiver does not know such
   * frames, or the sender does not say.
   */
  readonly payer?: string | undefined;
  /** The name of the publish; undefined: nobody is sent it again, or the receiver does not know such frames. */
  readonly name?: PublishName | undefined;
  /** True if the broker that committed the packet id may have sent the message before, and its next one sends it. */
  readonly isAgain?: boolean;
}

/** Bits of a delivery's flags. */
const Flag = { toInterest: 1, hasPayer: 2, hasName: 4, isAgain: 8 } as const;
const nameBytes = 3 * 8;

/**
 * A delivery: id (u32), zxid (u64), flags (u8; bit 0: to interest, 1: it names a user, 2: it names the publish, 3: it
 * is sent again), number of handles (u32), each (u32), number of groups (u16), each as length (u16) and UTF-8; with bit
 * 1 the user, as length (u16) and UTF-8; with bit 2 epoch, number and zxid of the publish's name (u64 each); then the
 * message as an MQTT 5 PUBLISH packet. Only brokers that say `knowsPayers` are sent bit 1, and those that say
 * `knowsNames` bits 2 and 3.
 */
export function deliveryFrame(type: number, delivery: Delivery, packet: Uint8Array): Uint8Array {
  const { payer, name } = delivery;
  // The user stands where one more group would.
  const texts = (payer === undefined ? delivery.groups : [...delivery.groups, payer]).map(encodeUtf8);
  const textBytes = texts.reduce((sum, text) => sum + 2 + text.length, name === undefined ? 0 : nameBytes);
  const headBytes = 4 + 8 + 1 + 4 + 4 * delivery.handles.length + 2 + textBytes;
  const bytes = new Uint8Array(frameHeadBytes + headBytes + packet.length);
  writeUint32(bytes, 0, 1 + headBytes + packet.length);
  bytes[4] = type;
  let at = frameHeadBytes;
  writeUint32(bytes, at, delivery.id);
  writeUint64(bytes, at + 4, delivery.zxid);
  bytes[at + 12] = flagsOf(delivery);
  writeUint32(bytes, at + 13, delivery.handles.length);
  at += 17;
  for (const handle of delivery.handles) {
    writeUint32(bytes, at, handle);
    at += 4;
  }
  writeUint16(bytes, at, delivery.groups.length);
  at += 2;
  for (const text of texts) {
    writeUint16(bytes, at, text.length);
    bytes.set(text, at + 2);
    at += 2 + text.length;
  }
  if (name !== undefined) {
    writeUint64(bytes, at, name.epoch);
    writeUint64(bytes, at + 8, name.number);
    writeUint64(bytes, at + 16, name.zxid);
    at += nameBytes;
  }
  bytes.set(packet, at);
  return bytes;
}

function flagsOf({ toInterest, payer, name, isAgain }: Delivery): number {
  const named = name === undefined ? 0 : Flag.hasName | (isAgain === true ? Flag.isAgain : 0);
  return (toInterest ? Flag.toInterest : 0) | (payer === undefined ? 0 : Flag.hasPayer) | named;
}

/** The number of a receiver that was taken out of a delivery. It is nobody's; 0 is every session's that is away. */
const withdrawn = 0xffff_ffff;

/**
 * Takes a receiver out of a delivery that waits to be sent, perhaps again. The frame keeps its length, so a part of it
 * may be on its way.
 */
export function withdrawReceiver(delivery: Uint8Array, handle: number): void {
  const first = frameHeadBytes + 17;
  const count = readUint32(delivery, first - 4);
  for (let index = 0; index < count; index++)
    if (readUint32(delivery, first + 4 * index) === handle) writeUint32(delivery, first + 4 * index, withdrawn);
}

/** Reads a delivery. `packetStart`: where the PUBLISH packet begins. Throws `ProtocolError`. */
export function decodeDelivery(bytes: Uint8Array, start: number, end: number): Delivery & { packetStart: number } {
  // Returns where so many bytes begin, if they are there.
  const take = (count: number): number => {
    const from = at;
    at += count;
    if (at > end) throw new ProtocolError(Reason.malformedPacket, "a delivery ends early");
    return from;
  };
  let at = start;
  take(17);
  const handles: number[] = [];
  for (let left = readUint32(bytes, start + 13); left > 0; left--) handles.push(readUint32(bytes, take(4)));
  const groups: string[] = [];
  const takeText = (): string => {
    const length = readUint16(bytes, take(2));
    return textOf(bytes, take(length), at);
  };
  for (let left = readUint16(bytes, take(2)); left > 0; left--) groups.push(takeText());
  const flags = bytes[start + 12]!;
  const payer = (flags & Flag.hasPayer) === 0 ? undefined : takeText();
  const takeName = (): PublishName => {
    const from = take(nameBytes);
    return {
      epoch: readUint64(bytes, from),
      number: readUint64(bytes, from + 8),
      zxid: readUint64(bytes, from + 16),
    };
  };
  const name = (flags & Flag.hasName) === 0 ? undefined : takeName();
  return {
    id: readUint32(bytes, start),
    zxid: readUint64(bytes, start + 4),
    toInterest: (flags & Flag.toInterest) !== 0,
    handles,
    groups,
    payer,
    name,
    isAgain: (flags & Flag.isAgain) !== 0,
    packetStart: at,
  };
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decodeUtf8(bytes, start, end);
  } catch {
    throw new ProtocolError(Reason.malformedPacket, "a text is not UTF-8");
  }
}
