/** The client library at a real cluster: brokers leave in order and die, and applications do not notice. */
import { expect, test } from "bun:test";
import { connect, type Status } from "../../src/client/for-bun.ts";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";

test("a broker that leaves sends its clients to another one; nothing is lost on the way, nothing comes twice", async () => {
  const cluster = await startCluster(["a", "b"], { drainTime: 1 });
  const statuses: Status[] = [];
  const url = (index: number): string => `mqtt://127.0.0.1:${cluster.port(index)}`;
  const lasting = { sessionExpiryMs: 600_000, reconnect: { minMs: 10, maxMs: 100 } };
  // Both know one broker alone: where else to go they are told.
  const subscriber = await connect(url(0), { ...lasting, clientId: "subscriber", onStatus: (s) => statuses.push(s) });
  const publisher = await connect(url(0), { ...lasting, clientId: "publisher" });
  const messages = await subscriber.subscribe("work/{n}", { qos: 2 });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const { params } of messages) seen.push(params.n);
  })();
  const published: Promise<unknown>[] = [];
  const publishSome = (count: number): void => {
    for (let left = count; left > 0; left--)
      published.push(publisher.publish(`work/${published.length}`, "", { qos: 2 }));
  };
  publishSome(50);
  await eventually(() => seen.length > 10, "some to come");
  const stopping = cluster.brokers[0]!.stop();
  publishSome(50);
  await eventually(() => statuses.length >= 3, "the move");
  publishSome(50);
  await stopping;
  await Promise.all(published);
  await eventually(() => seen.length >= published.length, "all to come");
  expect(seen.toSorted((x, y) => Number(x) - Number(y))).toEqual(published.map((_, index) => String(index)));
  expect(statuses.map(({ state }) => state).filter((state) => state !== "connecting")).toEqual([
    "connected",
    "reconnecting",
    "connected",
  ]);
  expect(statuses.at(-1)).toMatchObject({ broker: `mqtt://127.0.0.1:${cluster.port(1)}`, sessionPresent: true });
  await publisher.end();
  await subscriber.end();
  await reading;
  await cluster.stop();
}, 120_000);
