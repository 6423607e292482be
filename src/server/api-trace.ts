/** The API's view of traces: what is followed, and what happens as rows. */
import type { Reading, TraceWanted } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import type { TraceRow } from "../api/trace-rows.ts";
import { messageOf } from "../base/errors.ts";
import { AddressRanges } from "../base/ip-address.ts";
import { Timer } from "../base/timers.ts";
import { tracesMax } from "../base/trace-limits.ts";
import type { Broker } from "../broker/broker.ts";
import type { TraceEvent, TraceSelection } from "../broker/core/trace.ts";
import { parseFilter } from "../mqtt/topic.ts";

/** Returns what is followed of a broker. */
export function traceOf(broker: Broker): Pick<Reading, "follow" | "whyNotFollowed" | "later" | "now"> {
  const { trace, clock, timers, options } = broker.context;
  return {
    whyNotFollowed(wanted) {
      if (trace.isFull) return new Problem(503, `${tracesMax} traces are followed already`, { "retry-after": "60" });
      const selection = selectionOf(wanted);
      return selection instanceof Problem ? selection : undefined;
    },
    follow(wanted, told) {
      const selection = selectionOf(wanted);
      // Whoever asks has asked why not before.
      if (selection instanceof Problem) return () => {};
      return broker.follow(selection, (event) => told(rowOf(event, options.id)));
    },
    later(ms, go) {
      const timer = new Timer(go);
      timers.set(timer, clock.now() + ms);
      return () => timers.cancel(timer);
    },
    now: () => new Date(clock.wall()).toISOString(),
  };
}

/** Returns what is wanted as the broker takes it; what is wrong with it, if it is. */
function selectionOf({ clientId, user, address, topic, payloadBytes }: TraceWanted): TraceSelection | Problem {
  const levels = topic === undefined ? undefined : parseFilter(topic)?.levels;
  if (topic !== undefined && levels === undefined)
    return new Problem(400, `${JSON.stringify(topic.slice(0, 80))} is no topic filter`);
  try {
    const network = address === undefined ? undefined : new AddressRanges([address]);
    return { clientId, user, network, levels, payloadBytes };
  } catch (error) {
    return new Problem(400, messageOf(error));
  }
}

function rowOf(
  { at, kind, clientId, user, address, topic, reason, text, payload }: TraceEvent,
  broker: string,
): TraceRow {
  return {
    ...{ at: new Date(at).toISOString(), broker, kind, client_id: clientId ?? null },
    ...{ user: user === "" ? null : user, address: address === "" ? null : address, topic: topic ?? null },
    ...{ reason_code: reason ?? null, text },
    payload_base64: payload === undefined ? null : Buffer.from(payload).toString("base64"),
  };
}
