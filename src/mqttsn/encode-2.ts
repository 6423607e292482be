/** Messages become the bytes of MQTT-SN 2.0's packets (OASIS Committee Specification Draft 01, chapter 3). */
import { assert } from "../base/assert.ts";
import { concatBytes, encodeUtf8, noBytes, writeUint16 } from "../base/bytes.ts";
import { ReturnCode, TopicKind } from "./constants.ts";
import { protocolVersion2, Reason2, Type2, topicTypes } from "./constants-2.ts";
import type { SnMessage, SnPublish, TopicChoice } from "./message-kinds.ts";

/** Returns the reason code for a return code of 1.2. */
export function reasonOf(code: number): number {
  if (code === ReturnCode.accepted) return 0;
  if (code === ReturnCode.congestion) return Reason2.congestion;
  return code === ReturnCode.invalidTopicId ? Reason2.unknownAlias : Reason2.implementationSpecific;
}

/** Encodes a message that a gateway or a client of 2.0 sends; one that 2.0 has not is a fault of our own. */
export function encodeMessage2(message: SnMessage): Uint8Array {
  switch (message.kind) {
    case "publish":
      return message.qos === -1 ? encodePubwos(message) : encodePublish(message);
    case "connack": {
      const { messageId = 0, code, reason = reasonOf(code), sessionPresent = false, assignedId = "" } = message;
      return packet(Type2.connack, [sessionPresent ? 1 : 0, ...word(messageId), reason], encodeUtf8(assignedId));
    }
    case "connect":
      return encodeConnect(message);
    case "register": {
      const { topicId, messageId, topic } = message;
      const head = topicId === 0 ? [0, ...word(messageId)] : [1, ...word(messageId), ...word(topicId)];
      return packet(Type2.register, head, encodeUtf8(topic));
    }
    case "regack": {
      const { topicId, messageId, code, isPredefined = false } = message;
      const flags = 4 | (isPredefined ? topicTypes.predefined : topicTypes.alias);
      const head = topicId === 0 ? [0, ...word(messageId)] : [flags, ...word(messageId), ...word(topicId)];
      return packet(Type2.regack, [...head, isPredefined ? Reason2.aliasExists : reasonOf(code)]);
    }
    case "puback":
      return packet(Type2.puback, [...word(message.messageId), reasonOf(message.code)]);
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return packet(Type2[message.kind], word(message.messageId));
    case "unsuback":
      return packet(Type2.unsuback, [...word(message.messageId), 0]);
    case "suback": {
      const { qos, topicId, messageId, code, isPredefined = false } = message;
      const flags = 4 | (isPredefined ? topicTypes.predefined : topicTypes.alias);
      // Without an alias the type is that of a predefined one (3.8.2.1).
      const head = topicId === 0 ? [1, ...word(messageId)] : [flags, ...word(messageId), ...word(topicId)];
      return packet(Type2.suback, [...head, code === 0 ? Math.max(0, qos) : reasonOf(code)]);
    }
    case "subscribe": {
      const { qos, of2 } = message;
      const options =
        (of2?.noLocal ? 0x80 : 0) | (of2?.retainAsPublished ? 0x10 : 0) | ((of2?.retainHandling ?? 0) << 2);
      return encodeChoice(Type2.subscribe, options | ((qos & 3) << 5), message);
    }
    case "unsubscribe":
      return encodeChoice(Type2.unsubscribe, 0, message);
    case "pingreq":
      return packet(Type2.pingreq, word(message.messageId ?? 0));
    case "pingresp":
      return packet(Type2.pingresp, [...word(message.messageId ?? 0), ...(message.hasMore ? [0xff] : [])]);
    case "disconnect": {
      const { reason, expiry } = message;
      const flags = (expiry === undefined ? 0 : 2) | (reason === undefined ? 0 : 4);
      const rest = [...(expiry === undefined ? [] : long(expiry)), ...(reason === undefined ? [] : [reason])];
      return packet(Type2.disconnect, [flags, ...rest]);
    }
    default:
      return encodeRarer(message);
  }
}

function encodeRarer(message: SnMessage): Uint8Array {
  switch (message.kind) {
    case "sleepreq":
      return packet(Type2.sleepreq, [
        message.keepsTopics ? 1 : 0,
        ...word(message.messageId),
        ...long(message.duration),
      ]);
    case "sleepresp":
      return packet(Type2.sleepresp, [0, ...word(message.messageId), reasonOf(message.code)]);
    case "auth": {
      const method = encodeUtf8(message.method);
      return packet(Type2.auth, [...word(message.messageId), message.reason, method.length], method);
    }
    case "advertise":
      return packet(Type2.advertise, [message.gatewayId, ...word(message.duration)]);
    case "searchgw":
      return packet(Type2.searchgw, []);
    case "gwinfo":
      return packet(Type2.gwinfo, [message.gatewayId], message.address);
    case "encapsulated":
      return packet(Type2.forwarder, [message.node.length], concatBytes([message.node, message.inner]));
    case "identified": {
      const id = encodeUtf8(message.clientId);
      return packet(Type2.connection, word(id.length), concatBytes([id, message.inner]));
    }
    default:
      assert(false, `MQTT-SN 2.0 has no ${message.kind}`);
  }
}

