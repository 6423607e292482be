/** Bounds on what others can do: slow subscribers, floods, silence. Time is the test's own where it can be. */
import { expect, test } from "bun:test";
import { silenceLookMs } from "../../src/base/limits.ts";
import { eventually, startBroker } from "../support/broker.ts";
import { machine } from "../support/machine.ts";
import { RawClient } from "../support/raw-client.ts";

test("a subscriber that does not read loses QoS 0, is counted, and holds nobody up for long", async () => {
  const broker = await startBroker();
  const { metrics } = broker.server.broker.context;
  const stuck = await RawClient.connect(broker.port);
  await stuck.subscribe("n/#");
  stuck.pause();
  const other = await RawClient.connect(broker.port);
  await other.subscribe("other");
  const publisher = await RawClient.connect(broker.port);
  const payload = "x".repeat(100_000);
  for (let index = 0; index < 600; index++) publisher.publish("n/x", payload);
  await eventually(() => metrics.droppedOutput > 0, "messages are dropped", 60_000);
  publisher.publish("other", "still here");
  expect((await other.take("publish")).payload.toString()).toBe("still here");
  stuck.abort();
  await broker.stop();
}, 120_000);

test("a flood of filters is bounded in number and size", async () => {
  const broker = await startBroker();
  const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
  const long = "f".repeat(65_000);
  const codes = new Set<number>();
  for (let index = 0; index < 300; index++) codes.add((await client.subscribe(`${index}/${long}`)).granted[0]);
  expect(codes).toEqual(new Set([0, 0x97]));
  expect(broker.server.broker.context.router.subscriptions).toBeLessThan(260);
  client.disconnect();
  await eventually(
    () => broker.server.broker.context.router.subscriptions === 0,
    "all filters are gone with their session",
  );
  await broker.stop();
});

test("a client that asks and does not read its answers is disconnected", async () => {
  const broker = await startBroker();
  const { metrics } = broker.server.broker.context;
  const client = await RawClient.connect(broker.port);
  await eventually(() => metrics.connections === 1, "it is connected");
  const flood = await RawClient.connect(broker.port);
  flood.pause();
  const pings = Buffer.alloc(2_000_000, Buffer.from([0xc0, 0]));
  let written = 0;
  await eventually(
    () => {
      if (written < 100) flood.write(pings);
      written++;
      return metrics.connections === 1;
    },
    "it is disconnected",
    60_000,
  );
  await client.ping();
  await broker.stop();
}, 120_000);

test("CONNECT must be complete in ten seconds, however its bytes drip", async () => {
  const { dial, pass } = await machine();
  const slow = dial();
  const silent = dial();
  for (const byte of "10100004 4d515454".replaceAll(" ", "").match(/../g)!) {
    slow.send(byte);
    pass(1000);
  }
  expect([slow.state.closed, silent.state.closed]).toEqual([false, false]);
  pass(3000);
  expect([slow.state.closed, silent.state.closed]).toEqual([true, true]);
});

test("keep alive counts from the last packet, not from the first", async () => {
  const { dial, pass } = await machine();
  const client = dial();
  client.send("101000044d5154540402000a00047065 7273");
  for (let round = 0; round < 5; round++) {
    pass(14_000);
    expect(client.state.closed).toBe(false);
    client.send("c000");
  }
  pass(15_001);
  pass(silenceLookMs);
  expect(client.state.closed).toBe(true);
});
