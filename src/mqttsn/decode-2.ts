/**
 * The bytes of MQTT-SN 2.0's packets (OASIS Committee Specification Draft 01, chapter 3) become the same messages as
 * 1.2's: the machines know no difference. What is malformed is decoded as such, and nobody is told.
 */
import { decodeUtf8, isMqttText, noBytes, readUint16 } from "../base/bytes.ts";
import { ReturnCode, TopicKind } from "./constants.ts";
import { protocolVersion2, Reason2, Type2, topicTypes } from "./constants-2.ts";
import type { ConnectOf2, Malformed, SnMessage, SnPublish, TopicChoice } from "./message-kinds.ts";

/** A cursor over a packet's body. `isBad`: it was asked for more than there is, or something in it may not be. */
class Body {
  readonly bytes: Uint8Array;
  at: number;
  isBad = false;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  byte(): number {
    if (this.left < 1) this.isBad = true;
    return this.bytes[this.at++] ?? 0;
  }

  word(): number {
    const high = this.byte();
    return (high << 8) | this.byte();
  }

  long(): number {
    return this.word() * 0x10000 + this.word();
  }

  take(length: number): Uint8Array {
    if (this.left < length) this.isBad = true;
    const taken = this.bytes.subarray(Math.min(this.at, this.bytes.length), this.at + length);
    this.at += length;
    return taken;
  }

  rest(): Uint8Array {
    return this.left <= 0 ? noBytes : this.take(this.left);
  }

  text(length = Math.max(0, this.left)): string {
    const bytes = this.take(length);
    if (this.isBad || bytes.length === 0) return "";
    if (!isMqttText(bytes, 0, bytes.length)) {
      this.isBad = true;
      return "";
    }
    return decodeUtf8(bytes);
  }

  /** Flags of which the others are reserved. */
  flags(known: number): number {
    const flags = this.byte();
    if ((flags & ~known) !== 0) this.isBad = true;
    return flags;
  }

  /** A reason code that may be left out: 0. */
  reason(): number {
    return this.left > 0 ? this.byte() : 0;
  }

  refuse(): void {
    this.isBad = true;
  }
}

/** Decodes a datagram; never throws. Data is a view of it. */
export function decodeMessage2(bytes: Uint8Array): SnMessage | Malformed {
  const head = bytes[0] === 1 ? 4 : 2;
  if (bytes.length < head) return { kind: "malformed", why: "it is cut off in its header" };
  const length = head === 4 ? readUint16(bytes, 1) : bytes[0]!;
  if (length !== bytes.length)
    return { kind: "malformed", why: `its length field says ${length}, it has ${bytes.length} bytes` };
  const body = new Body(bytes, head);
  const message = read(bytes[head - 1]!, body);
  if (message === undefined) return { kind: "malformed", why: `there is no type ${bytes[head - 1]} here` };
  if (body.isBad) return { kind: "malformed", why: `a ${message.kind} is cut off, or has what it may not have` };
  if (body.left > 0) return { kind: "malformed", why: `bytes follow a ${message.kind}` };
  return message;
}

function read(type: number, body: Body): SnMessage | undefined {
  switch (type) {
    case Type2.connect:
      return readConnect(body);
    case Type2.publish:
      return readPublish(body);
    case Type2.pubwos:
      return readPubwos(body);
    case Type2.puback:
      return { kind: "puback", topicId: 0, messageId: body.word(), code: codeOf(body.reason()) };
    case Type2.pubrec: {
      const messageId = body.word();
      const code = codeOf(body.reason());
      // What is refused is over, as with PUBACK.
      return code === 0 ? { kind: "pubrec", messageId } : { kind: "puback", topicId: 0, messageId, code };
    }
    case Type2.pubrel:
    case Type2.pubcomp: {
      const messageId = body.word();
      body.reason();
      return { kind: type === Type2.pubrel ? "pubrel" : "pubcomp", messageId };
    }
    case Type2.subscribe:
      return readSubscribe(body);
    case Type2.unsubscribe: {
      const flags = body.flags(3);
      const messageId = body.word();
      return { kind: "unsubscribe", messageId, ...readChoice(flags, body) };
    }
    case Type2.register: {
      const hasAlias = (body.flags(1) & 1) !== 0;
      const messageId = body.word();
      const topicId = hasAlias ? body.word() : 0;
      const topic = body.text();
      if (topic === "") body.refuse();
      return { kind: "register", topicId, messageId, topic };
    }
    case Type2.regack:
      return readRegack(body);
    case Type2.pingreq:
      return { kind: "pingreq", clientId: "", messageId: body.word() };
    case Type2.disconnect:
      return readDisconnect(body);
    case Type2.sleepreq: {
      const keepsTopics = (body.flags(1) & 1) !== 0;
      const messageId = body.word();
      const duration = body.long();
      if (duration === 0) body.refuse();
      return { kind: "sleepreq", messageId, duration, keepsTopics };
    }
    default:
      return readRarer(type, body);
  }
}

