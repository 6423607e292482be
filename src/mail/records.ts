/**
 * The bytes of every kind of znode, documented for outside programs in `src/FORMATS.md`. Messages begin with
 * credits and expiry, so that a program can add the credits up without knowing the rest; what operators want
 * to read is JSON.
 */
import {
  copyBytes,
  encodeUtf8,
  hashBytes,
  noBytes,
  readUint16,
  readUint32,
  readUint64,
  writeUint16,
  writeUint32,
  writeUint64,
} from "../base/bytes.ts";
import { badFormat } from "../base/errors.ts";
import { Fields } from "../coordinator/fields.ts";
import { encodeAstral, messageMark, nameOf, topicsPath } from "../coordinator/paths.ts";
import type { ProtocolVersion, QoS } from "../mqtt/constants.ts";
import { Publish } from "../mqtt/publish.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { isTopicName, parseFilter } from "../mqtt/topic.ts";
import { checkPartsId, checkProperties } from "./message-checks.ts";
import { type Paid, paidIn } from "./paid.ts";
import { type Author, authorOf, encodeAuthor, encodeBranch, textIn } from "./record-texts.ts";

const messageHeadBytes = 34;
const formatVersion = 3;
const publishersExpiry = 4;
const inDropFlag = 8;
const retainFlag = 16;
const copyFlag = 32;
const payerFlag = 64;

/** On what terms a message is kept. */
export interface Terms {
  /** The price of keeping it, in milli-credits. */
  readonly credits: number;
  /** The time until which it is kept, in ms since 1970; Infinity: as long as it is needed. */
  readonly keepUntil: number;
}

export interface MessageHead extends Terms {
  /** The broker whose branch pays for it. */
  readonly branch: string;
  /** The user whose it is, read from the message; "" or absent: anonymous clients, or nobody knows. */
  readonly payer?: string;
  /** With how many slips it was stored. */
  readonly recipients: number;
  /** For a message in a mail drop, which lies there until its time is over: the client that published it; "": none. */
  readonly publisher?: string | undefined;
  /** Where its payload is, if it is too large to stand in one znode. */
  readonly parts?: Parts | undefined;
  /** The price of a payload in parts, in milli-credits, which is paid apart from `credits`; absent: it is in them. */
  readonly payloadCredits?: number;
}

/** A payload in pieces, each a znode. */
export interface Parts {
  readonly id: string;
  readonly count: number;
}

/**
 * A stored or retained message: credits in milli-credits (u64), until when it is kept in ms since 1970 (u64, 0: never
 * ends), format (u8), flags (u8: QoS in bits 0-1, bit 2: that end is the publisher's, bit 3: it lies in a mail drop,
 * bit 4: it was published as retained, bit 5: a copy of it lies in a mail drop, bit 6: it names the user whose it is),
 * recipients (u32), length of the properties (u32), lengths of three texts (u16 each), number of parts (u16), the texts
 * in UTF-8 (the branch's name, the publisher's client id, the parts' id), properties as MQTT 5 encodes them (without
 * expiry and alias), and the payload, unless it is in parts. With bit 5 a u64 stands before the properties: until when
 * the copy lies there, in ms since 1970. With bit 6 the user's name stands behind the client id and U+0000; outside of
 * mail drops alone in its place. Where the payload is in parts, a u64 may stand in its place: the part of the credits
 * that pays for the payload. Big-endian.
 */
export function encodeMessage(publish: Publish, head: MessageHead): Uint8Array {
  const propertiesLength = publish.propertiesEnd - publish.propertiesStart;
  const { publisher, parts } = head;
  const branch = encodeBranch(head.branch);
  const author = encodeAuthor({ publisher, payer: publish.payer });
  const partsId = parts === undefined ? noBytes : encodeUtf8(parts.id);
  const authorAt = messageHeadBytes + branch.length;
  const partsAt = authorAt + author.length;
  const textsEnd = partsAt + partsId.length;
  const hasCopy = publish.copyUntil > 0;
  const propertiesAt = textsEnd + (hasCopy ? 8 : 0);
  const payloadAt = propertiesAt + propertiesLength;
  const payloadCredits = parts === undefined ? 0 : (head.payloadCredits ?? 0);
  const payloadEnd = parts === undefined ? publish.payloadEnd : publish.payloadStart;
  const lastBytes = payloadCredits > 0 ? payloadCreditsBytes : payloadEnd - publish.payloadStart;
  const bytes = new Uint8Array(payloadAt + lastBytes);
  const isPublishers = publish.expiresAt !== Infinity;
  const until = isPublishers ? publish.expiresAt : head.keepUntil;
  // Brokers of format 1 know of no payloads that are paid for apart: they take messages for all that a branch pays.
  writeUint64(bytes, 0, head.credits + payloadCredits);
  writeUint64(bytes, 8, until === Infinity ? 0 : Math.round(until));
  bytes[16] = formatVersion;
  bytes[17] =
    publish.qos |
    (isPublishers ? publishersExpiry : 0) |
    (publisher === undefined ? 0 : inDropFlag) |
    (publish.retain ? retainFlag : 0) |
    (hasCopy ? copyFlag : 0) |
    (publish.payer === "" ? 0 : payerFlag);
  if (hasCopy) writeUint64(bytes, textsEnd, publish.copyUntil);
  writeUint32(bytes, 18, head.recipients);
  writeUint32(bytes, 22, propertiesLength);
  writeUint16(bytes, 26, branch.length);
  writeUint16(bytes, 28, author.length);
  writeUint16(bytes, 30, partsId.length);
  writeUint16(bytes, 32, parts?.count ?? 0);
  bytes.set(branch, messageHeadBytes);
  bytes.set(author, authorAt);
  bytes.set(partsId, partsAt);
  copyBytes(bytes, propertiesAt, publish.propertyBytes, publish.propertiesStart, publish.propertiesEnd);
  copyBytes(bytes, payloadAt, publish.payloadBytes, publish.payloadStart, payloadEnd);
  if (payloadCredits > 0) writeUint64(bytes, payloadAt, payloadCredits);
  return bytes;
}

