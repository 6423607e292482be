/** The package `mqttzoo` on Node. */
import { dialNode } from "../net/node-tcp.ts";
import { dialWebSocket } from "../net/web-socket-client.ts";
import { webSocketUrl } from "./address.ts";
import { type Client, connectOn, type Runtime } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";

export * from "./public.ts";

const node: Runtime = {
  dialer: (options) => (address, events) => {
    if (address.scheme.startsWith("ws")) return dialWebSocket(webSocketUrl(address), events);
    return dialNode(address, events, address.scheme === "mqtts" ? (options.tls ?? {}) : undefined);
  },
  nextTurn: setImmediate,
};

/** Connects, as on Bun. */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(node, urls, options);
}
