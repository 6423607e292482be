/**
 * MQTT over WebSocket where there are sockets, on Bun and on Node: so headers can be sent, certificates be chosen, and
 * a broker is not read faster than the application takes it. Browsers have a WebSocket of their own.
 */
import type { TransportEvents } from "../net/transport.ts";
import { upgradeToWebSocket } from "../net/websocket-upgrade.ts";
import { webSocketUrl } from "./address.ts";
import type { MqttConnection } from "./connection.ts";
import type { DialSocket, DialWebSocket } from "./runtime.ts";

/** Returns what dials WebSocket over the runtime's sockets. */
export function overSockets(dialSocket: DialSocket): DialWebSocket {
  return async (address, events: TransportEvents<MqttConnection>, { tls, headers, handshakeMs }) => {
    const bare = address.host.includes(":") ? `[${address.host}]` : address.host;
    const isUsual = address.port === (address.scheme === "wss" ? 443 : 80);
    const upgrade = upgradeToWebSocket(events, {
      path: address.path,
      headers: Object.entries(headers),
      host: isUsual ? bare : `${bare}:${address.port}`,
      url: webSocketUrl(address),
      protocol: "mqtt",
      handshakeMs,
      help: { login: "the option webSocket.headers", path: "the URL" },
    });
    // Whoever waits for it is told.
    upgrade.opened.catch(() => {});
    await dialSocket(address, upgrade.events, tls && { protocol: "http/1.1", ...tls });
    return upgrade.opened;
  };
}
