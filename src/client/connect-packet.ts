/** The CONNECT that a connection begins with, made of its options, and checked before anything is dialled. */
import { Buffer } from "node:buffer";
import type { IConnectPacket } from "mqtt-packet";
import { messageOf } from "../base/errors.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { encodeConnect } from "../mqtt/control.ts";
import { isTopicName } from "../mqtt/topic.ts";
import { checkBinary, checkInteger, checkProperties, checkText } from "./checks.ts";
import type { ConnectionOptions } from "./connection-options.ts";

/** Returns the bytes of CONNECT. Throws a `TypeError` for options that no packet can carry. */
export function connectBytesOf(options: ConnectionOptions<never>, version: ProtocolVersion): Uint8Array {
  checkConnect(options, version);
  try {
    return encodeConnect(connectPacketOf(options, version), version);
  } catch (error) {
    throw new TypeError(`these options make no CONNECT: ${messageOf(error)}`);
  }
}

function checkConnect(options: ConnectionOptions<never>, version: ProtocolVersion): void {
  const { clientId = "", keepAlive = 60, username, password, will, properties } = options;
  checkText("the client id", clientId);
  checkInteger("keepAlive", keepAlive, [0, 65_535]);
  if (username !== undefined) checkText("the user name", username);
  if (password !== undefined) checkBinary("the password", password);
  // [MQTT-3.1.2-22] of 3.1.1
  if (password !== undefined && username === undefined && version < 5)
    throw new TypeError("a password needs a user name before MQTT 5");
  checkProperties(properties);
  if (will === undefined) return;
  checkText("the will's topic", will.topic);
  if (!isTopicName(will.topic)) throw new TypeError("the will's topic must not be empty nor hold + or #");
  checkBinary("the will's payload", will.payload);
  checkProperties(will.properties);
}

function connectPacketOf(options: ConnectionOptions<never>, version: ProtocolVersion): IConnectPacket {
  const {
    clientId = "",
    clean = true,
    keepAlive = 60,
    username,
    password,
    will,
    sessionExpiryInterval,
    login,
  } = options;
  const properties = {
    ...options.properties,
    ...(sessionExpiryInterval === undefined ? {} : { sessionExpiryInterval }),
    ...(login && { authenticationMethod: login.method, authenticationData: Buffer.from(login.first) }),
  };
  return {
    cmd: "connect",
    protocolId: version === 3 ? "MQIsdp" : "MQTT",
    protocolVersion: version,
    clientId,
    clean,
    keepalive: keepAlive,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: Buffer.from(password as Uint8Array) }),
    ...(will === undefined ? {} : { will: { ...will, payload: Buffer.from(will.payload as Uint8Array) } }),
    ...(version === 5 && Object.keys(properties).length > 0 ? { properties } : {}),
  } as IConnectPacket;
}
