/** The package `mqttzoo` on Node. */
import { dialNode } from "../net/node-tcp.ts";
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import type { Runtime } from "./runtime.ts";
import { overSockets } from "./web-socket.ts";

export * from "./public.ts";

const node: Runtime = { dialSocket: dialNode, dialWebSocket: overSockets(dialNode), nextTurn: setImmediate };

/** Connects, as on Bun. */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(node, urls, options);
}
