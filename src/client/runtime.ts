/** The doors to the outside, which differ between runtimes: Bun, Node, browsers. */
import type { TlsOptions, TransportEvents } from "../net/transport.ts";
import type { Address } from "./address.ts";
import type { MqttConnection } from "./connection.ts";

/** Opens a TCP connection, or a Unix socket; `tls`: with TLS over it. */
export type DialSocket = <Owner>(
  address: Address,
  events: TransportEvents<Owner>,
  tls: TlsOptions | undefined,
) => Promise<unknown>;

export interface WebSocketDial {
  /** Undefined: without TLS. */
  readonly tls: TlsOptions | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The time in which the server must have agreed, in ms. */
  readonly handshakeMs: number;
}

export type DialWebSocket = (
  address: Address,
  events: TransportEvents<MqttConnection>,
  dial: WebSocketDial,
) => Promise<unknown>;

/** @internal */
export interface Runtime {
  readonly dialSocket: DialSocket;
  readonly dialWebSocket: DialWebSocket;
  /** Runs something at the end of the event loop's turn. */
  readonly nextTurn: (run: () => void) => void;
}
