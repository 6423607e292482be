/**
 * The weights of things in the store: the bytes of memory that they take in a ZooKeeper server, which keeps all of the
 * tree there. The bank is paid by weight, so the store's size is bounded by its capital. A weight is worked out from
 * the thing alone: each counts all the levels of its path as if no other stood below them. That is too much where
 * things share levels, never too little, and needs no books.
 */
import { dropSlipsFreeMax, dropSlipTextsFreeMax, heldIdsFreeMax, slipsFreeMax } from "../base/bank-limits.ts";
import { idBytesMax, slipPathBytesMin, znodeBytes } from "../base/limits.ts";
import { messageMark, nameOf, retainedPath, sessionPath, topicPath } from "./paths.ts";

/** Bytes of a path, or a part of one: a character that is not ASCII takes three at most, in UTF-8 as in UTF-16. */
export function textWeightOf(text: string): number {
  return text.length * (isAscii(text) ? 1 : 3);
}

/** Bytes that a text takes in a record of JSON at most: a character takes six, if it must be escaped; most take one. */
export function jsonTextWeightOf(text: string): number {
  return 6 * text.length;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: paths may hold them, as texts of a client's do.
const ascii = /^[\x00-\x7f]*$/;

function isAscii(text: string): boolean {
  return ascii.test(text);
}

/** Returns the weight of one znode, without the levels above it: path, name (its parent lists it) and data. */
export function nodeWeightOf(path: string, dataBytes: number): number {
  const width = isAscii(path) ? 1 : 3;
  return znodeBytes + width * (path.length + nameOf(path).length) + dataBytes;
}

/** Returns the weight of a znode without data and of all levels above it, except for the tree's own. */
export function placeWeightOf(path: string): number {
  const width = isAscii(path) ? 1 : 3;
  const root = path.indexOf("/", 1);
  let weight = 0;
  for (let end = path.indexOf("/", root + 1); ; end = path.indexOf("/", end + 1)) {
    const length = end === -1 ? path.length : end;
    weight += znodeBytes + width * length;
    // All names together are what the path is long.
    if (end === -1) return weight + width * (length - root);
  }
}

/** The levels of a topic, wherever in the tree. */
export interface TopicPlace {
  /** The weight of all its levels. */
  readonly weight: number;
  /** Bytes of the path of the last one. */
  readonly pathBytes: number;
}

/** Returns the levels of a topic; they weigh most below `/retained`, which has the longest name. */
export function placeOfTopic(topic: string): TopicPlace {
  const path = topicPath(retainedPath, topic);
  return { weight: placeWeightOf(path), pathBytes: textWeightOf(path) };
}

/** Bytes of a record of ours, besides texts of any length: a message's head, a slip's, and the like. */
const recordBytes = 64;

/** The sizes of a message that is kept. */
export interface MessageSize {
  /** Bytes of topic, properties and payload. */
  readonly bytes: number;
  /** The texts in its record besides: branch, publisher. */
  readonly texts: number;
}

/** Returns the weight of a message that is stored on a topic, for mailboxes or in a mail drop, without slips. */
export function messageWeightOf({ weight, pathBytes }: TopicPlace, size: MessageSize): number {
  return weight + znodeBytes + pathBytes + 2 * (messageMark.length + 1 + idBytesMax) + recordWeightOf(size);
}

/** Returns the weight of a retained message: it stands at its topic's level. */
export function retainedWeightOf({ weight }: TopicPlace, size: MessageSize): number {
  return weight + recordWeightOf(size);
}

function recordWeightOf({ bytes, texts }: MessageSize): number {
  return recordBytes + idBytesMax + bytes + texts;
}

/** Returns the weight of the znode that counts a message's recipients, where there are several. */
export function counterWeightOf({ pathBytes }: TopicPlace): number {
  return znodeBytes + pathBytes + recordBytes;
}

/**
 * Returns the weight of a payload that stands apart from its message in so many parts, besides its bytes. `texts`: the
 * bytes of texts in the record that says who pays for it.
 */
export function partsWeightOf(count: number, texts: number): number {
  return (count + 1) * (znodeBytes + 2 * recordBytes) + texts;
}

/** A slip: to whom, and with how many subscription identifiers. */
export interface SlipSize {
  readonly clientId: string;
  readonly subscriptionIds: number;
  /** Bytes of the name of the branch that pays for the message. */
  readonly branchBytes: number;
}

/** Returns the weight of the slip that names a message on a topic. */
export function slipWeightOf({ pathBytes }: TopicPlace, { clientId, subscriptionIds, branchBytes }: SlipSize): number {
  const data = recordBytes + 4 * subscriptionIds + branchBytes + pathBytes + idBytesMax;
  return znodeBytes + slipPathBytesOf(clientId) + data;
}

/**
 * Bytes of the path and name of a slip of that client, or what they are taken for: a slip may be moved to another
 * mailbox where they are not more.
 */
export function slipPathBytesOf(clientId: string): number {
  return Math.max(slipPathBytesMin, textWeightOf(sessionPath(clientId))) + slipNameBytes;
}

/** Bytes of "/mail/", and twice ten digits. */
const slipNameBytes = 26;

/** Bytes of a JSON record of ours, besides texts of any length. */
const jsonBytes = 320;
/** Levels that may come to stand below a session's record: its mailbox, packet ids, places in mail drops. */
const sessionLevels = 3;
/** Bytes of the name of each, twice, with the slash. */
const sessionLevelBytes = 12;

/**
 * Returns the weight of a slip of a session whose message is gone: only its packet id is needed. `path`: the session's.
 */
export function idSlipWeightOf(path: string): number {
  return nodeWeightOf(`${path}/mail/${"0".repeat(slipNameDigits)}`, recordBytes);
}

/** Returns the weight of a session's slip for a message in a mail drop. `path`: the session's. */
export function dropSlipWeightOf(
  path: string,
  slip: { readonly messagePath: string; readonly branch: string; readonly subscriptionIds: readonly number[] },
): number {
  const texts = textWeightOf(slip.messagePath) + textWeightOf(slip.branch);
  return idSlipWeightOf(path) + texts + 4 * slip.subscriptionIds.length;
}

/** Returns the weight of the slips for what lies in mail drops that a session pays for where there are mail drops. */
export function dropSlipsFreeWeightOf(path: string): number {
  return dropSlipsFreeMax * (idSlipWeightOf(path) + dropSlipTextsFreeMax);
}

/** Digits of the number that the store gives a slip. */
const slipNameDigits = 10;

/**
 * Returns the weight of a session's znode, with all levels below it, a few slips whose messages are gone, and a few
 * packet ids of its publishes. `texts`: the bytes of texts in its record.
 */
export function sessionWeightOf(path: string, texts: number): number {
  const levels = sessionLevels * (znodeBytes + textWeightOf(path) + sessionLevelBytes);
  const slips = slipsFreeMax * idSlipWeightOf(path);
  const ids = heldIdsFreeMax * heldIdWeightOf(`${path}/in/${"0".repeat(packetIdDigits)}`, 0);
  return placeWeightOf(path) + levels + slips + ids + jsonBytes + texts;
}

/** Digits of a packet id. */
const packetIdDigits = 5;

/** Returns the weight of a packet id that is held. `texts`: the bytes of texts in the record of who pays for it. */
export function heldIdWeightOf(path: string, texts: number): number {
  return nodeWeightOf(path, recordBytes + texts);
}

/**
 * Returns the weight of a persistent session's subscription. `texts`: the bytes of texts in its record; `cursor`: the
 * path of its place in mail drops, if any.
 */
export function subscriptionWeightOf(path: string, texts: number, cursor: string | undefined): number {
  const place = placeWeightOf(path) + jsonBytes + texts;
  return cursor === undefined ? place : place + nodeWeightOf(cursor, jsonBytes);
}

/** Bytes of the texts in a persistent session's subscription: the branch that pays for it, and for which user. */
export function subscriptionTextsOf({
  branch,
  payer = "",
}: {
  readonly branch: string;
  readonly payer?: string;
}): number {
  return textWeightOf(branch) + jsonTextWeightOf(payer);
}

/** Returns the weight of a will whose record has so many bytes; it grows a little when the connection is lost. */
export function willWeightOf(path: string, bytes: number): number {
  return placeWeightOf(path) + recordBytes + bytes;
}
