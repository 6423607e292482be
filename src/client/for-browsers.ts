/** The package `mqttzoo` in browsers, which speak WebSocket and nothing else. */
import { dialWebSocket } from "../net/web-socket-client.ts";
import { webSocketUrl } from "./address.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import { ConnectFailed } from "./errors.ts";
import { type BrowserDoors, IndexedDbStore } from "./indexed-db-store.ts";
import type { Runtime } from "./runtime.ts";
import type { Store } from "./store.ts";

export * from "./public.ts";

const turns: (() => void)[] = [];
const channel = new MessageChannel();
channel.port1.onmessage = () => turns.shift()!();

const browser: Runtime = {
  dialSocket: ({ scheme }) =>
    Promise.reject(new ConnectFailed(`${scheme}:// cannot be had in a browser: use ws:// or wss://`, undefined)),
  dialWebSocket: (address, events) => dialWebSocket(webSocketUrl(address), events),
  // Timers are slowed down in browsers; messages are not.
  nextTurn: (run) => {
    turns.push(run);
    channel.port2.postMessage(undefined);
  },
};

/** Connects, as elsewhere, but over `ws://` and `wss://` alone. Rejects with a `TypeError` for headers. */
export async function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  if (options?.webSocket?.headers !== undefined)
    throw new TypeError(
      "browsers let no page set the headers of a WebSocket: put a token into the URL or the password",
    );
  return connectOn(browser, urls, options);
}

/**
 * A store in a database of IndexedDB's, by its name: what `stored()` has resolved for survives the page, however that
 * ends, and is sent by the next one that opens it. One client at a time, in all tabs. Browsers may clear it when they
 * need room, unless the page has asked for `navigator.storage.persist()`.
 */
export function indexedDbStore(name: string): Store {
  const { indexedDB, navigator } = globalThis as unknown as {
    readonly indexedDB: BrowserDoors["indexedDB"];
    readonly navigator: { readonly locks: BrowserDoors["locks"] };
  };
  return new IndexedDbStore(name, { indexedDB, locks: navigator.locks });
}