/** Bytes of the price of a payload in parts, where that stands in its place. */
const payloadCreditsBytes = 8;

/** Where the texts of a message end, and its properties. */
interface Layout {
  readonly branchEnd: number;
  readonly publisherEnd: number;
  readonly textsEnd: number;
  readonly propertiesStart: number;
  readonly propertiesEnd: number;
}

/** Throws `OperatingError` with EFORMAT for what no broker of ours has written, or a newer one. */
function layoutOf(bytes: Uint8Array): Layout {
  if (bytes.length < messageHeadBytes) throw badFormat("is too short for a message");
  if (bytes[16] !== formatVersion) throw badFormat(`is a message of format ${bytes[16]}, not ${formatVersion}`);
  const branchEnd = messageHeadBytes + readUint16(bytes, 26);
  const publisherEnd = branchEnd + readUint16(bytes, 28);
  const textsEnd = publisherEnd + readUint16(bytes, 30);
  const propertiesStart = textsEnd + ((bytes[17]! & copyFlag) === 0 ? 0 : 8);
  const propertiesEnd = propertiesStart + readUint32(bytes, 22);
  if (propertiesEnd > bytes.length) throw badFormat("is a message that ends early");
  if ((bytes[17]! & 3) === 3) throw badFormat("is a message at QoS 3");
  if (!Number.isSafeInteger(readUint64(bytes, 0)) || !Number.isSafeInteger(readUint64(bytes, 8)))
    throw badFormat("is a message with numbers beyond 2^53");
  return { branchEnd, publisherEnd, textsEnd, propertiesStart, propertiesEnd };
}

/**
 * Reads a message's price, and who pays it; undefined: the bytes are no message, but a level above others. Throws
 * `OperatingError` with EFORMAT for bytes that no broker of ours has written, or a newer one.
 */
export function decodeMessageHead(bytes: Uint8Array): MessageHead | undefined {
  if (bytes.length === 0) return undefined;
  const layout = layoutOf(bytes);
  const { branchEnd, publisherEnd, textsEnd } = layout;
  const until = readUint64(bytes, 8);
  const partsId = textIn(bytes, publisherEnd, textsEnd);
  const { publisher, payer } = authorIn(bytes, branchEnd, publisherEnd);
  const payloadCredits = payloadCreditsIn(bytes, layout);
  return {
    credits: readUint64(bytes, 0) - payloadCredits,
    keepUntil: until === 0 ? Infinity : until,
    recipients: readUint32(bytes, 18),
    branch: textIn(bytes, messageHeadBytes, branchEnd),
    publisher,
    payer,
    parts: partsId === "" ? undefined : { id: checkPartsId(partsId), count: readUint16(bytes, 32) },
    ...(payloadCredits > 0 ? { payloadCredits } : {}),
  };
}

/** Returns the part of a message's credits that pays for its payload in parts; 0: it does not say. */
function payloadCreditsIn(bytes: Uint8Array, layout: Layout): number {
  const { propertiesEnd } = layout;
  if (!isInParts(layout) || bytes.length < propertiesEnd + payloadCreditsBytes) return 0;
  const credits = readUint64(bytes, propertiesEnd);
  if (credits > readUint64(bytes, 0)) throw badFormat("is a message that costs less than its payload");
  return credits;
}

function isInParts({ publisherEnd, textsEnd }: Layout): boolean {
  return textsEnd > publisherEnd;
}

