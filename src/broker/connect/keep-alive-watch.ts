/** The watch over Keep Alive: a client that is silent for too long is disconnected. */
import { Timer } from "../../base/timers.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection } from "../delivery/connection.ts";
import type { ConnectionEnd } from "./connection-end.ts";

/** Disconnects a client that is silent for one and a half times its Keep Alive [MQTT-3.1.2-22]. */
export function watchKeepAlive(
  connection: Connection,
  { timers, clock }: Pick<Runtime, "timers" | "clock">,
  connectionEnd: ConnectionEnd,
): void {
  if (connection.timer !== undefined) timers.cancel(connection.timer);
  const { silenceMs } = connection.channel;
  if (silenceMs === 0) return;
  const timer = new Timer((now) => {
    // A client that is not read by us cannot be blamed for silence.
    const silentSince = connection.isHeld && !connection.isListenedTo ? now : connection.lastReceivedAt;
    if (now - silentSince < silenceMs) return timers.set(timer, silentSince + silenceMs);
    connectionEnd.disconnect(
      connection,
      Reason.keepAliveTimeout,
      "no packet within one and a half times the keep alive",
    );
  });
  connection.timer = timer;
  timers.set(timer, clock.now() + silenceMs);
}
