/** A client's way to a broker, by the scheme of its address. */
import { OperatingError } from "../base/errors.ts";
import type { ClientOptions } from "./client-options.ts";
import { checkHeaders } from "./headers.ts";
import { memoryBrokers } from "./memory-brokers.ts";
import type { Dialer } from "./reconnector.ts";
import type { Runtime } from "./runtime.ts";

/** Returns what opens a client's transports; `timeoutMs`: how long that may take. */
export function dialerOf(runtime: Runtime, { tls = {}, webSocket }: ClientOptions, timeoutMs: number): Dialer {
  return async (address, events) => {
    const { scheme } = address;
    if (scheme === "memory") {
      const dial = memoryBrokers().get(address.host);
      if (dial === undefined)
        throw new OperatingError("ECONNECT", "there is no such broker in this process, or it is stopped");
      return dial(events);
    }
    if (scheme === "mqtt" || scheme === "mqtts" || scheme === "mqtt+unix")
      return runtime.dialSocket(address, events, scheme === "mqtts" ? tls : undefined);
    const given = webSocket?.headers ?? {};
    // A function is asked before each connection: tokens expire.
    const headers = typeof given === "function" ? await given() : given;
    checkHeaders(headers);
    return runtime.dialWebSocket(address, events, {
      tls: scheme === "wss" ? tls : undefined,
      headers,
      handshakeMs: timeoutMs,
    });
  };
}
