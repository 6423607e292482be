/**
 * The bytes of MQTT-SN 1.2's messages (5.2 to 5.5). One datagram is one message. What is malformed is
 * decoded as such: a datagram may come from anybody, and nobody is told.
 */
import { assert } from "../base/assert.ts";
import { concatBytes, decodeUtf8, encodeUtf8, isMqttText, noBytes, readUint16, writeUint16 } from "../base/bytes.ts";
import { type SnQoS, SnType, TopicKind } from "./constants.ts";
import type { Malformed, SnMessage, SnPublish, TopicChoice } from "./message-kinds.ts";

const dupFlag = 0x80;
const retainFlag = 0x10;
const willFlag = 0x08;
const cleanFlag = 0x04;
/** The length byte that says that two bytes of length follow (5.2.1). */
const longLength = 0x01;

/** Decodes a datagram; never throws. Texts and data are read, not kept: data is a view of the datagram. */
export function decodeMessage(bytes: Uint8Array): SnMessage | Malformed {
  const isLong = bytes[0] === longLength;
  const head = isLong ? 4 : 2;
  if (bytes.length < head) return malformed("it is cut off in its header");
  const length = isLong ? readUint16(bytes, 1) : bytes[0]!;
  const type = bytes[head - 1]!;
  if (type === SnType.encapsulated) return decodeEncapsulated(bytes, length, head);
  if (length !== bytes.length) return malformed(`its length field says ${length}, it has ${bytes.length} bytes`);
  return decodeBody(type, new Body(bytes, head));
}

/** A cursor over a message's body that remembers whether it was asked for more than there is. */
class Body {
  readonly bytes: Uint8Array;
  at: number;
  isShort = false;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  byte(): number {
    if (this.left < 1) this.isShort = true;
    return this.bytes[this.at++] ?? 0;
  }

  word(): number {
    const high = this.byte();
    return (high << 8) | this.byte();
  }

  rest(): Uint8Array {
    const rest = this.left <= 0 ? noBytes : this.bytes.subarray(this.at);
    this.at = this.bytes.length;
    return rest;
  }

  /** The rest as text; undefined: it is none. */
  text(): string | undefined {
    const { bytes, at } = this;
    this.at = bytes.length;
    if (at >= bytes.length) return "";
    return isMqttText(bytes, at, bytes.length) ? decodeUtf8(bytes, at) : undefined;
  }
}

function decodeBody(type: number, body: Body): SnMessage | Malformed {
  const message = read(type, body);
  if (message.kind === "malformed") return message;
  if (body.isShort) return malformed(`a ${message.kind} is cut off`);
  if (body.left > 0) return malformed(`bytes follow a ${message.kind}`);
  return message;
}

function read(type: number, body: Body): SnMessage | Malformed {
  switch (type) {
    case SnType.publish:
      return readPublish(body);
    case SnType.connect:
      return readConnect(body);
    case SnType.register:
      return readRegister(body);
    case SnType.regack:
      return { kind: "regack", topicId: body.word(), messageId: body.word(), code: body.byte() };
    case SnType.puback:
      return { kind: "puback", topicId: body.word(), messageId: body.word(), code: body.byte() };
    case SnType.pubcomp:
      return { kind: "pubcomp", messageId: body.word() };
    case SnType.pubrec:
      return { kind: "pubrec", messageId: body.word() };
    case SnType.pubrel:
      return { kind: "pubrel", messageId: body.word() };
    case SnType.subscribe:
      return readSubscribe(body);
    case SnType.suback: {
      const qos = qosOf(body.byte());
      return { kind: "suback", qos, topicId: body.word(), messageId: body.word(), code: body.byte() };
    }
    case SnType.unsubscribe: {
      const flags = body.byte();
      const messageId = body.word();
      const choice = readTopic(flags, body);
      return "kind" in choice ? choice : { kind: "unsubscribe", messageId, ...choice };
    }
    case SnType.unsuback:
      return { kind: "unsuback", messageId: body.word() };
    case SnType.pingreq: {
      const clientId = body.text();
      return clientId === undefined ? badText("client id") : { kind: "pingreq", clientId };
    }
    case SnType.pingresp:
      return { kind: "pingresp" };
    case SnType.disconnect:
      return { kind: "disconnect", duration: body.left === 0 ? undefined : body.word() };
    default:
      return readRarer(type, body);
  }
}

