/** A PUBLISH's properties under mqtt-packet's names, as those who speak of all kinds of packets have them. */
import { noBytes } from "../base/bytes.ts";
import { encodeSection } from "../mqtt/publish-section.ts";
import type { PublishProperties } from "./connection-options.ts";

/** Encodes the properties, without expiry, which is told anew whenever the message is sent. */
export function sectionOf(properties: PublishProperties | undefined): Uint8Array {
  if (properties === undefined) return noBytes;
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
