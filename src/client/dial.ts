/** Connections for programs on Bun: over TCP, TLS, a Unix socket. */
import { messageOf, OperatingError } from "../base/errors.ts";
import type { SocksProxy } from "../net/socks.ts";
import { dialTcp, dialUnix } from "../net/tcp.ts";
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
}

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
  ...options
}: ConnectionOptions<MqttConnection> & Place): Promise<MqttConnection> {
  const connection = connectionOf(options);
  const events = eventsOf(connection);
  const dialled =
    socket === undefined
      ? dialTcp(host, port, events, { tls: options.tls, localAddress, proxy })
      : dialUnix(socket, events);
  const seconds = options.connectTimeout ?? 30;
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
  const opened = dialTcp<void>(host, port, {
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
