/** Memory that clients may have the broker take: each alone, each user, and all of them together. */
import { expect, test } from "bun:test";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

async function withBroker(options: Partial<BrokerOptions>, use: (broker: TestBroker) => Promise<void>): Promise<void> {
  const broker = await startBroker(options);
  try {
    await use(broker);
  } finally {
    await broker.stop();
  }
}

test("memory of one client: its subscriptions, and what waits for it", async () => {
  await withBroker({ maxMemoryPerClient: 1024 * 1024 }, async ({ port, server }) => {
    const { metrics } = server.broker.context;
    const greedy = await RawClient.connect(port, { protocolVersion: 5 });
    const topics = Array.from({ length: 2000 }, (_, at) => ({ topic: `a/topic/of/some/length/${at}`, qos: 0 }));
    greedy.send({ cmd: "subscribe", messageId: 1, subscriptions: topics });
    const { granted, properties } = await greedy.take("suback");
    const taken = granted.filter((code: number) => code === 0).length;
    expect([taken > 500, taken < 1000, granted.at(-1)]).toEqual([true, true, 0x97]);
    expect(properties.reasonString).toContain("memory");
    // It has what it has; what is given up makes room.
    expect((await greedy.subscribe("a/topic/of/some/length/0")).granted).toEqual([0]);
    greedy.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: topics.slice(0, 10).map(({ topic }) => topic) });
    await greedy.take("unsuback");
    expect((await greedy.subscribe("one/more")).granted).toEqual([0]);
    const slow = await RawClient.connect(port, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
    await slow.subscribe("slow", { qos: 1 });
    const publisher = await RawClient.connect(port, { protocolVersion: 5 });
    for (let messageId = 1; messageId <= 30; messageId++)
      publisher.publish("slow", "x".repeat(50_000), { qos: 1, messageId });
    const { reasonCode, properties: said } = await slow.take("disconnect");
    expect([reasonCode, said.reasonString]).toEqual([0x97, expect.stringContaining("memory")]);
    expect([publisher.closed, greedy.closed, metrics.beyondLimit.memory > 1000]).toEqual([false, false, true]);
  });
});

test("memory for slow clients is bounded, whoever they are together", async () => {
  const maxQueueMemory = 4 * 1024 * 1024;
  await withBroker({ maxQueueMemory, maxInflight: 5 }, async ({ port, server }) => {
    const { context } = server.broker;
    const publisher = await RawClient.connect(port, { protocolVersion: 5 });
    for (let index = 0; index < 8; index++) {
      const slow = await RawClient.connect(port, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
      await slow.subscribe("#", { qos: index % 2 });
      slow.pause();
    }
    for (let at = 0; at < 200; at++) publisher.publish("t", "x".repeat(100_000), { qos: at % 2, messageId: 1 });
    await publisher.ping();
    await eventually(() => context.metrics.droppedQueue + context.metrics.droppedOutput > 0, "something is dropped");
    expect(context.metrics.queuedBytes).toBeLessThanOrEqual(maxQueueMemory);
    // Each may have a little, whatever the others have.
    expect(context.turn.unsent).toBeLessThan(maxQueueMemory + 8 * 1024 * 1024);
    expect(context.metrics.droppedOutput).toBeGreaterThan(0);
  });
});
