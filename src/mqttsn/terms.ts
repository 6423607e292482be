/** The standard's terms of durations, wills and refusals, as one client of MQTT-SN goes by them. */
import { snShortDurationMs } from "../base/sn-limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { ReturnCode } from "./constants.ts";
import type { SnMessage } from "./message-kinds.ts";

export type Connect = Extract<SnMessage, { kind: "connect" }>;

/** The longest duration that a client can give. */
export const durationMaxMs = 65_535_000;

/** The silence after which a client counts as lost (7.2): half more than it said, a tenth where it said much. */
export function withTolerance(durationMs: number): number {
  return Math.round(durationMs * (durationMs > snShortDurationMs ? 1.1 : 1.5));
}

/** The return code for a CONNECT that the broker refuses. */
export function codeOfRefusal(reason: number): number {
  const isLasting =
    reason === Reason.notAuthorized || reason === Reason.banned || reason === Reason.clientIdentifierNotValid;
  return isLasting || reason === Reason.topicNameInvalid ? ReturnCode.notSupported : ReturnCode.congestion;
}

/** The QoS of a will; the one without a connection means nothing there. */
export function willQoS(qos: number): QoS {
  return qos < 0 ? 0 : (qos as QoS);
}

/** Returns true if a CONNECT asks for the same as one before it. */
export function isSameConnect(a: Connect, b: Connect): boolean {
  return a.will === b.will && a.clean === b.clean && a.duration === b.duration;
}
