/** The package `mqttzoo` in browsers, which speak WebSocket and nothing else. */
import { type Client, connectOn } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import { ConnectFailed } from "./errors.ts";
import type { Runtime } from "./runtime.ts";

export * from "./public.ts";

const turns: (() => void)[] = [];
const channel = new MessageChannel();
channel.port1.onmessage = () => turns.shift()!();

const browser: Runtime = {
  dialSocket: ({ scheme }) =>
    Promise.reject(new ConnectFailed(`${scheme}:// cannot be had in a browser: use ws:// or wss://`, undefined)),
  // Timers are slowed down in browsers; messages are not.
  nextTurn: (run) => {
    turns.push(run);
    channel.port2.postMessage(undefined);
  },
};

/** Connects, as elsewhere, but over `ws://` and `wss://` alone. */
export function connect(urls: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
  return connectOn(browser, urls, options);
}
