/** Connections for programs on Bun: over TCP, TLS, a Unix socket. */
import type { SocksProxy } from "../net/socks.ts";
import { dialTcp, dialUnix } from "../net/tcp.ts";
import { establish, type MqttConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";

/** Where a broker is. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** Path of a Unix socket, instead of host and port. */
  readonly socket?: string;
  /** Address of this machine that the connection comes from; the system chooses unless set. */
  readonly localAddress?: string;
  readonly proxy?: SocksProxy;
}

/**
 * Dials and connects. Rejects with `OperatingError`: unreachable, or `EREFUSED` with the broker's reason, `EVERSION` if
 * it does not speak this version.
 */
export function connect({
  host,
  port,
  socket,
  localAddress,
  proxy,
  ...options
}: ConnectionOptions & Place): Promise<MqttConnection> {
  return establish(options, (events) =>
    socket === undefined
      ? dialTcp(host, port, events, { tls: options.tls, localAddress, proxy })
      : dialUnix(socket, events),
  );
}

/** True if somebody takes a connection there within `ms`; it is closed again at once. */
export function dialable(host: string, port: number, ms: number): Promise<boolean> {
  const opened = dialTcp<void>(host, port, {
    opened: (transport) => transport.abort(),
    received() {},
    drained() {},
    closed() {},
  });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const giveUp = setTimeout(() => resolve(false), ms);
  opened.then(
    () => resolve(true),
    () => resolve(false),
  );
  return promise.finally(() => clearTimeout(giveUp));
}
