/** The package `mqttzoo` on Bun. */
import { dialTcp } from "../net/tcp.ts";
import { dialWebSocket } from "../net/web-socket-client.ts";
import { webSocketUrl } from "./address.ts";
import { type Client, connectOn, type Runtime } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";

export * from "./public.ts";

const bun: Runtime = {
  dialer: (options) => (address, events) => {
    if (address.scheme.startsWith("ws")) return dialWebSocket(webSocketUrl(address), events);
    return dialTcp(address.host, address.port, events, {
      tls: address.scheme === "mqtts" ? (options.tls ?? {}) : undefined,
    });
  },
  nextTurn: setImmediate,
};

/**
 * Connects to a broker: `mqtt://host`, `mqtts://`, `ws://`, `wss://`; several (`mqtt://a,b:1884`, or a list of URLs) are tried in turn, and
 * when one is lost, the next. Rejects with `ConnectFailed`; throws a `TypeError` for what cannot be meant.
 */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(bun, urls, options);
}
