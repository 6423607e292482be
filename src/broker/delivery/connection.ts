/** A client's network connection: transport, writer, framer, channel, and the reasons for which it is not read. */

import type { ScramExchange } from "../../access/scram.ts";
import type { Bucket } from "../../base/bucket.ts";
import { ProtocolError } from "../../base/errors.ts";
import {
  connectBytesMax,
  heldUnreadBytesMax,
  logTextMax,
  outputBytesMax,
  outputBytesReserve,
} from "../../base/limits.ts";
import type { Timer } from "../../base/timers.ts";
import type { Subject } from "../../base/turn-watch.ts";
import { nameOfType } from "../../mqtt/constants.ts";
import { type DisconnectDetails, encodeDisconnect } from "../../mqtt/control.ts";
import { Framer } from "../../mqtt/framer.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Transport } from "../../net/transport.ts";
import { type Turn, Writer } from "../../net/writer.ts";
import type { Elsewhere, Route } from "../../router/router.ts";
import { Channel } from "../../session/channel.ts";
import type { LocalSession } from "./local-session.ts";
import type { Spender } from "./spender.ts";
import { Traffic } from "./traffic.ts";
import type { WireTap } from "./wire-tap.ts";

/** The reasons for which a connection is not read, as bits; it is read again when none is set. */
export const PauseReason = {
  /** The answer to CONNECT waits for the store. */
  connecting: 1,
  /** A subscriber of its publishes is behind, but drains fast. */
  stalled: 2,
  /** The client has more unsettled publishes than the broker holds for one connection. */
  owed: 4,
  /** The store is behind with its commits. */
  journal: 8,
  /** A publish of a client before MQTT 5 was refused and is tried again. */
  refused: 16,
  /** Another broker is handed more than it can take. */
  link: 32,
  /** The client sends more than `maxMessageRate` or `maxByteRate` allows. */
  rate: 64,
  /** The connection has used up its slice of the event loop. */
  slice: 128,
  /** Retained messages for new subscriptions are about to be sent. */
  feeds: 256,
  /** A message to very many receivers is on its way, by the client or on the topic of its next one. */
  fanout: 512,
} as const;

/** An enhanced authentication (MQTT 5, 4.12) that waits for the client's next AUTH. */
export interface AuthExchange {
  readonly scram: ScramExchange;
  readonly done: (username: string, last: Buffer) => void;
  readonly refused: (why: string) => void;
}

/** The limits of a client's rates: messages and bytes per second; undefined: no limit. */
export interface Meter {
  readonly messages: Bucket | undefined;
  readonly bytes: Bucket | undefined;
}

/** The ways by which clients come in, as their listeners are called. */
export type ListenerName = "tcp" | "tls" | "ws" | "wss" | "unix" | "sn";

/** One network connection, from its accept to its end. The session that is served by it outlives it, perhaps. */
export class Connection implements Subject {
  readonly transport: Transport;
  readonly writer: Writer;
  readonly framer = new Framer(connectBytesMax);
  readonly channel = new Channel();
  readonly traffic = new Traffic();
  /** The session that it serves; undefined before CONNECT is accepted. */
  client: LocalSession | undefined;
  /** The route of its last publish: most publishers stay with one topic. */
  route: Route<LocalSession, Elsewhere> | undefined;
  /** When bytes last came from the client, in ms by the clock's `now`. */
  lastReceivedAt = 0;
  /** When it was opened, in ms since 1970. */
  openedAt = 0;
  /** The option that names the way by which it has come; "": none does. */
  listener: ListenerName | "" = "";
  /** The client id of its CONNECT, whether that was let in or not; undefined: none has come. */
  clientId: string | undefined;
  /**
   * The transaction of its CONNECT; 0: it needed none. What other brokers have stored in its client's name before, such
   * as an earlier will, was stored earlier.
   */
  connectZxid = 0;
  /** Ends the connection when Keep Alive is over; before CONNECT, when CONNECT has not come in time. */
  timer: Timer | undefined;
  /**
   * True once CONNECT's protocol version is known: only then can a refusal be sent as a CONNACK that the client
   * understands.
   */
  mayAnswerConnect = false;
  /** Reason code with which the client's CONNECT will be refused; undefined: it will not. */
  refusal: number | undefined;
  /** The key by which the connections of its address are counted; undefined: they are not limited. */
  countedAs: string | undefined;
  /** The Authentication Method of CONNECT, and the exchange that is under way. */
  authenticationMethod: string | undefined;
  exchange: AuthExchange | undefined;
  /** Ends the connection when its login (a token) expires. */
  loginTimer: Timer | undefined;
  /** The last route on which the access list has allowed the client to publish. */
  allowed: Route<LocalSession, Elsewhere> | undefined;
  /** Limits the client's rates; undefined: there is no limit. */
  meter: Meter | undefined;
  /** The one for whom its memory is counted; undefined: it has just been opened, or has ended. */
  spender: Spender | undefined;
  /** Bytes of a packet that has come and waits, beside those in the framer: a CONNECT, filters, a held publish. */
  waitingBytes = 0;
  /** True once the client has closed, while packets that it sent before still wait to be handled. */
  ended = false;
  /** Reads along its packets, for whoever follows its client; undefined: nobody does. */
  tap: WireTap | undefined = undefined;
  /** The type of the packet that was handled last; 0: none was. */
  lastType = 0;
  #holds = 0;
  /** True if the connection was held when it was last looked at, and has been since. */
  #isLongHeld = false;
  #isListenedTo = false;

