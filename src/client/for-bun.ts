/** The package `mqttzoo` on Bun. */
import { dialTcp } from "../net/tcp.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import type { Runtime } from "./runtime.ts";

export * from "./public.ts";

const bun: Runtime = {
  dialSocket: ({ host, port }, events, tls) => dialTcp(host, port, events, { tls }),
  nextTurn: setImmediate,
};

/**
 * Connects to a broker: `mqtt://host`, `mqtts://`, `ws://`, `wss://`; several (`mqtt://a,b:1884`, or a list of URLs)
 * are tried in turn, and when one is lost, the next. Rejects with `ConnectFailed`; throws a `TypeError` for what cannot
 * be meant.
 */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(bun, urls, options);
}
