/** The watch over Keep Alive: a client that is silent for too long is disconnected. */
import { watchSilence } from "../../base/silence.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection } from "../delivery/connection.ts";
import type { ConnectionEnd } from "./connection-end.ts";

/** Disconnects a client that is silent for one and a half times its Keep Alive [MQTT-3.1.2-22]. */
export function watchKeepAlive(
  connection: Connection,
  context: Pick<Runtime, "timers" | "clock">,
  connectionEnd: ConnectionEnd,
): void {
  if (connection.timer !== undefined) context.timers.cancel(connection.timer);
  const { silenceMs } = connection.channel;
  if (silenceMs === 0) return;
  connection.timer = watchSilence(context, {
    // A client that is not read by us cannot be blamed for silence.
    since: (now) => (connection.isHeld && !connection.isListenedTo ? now : connection.lastReceivedAt),
    limitMs: silenceMs,
    over: () =>
      connectionEnd.disconnect(
        connection,
        Reason.keepAliveTimeout,
        "no packet within one and a half times the keep alive",
      ),
  });
}