  /** Called once when something comes from the client after its CONNACK. */
  onceHeard: (() => void) | undefined;

  /** `drained` is called with it when its output has room again although the transport was never full. */
  constructor(transport: Transport, turn: Turn, drained: (connection: Connection) => void) {
    this.transport = transport;
    this.writer = new Writer(transport, turn, () => drained(this));
  }

  /** Names the client for the log, and its last packet, which holds the event loop. */
  describe(): Record<string, string> {
    const clientId = this.client?.session.clientId.slice(0, logTextMax);
    const packet = this.lastType === 0 ? {} : { packet: nameOfType(this.lastType).toUpperCase() };
    return { remote: this.transport.remote, ...(clientId === undefined ? {} : { client: clientId }), ...packet };
  }

  /** True if the connection is not read, for any reason. */
  get isHeld(): boolean {
    return this.#holds !== 0;
  }

  /** Returns true if the connection is not read for that `PauseReason`. */
  isHeldBy(reason: number): boolean {
    return (this.#holds & reason) !== 0;
  }

  /** Stops reading, for one more `PauseReason`. */
  hold(reason: number): void {
    this.#hold(reason, false);
  }

  /**
   * Handles nothing more that the client sends, for one more `PauseReason`, but listens to it, as long as little waits
   * of what it has sent.
   */
  holdListening(reason: number): void {
    this.#hold(reason, this.framer.pendingBytes <= heldUnreadBytesMax);
  }

  #hold(reason: number, isListening: boolean): void {
    if (this.#holds === 0) {
      if (!isListening) this.transport.pause();
      this.#isLongHeld = false;
      this.#isListenedTo = isListening;
    }
    this.#holds |= reason;
  }

  /**
   * True while the connection is held and what its client sends is taken all the same, to be handled later: so it is
   * seen if the client closes.
   */
  get isListenedTo(): boolean {
    return this.isHeld && this.#isListenedTo;
  }

  /**
   * Looks how much has come and gone, and after a connection that has been held ever since this was called last: the
   * kernel asks whether the client is there, and it is listened to from `now` on, as long as little waits of what it
   * has sent.
   */
  lookAfter(now: number): void {
    this.traffic.look(now, this.writer.taken);
    const isLong = this.#isLongHeld && this.isHeld;
    this.#isLongHeld = this.isHeld;
    if (!isLong || this.ended || this.#isListenedTo) return;
    this.transport.probe?.();
    if (this.framer.pendingBytes > heldUnreadBytesMax) return;
    this.#isListenedTo = true;
    this.lastReceivedAt = now;
    this.transport.resume();
  }

  /** Ends the listening to a held connection when more than a little waits. */
  heard(): void {
    if (this.framer.pendingBytes <= heldUnreadBytesMax) return;
    this.#isListenedTo = false;
    this.transport.pause();
  }

  /** Drops a `PauseReason`. Returns true if it was the last one: the caller resumes the transport. */
  release(reason: number): boolean {
    if ((this.#holds & reason) === 0) return false;
    this.#holds &= ~reason;
    return this.#holds === 0;
  }

  /**
   * Sends a control packet, whatever the subscriber's backlog. Throws `ProtocolError` if the client has left too much
   * unread.
   */
  send(bytes: Uint8Array): void {
    this.writer.appendPacket(bytes);
    this.checkOutput();
  }

  /**
   * Throws `ProtocolError` (0x97, Quota exceeded) if the client has left more unread than the output limit and its
   * reserve.
   */
  checkOutput(): void {
    if (this.writer.buffered > outputBytesMax + outputBytesReserve) {
      throw new ProtocolError(Reason.quotaExceeded, "the client does not read what it is sent");
    }
  }

  /**
   * Sends DISCONNECT to an MQTT 5 client, with the reason why its connection ends; nothing to others, or if it would be
   * too large for the client.
   */
  sendDisconnect(reason: number, { reasonString, serverReference }: DisconnectDetails = {}): void {
    const { version, phase, wantsReasons, packetBytesMax } = this.channel;
    if (version < 5 || phase !== "open") return;
    const details = { reasonString: wantsReasons ? reasonString : undefined, serverReference };
    const bytes = encodeDisconnect(reason, details, packetBytesMax);
    if (bytes !== undefined) this.writer.appendPacket(bytes);
  }
}
