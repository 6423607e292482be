/** A PUBLISH with its properties under mqtt-packet's names, as those who speak of all kinds of packets have them. */
import { encodeUtf8, noBytes } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import { makePublish, type Publish } from "../mqtt/publish.ts";
import { encodeSection } from "../mqtt/publish-section.ts";
import { checkProperties, checkText } from "./checks.ts";
import type { PublishOptions, PublishProperties } from "./connection-options.ts";

/** Makes a packet of its own bytes. Throws a `TypeError` for what no packet can carry. */
export function publishOf(
  topic: string,
  payload: Uint8Array | string,
  { qos = 0, retain = false, properties }: PublishOptions,
): Publish {
  checkText("the topic", topic);
  const bytes = typeof payload === "string" ? encodeUtf8(payload) : payload;
  const message = makePublish(encodeUtf8(topic), bytes, { qos, retain, properties: sectionOf(properties) });
  const expiry = properties?.messageExpiryInterval;
  if (expiry !== undefined) message.expiresAt = systemClock.wall() + expiry * 1000;
  return message;
}

/** Encodes the properties, without expiry, which is told anew whenever the message is sent. */
function sectionOf(properties: PublishProperties | undefined): Uint8Array {
  if (properties === undefined) return noBytes;
  checkProperties(properties);
  const { contentType, responseTopic, correlationData, userProperties, payloadFormatIndicator } = properties;
  return encodeSection({
    contentType,
    responseTopic,
    correlationData,
    isText: payloadFormatIndicator === true,
    // A name that stands more than once has a list.
    userProperties: Object.entries(userProperties ?? {}).flatMap(([name, values]) =>
      [values].flat().map((value): readonly [string, string] => [name, value]),
    ),
  });
}
