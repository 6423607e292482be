/**
 * `mosquitto.db`, in which mosquitto 1.6 (format 5) and 2.x (format 6) keep what they must not forget: chunks, each
 * with its kind and length. Lengths are in network order, what only one machine reads (ids, times) in that of the
 * machine, which is little-endian on all that are met. Nothing in it is believed: each length is held against the file.
 */
import { OperatingError } from "../base/errors.ts";

/** A session that outlives its connection. */
export interface ForeignClient {
  readonly id: string;
  /** "": it has given none, or the format does not say. */
  readonly user: string;
  /** Session Expiry Interval in seconds; 4294967295: for ever. */
  readonly expiryInterval: number;
  /** When it ends, in seconds since 1970; 0: that is not known. */
  readonly expiresAt: number;
}

export interface ForeignSubscription {
  readonly clientId: string;
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** The subscription identifier; 0: none. */
  readonly id: number;
}

/** A message, as a view over the file. */
export interface ForeignMessage {
  readonly topic: Uint8Array;
  readonly payload: Uint8Array;
  /** The section of its properties, with its length, as MQTT 5 has it; empty: there is none. */
  readonly properties: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  /** The user who has published it; "": nobody is named. */
  readonly user: string;
  /** In seconds since 1970; 0: never. */
  readonly expiresAt: number;
}

/** A message on its way between a client and the broker. */
export interface ForeignDelivery {
  readonly clientId: string;
  readonly message: bigint;
  readonly packetId: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly direction: "in" | "out";
  /** How far it has come; see `states`. */
  readonly state: number;
  readonly subscriptionId: number;
}

/** States of deliveries: mosquitto's numbers, of those that are told apart here. */
export const states = { waitForPubrec: 5, resendPubrel: 6, waitForPubrel: 7, waitForPubcomp: 9 } as const;

export interface ForeignDatabase {
  readonly format: number;
  readonly clients: readonly ForeignClient[];
  readonly subscriptions: readonly ForeignSubscription[];
  readonly messages: ReadonlyMap<bigint, ForeignMessage>;
  /** Ids of the messages that are retained. */
  readonly retained: readonly bigint[];
  /** In each session they stand in the order in which they are sent. */
  readonly deliveries: readonly ForeignDelivery[];
  /** Chunks of kinds that are not known. */
  readonly unknown: number;
}

const magic = Uint8Array.of(0x00, 0xb5, 0x00, ...Buffer.from("mosquitto db"));
const headBytes = magic.length + 8;
const chunkHeadBytes = 8;

/** Returns true if a file begins as a `mosquitto.db`. */
export function isForeignDatabase(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, magic.length), magic) === 0;
}

/** The database, while its chunks are read. */
interface Gathered {
  readonly format: number;
  readonly clients: ForeignClient[];
  readonly subscriptions: ForeignSubscription[];
  readonly messages: Map<bigint, ForeignMessage>;
  readonly retained: bigint[];
  readonly deliveries: ForeignDelivery[];
  unknown: number;
}

/** Reads a database. Throws `OperatingError` if it is none, of another format, or not whole. */
export function readForeignDatabase(bytes: Uint8Array): ForeignDatabase {
  if (!isForeignDatabase(bytes) || bytes.length < headBytes) throw bad("it is no mosquitto.db");
  const format = viewOf(bytes).getUint32(magic.length + 4);
  if (format !== 5 && format !== 6)
    throw bad(`its format is ${format}; 5 and 6 are read, which mosquitto 1.6 and 2.x write`);
  const found: Gathered = {
    ...{ format, clients: [], subscriptions: [], messages: new Map(), retained: [], deliveries: [], unknown: 0 },
  };
  for (let at = headBytes; at < bytes.length; ) {
    if (at + chunkHeadBytes > bytes.length) throw bad(`it ends within a chunk, at byte ${at}`);
    const kind = viewOf(bytes).getUint32(at);
    const end = at + chunkHeadBytes + viewOf(bytes).getUint32(at + 4);
    if (end > bytes.length) throw bad(`it ends within a chunk, which begins at byte ${at}`);
    const chunk = new Chunk(bytes.subarray(at + chunkHeadBytes, end), at);
    const read = readers[kind];
    if (read === undefined) found.unknown++;
    else read(chunk, found);
    at = end;
  }
  return found;
}

type ReadChunk = (chunk: Chunk, found: Gathered) => void;

/** By the numbers of their kinds. */
const readers: Readonly<Record<number, ReadChunk>> = {
  1: readSettings,
  2: readMessage,
  3: readDelivery,
  4: (chunk, { retained }) => void retained.push(chunk.id(0)),
  5: readSubscription,
  6: readClient,
};

function readSettings(chunk: Chunk): void {
  if (chunk.byte(9) !== 8) throw chunk.bad("its ids are not of 8 bytes: it was written on a machine of another kind");
}

