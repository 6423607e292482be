/** MQTT 5 reason codes (2.4), and what they become for clients of MQTT 3.1.1. */

export const Reason = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  useAnotherServer: 0x9c,
  connectionRateExceeded: 0x9f,
} as const;

/** CONNACK's return code in MQTT 3.1 and 3.1.1 (3.2.2.3); undefined: close without CONNACK. */
export function connackReturnCode(reason: number): number | undefined {
  switch (reason) {
    case Reason.success:
      return 0;
    case Reason.unsupportedProtocolVersion:
      return 1;
    case Reason.clientIdentifierNotValid:
      return 2;
    case Reason.serverUnavailable:
    case Reason.serverBusy:
    case Reason.useAnotherServer:
    case Reason.quotaExceeded:
    case Reason.connectionRateExceeded:
      return 3;
    case Reason.badUserNameOrPassword:
      return 4;
    case Reason.notAuthorized:
    case Reason.banned:
      return 5;
    default:
      return undefined;
  }
}

const names = new Map<number, string>(
  Object.entries(Reason).map(([name, code]) => [code, name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)]),
);

/** Describes a reason code for people: "0x97 quota exceeded". */
export function describeReason(reason: number): string {
  return `0x${reason.toString(16).padStart(2, "0")} ${names.get(reason) ?? "unknown reason"}`;
}
