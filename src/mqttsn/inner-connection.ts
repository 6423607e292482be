/**
 * The connection by which a client of MQTT-SN is one of the broker's: a transport without a network behind it. What the
 * broker writes is read back as packets; what it is given waits while the broker does not read, or is at work.
 */
import { ownBytes } from "../base/bytes.ts";
import { remainingLengthMax } from "../base/limits.ts";
import { ackReason, parseAck } from "../mqtt/acks.ts";
import { PacketType, type QoS } from "../mqtt/constants.ts";
import { decodeFromServer } from "../mqtt/control.ts";
import { Framer } from "../mqtt/framer.ts";
import { Publish, parsePublish, topicOf } from "../mqtt/publish.ts";
import type { DeviceProtocol, DeviceState, Transport, TransportEvents } from "../net/transport.ts";

/** A message from the broker for the client; its payload is its own. */
export interface Delivery {
  readonly kind: "publish";
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly payload: Uint8Array;
}

/** A packet of the broker's, as far as it matters here. `reason` of SUBACK: the QoS granted, or why not. */
export type FromBroker =
  | Delivery
  | {
      readonly kind: "connack";
      readonly reason: number;
      readonly sessionPresent: boolean;
      /** A Keep Alive in seconds to which the broker holds everybody; 0: none. */
      readonly keepAlive: number;
    }
  | {
      readonly kind: "puback" | "pubrec" | "pubrel" | "pubcomp" | "suback" | "unsuback";
      readonly packetId: number;
      readonly reason: number;
    }
  | { readonly kind: "disconnect"; readonly reason: number };

/** The client at this end. It may call `send` from within `heard`. */
export interface InnerClient {
  heard(packet: FromBroker, from: object): void;
  /** The broker has closed the connection, which is `from`. */
  closed(from: object): void;
  /** Undefined: it is no device that sleeps. */
  readonly deviceState?: DeviceState | undefined;
  /** The messages that wait here for the client. */
  readonly deliveries?: { readonly memoryBytes: number };
}

/** The parts of the process that a connection needs. */
export interface InnerDoors<Owner> {
  readonly events: TransportEvents<Owner>;
  /** Calls back in a later turn of the event loop. */
  readonly later: (go: () => void) => void;
}

export interface InnerFacts {
  readonly remote: string;
  readonly address: string;
  /** The user as whom the client comes; undefined: nobody vouches for it. */
  readonly user: string | undefined;
  readonly protocol?: DeviceProtocol;
  /** True if the access list does not hold for it. */
  readonly isTrusted?: boolean;
}

const ackKinds = {
  [PacketType.puback]: "puback",
  [PacketType.pubrec]: "pubrec",
  [PacketType.pubrel]: "pubrel",
  [PacketType.pubcomp]: "pubcomp",
} as const;

/** The view into which every PUBLISH of the broker's is read. */
const publish = new Publish();

export class InnerConnection<Owner> implements Transport {
  readonly remote: string;
  readonly address: string;
  readonly user: string | undefined;
  readonly isTrusted: boolean;
  readonly deviceProtocol: DeviceProtocol | undefined;
  readonly certificate = undefined;
  readonly #doors: InnerDoors<Owner>;
  readonly #client: InnerClient;
  /** Undefined: nothing of the broker's is half-written. */
  #framer: Framer | undefined;
  readonly #owner: Owner;
  #waiting: Uint8Array[] = [];
  #isPaused = false;
  /** True while the broker is at work on what it was given, or writes. */
  #isBusy = true;
  #isScheduled = false;
  #isClosed = false;

  constructor(doors: InnerDoors<Owner>, facts: InnerFacts, client: InnerClient) {
    this.#doors = doors;
    this.remote = facts.remote;
    this.address = facts.address;
    this.user = facts.user;
    this.isTrusted = facts.isTrusted === true;
    this.deviceProtocol = facts.protocol;
    this.#client = client;
    this.#owner = doors.events.opened(this);
    this.#isBusy = false;
  }

  /** The broker's own object for the connection. */
  get owner(): Owner {
    return this.#owner;
  }

  get deviceState(): DeviceState | undefined {
    return this.#client.deviceState;
  }

  get memoryBytes(): number {
    const waiting = this.#waiting.reduce((bytes, packet) => bytes + packet.length, 0);
    return waiting + (this.#client.deliveries?.memoryBytes ?? 0);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The number of packets that wait until the broker reads. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Gives the broker a packet: now, or when it reads again. */
  send(packet: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#isPaused || this.#isBusy || this.#waiting.length > 0) {
      this.#waiting.push(packet);
      return this.#flushLater();
    }
    this.#give(packet);
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    if (this.#isClosed) return end - start;
    const wasBusy = this.#isBusy;
    this.#isBusy = true;
    const framer = this.#framer ?? new Framer(remainingLengthMax + 5);
    this.#framer = framer;
    try {
      // What is not a whole packet yet is kept beyond this call.
      framer.feed(ownBytes(bytes, start, end));
      while (!this.#isClosed && framer.next()) this.#read(framer);
      if (!framer.pending && framer.heldLength === 0) this.#framer = undefined;
    } finally {
      this.#isBusy = wasBusy;
    }
    return end - start;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#flushLater();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#waiting = [];
    this.#doors.later(() => {
      this.#client.closed(this);
      this.#doors.events.closed(this.#owner, undefined);
    });
  }

  abort(): void {
    this.close();
  }

  #give(packet: Uint8Array): void {
    this.#isBusy = true;
    try {
      this.#doors.events.received(this.#owner, packet);
    } finally {
      this.#isBusy = false;
    }
  }

  #flushLater(): void {
    if (this.#isScheduled || this.#isPaused || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    this.#doors.later(() => {
      this.#isScheduled = false;
      while (!this.#isPaused && !this.#isClosed) {
        const packet = this.#waiting.shift();
        if (packet === undefined) return;
        this.#give(packet);
      }
    });
  }

  /** Reads the packet that the framer has found. */
  #read(framer: Framer): void {
    const { bytes, start, body, end } = framer;
    const firstByte = bytes[start]!;
    const type = firstByte >> 4;
    if (type === PacketType.publish) {
      parsePublish(publish, bytes, firstByte, body, end, 5);
      const { qos, retain, dup, packetId, payloadBytes, payloadStart, payloadEnd } = publish;
      // The bytes were copied in `write`.
      const payload = payloadBytes.subarray(payloadStart, payloadEnd);
      return this.#client.heard(
        { kind: "publish", topic: topicOf(publish), qos, retain, dup, packetId, payload },
        this,
      );
    }
    const kind = ackKinds[type as keyof typeof ackKinds];
    if (kind !== undefined) {
      const packetId = parseAck(bytes, body, end, { type, version: 5 });
      return this.#client.heard({ kind, packetId, reason: ackReason(bytes, body, end) }, this);
    }
    if (type === PacketType.pingresp) return;
    const packet = decodeFromServer(framer, 5);
    switch (packet.cmd) {
      case "connack": {
        const { sessionPresent, reasonCode = 0, properties } = packet;
        const keepAlive = properties?.serverKeepAlive ?? 0;
        return this.#client.heard({ kind: "connack", reason: reasonCode, sessionPresent, keepAlive }, this);
      }
      case "suback":
      case "unsuback":
        return this.#client.heard(
          {
            kind: packet.cmd,
            packetId: packet.messageId ?? 0,
            reason: Number(packet.granted?.[0] ?? 0),
          },
          this,
        );
      case "disconnect":
        return this.#client.heard({ kind: "disconnect", reason: packet.reasonCode ?? 0 }, this);
    }
  }
}
