/** The CONNACK that lets a client in, with the limits that the broker has set. */
import type { IConnackPacket } from "mqtt-packet";
import { topicAliasMax } from "../../base/limits.ts";
import { encodeControl } from "../../mqtt/control.ts";
import type { BrokerOptions } from "../core/options.ts";
import type { Login } from "./admission.ts";
import type { ConnectRequest } from "./connect-request.ts";

/** CONNACK before MQTT 5 has only two values, which are encoded once. */
const connackNew = encodeControl({ cmd: "connack", sessionPresent: false, returnCode: 0 }, 4);
const connackResumed = encodeControl({ cmd: "connack", sessionPresent: true, returnCode: 0 }, 4);

export interface ConnackFacts {
  readonly sessionPresent: boolean;
  /** The Reason String: why a session that the client had is gone; undefined: none is told. */
  readonly reason?: string | undefined;
}

/**
 * Returns the CONNACK for the client's version. It may be larger than the client's Maximum Packet Size: the caller must
 * check.
 */
export function encodeConnack(
  request: ConnectRequest & { readonly login: Pick<Login, "proof">; readonly notice?: string },
  { sessionPresent, reason }: ConnackFacts,
  options: Pick<BrokerOptions, "maxInflight" | "maxPacketSize">,
): Uint8Array {
  const { version, packet } = request;
  // MQTT 3.1 has no session present flag.
  if (version < 5) return version === 4 && sessionPresent ? connackResumed : connackNew;
  const asked = packet.properties?.sessionExpiryInterval ?? 0;
  const properties: NonNullable<IConnackPacket["properties"]> = {
    receiveMaximum: options.maxInflight,
    topicAliasMaximum: topicAliasMax,
    maximumPacketSize: options.maxPacketSize,
  };
  if (request.assigned) properties.assignedClientIdentifier = request.clientId;
  if (request.keepAlive !== (packet.keepalive ?? 0)) properties.serverKeepAlive = request.keepAlive;
  if (request.expiryInterval !== asked) properties.sessionExpiryInterval = request.expiryInterval;
  Object.assign(properties, request.login.proof);
  const connack = { cmd: "connack", sessionPresent, reasonCode: 0, properties } as const;
  const more: NonNullable<IConnackPacket["properties"]> = {};
  // The client asks for it, and it need not be told [MQTT-3.1.2-28].
  if (packet.properties?.requestResponseInformation === true)
    more.responseInformation = `response/${request.clientId}/`;
  const told = reason ?? request.notice;
  if (told !== undefined) more.reasonString = told;
  const bytes = encodeControl({ ...connack, properties: { ...properties, ...more } }, 5);
  // Nor must it be told what its packets have no room for [MQTT-3.2.2-19].
  const bytesMax = packet.properties?.maximumPacketSize ?? Infinity;
  return bytes.length <= bytesMax ? bytes : encodeControl(connack, 5);
}
