/** One TCP connection between brokers, and how one is opened. */
import { FrameReader, type Hello } from "../../link/frames.ts";
import type { Transport } from "../../net/transport.ts";
import { type Turn, Writer } from "../../net/writer.ts";
import type { Peer } from "./peer.ts";

export class LinkConnection {
  readonly transport: Transport;
  readonly writer: Writer;
  readonly reader = new FrameReader();
  /** We have dialled it. */
  readonly dialled: boolean;
  readonly nonce: string;
  peer: Peer | undefined;
  hello: Hello | undefined;
  isUp = false;
  isClosed = false;
  openedAt = 0;
  lastReceivedAt = 0;

  constructor(transport: Transport, turn: Turn, options: { dialled: boolean; nonce: string }) {
    this.transport = transport;
    this.writer = new Writer(transport, turn);
    this.dialled = options.dialled;
    this.nonce = options.nonce;
  }

  send(bytes: Uint8Array): void {
    this.writer.append(bytes, 0, bytes.length);
  }
}

/** Opens a connection to another broker; `opened` returns its owner, `failed` says why there is none. */
export type DialLink = (
  endpoint: { readonly host: string; readonly port: number },
  how: { readonly opened: (transport: Transport) => LinkConnection; readonly failed: (why: string) => void },
) => void;
