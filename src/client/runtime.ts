/** The doors to the outside, which differ between runtimes: Bun, Node, browsers. */
import type { TlsOptions, TransportEvents } from "../net/transport.ts";
import { dialWebSocket } from "../net/web-socket-client.ts";
import { type Address, webSocketUrl } from "./address.ts";
import type { ClientOptions } from "./client-options.ts";
import type { MqttConnection } from "./connection.ts";
import type { Dialer } from "./reconnector.ts";

/** @internal */
export interface Runtime {
  /** Opens a TCP connection; `tls`: with TLS over it. */
  readonly dialSocket: (
    address: Address,
    events: TransportEvents<MqttConnection>,
    tls: TlsOptions | undefined,
  ) => Promise<unknown>;
  /** Runs something at the end of the event loop's turn. */
  readonly nextTurn: (run: () => void) => void;
}

/** Returns what opens a client's transports. */
export function dialerOf({ dialSocket }: Runtime, { tls = {} }: ClientOptions): Dialer {
  return (address, events) => {
    if (address.scheme.startsWith("ws")) return dialWebSocket(webSocketUrl(address), events);
    return dialSocket(address, events, address.scheme === "mqtts" ? tls : undefined);
  };
}
