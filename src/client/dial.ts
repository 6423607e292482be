/** Connections for programs on Bun: over TCP, TLS, a Unix socket, and WebSocket over each of them. */
import { messageOf, OperatingError } from "../base/errors.ts";
import { dialHost } from "../net/dial-host.ts";
import type { SocksProxy } from "../net/socks.ts";
import { dialUnix } from "../net/tcp.ts";
import type { TlsOptions, TransportEvents } from "../net/transport.ts";
import { upgradeToWebSocket, type WebSocketRequest } from "../net/websocket-upgrade.ts";
import { eventsOf, MqttConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { within } from "./deadlines.ts";

/** Where a broker is. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** Path of a Unix socket, instead of host and port. */
  readonly socket?: string;
  /** Address of this machine that the connection comes from; the system chooses unless set. */
  readonly localAddress?: string;
  readonly proxy?: SocksProxy;
  /** Speaks MQTT over WebSocket. */
  readonly webSocket?: WebSocketRequest;
}

const connectTimeoutDefault = 30;

/**
 * Dials and connects. Rejects with `OperatingError`: unreachable, or `EREFUSED` with the broker's reason, `EVERSION` if
 * it does not speak this version, `EUSAGE` for options that no CONNECT can carry.
 */
export async function connect({
  host,
  port,
  socket,
  localAddress,
  proxy,
  webSocket,
  ...options
}: ConnectionOptions<MqttConnection> & Place): Promise<MqttConnection> {
  const connection = connectionOf(options);
  const seconds = options.connectTimeout ?? connectTimeoutDefault;
  const place = {
    host,
    port,
    ...(socket && { socket }),
    ...(localAddress && { localAddress }),
    ...(proxy && { proxy }),
  };
  const dialled =
    webSocket === undefined
      ? dialPlace(place, eventsOf(connection), options.tls)
      : dialWebSocket({ ...place, webSocket }, connection, { tls: options.tls, seconds });
  const late = (): Error => {
    const why = `no answer from the broker within ${seconds} s`;
    connection.abort(why);
    return new OperatingError("ECLOSED", why);
  };
  // Whichever fails first: the dial, or the patience with it.
  const ready = Promise.race([dialled.then(() => connection.ready), connection.ready]);
  try {
    await within(ready, { ms: seconds * 1000, late });
  } catch (error) {
    connection.abort(messageOf(error));
    throw error;
  }
  return connection;
}

/** Rejects with `OperatingError` (ECONNECT). */
function dialPlace<Owner>(
  { host, port, socket, localAddress, proxy }: Place,
  events: TransportEvents<Owner>,
  tls: TlsOptions | undefined,
): Promise<Owner> {
  return socket === undefined ? dialHost(host, port, events, { tls, localAddress, proxy }) : dialUnix(socket, events);
}

/** Rejects with `OperatingError` (ECONNECT). */
async function dialWebSocket(
  place: Place & { readonly webSocket: WebSocketRequest },
  connection: MqttConnection,
  { tls, seconds }: { readonly tls: TlsOptions | undefined; readonly seconds: number },
): Promise<MqttConnection> {
  const { host, port, socket, webSocket } = place;
  const bare = host.includes(":") ? `[${host}]` : host;
  const isUsual = port === (tls === undefined ? 80 : 443);
  const authority = socket === undefined ? `${bare}${isUsual ? "" : `:${port}`}` : "localhost";
  const { events, opened } = upgradeToWebSocket(eventsOf(connection), {
    ...webSocket,
    host: authority,
    url: `${tls === undefined ? "ws" : "wss"}://${socket ?? authority}${webSocket.path}`,
    protocol: "mqtt",
    handshakeMs: seconds * 1000,
  });
  // Whoever waits for it is told.
  opened.catch(() => {});
  await dialPlace(place, events, tls && { protocol: "http/1.1", ...tls });
  return opened;
}

/** Throws `OperatingError` (EUSAGE) for options that make no CONNECT. */
function connectionOf(options: ConnectionOptions<MqttConnection>): MqttConnection {
  try {
    return new MqttConnection(options);
  } catch (error) {
    throw error instanceof TypeError ? new OperatingError("EUSAGE", error.message) : error;
  }
}

/** True if somebody takes a connection there within `ms`; it is closed again at once. */
export function dialable(host: string, port: number, ms: number): Promise<boolean> {
  const opened = dialHost<void>(host, port, {
    opened: (transport) => transport.abort(),
    received() {},
    drained() {},
    closed() {},
  });
  const late = (): Error => new Error("late");
  return within(opened, { ms, late }).then(
    () => true,
    () => false,
  );
}
