/** Makes a packet of what an application publishes. */
import { encodeUtf8, noBytes } from "../base/bytes.ts";
import { topicTextsMax } from "../base/client-limits.ts";
import { systemClock } from "../base/clock.ts";
import { Publish } from "../mqtt/publish.ts";
import { encodeSection } from "../mqtt/publish-section.ts";
import { isTopicName } from "../mqtt/topic.ts";
import { checkBinary, checkText, shownValue } from "./checks.ts";
import type { Payload, PublishOptions } from "./client-options.ts";
import { currentNames } from "./old-names.ts";
import { checkNames } from "./other-names.ts";
import type { StoredMessage } from "./store.ts";

const expiryMsMax = 0xffff_ffff * 1000;

/** Topics that have been checked and encoded. */
const topics = new Map<string, Uint8Array>();

/** Throws a `TypeError` if it is no topic. */
function topicBytes(topic: string): Uint8Array {
  const known = topics.get(topic);
  if (known !== undefined) return known;
  checkText("the topic", topic);
  if (!isTopicName(topic))
    throw new TypeError(`${JSON.stringify(topic)} is not a topic: it must not be empty nor hold + or #`);
  if (topics.size >= topicTextsMax) topics.clear();
  const bytes = encodeUtf8(topic);
  topics.set(topic, bytes);
  return bytes;
}

/**
 * The packet refers to the payload's bytes, and does not copy them. Throws a `TypeError` for what cannot be published.
 */
export function toPublish(topic: string, payload: Payload, options: PublishOptions): Publish {
  if ("properties" in options || "messageExpiryInterval" in options) checkNames(options, "publish");
  const publish = new Publish();
  const { expiry: seconds } = options;
  const {
    qos = 0,
    retain = false,
    expiryMs,
  } = seconds === undefined ? options : currentNames(options, "message", none);
  if (typeof retain !== "boolean") throw new TypeError(`retain must be true or false, not ${shownValue(retain)}`);
  if (expiryMs !== undefined && !(typeof expiryMs === "number" && expiryMs >= 0 && expiryMs <= expiryMsMax))
    throw new TypeError(`expiryMs must be a number from 0 to ${expiryMsMax}, not ${shownValue(expiryMs)}`);
  if (qos !== 0 && qos !== 1 && qos !== 2) throw new TypeError(`qos must be 0, 1 or 2, not ${String(qos)}`);
  const bytes = typeof payload === "string" ? encodeUtf8(payload) : payload;
  if (!(bytes instanceof Uint8Array)) throw new TypeError("a payload must be a string or a Uint8Array");
  publish.qos = qos;
  publish.retain = retain;
  publish.topicBytes = topicBytes(topic);
  publish.topicEnd = publish.topicBytes.length;
  publish.payloadBytes = bytes;
  publish.payloadEnd = bytes.length;
  if (expiryMs !== undefined) publish.expiresAt = systemClock.wall() + expiryMs;
  publish.propertyBytes = sectionOf(options);
  publish.propertiesEnd = publish.propertyBytes.length;
  return publish;
}

/** Makes the packet of a message that comes out of a store. */
export function publishOfStored({ topic, payload, qos, retain, expiresAt, properties }: StoredMessage): Publish {
  const publish = new Publish();
  publish.qos = qos;
  publish.retain = retain;
  publish.topicBytes = encodeUtf8(topic);
  publish.topicEnd = publish.topicBytes.length;
  publish.payloadBytes = payload;
  publish.payloadEnd = payload.length;
  publish.propertyBytes = properties;
  publish.propertiesEnd = properties.length;
  if (expiresAt !== undefined) publish.expiresAt = expiresAt;
  return publish;
}

/** Returns user properties as pairs. Throws a `TypeError`. */
export function checkUserProperties(given: unknown): (readonly [string, string])[] {
  const pairs: readonly unknown[] = Array.isArray(given) ? given : Object.entries((given as object | undefined) ?? {});
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError("a user property must be a pair of strings");
    for (const text of pair) checkText("a user property", text);
  }
  return pairs as (readonly [string, string])[];
}

const none = (): void => {};

function sectionOf({
  contentType,
  responseTopic,
  correlationData,
  userProperties,
  isText,
}: PublishOptions): Uint8Array {
  if ((contentType ?? responseTopic ?? correlationData ?? userProperties ?? isText) === undefined) return noBytes;
  if (responseTopic !== undefined) topicBytes(responseTopic);
  if (contentType !== undefined) checkText("contentType", contentType);
  if (correlationData !== undefined) checkBinary("correlationData", correlationData);
  const pairs = checkUserProperties(userProperties);
  return encodeSection({ contentType, responseTopic, correlationData, userProperties: pairs, isText: isText === true });
}
