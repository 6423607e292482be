/** Packets that one version of MQTT allows and another forbids, and a client that no answer fits. */
import { expect, test } from "bun:test";
import { eventually, startBroker } from "../support/broker.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";

test("in MQTT 3.1 PUBREL, SUBSCRIBE and UNSUBSCRIBE may bear DUP; later they may not", async () => {
  const broker = await startBroker();
  const { port } = broker;
  const subscribe = Buffer.from([0x8a, 6, 0, 2, 0, 1, 0x61, 0]);
  const unsubscribe = Buffer.from([0xaa, 5, 0, 3, 0, 1, 0x61]);
  const pubrel = Buffer.from([0x6a, 2, 0, 1]);
  const old = await RawClient.dial(port, 3);
  old.send(connectPacket({ protocolVersion: 3, protocolId: "MQIsdp", clientId: "old", clean: true }));
  await old.take("connack");
  old.write(subscribe);
  expect((await old.take("suback")).messageId).toBe(2);
  old.write(unsubscribe);
  expect((await old.take("unsuback")).messageId).toBe(3);
  old.publish("a", "x", { qos: 2, messageId: 1 });
  await old.take("pubrec");
  old.write(pubrel);
  expect((await old.take("pubcomp")).messageId).toBe(1);
  // What is not sent at QoS 1 never bears it.
  old.write(Buffer.from([0xc8, 0]));
  await old.untilClosed();
  for (const [version, packet] of [
    [4, subscribe],
    [4, pubrel],
    [5, pubrel],
  ] as const) {
    const client = await RawClient.connect(port, { protocolVersion: version });
    client.write(packet);
    await client.untilClosed();
  }
  await broker.stop();
});

test("a client that takes no packet as large as CONNACK is not let in, nor told, and leaves nothing [MQTT-3.1.2-24]", async () => {
  const broker = await startBroker();
  const { localSessions, metrics } = broker.server.broker.context;
  for (const maximumPacketSize of [1, 4, 5]) {
    const client = await RawClient.dial(broker.port, 5);
    const properties = { maximumPacketSize, sessionExpiryInterval: 600 };
    client.send(connectPacket({ protocolVersion: 5, clientId: "small", properties }));
    await client.untilClosed();
    // The smallest refusal has five bytes.
    expect(client.packets.map(({ reasonCode }) => reasonCode)).toEqual(maximumPacketSize < 5 ? [] : [0x95]);
  }
  await eventually(() => metrics.connections === 0, "they are gone");
  expect(localSessions.size).toBe(0);
  await broker.stop();
});
