/** The package `mqttzoo` on Bun. */
import { lookup } from "node:dns/promises";
import { dialFirst, inTurn } from "../net/happy-eyeballs.ts";
import { dialTcp, dialUnix } from "../net/tcp.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import type { DialSocket, Runtime } from "./runtime.ts";
import { type SqliteDatabase, SqliteStore } from "./sqlite-store.ts";
import type { Store } from "./store.ts";
import { overSockets } from "./web-socket.ts";

export * from "./public.ts";

const dialSocket: DialSocket = async ({ host, port, socket }, events, tls) => {
  if (socket !== undefined) return dialUnix(socket, events);
  // One that cannot be resolved is told as it is dialled.
  const found = await lookup(host, { all: true }).catch(() => []);
  if (found.length < 2) return dialTcp(host, port, events, { tls });
  const given = tls && { serverName: host, ...tls };
  const addresses = inTurn(found.map(({ address }) => address));
  return dialFirst(addresses, events, (address, raced) => dialTcp(address, port, raced, { tls: given }));
};

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
