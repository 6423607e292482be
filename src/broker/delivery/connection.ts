/** One connection: transport, writer, framer and channel, and the reasons for which it is not read. */

import type { ScramExchange } from "../../access/scram.ts";
import type { Bucket } from "../../base/bucket.ts";
import { ProtocolError } from "../../base/errors.ts";
import { connectBytesMax, outputBytesMax, outputBytesReserve } from "../../base/limits.ts";
import type { Timer } from "../../base/timers.ts";
import { encodeDisconnect, type Farewell } from "../../mqtt/control.ts";
import { Framer } from "../../mqtt/framer.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Transport } from "../../net/transport.ts";
import { type Turn, Writer } from "../../net/writer.ts";
import type { Elsewhere, Route } from "../../router/router.ts";
import { Channel } from "../../session/channel.ts";
import type { LocalSession } from "./local-session.ts";

/** Why a connection is not read, as bits; it is read again when none is left. */
export const PauseReason = {
  /** The answer to CONNECT waits for the store. */
  connecting: 1,
  /** A subscriber that drains fast is behind. */
  stalled: 2,
  /** It has more unsettled publishes than the broker will hold. */
  owed: 4,
  /** The store is behind. */
  journal: 8,
  /** A publish of a client before MQTT 5 was refused and is tried again. */
  refused: 16,
  /** Another broker has more to take than it can. */
  link: 32,
  /** It sends more than it may. */
  rate: 64,
  /** It has had its share of the event loop's turn. */
  slice: 128,
} as const;

/** An enhanced authentication whose next word is the client's. */
export interface Exchange {
  readonly scram: ScramExchange;
  readonly done: (username: string, last: Buffer) => void;
  readonly refused: (why: string) => void;
}

/** Messages and bytes that a client may send. */
export interface Meter {
  readonly messages: Bucket | undefined;
  readonly bytes: Bucket | undefined;
}

export class Connection {
  readonly transport: Transport;
  readonly writer: Writer;
  readonly framer = new Framer(connectBytesMax);
  readonly channel = new Channel();
  client: LocalSession | undefined;
  /** The route of its last publish: most publishers stay with a topic. */
  route: Route<LocalSession, Elsewhere> | undefined;
  lastReceivedAt = 0;
  /** Keep alive, or the deadline of CONNECT before that. */
  timer: Timer | undefined;
  /** CONNECT's version is known: a refusal can be put into words that the client understands. */
  mayAnswerConnect = false;
  /** Why it will be turned away when it has said CONNECT. */
  refusal: number | undefined;
  /** What its address is counted as, where connections are limited by address. */
  countedAs: string | undefined;
  /** The enhanced authentication that CONNECT has asked for, and one that is under way. */
  authenticationMethod: string | undefined;
  exchange: Exchange | undefined;
  /** Ends it when its login ends. */
  loginTimer: Timer | undefined;
  /** The last route on which its client was found to be allowed to publish. */
  allowed: Route<LocalSession, Elsewhere> | undefined;
  /** What it may send; undefined: as much as it likes. */
  meter: Meter | undefined;
  /** The peer has closed while packets still wait to be handled. */
  ended = false;
  #holds = 0;

  constructor(transport: Transport, turn: Turn) {
    this.transport = transport;
    this.writer = new Writer(transport, turn);
  }

  get isHeld(): boolean {
    return this.#holds !== 0;
  }

  isHeldBy(reason: number): boolean {
    return (this.#holds & reason) !== 0;
  }

  hold(reason: number): void {
    if (this.#holds === 0) this.transport.pause();
    this.#holds |= reason;
  }

  /** True if it may be read again now. */
  release(reason: number): boolean {
    if ((this.#holds & reason) === 0) return false;
    this.#holds &= ~reason;
    return this.#holds === 0;
  }

  /**
   * Control packets go out whatever the subscriber's backlog, but not without bound: beyond it throws `ProtocolError`.
   */
  send(bytes: Uint8Array): void {
    this.writer.append(bytes, 0, bytes.length);
    this.checkOutput();
  }

  checkOutput(): void {
    if (this.writer.buffered > outputBytesMax + outputBytesReserve) {
      throw new ProtocolError(Reason.quotaExceeded, "the client does not read what it is sent");
    }
  }

  /** Tells an MQTT 5 client why its connection ends. */
  sayGoodbye(reason: number, { reasonString, serverReference }: Farewell = {}): void {
    const { version, phase, wantsReasons, packetBytesMax } = this.channel;
    if (version < 5 || phase !== "open") return;
    const farewell = { reasonString: wantsReasons ? reasonString : undefined, serverReference };
    const bytes = encodeDisconnect(reason, farewell, packetBytesMax);
    if (bytes !== undefined) this.writer.append(bytes, 0, bytes.length);
  }
}