/** The packets around connections, and those that only a gateway sends. */
function readRarer(type: number, body: Body): SnMessage | undefined {
  switch (type) {
    case Type2.connack:
      return readConnack(body);
    case Type2.suback: {
      const flags = body.flags(7);
      const messageId = body.word();
      const topicId = (flags & 4) !== 0 ? body.word() : 0;
      const reason = body.reason();
      const known = (flags & 5) === 5 ? { isPredefined: true } : {};
      const qos = reason < 3 ? (reason as 0 | 1 | 2) : 0;
      return { kind: "suback", qos, topicId, messageId, code: codeOf(reason), ...known };
    }
    case Type2.unsuback: {
      const messageId = body.word();
      body.reason();
      return { kind: "unsuback", messageId };
    }
    case Type2.pingresp: {
      const messageId = body.word();
      return body.reason() > 0 ? { kind: "pingresp", messageId, hasMore: true } : { kind: "pingresp", messageId };
    }
    case Type2.sleepresp: {
      const flags = body.flags(1);
      const messageId = body.word();
      if ((flags & 1) !== 0) body.long();
      return { kind: "sleepresp", messageId, code: codeOf(body.reason()) };
    }
    case Type2.auth: {
      const messageId = body.word();
      const reason = body.byte();
      const method = body.text(body.byte());
      body.rest();
      return { kind: "auth", messageId, reason, method };
    }
    case Type2.advertise:
      return { kind: "advertise", gatewayId: body.byte(), duration: body.word() };
    case Type2.searchgw:
      body.rest();
      return { kind: "searchgw", radius: 0 };
    case Type2.gwinfo:
      return { kind: "gwinfo", gatewayId: body.byte(), address: body.rest() };
    case Type2.forwarder:
      return { kind: "encapsulated", radius: 0, node: body.take(body.byte()), inner: body.rest() };
    case Type2.connection:
      return { kind: "identified", clientId: body.text(body.word()), inner: body.rest() };
    default:
      return undefined;
  }
}

function readConnect(body: Body): SnMessage {
  const flags = body.flags(0x7f);
  const [hasWill, hasMethod, hasExpiry, hasAwake] = [2, 4, 8, 16].map((bit) => (flags & bit) !== 0);
  const willFlags = hasWill ? body.flags(0x1f) : 0;
  const messageId = body.word();
  const protocolId = body.byte();
  const duration = body.word();
  const packetBytesMax = body.word();
  const awakeMax = hasAwake ? body.byte() : 0;
  const expiry = hasExpiry ? body.long() : 0;
  const will = hasWill ? readWill(willFlags, body) : undefined;
  const method = hasMethod ? body.text(body.byte()) : undefined;
  if (hasMethod) body.take(body.word());
  const clientId = body.text();
  if (duration === 0 || protocolId !== protocolVersion2 || (packetBytesMax > 0 && packetBytesMax < 10)) body.refuse();
  const of2 = { messageId, will, expiry, packetBytesMax, allowsMoves: (flags & 32) !== 0, method, awakeMax };
  return { kind: "connect", will: false, clean: (flags & 1) !== 0, protocolId, duration, clientId, of2 };
}

function readWill(flags: number, body: Body): ConnectOf2["will"] {
  const qos = (flags >> 2) & 3;
  const topicType = flags & 3;
  const word = body.word();
  const topic = topicType === topicTypes.name ? { topic: body.text(word) } : { topicId: word };
  if (qos === 3 || (topicType !== topicTypes.name && topicType !== topicTypes.predefined)) body.refuse();
  const data = body.take(body.word());
  return { ...topic, qos: qos as 0 | 1 | 2, retain: (flags & 16) !== 0, data };
}