/** Returns the bytes of a stored message's payload, without parts. Throws as `decodeMessageHead` does. */
export function payloadBytesIn(bytes: Uint8Array): number {
  if (bytes.length === 0) return 0;
  const layout = layoutOf(bytes);
  return isInParts(layout) ? 0 : bytes.length - layout.propertiesEnd;
}

function authorIn(bytes: Uint8Array, start: number, end: number): Author {
  const isInDrop = (bytes[17]! & inDropFlag) !== 0;
  const hasPayer = (bytes[17]! & payerFlag) !== 0;
  return authorOf(isInDrop || hasPayer ? textIn(bytes, start, end) : "", { isInDrop, hasPayer });
}

/**
 * Reads what `encodeMessage` wrote; its topic comes from its path. A payload in parts is left empty. Throws
 * `OperatingError` with EFORMAT.
 */
export function decodeMessage(topic: string, bytes: Uint8Array): Publish {
  const layout = layoutOf(bytes);
  const { branchEnd, publisherEnd, textsEnd, propertiesStart, propertiesEnd } = layout;
  if (!isTopicName(topic)) throw badFormat("is a message on what is no topic");
  checkProperties(bytes, propertiesStart, propertiesEnd);
  const publish = new Publish();
  publish.isApart = true;
  publish.payer = authorIn(bytes, branchEnd, publisherEnd).payer;
  const until = readUint64(bytes, 8);
  const flags = bytes[17]!;
  publish.keepUntil = until === 0 ? Infinity : until;
  if ((flags & publishersExpiry) !== 0) publish.expiresAt = publish.keepUntil;
  publish.qos = (flags & 3) as QoS;
  publish.retain = (flags & retainFlag) !== 0;
  publish.topicBytes = encodeUtf8(topic);
  publish.topicEnd = publish.topicBytes.length;
  publish.propertyBytes = publish.payloadBytes = bytes;
  if ((flags & copyFlag) !== 0) publish.copyUntil = readUint64(bytes, textsEnd);
  publish.propertiesStart = propertiesStart;
  publish.propertiesEnd = publish.payloadStart = propertiesEnd;
  publish.payloadEnd = isInParts(layout) ? propertiesEnd : bytes.length;
  return publish;
}

/** Gives a message its payload, which was read apart from it. */
export function setPayload(publish: Publish, payload: Uint8Array): void {
  publish.payloadBytes = payload;
  publish.payloadStart = 0;
  publish.payloadEnd = payload.length;
}

/** waiting: not sent. sent: under its packet id. released: PUBREC has come, PUBCOMP has not. */
export type SlipState = "waiting" | "sent" | "released";
const slipStates: readonly SlipState[] = ["waiting", "sent", "released"];

/** A slip: what one mailbox says of one stored message. */
export interface SlipRecord {
  state: SlipState;
  readonly qos: QoS;
  readonly retain: boolean;
  packetId: number;
  /** How many slips the message has been stored with. */
  readonly recipients: number;
  /** The time until which the message is kept, in ms since 1970; Infinity: as long as it is needed. */
  readonly keepUntil: number;
  readonly subscriptionIds: readonly number[];
  /** The broker whose branch pays for the message. */
  readonly branch: string;
  readonly messagePath: string;
  /** The message's payload is in parts, which go with it. */
  readonly hasParts: boolean;
  /** Tells for which shared subscription the message was stored, as `groupMarkOf` says; 0: for none. */
  readonly groupMark: number;
}

/** The marks that a slip's flags have room for: brokers that know nothing of them read past them. */
const groupMarks = 15;

/**
 * Tells the shared subscriptions of a topic apart, in four bits: from 1 on. Two of one topic may have the same, one in
 * fifteen: then a message may go to a member of the other one.
 */
export function groupMarkOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const bytes = encodeUtf8(text);
  return 1 + (hashBytes(bytes, 0, bytes.length) % groupMarks);
}

const slipHeadBytes = 20;

/**
 * A slip: state (u8), QoS, retain, whether the payload is in parts, and the mark of a group (u8: bits 0-1, bit 2, bit
 * 3, bits 4-7), packet id (u16), recipients (u32), until when the message is kept in ms since 1970 (u64, 0: never
 * ends), number of subscription identifiers (u16), length of the branch's name (u16), each identifier (u32), that name
 * and the message's path in UTF-8. Big-endian.
 */
export function encodeSlip(slip: SlipRecord): Uint8Array {
  const path = encodeUtf8(slip.messagePath);
  const branch = encodeBranch(slip.branch);
  const ids = slip.subscriptionIds;
  const branchAt = slipHeadBytes + 4 * ids.length;
  const bytes = new Uint8Array(branchAt + branch.length + path.length);
  bytes[0] = slipStates.indexOf(slip.state);
  bytes[1] = slip.qos | (slip.retain ? 4 : 0) | (slip.hasParts ? 8 : 0) | (slip.groupMark << 4);
  writeUint16(bytes, 2, slip.packetId);
  writeUint32(bytes, 4, slip.recipients);
  writeUint64(bytes, 8, slip.keepUntil === Infinity ? 0 : slip.keepUntil);
  writeUint16(bytes, 16, ids.length);
  writeUint16(bytes, 18, branch.length);
  for (let index = 0; index < ids.length; index++) writeUint32(bytes, slipHeadBytes + 4 * index, ids[index]!);
  bytes.set(branch, branchAt);
  bytes.set(path, branchAt + branch.length);
  return bytes;
}

