/** Mail drops in a cluster: one broker asks for them, and what lies there comes from any broker to any other. */
import { expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";

const messages = 400;

test("published at three brokers while subscribers come at three brokers: no gap, no duplicate, no overtaking", async () => {
  const cluster = await startCluster(["a", "b"], { mailDrop: ["drop/#"] });
  await cluster.add("c");
  const publishers = await Promise.all([0, 1, 2].map((index) => RawClient.connect(cluster.port(index))));
  const sent = publishers.map(async (publisher, which) => {
    for (let index = 0; index < messages; index++) {
      publisher.publish(`drop/${which}/x`, `${which} ${index}`, { qos: 1, messageId: index + 1 });
      if (index % 20 === 19) await publisher.takeMany("puback", 20);
    }
  });
  const stored = (): number => cluster.brokers.reduce((sum, { broker }) => sum + broker.context.mail.stored, 0);
  const followers: Promise<void>[] = [];
  for (let index = 0; index < 6; index++) {
    await eventually(() => stored() >= index * 150, "more is published");
    followers.push(follow(index));
  }
  await Promise.all([...sent, ...followers]);
  await cluster.stop();

  /** Every other one has a session, and moves on to the next broker now and then. */
  async function follow(index: number): Promise<void> {
    const isPersistent = index % 2 === 1;
    let at = index;
    const connect = (): Promise<RawClient> =>
      RawClient.connect(cluster.port(at++ % 3), { clean: !isPersistent, clientId: `follower-${index}` });
    let client = await connect();
    await client.subscribe(["drop/#", "drop/+/x"][index % 2]!, { qos: 1 });
    const next = [0, 0, 0];
    for (let count = 1; count <= 3 * messages; count++) {
      const { payload, messageId, dup } = await client.take("publish");
      client.send({ cmd: "puback", messageId });
      const [which, number] = payload.toString().split(" ").map(Number) as [number, number];
      // What was acknowledged just when the connection ended may come again.
      if (dup && number < next[which]!) {
        count--;
        continue;
      }
      expect(`${which} ${number}`).toBe(`${which} ${next[which]!++}`);
      if (!isPersistent || count % 250 !== 0) continue;
      await client.ping();
      client.disconnect();
      await client.untilClosed();
      for (const packet of client.packets.filter(({ cmd }) => cmd === "publish")) expect(packet.qos).toBe(1);
      client = await connect();
    }
    await client.ping();
    client.disconnect();
  }
}, 120_000);

test("when the bank is empty, what is published without a promise is given up at once, and holds nobody up", async () => {
  const cluster = await startCluster(["a", "b"], {
    mailDrop: ["drop/#"],
    bankCapital: 1500,
    bankTtlMin: 60,
    bankTtlMax: 60,
  });
  const publisher = await RawClient.connect(cluster.port(0), { protocolVersion: 5 });
  const payload = "x".repeat(1000);
  const listener = await RawClient.connect(cluster.port(1));
  await listener.subscribe("live/x");
  // More than 100 credits each: a dozen, and then no more.
  for (let index = 0, code = 0; code !== 0x97; index++) {
    publisher.publish("drop/full", payload, { qos: 1, messageId: index + 1 });
    code = (await publisher.take("puback")).reasonCode;
    expect(index).toBeLessThan(20);
  }
  const { metrics } = cluster.brokers[0]!.broker.context;
  const before = metrics.refusedByBank;
  for (let index = 0; index < 50; index++) publisher.publish("drop/full", payload);
  publisher.publish("live/x", "on time");
  expect((await listener.take("publish")).payload.toString()).toBe("on time");
  // All of them were given up when what came after them was heard.
  expect(metrics.refusedByBank - before).toBe(50);
  await cluster.stop();
}, 120_000);
