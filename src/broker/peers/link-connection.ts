/** A TCP connection between two brokers, and how one is opened. */
import type { Timer } from "../../base/timers.ts";
import type { Subject } from "../../base/turn-watch.ts";
import { ClockOffset } from "../../link/clock-offset.ts";
import { FrameReader } from "../../link/frames.ts";
import type { Handshake } from "../../link/handshake.ts";
import type { Transport } from "../../net/transport.ts";
import { type Turn, Writer } from "../../net/writer.ts";
import type { Peer } from "./peer.ts";

/** One TCP connection to another broker, from its accept or dial to its end. A `Link` outlives it. */
export class LinkConnection implements Subject {
  readonly transport: Transport;
  readonly writer: Writer;
  readonly reader = new FrameReader();
  /** True if this broker has dialled it. */
  readonly dialled: boolean;
  /** Random text that the other broker must use in its proof of the cluster's secret. */
  readonly nonce: string;
  /** The other broker; undefined until an accepted connection has proved which it is. */
  peer: Peer | undefined;
  /** Set as soon as the connection is known to the links. */
  handshake: Handshake | undefined;
  /** True once the handshake is over. */
  isUp = false;
  isClosed = false;
  /** When it was opened, and when bytes last came, in ms by the clock's `now`. */
  openedAt = 0;
  lastReceivedAt = 0;
  /** By how much the other broker's clock is ahead. */
  readonly clockOffset = new ClockOffset();
  /** The watch over its handshake, and then over its silence. */
  silence: Timer | undefined;

  constructor(transport: Transport, turn: Turn, options: LinkConnectionOptions) {
    this.transport = transport;
    this.writer = new Writer(transport, turn, () => options.drained(this));
    this.dialled = options.dialled;
    this.nonce = options.nonce;
  }

  /** Names the other broker for the log. */
  describe(): Record<string, string> {
    return { remote: this.transport.remote, broker: this.peer?.id ?? "a stranger" };
  }

  /** Writes a frame that is not numbered: it is lost with the connection. */
  send(bytes: Uint8Array): void {
    this.writer.append(bytes, 0, bytes.length);
  }
}

interface LinkConnectionOptions {
  readonly dialled: boolean;
  readonly nonce: string;
  readonly drained: LinkDrained;
}

/** Called with a connection whose output has room again although its transport was never full. */
export type LinkDrained = (connection: LinkConnection) => void;

/** Where another broker accepts links, and whether it speaks TLS there. */
export interface LinkEndpoint {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** Opens a connection to another broker; `opened` returns its owner, `failed` says why there is none. */
export type DialLink = (
  endpoint: LinkEndpoint,
  how: {
    readonly opened: (transport: Transport, drained: LinkDrained) => LinkConnection;
    readonly failed: (why: string) => void;
  },
) => void;