/** Throws `OperatingError` with EFORMAT. Only what is below `/topics` is removed with a slip. */
export function decodeSlip(bytes: Uint8Array): SlipRecord {
  if (bytes.length < slipHeadBytes) throw badFormat("is too short for a slip");
  const count = readUint16(bytes, 16);
  const branchAt = slipHeadBytes + 4 * count;
  const pathAt = branchAt + readUint16(bytes, 18);
  if (pathAt > bytes.length) throw badFormat("is a slip that ends early");
  const state = slipStates[bytes[0]!];
  if (state === undefined || (bytes[1]! & 3) === 3) throw badFormat("is a slip in no state that there is");
  const until = readUint64(bytes, 8);
  const messagePath = encodeAstral(textIn(bytes, pathAt, bytes.length));
  if (!messagePath.startsWith(`${topicsPath}/`) || !nameOf(messagePath).startsWith(messageMark))
    throw badFormat("is a slip for what is no message");
  return {
    state,
    qos: (bytes[1]! & 3) as QoS,
    retain: (bytes[1]! & 4) !== 0,
    hasParts: (bytes[1]! & 8) !== 0,
    groupMark: bytes[1]! >> 4,
    packetId: readUint16(bytes, 2),
    recipients: readUint32(bytes, 4),
    keepUntil: until === 0 ? Infinity : until,
    subscriptionIds: Array.from({ length: count }, (_, index) => readUint32(bytes, slipHeadBytes + 4 * index)),
    branch: textIn(bytes, branchAt, pathAt),
    messagePath,
  };
}

/** A persistent session, as JSON. */
export interface SessionRecord {
  /** The broker that serves it, or served it last, and that broker's epoch. */
  readonly owner: string;
  readonly epoch: number;
  readonly connected: boolean;
  readonly version: ProtocolVersion;
  /** Session Expiry Interval in seconds. */
  readonly expiryInterval: number;
  /** While away: when it ends, in ms since 1970; null: never. */
  readonly expiresAt: number | null;
  /** The user whose session it is; undefined: nobody's, or written by a broker that did not record it. */
  readonly user?: string | undefined;
  /** True if its client has not been heard since it was told that its earlier session was ended. */
  readonly untold?: true | undefined;
  /** The branch that pays for it, and how much; undefined: written by a broker that did not pay. */
  readonly paid?: Paid | undefined;
  /** Bytes of a will that are paid for with the session: its client may always bring one along. */
  readonly willBytes?: number | undefined;
}

export function encodeSession({ paid, ...record }: SessionRecord): Uint8Array {
  return encodeUtf8(JSON.stringify({ ...record, ...paid }));
}

/** Throws `OperatingError` with EFORMAT. */
export function decodeSession(bytes: Uint8Array): SessionRecord {
  const fields = new Fields(bytes);
  return {
    owner: fields.text("owner"),
    epoch: fields.whole("epoch"),
    connected: fields.flag("connected"),
    version: fields.whole("version", 3, 5) as ProtocolVersion,
    expiryInterval: fields.amount("expiryInterval"),
    expiresAt: fields.amountOrNull("expiresAt"),
    user: fields.has("user") ? fields.text("user") : undefined,
    untold: (fields.has("untold") && fields.flag("untold")) || undefined,
    paid: paidIn(fields),
    willBytes: fields.has("willBytes") ? fields.amount("willBytes") : undefined,
  };
}

export function encodeSubscription({ filter, paid, ...options }: Subscription): Uint8Array {
  return encodeUtf8(JSON.stringify({ ...options, ...paid }));
}

/** Throws `OperatingError` with EFORMAT. */
export function decodeSubscription(filterText: string, bytes: Uint8Array): Subscription {
  const filter = parseFilter(filterText);
  if (filter === undefined) throw badFormat("is below what is no filter");
  const fields = new Fields(bytes);
  return {
    filter,
    qos: fields.whole("qos", 0, 2) as QoS,
    noLocal: fields.flag("noLocal"),
    retainAsPublished: fields.flag("retainAsPublished"),
    retainHandling: fields.whole("retainHandling", 0, 2) as Subscription["retainHandling"],
    id: fields.whole("id", 0),
    paid: paidIn(fields),
  };
}

export const emptyRecord = noBytes;
