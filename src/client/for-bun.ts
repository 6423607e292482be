/** The package `mqttzoo` on Bun. */
import { dialHost } from "../net/dial-host.ts";
import { dialUnix } from "../net/tcp.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import type { DialSocket, Runtime } from "./runtime.ts";
import { type SqliteDatabase, SqliteStore } from "./sqlite-store.ts";
import type { Store } from "./store.ts";
import { overSockets } from "./web-socket.ts";

export * from "./public.ts";

const dialSocket: DialSocket = ({ host, port, socket }, events, tls) =>
  socket === undefined ? dialHost(host, port, events, { tls }) : dialUnix(socket, events);

const bun: Runtime = { dialSocket, dialWebSocket: overSockets(dialSocket), nextTurn: setImmediate };

/**
 * Connects to a broker: `mqtt://host`, `mqtts://`, `ws://`, `wss://`, `mqtt+unix://`; several (`mqtt://a,b:1884`, or a
 * list of URLs) are tried in turn, and when one is lost, the next. Rejects with `ConnectFailed`; throws a `TypeError`
 * for what cannot be meant.
 */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(bun, urls, options);
}

/**
 * A store in a file of SQLite's: what `publish` has returned for survives the process, and is sent by the next one that
 * opens it; what has gone to the broker, or `stored()` has resolved for, survives a power cut. One client at a time.
 */
export function sqliteStore(path: string): Store {
  return new SqliteStore(path, openDatabase);
}

async function openDatabase(path: string): Promise<SqliteDatabase> {
  const { Database } = await import("bun:sqlite");
  return new Database(path) as unknown as SqliteDatabase;
}
