/** A device of MQTT-SN that sleeps at one broker of a cluster and wakes at another: its session and its mail move. */
import { expect, test } from "bun:test";
import { connect } from "../../src/client/for-bun.ts";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { SnClient } from "../support/sn-client.ts";

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
