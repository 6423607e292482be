/** The package `mqttzoo` on Node. */
import { dialNode } from "../net/node-tcp.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import { StoreFailed } from "./errors.ts";
import type { Runtime } from "./runtime.ts";
import { type SqliteDatabase, SqliteStore } from "./sqlite-store.ts";
import type { Store } from "./store.ts";
import { overSockets } from "./web-socket.ts";

export * from "./public.ts";

const node: Runtime = { dialSocket: dialNode, dialWebSocket: overSockets(dialNode), nextTurn: setImmediate };

/** Connects, as on Bun. */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(node, urls, options);
}

/**
 * A store in a file of SQLite's: what `publish` has returned for survives the process, and is sent by the next one that
 * opens it; what has gone to the broker, or `stored()` has resolved for, survives a power cut. One client at a time.
 * From Node 22.13 on.
 */
export function sqliteStore(path: string): Store {
  return new SqliteStore(path, openDatabase);
}

async function openDatabase(path: string): Promise<SqliteDatabase> {
  // Node 20 has none, 22.5 to 22.12 only with a flag; and its types are not Bun's.
  const { DatabaseSync } = await import("node:sqlite").catch((error) => {
    throw new StoreFailed("this Node has no SQLite: it comes with Node 22.13", { cause: error });
  });
  return new DatabaseSync(path) as unknown as SqliteDatabase;
}
