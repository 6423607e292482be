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

/** Returns the id of a topic whose name is two characters of one byte each (3); undefined: it is none. */
export function shortIdOf(topic: string): number | undefined {
  if (topic.length !== 2) return undefined;
  const [first, second] = [topic.charCodeAt(0), topic.charCodeAt(1)];
  return first < 0x80 && second < 0x80 ? (first << 8) | second : undefined;
}

/** The return codes in words (5.3.10). */
export const codeWords: Record<number, string> = {
  1: "congestion",
  2: "invalid topic id",
  3: "not supported",
};

/** Returns the topic that a short topic id stands for. */
export function shortNameOf(id: number): string {
  return String.fromCharCode(id >> 8, id & 0xff);
}
