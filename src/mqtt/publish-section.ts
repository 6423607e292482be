/** The properties of a PUBLISH as values: read only when somebody asks for them, and written by whoever publishes. */
import { decodeUtf8, encodeUtf8, noBytes, ownBytes, readUint16, writeUint16 } from "../base/bytes.ts";
import { PacketType, Property } from "./constants.ts";
import { walkProperties } from "./properties.ts";
import { MemorySink } from "./sink.ts";

export interface Section {
  contentType: string | undefined;
  responseTopic: string | undefined;
  correlationData: Uint8Array | undefined;
  /** The payload is UTF-8 (Payload Format Indicator). */
  isText: boolean;
  userProperties: (readonly [name: string, value: string])[];
}

/** Writes a section, without its length. Throws a `RangeError` for a text or bytes that are too long (1.5.4). */
export function encodeSection(section: Section): Uint8Array {
  const sink = new MemorySink();
  const { contentType, responseTopic, correlationData, isText, userProperties } = section;
  if (isText) append(sink, [Property.payloadFormatIndicator, 1]);
  if (contentType !== undefined) appendValues(sink, Property.contentType, [encodeUtf8(contentType)]);
  if (responseTopic !== undefined) appendValues(sink, Property.responseTopic, [encodeUtf8(responseTopic)]);
  if (correlationData !== undefined) appendValues(sink, Property.correlationData, [correlationData]);
  for (const [name, value] of userProperties)
    appendValues(sink, Property.userProperty, [encodeUtf8(name), encodeUtf8(value)]);
  return sink.take();
}

function append(sink: MemorySink, bytes: readonly number[]): void {
  sink.append(Uint8Array.from(bytes), 0, bytes.length);
}

/** Each value behind its length. */
function appendValues(sink: MemorySink, id: number, values: readonly Uint8Array[]): void {
  append(sink, [id]);
  for (const value of values) {
    if (value.length > 0xffff) throw new RangeError(`a property of ${value.length} bytes; 65,535 is the most`);
    const at = sink.reserve(2);
    writeUint16(sink.buffer, at, value.length);
    sink.append(value, 0, value.length);
  }
}

/** Reads what `parsePublish` has left of the properties, without expiry, alias and subscription identifiers. */
export function readSection(bytes: Uint8Array = noBytes): Section {
  const section: Section = {
    contentType: undefined,
    responseTopic: undefined,
    correlationData: undefined,
    isText: false,
    userProperties: [],
  };
  const visit = (id: number, start: number, end: number): void => {
    if (id === Property.contentType) section.contentType = decodeUtf8(bytes, start + 3, end);
    else if (id === Property.responseTopic) section.responseTopic = decodeUtf8(bytes, start + 3, end);
    else if (id === Property.correlationData) section.correlationData = ownBytes(bytes, start + 3, end);
    else if (id === Property.payloadFormatIndicator) section.isText = bytes[start + 1] === 1;
    else if (id === Property.userProperty) {
      const nameEnd = start + 3 + readUint16(bytes, start + 1);
      section.userProperties.push([decodeUtf8(bytes, start + 3, nameEnd), decodeUtf8(bytes, nameEnd + 2, end)]);
    }
  };
  walkProperties(bytes, 0, bytes.length, { packetType: PacketType.publish, visit });
  return section;
}
