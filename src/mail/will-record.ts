/** The bytes of a will's znode: it waits in the store for its connection to end. */
import { concatBytes, decodeUtf8, encodeUtf8, readUint32 } from "../base/bytes.ts";
import { badFormat } from "../base/errors.ts";
import { Fields } from "../coordinator/fields.ts";
import { makePublish, type Publish } from "../mqtt/publish.ts";
import { decodeMessage, decodeMessageHead, encodeMessage, type MessageHead } from "./records.ts";

export interface WillRecord {
  readonly publish: Publish;
  /** Will Delay Interval in seconds. */
  readonly delay: number;
  /** Message Expiry Interval in ms, counted from its publication; Infinity: never. */
  readonly expiryMs: number;
  /** The incarnation of the broker that holds the connection. */
  readonly epoch: number;
  /** When that broker sent the client to another one, in ms since 1970: it is expected there. */
  readonly movedAt?: number | undefined;
  /** When the connection was lost, in ms since 1970, if the delay has begun. */
  readonly lostAt?: number | undefined;
  /** The stamp of the connection's claim, if brokers could not be asked to give its client up. */
  readonly claimedAt?: number | undefined;
  /** Milli-credits that the broker pays for it under whose name it stands; 0: it is paid for with its session. */
  readonly credits?: number | undefined;
}

/**
 * A will: length of the JSON (u32), JSON of topic, retain, delay, expiry, the broker's epoch, when the client was sent
 * elsewhere or lost, its claim's stamp, then the message as stored.
 */
export function encodeWill({
  publish,
  delay,
  expiryMs,
  epoch,
  movedAt,
  lostAt,
  claimedAt,
  credits,
}: WillRecord): Uint8Array {
  const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
  const expiry = expiryMs === Infinity ? null : expiryMs;
  const { retain } = publish;
  const head = encodeUtf8(JSON.stringify({ topic, retain, delay, expiry, epoch, movedAt, lostAt, claimedAt }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, head.length);
  const kept: MessageHead = { credits: credits ?? 0, keepUntil: Infinity, branch: "", recipients: 0 };
  return concatBytes([length, head, encodeMessage(publish, kept)]);
}

/**
 * Returns what a will costs the broker under whose name it stands, in milli-credits, and whose it is. Throws
 * `OperatingError` with EFORMAT.
 */
export function willPriceOf(bytes: Uint8Array): { readonly credits: number; readonly payer: string } {
  if (bytes.length < 4) throw badFormat("is too short for a will");
  const head = decodeMessageHead(bytes.subarray(4 + readUint32(bytes, 0)));
  return { credits: head?.credits ?? 0, payer: head?.payer ?? "" };
}

/** Throws `OperatingError` with EFORMAT. */
export function decodeWill(bytes: Uint8Array): WillRecord {
  if (bytes.length < 4) throw badFormat("is too short for a will");
  const headEnd = 4 + readUint32(bytes, 0);
  if (headEnd > bytes.length) throw badFormat("is a will that ends early");
  const fields = new Fields(bytes, 4, headEnd);
  const stored = decodeMessage(fields.text("topic"), bytes.slice(headEnd));
  const publish = makePublish(stored.topicBytes, stored.payloadBytes.slice(stored.payloadStart), {
    qos: stored.qos,
    retain: fields.flag("retain"),
    properties: stored.propertyBytes.slice(stored.propertiesStart, stored.propertiesEnd),
  });
  publish.payer = stored.payer;
  const optional = (name: string): number | undefined => (fields.has(name) ? fields.amount(name) : undefined);
  return {
    publish,
    delay: fields.amount("delay"),
    expiryMs: fields.amountOrNull("expiry") ?? Infinity,
    epoch: fields.whole("epoch"),
    movedAt: optional("movedAt"),
    lostAt: optional("lostAt"),
    claimedAt: optional("claimedAt"),
  };
}