/** The messages of gateways and wills. */
function readRarer(type: number, body: Body): SnMessage | Malformed {
  switch (type) {
    case SnType.advertise:
      return { kind: "advertise", gatewayId: body.byte(), duration: body.word() };
    case SnType.searchgw:
      return { kind: "searchgw", radius: body.byte() };
    case SnType.gwinfo:
      return { kind: "gwinfo", gatewayId: body.byte(), address: body.rest() };
    case SnType.connack:
      return { kind: "connack", code: body.byte() };
    case SnType.willtopicreq:
      return { kind: "willtopicreq" };
    case SnType.willtopic:
      return readWillTopic("willtopic", body);
    case SnType.willmsgreq:
      return { kind: "willmsgreq" };
    case SnType.willmsg:
      return { kind: "willmsg", data: body.rest() };
    case SnType.willtopicupd:
      return readWillTopic("willtopicupd", body);
    case SnType.willtopicresp:
      return { kind: "willtopicresp", code: body.byte() };
    case SnType.willmsgupd:
      return { kind: "willmsgupd", data: body.rest() };
    case SnType.willmsgresp:
      return { kind: "willmsgresp", code: body.byte() };
    default:
      return malformed(`there is no type ${type}`);
  }
}

function readPublish(body: Body): SnMessage | Malformed {
  const flags = body.byte();
  const topicKind = flags & 3;
  if (topicKind === 3) return malformed("a topic of a reserved kind");
  const topicId = body.word();
  const messageId = body.word();
  const data = body.rest();
  const dup = (flags & dupFlag) !== 0;
  const retain = (flags & retainFlag) !== 0;
  const qos = qosOf(flags);
  return { kind: "publish", dup, qos, retain, topicKind: topicKind as TopicKind, topicId, messageId, data };
}

function readConnect(body: Body): SnMessage | Malformed {
  const flags = body.byte();
  const protocolId = body.byte();
  const duration = body.word();
  const clientId = body.text();
  if (clientId === undefined) return badText("client id");
  const will = (flags & willFlag) !== 0;
  return { kind: "connect", will, clean: (flags & cleanFlag) !== 0, protocolId, duration, clientId };
}

function readRegister(body: Body): SnMessage | Malformed {
  const topicId = body.word();
  const messageId = body.word();
  const topic = body.text();
  return topic === undefined || topic === "" ? badText("topic") : { kind: "register", topicId, messageId, topic };
}

function readSubscribe(body: Body): SnMessage | Malformed {
  const flags = body.byte();
  const messageId = body.word();
  const choice = readTopic(flags, body);
  if ("kind" in choice) return choice;
  return { kind: "subscribe", dup: (flags & dupFlag) !== 0, qos: qosOf(flags), messageId, ...choice };
}

function readTopic(flags: number, body: Body): TopicChoice | Malformed {
  const topicKind = flags & 3;
  if (topicKind === TopicKind.predefined) return { topicKind, topicId: body.word() };
  if (topicKind === 3) return malformed("a topic of a reserved kind");
  const isShort = topicKind === TopicKind.short;
  if (isShort && body.left !== 2) return malformed("a short topic name that has not two characters");
  const topic = body.text();
  return topic === undefined || topic === "" ? badText("topic") : { topicKind: topicKind as 0 | 2, topic };
}

function readWillTopic(kind: "willtopic" | "willtopicupd", body: Body): SnMessage | Malformed {
  if (body.left === 0) return { kind, topic: "", qos: 0, retain: false };
  const flags = body.byte();
  const topic = body.text();
  if (topic === undefined) return badText("will topic");
  if (topic === "") return { kind, topic, qos: 0, retain: false };
  return { kind, topic, qos: qosOf(flags), retain: (flags & retainFlag) !== 0 };
}

/** The length of an encapsulated message counts up to where the message within begins (5.5). */
function decodeEncapsulated(bytes: Uint8Array, length: number, head: number): SnMessage | Malformed {
  if (length <= head || length > bytes.length) return malformed("an encapsulated message is cut off");
  const radius = bytes[head]! & 3;
  return { kind: "encapsulated", radius, node: bytes.subarray(head + 1, length), inner: bytes.subarray(length) };
}

function malformed(why: string): Malformed {
  return { kind: "malformed", why };
}

function badText(what: string): Malformed {
  return malformed(`its ${what} is empty, or not well-formed UTF-8 without U+0000`);
}

function qosOf(flags: number): SnQoS {
  const qos = (flags >> 5) & 3;
  return qos === 3 ? -1 : (qos as SnQoS);
}