function encodeConnect({ clean, duration, clientId, of2 }: Extract<SnMessage, { kind: "connect" }>): Uint8Array {
  const { messageId = 0, will, expiry = 0, packetBytesMax = 0, allowsMoves = false, method, awakeMax = 0 } = of2 ?? {};
  const methodBytes = encodeUtf8(method ?? "");
  const flags =
    (clean ? 1 : 0) |
    (will ? 2 : 0) |
    (method === undefined ? 0 : 4) |
    (expiry > 0 ? 8 : 0) |
    (awakeMax > 0 ? 16 : 0) |
    (allowsMoves ? 32 : 0);
  const parts: Uint8Array[] = [
    Uint8Array.of(...word(messageId), protocolVersion2, ...word(duration), ...word(packetBytesMax)),
    Uint8Array.from([...(awakeMax > 0 ? [awakeMax] : []), ...(expiry > 0 ? long(expiry) : [])]),
  ];
  if (will !== undefined) {
    const topic = "topic" in will ? encodeUtf8(will.topic) : undefined;
    const type = topic === undefined ? topicTypes.predefined : topicTypes.name;
    parts.unshift(Uint8Array.of((will.retain ? 16 : 0) | (will.qos << 2) | type));
    parts.push(Uint8Array.from(word("topic" in will ? topic!.length : will.topicId)), topic ?? noBytes);
    parts.push(Uint8Array.from(word(will.data.length)), will.data);
  }
  if (method !== undefined) parts.push(Uint8Array.of(methodBytes.length), methodBytes, Uint8Array.of(0, 0));
  parts.push(encodeUtf8(clientId));
  return packet(Type2.connect, [flags], concatBytes(parts));
}

function encodePublish({ dup, qos, retain, messageId, data, ...topic }: SnPublish): Uint8Array {
  // DUP is of QoS 2 alone (3.6.2.2.3).
  const flags = (dup && qos === 2 ? 0x80 : 0) | ((qos & 3) << 5) | (retain ? 0x10 : 0);
  const { type, bytes } = topicBytesOf(topic);
  return packet(Type2.publish, [flags | type, ...(qos > 0 ? word(messageId) : [])], concatBytes([bytes, data]));
}

function encodePubwos({ retain, data, ...topic }: SnPublish): Uint8Array {
  const { type, bytes } = topicBytesOf(topic);
  return packet(Type2.pubwos, [(retain ? 0x10 : 0) | type], concatBytes([bytes, data]));
}

function topicBytesOf({ topicKind, topicId, topic }: Pick<SnPublish, "topicKind" | "topicId" | "topic">) {
  if (topic === undefined && topicKind !== TopicKind.short)
    return {
      type: topicKind === TopicKind.predefined ? topicTypes.predefined : topicTypes.alias,
      bytes: Uint8Array.from(word(topicId)),
    };
  // There are no short names any more: two characters are a name like any other.
  const text = encodeUtf8(topic ?? String.fromCharCode(topicId >> 8, topicId & 0xff));
  return { type: topicTypes.name, bytes: concatBytes([Uint8Array.from(word(text.length)), text]) };
}

function encodeChoice(type: number, flags: number, choice: TopicChoice & { readonly messageId: number }): Uint8Array {
  const { topicKind, messageId } = choice;
  if (topicKind === 1 || topicKind === 3) {
    const topicType = topicKind === 1 ? topicTypes.predefined : topicTypes.alias;
    return packet(type, [flags | topicType, ...word(messageId), ...word(choice.topicId)]);
  }
  return packet(type, [flags | topicTypes.name, ...word(messageId)], encodeUtf8(choice.topic));
}

function word(value: number): [number, number] {
  return [value >>> 8, value & 0xff];
}

function long(value: number): number[] {
  return [...word(value >>> 16), ...word(value & 0xffff)];
}

function packet(type: number, fields: readonly number[], rest: Uint8Array = noBytes): Uint8Array {
  const short = 2 + fields.length + rest.length;
  const head = short > 255 ? 4 : 2;
  const bytes = new Uint8Array(short - 2 + head);
  if (head === 4) {
    bytes[0] = 1;
    writeUint16(bytes, 1, bytes.length);
  } else bytes[0] = short;
  bytes[head - 1] = type;
  bytes.set(fields, head);
  bytes.set(rest, head + fields.length);
  return bytes;
}