function readMessage(chunk: Chunk, { messages }: Gathered): void {
  const [payloadLength, sourceLength, userLength] = [chunk.long(16), chunk.short(22), chunk.short(24)];
  const topicLength = chunk.short(26);
  chunk.skip(32);
  chunk.take(sourceLength);
  const user = chunk.text(userLength);
  const topic = chunk.take(topicLength);
  const payload = chunk.take(payloadLength);
  const [qos, retain] = [chunk.byte(30), chunk.byte(31) !== 0];
  const message = { topic, payload, properties: chunk.rest(), qos, retain, user, expiresAt: chunk.time(8) };
  if (qos > 2 || topicLength === 0) throw chunk.bad("a message without a topic, or of another QoS than there are");
  messages.set(chunk.id(0), message);
}

function readDelivery(chunk: Chunk, { deliveries }: Gathered): void {
  const [packetId, idLength, qos, state] = [chunk.short(8), chunk.short(10), chunk.byte(12), chunk.byte(13)];
  const retain = chunk.byte(14) >> 4 !== 0;
  const direction = chunk.byte(15) === 0 ? "in" : "out";
  chunk.skip(16);
  const clientId = chunk.text(idLength);
  const properties = chunk.rest();
  if (qos > 2) throw chunk.bad("a delivery of another QoS than there are");
  const subscriptionId = subscriptionIdIn(properties);
  deliveries.push({ clientId, message: chunk.id(0), packetId, qos, retain, direction, state, subscriptionId });
}

function readSubscription(chunk: Chunk, { subscriptions }: Gathered): void {
  const [id, idLength, filterLength] = [chunk.long(0), chunk.short(4), chunk.short(6)];
  const [qos, options] = [chunk.byte(8), chunk.byte(9)];
  chunk.skip(12);
  const clientId = chunk.text(idLength);
  const filter = chunk.text(filterLength);
  if (qos > 2) throw chunk.bad("a subscription of another QoS than there are");
  const [noLocal, retainAsPublished] = [(options & 0x04) !== 0, (options & 0x08) !== 0];
  subscriptions.push({ clientId, filter, qos, noLocal, retainAsPublished, id: id <= 268_435_455 ? id : 0 });
}

function readClient(chunk: Chunk, { format, clients }: Gathered): void {
  const [expiryInterval, idLength] = [chunk.long(8), chunk.short(14)];
  const userLength = format === 6 ? chunk.short(18) : 0;
  chunk.skip(format === 6 ? 24 : 16);
  const id = chunk.text(idLength);
  clients.push({ id, user: chunk.text(userLength), expiryInterval, expiresAt: chunk.time(0) });
}

/** Returns the subscription identifier in the properties of a delivery, where it is all that they may hold; 0: none. */
function subscriptionIdIn(properties: Uint8Array): number {
  if (properties[1] !== 0x0b) return 0;
  let id = 0;
  for (let at = 2, shift = 0; at < Math.min(properties.length, 6); at++, shift += 7) {
    id += (properties[at]! & 0x7f) * 2 ** shift;
    if (properties[at]! < 0x80) return id;
  }
  return 0;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A chunk's content: numbers at fixed places, then texts one after the other. */
class Chunk {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #place: number;
  #at = 0;

  constructor(bytes: Uint8Array, place: number) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#place = place;
  }

  byte(at: number): number {
    this.#mustHave(at + 1);
    return this.#bytes[at]!;
  }

  short(at: number): number {
    this.#mustHave(at + 2);
    return this.#view.getUint16(at);
  }

  long(at: number): number {
    this.#mustHave(at + 4);
    return this.#view.getUint32(at);
  }

  id(at: number): bigint {
    this.#mustHave(at + 8);
    return this.#view.getBigUint64(at, true);
  }

  /** Seconds since 1970; 0 where there is no such time. */
  time(at: number): number {
    this.#mustHave(at + 8);
    const seconds = this.#view.getBigInt64(at, true);
    return seconds > 0n && seconds < 2n ** 43n ? Number(seconds) : 0;
  }

  /** Goes on behind the numbers. */
  skip(to: number): void {
    this.#mustHave(to);
    this.#at = to;
  }

  take(length: number): Uint8Array {
    this.#mustHave(this.#at + length);
    const from = this.#at;
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.#at);
  }

  /** Throws `OperatingError` if it is not UTF-8. */
  text(length: number): string {
    const bytes = this.take(length);
    try {
      return decoder.decode(bytes);
    } catch {
      throw this.bad("a text that is not UTF-8");
    }
  }

  bad(why: string): OperatingError {
    return bad(`${why}, in the chunk at byte ${this.#place}`);
  }

  #mustHave(length: number): void {
    if (length > this.#bytes.length) throw this.bad("it is shorter than what it should hold");
  }
}

function bad(why: string): OperatingError {
  return new OperatingError("EFILE", why);
}