function readConnack(body: Body): SnMessage {
  const flags = body.flags(0x0f);
  const messageId = body.word();
  const reason = body.byte();
  if ((flags & 2) !== 0) body.long();
  if ((flags & 4) !== 0) body.word();
  if ((flags & 8) !== 0) {
    body.text(body.byte());
    body.take(body.word());
  }
  const assignedId = body.text();
  const id = assignedId === "" ? {} : { assignedId };
  return { kind: "connack", code: codeOf(reason), messageId, reason, sessionPresent: (flags & 1) !== 0, ...id };
}

function readPublish(body: Body): SnMessage {
  const flags = body.flags(0xf3);
  const qos = (flags >> 5) & 3;
  if (qos === 3) body.refuse();
  const messageId = qos > 0 ? body.word() : 0;
  const topic = readTopic(flags & 3, body);
  const [dup, retain] = [(flags & 0x80) !== 0, (flags & 0x10) !== 0];
  return { kind: "publish", dup, qos: qos as 0 | 1 | 2, retain, ...topic, messageId, data: body.rest() };
}

function readPubwos(body: Body): SnMessage {
  const flags = body.flags(0x13);
  if ((flags & 3) === topicTypes.alias) body.refuse();
  const topic = readTopic(flags & 3, body);
  const retain = (flags & 0x10) !== 0;
  return { kind: "publish", dup: false, qos: -1, retain, ...topic, messageId: 0, data: body.rest() };
}

function readTopic(type: number, body: Body): Pick<SnPublish, "topicKind" | "topicId" | "topic"> {
  const word = body.word();
  if (type === topicTypes.name) {
    const topic = body.text(word);
    if (topic === "") body.refuse();
    return { topicKind: TopicKind.name, topicId: 0, topic };
  }
  if (type !== topicTypes.alias && type !== topicTypes.predefined) body.refuse();
  return { topicKind: type === topicTypes.predefined ? TopicKind.predefined : TopicKind.name, topicId: word };
}

function readSubscribe(body: Body): SnMessage {
  const flags = body.byte();
  const messageId = body.word();
  const [qos, retainHandling] = [(flags >> 5) & 3, (flags >> 2) & 3];
  if (qos === 3 || retainHandling === 3) body.refuse();
  const of2 = {
    noLocal: (flags & 0x80) !== 0,
    retainAsPublished: (flags & 0x10) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
  return { kind: "subscribe", dup: false, qos: qos as 0 | 1 | 2, messageId, of2, ...readChoice(flags, body) };
}

function readChoice(flags: number, body: Body): TopicChoice {
  const type = flags & 3;
  if (type === topicTypes.alias) return { topicKind: 3, topicId: body.word() };
  if (type === topicTypes.predefined) return { topicKind: 1, topicId: body.word() };
  const topic = body.text();
  if (type !== topicTypes.name || topic === "") body.refuse();
  return { topicKind: 0, topic };
}

function readRegack(body: Body): SnMessage {
  const flags = body.flags(7);
  const messageId = body.word();
  const topicId = (flags & 4) !== 0 ? body.word() : 0;
  const known = (flags & 5) === 5 ? { isPredefined: true } : {};
  return { kind: "regack", topicId, messageId, code: codeOf(body.reason()), ...known };
}

function readDisconnect(body: Body): SnMessage {
  const flags = body.flags(7);
  if ((flags & 1) !== 0) body.word();
  const expiry = (flags & 2) !== 0 ? { expiry: body.long() } : {};
  const reason = (flags & 4) !== 0 ? { reason: body.byte() } : {};
  // The reason in words, for people.
  body.text();
  return { kind: "disconnect", duration: undefined, ...expiry, ...reason };
}

/** Returns the return code of 1.2 that says what a reason code does. */
function codeOf(reason: number): number {
  if (reason < 0x80) return ReturnCode.accepted;
  if (reason === Reason2.congestion || reason === Reason2.quotaExceeded) return ReturnCode.congestion;
  return reason === Reason2.unknownAlias ? ReturnCode.invalidTopicId : ReturnCode.notSupported;
}
