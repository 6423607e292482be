/** The request of a CONNECT, with the broker's limits applied. */
import { Bucket } from "../../base/bucket.ts";
import { encodeUtf8, equalRange, ownBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { bridgeReceiveMax, topicAliasMax } from "../../base/limits.ts";
import type { WillRecord } from "../../mail/will-record.ts";
import { type ProtocolVersion, sessionNeverExpires } from "../../mqtt/constants.ts";
import { type Connect, type ConnectPacket, decodeConnect, type Frame } from "../../mqtt/control.ts";
import { willSection } from "../../mqtt/properties.ts";
import { makePublish, Publish, readProperties } from "../../mqtt/publish.ts";
import { Reason } from "../../mqtt/reason.ts";
import { isTopicName } from "../../mqtt/topic.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection, Meter } from "../delivery/connection.ts";
import { isOwnTopic, ownTopicWords } from "../publish/own-topics.ts";

/** The terms of a connection: what CONNECT asks for, as far as the broker grants it. */
export interface ConnectRequest {
  readonly packet: ConnectPacket;
  readonly version: ProtocolVersion;
  readonly clientId: string;
  /** True if the broker has made up the client id. */
  readonly assigned: boolean;
  /** Session Expiry Interval and Keep Alive, in seconds, after the broker's limits. */
  readonly expiryInterval: number;
  readonly keepAlive: number;
  readonly will: RequestedWill | undefined;
}

/** A will before it is stored: no epoch is known yet. */
type RequestedWill = Omit<WillRecord, "epoch">;

/** The protocol name "MQTT", with its length, as it stands in CONNECT. */
const protocolName = Uint8Array.of(0, 4, 0x4d, 0x51, 0x54, 0x54);

/** Decodes CONNECT. Throws `ProtocolError`, which a client of MQTT 5 is told: `connection.mayAnswerConnect`. */
export function decodeConnectOf(connection: Connection, frame: Frame): Connect {
  connection.waitingBytes = frame.end - frame.body;
  try {
    return decodeConnect(frame);
  } catch (error) {
    // A client of MQTT 5, or later, may be told the reason; its version stands behind the protocol name. A client
    // with another protocol name does not speak MQTT [MQTT-3.1.2-1].
    const { bytes, body, end } = frame;
    const isMqtt = end - body > 6 && equalRange(protocolName, 0, bytes, body, protocolName.length);
    if (isMqtt && bytes[body + 6]! >= 5) connection.channel.version = 5;
    const reason = error instanceof ProtocolError ? error.reason : 0;
    connection.mayAnswerConnect = connection.channel.version === 5 || reason === Reason.unsupportedProtocolVersion;
    throw error;
  }
}

/** Returns true if a connection leaves something in the store: a session that outlives it, or a will. */
export function needsStore({ expiryInterval, will }: ConnectRequest): boolean {
  return expiryInterval > 0 || will !== undefined;
}

/**
 * Returns the terms of a CONNECT. Throws `ProtocolError` for an empty client id that is not allowed, a bad will, or
 * data of an authentication without its method.
 */
export function readConnectRequest(
  { packet, facts }: Connect,
  frame: Frame,
  by: Pick<Runtime, "options" | "random">,
): ConnectRequest {
  const { options, random } = by;
  const { version } = facts;
  const assigned = packet.clientId === "";
  // [MQTT-3.1.3-8 of 3.1.1]; MQTT 3.1 has no empty client ids.
  if (assigned && (version === 3 || (version === 4 && !packet.clean))) {
    throw new ProtocolError(Reason.clientIdentifierNotValid, "an empty client identifier with clean session 0");
  }
  const { authenticationMethod, authenticationData } = packet.properties ?? {};
  // (3.1.2.11.10)
  if (authenticationData !== undefined && authenticationMethod === undefined)
    throw new ProtocolError(Reason.protocolError, "Authentication Data without an Authentication Method");
  const expiry =
    version === 5 ? (packet.properties?.sessionExpiryInterval ?? 0) : packet.clean ? 0 : sessionNeverExpires;
  return {
    packet,
    version,
    clientId: assigned ? `auto-${random.hex(16)}` : packet.clientId,
    assigned,
    expiryInterval: Math.min(expiry, options.sessionExpiryMax),
    // Before MQTT 5 a client cannot be told of a shorter Keep Alive; the broker goes by it all the same.
    keepAlive: capKeepAlive(packet.keepalive ?? 0, options.keepaliveMax),
    will:
      packet.will === undefined
        ? undefined
        : readWill(packet, facts.willProperties, frame.bytes, options.topicLevelsMax),
  };
}

/**
 * Returns a Keep Alive in seconds that is not longer than `max`; 0 means none, which is allowed only if `max` is 65535.
 */
function capKeepAlive(asked: number, max: number): number {
  const uncapped = max === 65_535;
  return uncapped || (asked !== 0 && asked <= max) ? asked : max;
}

/** Opens a connection on the terms that its CONNECT has been granted. Returns its Receive Maximum. */
export function openOn(
  connection: Connection,
  { packet, keepAlive }: ConnectRequest,
  { options, clock }: Pick<Runtime, "options" | "clock">,
): number {
  const { channel, framer } = connection;
  const { topicAliasMaximum = 0 } = packet.properties ?? {};
  const receiveMaximum = packet.properties?.receiveMaximum ?? (channel.bridge ? bridgeReceiveMax : options.maxInflight);
  channel.open();
  channel.silenceMs = keepAlive * 1500;
  channel.allowAliases(Math.min(topicAliasMaximum, topicAliasMax));
  framer.packetBytesMax = options.maxPacketSize;
  connection.waitingBytes = 0;
  connection.meter = meterOf(options, clock.now());
  return Math.min(receiveMaximum, options.maxInflight);
}

/** Returns the limits of a client's rates; undefined: it may send as much as it likes. */
function meterOf({ maxMessageRate, maxByteRate }: Runtime["options"], now: number): Meter | undefined {
  if (maxMessageRate === 0 && maxByteRate === 0) return undefined;
  return {
    messages: maxMessageRate === 0 ? undefined : new Bucket(maxMessageRate, now),
    bytes: maxByteRate === 0 ? undefined : new Bucket(maxByteRate, now),
  };
}

/** Returns the will of a CONNECT. Throws `ProtocolError` if its topic or properties are malformed, or not taken. */
function readWill(
  packet: ConnectPacket,
  section: { start: number; end: number },
  bytes: Uint8Array,
  levelsMax: number,
): RequestedWill {
  const will = packet.will!;
  if (!isTopicName(will.topic))
    throw new ProtocolError(Reason.topicNameInvalid, "the will's topic is not a topic name");
  if (will.topic.split("/").length > levelsMax)
    throw new ProtocolError(Reason.topicNameInvalid, `the will's topic has more than ${levelsMax} levels`);
  // The same code as PUBLISH is answered with, which is also one that MQTT 3.1.1 has.
  if (isOwnTopic(will.topic))
    throw new ProtocolError(Reason.notAuthorized, `it may not publish its will: ${ownTopicWords}`);
  const properties = new Publish();
  properties.propertyBytes = bytes;
  properties.propertiesStart = section.start;
  properties.propertiesEnd = section.end;
  if (section.end > section.start) readProperties(properties, bytes, section, willSection);
  const publish = makePublish(encodeUtf8(will.topic), Buffer.from(will.payload), {
    qos: will.qos ?? 0,
    retain: will.retain ?? false,
    properties: ownBytes(properties.propertyBytes, properties.propertiesStart, properties.propertiesEnd),
  });
  return { publish, delay: will.properties?.willDelayInterval ?? 0, expiryMs: properties.expiresAt };
}
