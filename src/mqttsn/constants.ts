/** MQTT-SN 1.2's numbers: types of messages (5.2.2), return codes (5.3.10), types of topic ids (5.3.4). */

export const SnType = {
  advertise: 0x00,
  searchgw: 0x01,
  gwinfo: 0x02,
  connect: 0x04,
  connack: 0x05,
  willtopicreq: 0x06,
  willtopic: 0x07,
  willmsgreq: 0x08,
  willmsg: 0x09,
  register: 0x0a,
  regack: 0x0b,
  publish: 0x0c,
  puback: 0x0d,
  pubcomp: 0x0e,
  pubrec: 0x0f,
  pubrel: 0x10,
  subscribe: 0x12,
  suback: 0x13,
  unsubscribe: 0x14,
  unsuback: 0x15,
  pingreq: 0x16,
  pingresp: 0x17,
  disconnect: 0x18,
  willtopicupd: 0x1a,
  willtopicresp: 0x1b,
  willmsgupd: 0x1c,
  willmsgresp: 0x1d,
  /** A message that a forwarder has wrapped (5.5). */
  encapsulated: 0xfe,
} as const;

export const ReturnCode = { accepted: 0, congestion: 1, invalidTopicId: 2, notSupported: 3 } as const;

/** The kind of a topic in PUBLISH, SUBSCRIBE and UNSUBSCRIBE. `name`: an id that was registered, or the name itself. */
export const TopicKind = { name: 0, predefined: 1, short: 2 } as const;
export type TopicKind = 0 | 1 | 2;

/** The only protocol id there is (5.3.8). */
export const protocolId = 0x01;

/** QoS of a PUBLISH; -1: it comes from a client that has not connected (6.8). */
export type SnQoS = -1 | 0 | 1 | 2;
