/** The CONNECT that a connection begins with, made of its options. */
import { Buffer } from "node:buffer";
import type { IConnectPacket } from "mqtt-packet";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import type { ConnectionOptions } from "./connection-options.ts";

export function connectPacketOf(options: ConnectionOptions<never>, version: ProtocolVersion): IConnectPacket {
  const { clientId = "", clean = true, keepAlive = 60, username, password, will, sessionExpiryInterval } = options;
  const properties = {
    ...options.properties,
    ...(sessionExpiryInterval === undefined ? {} : { sessionExpiryInterval }),
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
