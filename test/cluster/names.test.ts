/** All of UTF-8 is a topic, a filter, a client id, and a broker's name: on ZooKeeper, which forbids much of it. */
import { expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { useEverywhere, words } from "../support/named.ts";
import { RawClient } from "../support/raw-client.ts";

test("every name that a client may give, and an operator", async () => {
  const cluster = await startCluster(["a 😀", "b \ue000"], { mailDrop: ["drop/😀/#"] });
  const near = cluster.port(0);
  const far = cluster.port(1);
  for (const word of words) await useEverywhere(word, { near, far });
  const publisher = await RawClient.connect(near);
  publisher.publish("drop/😀/x", "laid", { qos: 1, messageId: 1 });
  await publisher.take("puback");
  const late = await RawClient.connect(far);
  await late.subscribe("drop/😀/#", { qos: 1 });
  expect(String((await late.take("publish")).payload)).toBe("laid");
  // Publishers are registered now and then.
  const { context } = cluster.brokers[0]!.broker;
  context.timers.tick(context.clock.now() + 10_000);
  await eventually(() => context.journal.pendingUnits === 0, "the publishers are registered");
  await cluster.stop();
}, 120_000);
