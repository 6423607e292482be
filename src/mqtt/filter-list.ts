/**
 * The filters of a SUBSCRIBE or an UNSUBSCRIBE, read by hand and one at a time: one packet may name tens of thousands,
 * and whoever handles it must be able to leave it in the middle. The packet has been checked.
 */
import { decodeUtf8, ownBytes, readUint16, readVarint } from "../base/bytes.ts";
import { PacketType, Property, type ProtocolVersion, type QoS } from "./constants.ts";
import { sectionRange, walkProperties } from "./properties.ts";

/** One filter as it was asked for. What only MQTT 5 says is undefined before it. */
export interface AskedFilter {
  readonly topic: string;
  /** SUBSCRIBE only. */
  readonly qos: QoS;
  readonly noLocal: boolean | undefined;
  readonly retainAsPublished: boolean | undefined;
  readonly retainHandling: 0 | 1 | 2;
}

export class FilterList {
  readonly packetId: number;
  /** 0: there is none. */
  readonly subscriptionId: number;
  readonly #bytes: Uint8Array;
  readonly #type: number;
  readonly #version: ProtocolVersion;
  #at = 0;

  /** The packet has its body at `body`…`end`. */
  constructor({ bytes, body, end }: FilterFrame, { type, version }: { type: number; version: ProtocolVersion }) {
    this.packetId = readUint16(bytes, body);
    this.#type = type;
    this.#version = version;
    let at = body + 2;
    let id = 0;
    if (version === 5) {
      const section = sectionRange(bytes, at, end);
      const visit = (property: number, start: number, next: number): void => {
        if (property === Property.subscriptionIdentifier) id = readVarint(bytes, start + 1, next);
      };
      walkProperties(bytes, section.start, section.end, { packetType: type, visit });
      at = section.end;
    }
    this.subscriptionId = id;
    // It may be read later, when the chunk that it came in is somebody else's.
    this.#bytes = ownBytes(bytes, at, end);
  }

  /** The memory of the packet, which is kept until all have been read, in bytes. */
  get memoryBytes(): number {
    return this.#bytes.length;
  }

  /** How many filters are still to be read. */
  count(): number {
    let count = 0;
    for (let at = this.#at; at < this.#bytes.length; at = this.#endAt(at)) count++;
    return count;
  }

  /** The next filter; undefined: there are no more. */
  next(): AskedFilter | undefined {
    const bytes = this.#bytes;
    if (this.#at >= bytes.length) return undefined;
    const end = this.#at + 2 + readUint16(bytes, this.#at);
    const topic = decodeUtf8(bytes, this.#at + 2, end);
    const options = this.#type === PacketType.subscribe ? bytes[end]! : 0;
    this.#at = this.#endAt(this.#at);
    const isNew = this.#version === 5;
    return {
      topic,
      qos: (options & 0x03) as QoS,
      noLocal: isNew ? (options & 0x04) !== 0 : undefined,
      retainAsPublished: isNew ? (options & 0x08) !== 0 : undefined,
      retainHandling: ((options >> 4) & 0x03) as 0 | 1 | 2,
    };
  }

  /** Where the filter that begins there ends, with its options. */
  #endAt(at: number): number {
    return at + 2 + readUint16(this.#bytes, at) + (this.#type === PacketType.subscribe ? 1 : 0);
  }
}

interface FilterFrame {
  readonly bytes: Uint8Array;
  readonly body: number;
  readonly end: number;
}
