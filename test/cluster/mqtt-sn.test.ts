/** A device of MQTT-SN that sleeps at one broker of a cluster and wakes at another: its session and its mail move. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/for-bun.ts";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { SnClient } from "../support/sn-client.ts";
import { deviceKey, deviceSender, protectedBy } from "../support/sn-protected.ts";

test("a sleeper is handed its mail by whichever broker it wakes at, and a client that is awake by which it connects to", async () => {
  const cluster = await startCluster(["a", "b"], { snPort: 0, snRetry: 2_000 });
  const [first, second] = cluster.brokers.map(({ sn }) => sn!);
  const client = await connect(`mqtt://127.0.0.1:${cluster.port(0)}`);
  const device = await SnClient.connect(first!.port, "roamer", { clean: false });
  await device.subscribe("mail/#");
  device.send({ kind: "disconnect", duration: 600 });
  await device.take("disconnect");
  for (const text of ["1", "2", "3"]) await client.publish("mail/x", text, { qos: 1 });
  await eventually(() => cluster.brokers[1]!.broker.context.remoteSessions.has("roamer"), "the other broker knows it");
  const elsewhere = await SnClient.open(second!.port);
  elsewhere.send({ kind: "pingreq", clientId: "roamer" });
  const got: string[] = [];
  for (const _ of [1, 2, 3]) got.push(await elsewhere.takeQoS1());
  expect(got).toEqual(["1", "2", "3"]);
  await elsewhere.take("pingresp");
  await eventually(() => first!.gateway.clients === 0, "the first broker has let go of it");
  // What is published now waits there; back at the first broker it comes by CONNECT.
  await client.publish("mail/x", "4", { qos: 1 });
  const back = await SnClient.connect(first!.port, "roamer", { clean: false });
  expect(await back.takeQoS1()).toBe("4");
  for (const one of [device, elsewhere, back]) one.close();
  await client.end();
  await cluster.stop();
}, 120_000);

test("what a protected device has said to one broker cannot be said again to another; itself goes on there", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sn-keys-"));
  const snKeys = join(folder, "keys");
  writeFileSync(snKeys, `${deviceSender},${deviceKey}\n`);
  const cluster = await startCluster(["a", "b"], { snPort: 0, sn2: true, snKeys });
  const doors = cluster.brokers.map(({ sn }) => sn!);
  const codec = protectedBy(0);
  const none = { will: undefined, packetBytesMax: 0, allowsMoves: false, method: undefined, awakeMax: 0 };
  const of2 = { messageId: 1, expiry: 600, ...none };
  const connectOfDevice = codec.encode({
    ...{ kind: "connect", will: false, clean: false, protocolId: 2, duration: 600, clientId: "meter", of2 },
  });
  const device = await SnClient.open(doors[0]!.port, undefined, codec);
  device.sendBytes(connectOfDevice);
  expect(await device.take("connack")).toMatchObject({ code: 0 });
  const thief = await SnClient.open(doors[1]!.port, undefined, codec);
  thief.sendBytes(connectOfDevice);
  await eventually(() => doors[1]!.gateway.metrics.refused === 1, "the other broker has refused it");
  expect(doors.map(({ gateway }) => gateway.clients)).toEqual([1, 0]);
  // The device itself comes there, and what it says counts once.
  const moved = await SnClient.open(doors[1]!.port, undefined, codec);
  moved.send({ kind: "connect", will: false, clean: false, protocolId: 2, duration: 600, clientId: "meter", of2 });
  expect(await moved.take("connack")).toMatchObject({ code: 0, sessionPresent: true });
  expect(thief.inbox).toEqual([]);
  for (const one of [device, thief, moved]) one.close();
  await cluster.stop();
  rmSync(folder, { recursive: true });
}, 120_000);
