/** A PUBLISH that has come, as tools are handed it: its own bytes, its properties under mqtt-packet's names. */
import type { IPublishPacket } from "mqtt-packet";
import { decodeUtf8, ownBytes } from "../base/bytes.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { decodeFromServer, type Frame } from "../mqtt/control.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Message } from "./connection-options.ts";

/** `frame`: the packet that the view is of. */
export function messageOf(publish: Publish, frame: Frame, version: ProtocolVersion): Message {
  const { qos, packetId, retain, dup } = publish;
  // What is taken out of the section as it is read counts as well.
  const hasProperties = publish.propertiesEnd > publish.propertiesStart || !publish.verbatim;
  return {
    topic: decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd),
    payload: ownBytes(publish.payloadBytes, publish.payloadStart, publish.payloadEnd),
    ...{ qos, retain, dup, packetId },
    properties: hasProperties ? (decodeFromServer(frame, version) as IPublishPacket).properties : undefined,
  };
}
