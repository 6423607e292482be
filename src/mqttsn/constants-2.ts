/** MQTT-SN 2.0's numbers (OASIS Committee Specification Draft 01, chapter 2): types, reason codes, types of topics. */

/** Types of packets (2.1.3). */
export const Type2 = {
  connect: 0x01,
  connack: 0x02,
  publish: 0x03,
  puback: 0x04,
  pubrec: 0x05,
  pubrel: 0x06,
  pubcomp: 0x07,
  subscribe: 0x08,
  suback: 0x09,
  unsubscribe: 0x0a,
  unsuback: 0x0b,
  pingreq: 0x0c,
  pingresp: 0x0d,
  disconnect: 0x0e,
  auth: 0x0f,
  register: 0x10,
  regack: 0x11,
  pubwos: 0x12,
  sleepreq: 0x13,
  sleepresp: 0x14,
  advertise: 0x16,
  searchgw: 0x17,
  gwinfo: 0x18,
  forwarder: 0xfc,
  connection: 0xfe,
  protection: 0xff,
} as const;

/** Reason codes (2.3) that a gateway gives. */
export const Reason2 = {
  withWill: 0x04,
  aliasExists: 0x1a,
  malformed: 0x81,
  implementationSpecific: 0x83,
  unsupportedVersion: 0x84,
  clientIdNotValid: 0x85,
  badMethod: 0x8c,
  unknownAlias: 0xf0,
  congestion: 0xf1,
  quotaExceeded: 0x97,
  onlyProtection: 0xe6,
  unknownSender: 0xe8,
  noProtection: 0xf2,
  noConnection: 0xf4,
} as const;

/** Topic types (2.4): the reserved one is none. */
export const topicTypes = { alias: 0, predefined: 1, name: 3 } as const;

export const protocolVersion2 = 0x02;