/** Encodes a message; one that only 2.0 has is a fault of our own. */
export function encodeMessage(message: SnMessage): Uint8Array {
  switch (message.kind) {
    case "publish":
      return encodePublish(message);
    case "advertise":
      return withBody(SnType.advertise, [message.gatewayId, ...word(message.duration)]);
    case "searchgw":
      return withBody(SnType.searchgw, [message.radius]);
    case "gwinfo":
      return withBody(SnType.gwinfo, [message.gatewayId], message.address);
    case "connect": {
      const flags = (message.will ? willFlag : 0) | (message.clean ? cleanFlag : 0);
      const head = [flags, message.protocolId, ...word(message.duration)];
      return withBody(SnType.connect, head, encodeUtf8(message.clientId));
    }
    case "willtopic":
    case "willtopicupd": {
      const { topic, qos, retain } = message;
      if (topic === "") return withBody(SnType[message.kind], []);
      return withBody(SnType[message.kind], [flagsOf({ qos, retain })], encodeUtf8(topic));
    }
    case "willmsg":
    case "willmsgupd":
      return withBody(SnType[message.kind], [], message.data);
    case "register":
      return withBody(
        SnType.register,
        [...word(message.topicId), ...word(message.messageId)],
        encodeUtf8(message.topic),
      );
    case "regack":
    case "puback":
      return withBody(SnType[message.kind], [...word(message.topicId), ...word(message.messageId), message.code]);
    case "pubcomp":
    case "pubrec":
    case "pubrel":
    case "unsuback":
      return withBody(SnType[message.kind], word(message.messageId));
    case "subscribe":
    case "unsubscribe": {
      const { topicKind, messageId } = message;
      const flags = message.kind === "subscribe" ? flagsOf(message) : topicKind;
      const topic =
        message.topicKind === 1 || message.topicKind === 3
          ? Uint8Array.from(word(message.topicId))
          : encodeUtf8(message.topic);
      return withBody(SnType[message.kind], [flags, ...word(messageId)], topic);
    }
    case "suback": {
      const { qos, topicId, messageId, code } = message;
      return withBody(SnType.suback, [flagsOf({ qos }), ...word(topicId), ...word(messageId), code]);
    }
    case "pingreq":
      return withBody(SnType.pingreq, [], encodeUtf8(message.clientId));
    case "disconnect":
      return withBody(SnType.disconnect, message.duration === undefined ? [] : word(message.duration));
    case "encapsulated":
      return encodeEncapsulated(message);
    case "connack":
    case "willtopicresp":
    case "willmsgresp":
      return withBody(SnType[message.kind], [message.code]);
    case "willtopicreq":
    case "willmsgreq":
    case "pingresp":
      return withBody(SnType[message.kind], []);
    default:
      assert(false, `MQTT-SN 1.2 has no ${message.kind}`);
  }
}

/** The size of a PUBLISH with so many bytes of data. */
export function publishSizeOf(dataBytes: number): number {
  return 7 + dataBytes > 255 ? 9 + dataBytes : 7 + dataBytes;
}

function encodePublish(message: SnPublish): Uint8Array {
  const { topicId, messageId, data } = message;
  return withBody(SnType.publish, [flagsOf(message), ...word(topicId), ...word(messageId)], data);
}

function encodeEncapsulated({ radius, node, inner }: Extract<SnMessage, { kind: "encapsulated" }>): Uint8Array {
  const head = withBody(SnType.encapsulated, [radius & 3], node);
  return concatBytes([head, inner]);
}

interface Flags {
  readonly dup?: boolean;
  readonly qos: SnQoS;
  readonly retain?: boolean;
  readonly topicKind?: TopicKind | 3;
}

function flagsOf({ dup = false, qos, retain = false, topicKind = TopicKind.name }: Flags): number {
  return (dup ? dupFlag : 0) | ((qos & 3) << 5) | (retain ? retainFlag : 0) | topicKind;
}

function word(value: number): [number, number] {
  return [value >>> 8, value & 0xff];
}

function withBody(type: number, fields: readonly number[], rest: Uint8Array = noBytes): Uint8Array {
  const short = 2 + fields.length + rest.length;
  const isLong = short > 255;
  const bytes = new Uint8Array(isLong ? short + 2 : short);
  let at = 0;
  if (isLong) {
    bytes[0] = longLength;
    writeUint16(bytes, 1, short + 2);
    at = 3;
  } else bytes[at++] = short;
  bytes[at++] = type;
  for (const field of fields) bytes[at++] = field;
  bytes.set(rest, at);
  return bytes;
}
