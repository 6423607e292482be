/** The standard's terms of durations, wills and refusals, as one client of MQTT-SN goes by them. */
import { noBytes } from "../base/bytes.ts";
import { snCleanSessionMs, snShortDurationMs } from "../base/sn-limits.ts";
import { type QoS, sessionNeverExpires } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { isTopicName } from "../mqtt/topic.ts";
import type { DeviceState } from "../net/transport.ts";
import { ReturnCode } from "./constants.ts";
import { Reason2 } from "./constants-2.ts";
import type { SnMessage } from "./message-kinds.ts";
import type { SnWill } from "./mqtt-packets.ts";

export type Connect = Extract<SnMessage, { kind: "connect" }>;

/** The answer to a client that leaves, or is not there any more. */
export const farewell: SnMessage = { kind: "disconnect", duration: undefined };

/** The longest duration that a client can give. */
export const durationMaxMs = 65_535_000;

/** The silence after which a client counts as lost (7.2): half more than it said, a tenth where it said much. */
export function withTolerance(durationMs: number): number {
  return Math.round(durationMs * (durationMs > snShortDurationMs ? 1.1 : 1.5));
}

/** The terms on which a client comes. */
export interface Terms {
  /** True if its session ends with its connection. */
  readonly isEphemeral: boolean;
  /** How long the session outlives the connection to the broker, in seconds. */
  readonly expiry: number;
  readonly keepAliveMs: number;
  /** The will that CONNECT has with it (2.0); 1.2 asks for it. */
  readonly will: SnWill | undefined;
}

/** Returns what a CONNECT asks for; undefined: its will is none. `nameOf` knows the predefined topics. */
export function termsOf(
  { clean, duration, of2 }: Connect,
  nameOf: (topicId: number) => string | undefined,
): Terms | undefined {
  const cleanSeconds = snCleanSessionMs / 1000;
  if (of2 === undefined) {
    const keepAliveMs = duration === 0 ? durationMaxMs : withTolerance(duration * 1000);
    return { isEphemeral: clean, expiry: clean ? cleanSeconds : sessionNeverExpires, keepAliveMs, will: undefined };
  }
  const { expiry, will } = of2;
  const isEphemeral = expiry === 0;
  const terms = { isEphemeral, expiry: isEphemeral ? cleanSeconds : expiry, keepAliveMs: duration * 1500 };
  if (will === undefined) return { ...terms, will };
  const topic = "topic" in will ? will.topic : nameOf(will.topicId);
  if (topic === undefined || !isTopicName(topic)) return undefined;
  return { ...terms, will: { topic, qos: will.qos, retain: will.retain, data: will.data.slice() } };
}

/** Returns CONNACK's reason code in 2.0 for that of the broker, which has more of them. */
export function connackReason(reason: number): number {
  const isThere = reason >= 0x80 && reason <= 0x9f && ![0x97, 0x82, 0x81].includes(reason);
  return isThere ? reason : Reason2.congestion;
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
  const isSameId = a.of2?.messageId === b.of2?.messageId;
  return isSameId && a.will === b.will && a.clean === b.clean && a.duration === b.duration;
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

export type WillUpdate = Extract<SnMessage, { kind: "willtopicupd" | "willmsgupd" }>;

/** Returns a will as an update would have it; undefined: there is none any more. */
export function updatedWill(message: WillUpdate, will: SnWill | undefined): SnWill | undefined | "refused" {
  if (message.kind === "willmsgupd") return will ? { ...will, data: message.data.slice() } : "refused";
  const { topic, qos, retain } = message;
  if (topic === "") return undefined;
  return isTopicName(topic) ? { topic, qos: willQoS(qos), retain, data: will?.data ?? noBytes } : "refused";
}

/** Returns the state of a client as the broker shows it. */
export function shownState(state: string): DeviceState {
  return state === "asleep" || state === "awake" ? state : "active";
}
