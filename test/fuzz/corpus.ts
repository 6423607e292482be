/** Packets that are right, of every kind a client may send: what the fuzzer bends. */
import mqttPacket, { type Packet } from "mqtt-packet";

const five = { protocolVersion: 5 } as const;
const properties = {
  userProperties: { a: "1", b: ["2", "3"] },
  contentType: "x",
  responseTopic: "r/t",
  correlationData: Buffer.from("c"),
  messageExpiryInterval: 5,
  payloadFormatIndicator: true,
  topicAlias: 3,
};
const will = {
  topic: "w",
  payload: Buffer.from("p"),
  qos: 2,
  retain: true,
  properties: { willDelayInterval: 1, contentType: "x" },
};

const packets: Packet[] = [
  { cmd: "publish", topic: "f/u/z", payload: "payload", qos: 0, dup: false, retain: false },
  { cmd: "publish", topic: "f/u/z", payload: "payload", qos: 1, messageId: 7, dup: true, retain: true },
  { cmd: "publish", topic: "f/ö/z", payload: "payload", qos: 2, messageId: 9, dup: false, retain: false, properties },
  { cmd: "puback", messageId: 1, reasonCode: 0x10, properties: { reasonString: "why" } },
  { cmd: "pubrec", messageId: 1 },
  { cmd: "pubrel", messageId: 9 },
  { cmd: "pubcomp", messageId: 1, reasonCode: 0x92 },
  {
    cmd: "subscribe",
    messageId: 3,
    subscriptions: [
      { topic: "f/+/z", qos: 2, nl: true, rap: true, rh: 1 },
      { topic: "$share/g/#", qos: 1 },
    ],
    properties: { subscriptionIdentifier: 300 },
  },
  { cmd: "unsubscribe", messageId: 4, unsubscriptions: ["f/+/z", "never"] },
  { cmd: "pingreq" },
  { cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 0, reasonString: "bye" } },
  { cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: "m", authenticationData: Buffer.from("d") } },
] as Packet[];

const connects: Packet[] = [
  {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clientId: "fuzz",
    clean: true,
    keepalive: 10,
    username: "u",
    password: Buffer.from("p"),
    will,
    properties: {
      sessionExpiryInterval: 1,
      receiveMaximum: 5,
      topicAliasMaximum: 5,
      maximumPacketSize: 999,
      userProperties: { k: "v" },
    },
  },
  {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clientId: "fuzz4",
    clean: false,
    keepalive: 10,
    will: { ...will, properties: undefined },
  },
  { cmd: "connect", protocolId: "MQIsdp", protocolVersion: 3, clientId: "fuzz3", clean: true, keepalive: 10 },
] as unknown as Packet[];

function encode(packet: Packet): Uint8Array {
  return new Uint8Array(mqttPacket.generate(packet, packet.cmd === "connect" ? {} : five));
}

export const connectVectors = connects.map(encode);
export const vectors = packets.map(encode);
/** A CONNECT that is always taken. */
export const plainConnect = new Uint8Array(
  mqttPacket.generate({
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clientId: "",
    clean: true,
    keepalive: 0,
  } as Packet),
);
