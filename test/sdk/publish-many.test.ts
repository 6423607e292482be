/** A batch of publishes with one promise: what fails is named by its place, and the bounds of the queue are kept. */
import { expect, test } from "bun:test";
import { type BatchMessage, connect, PublishManyFailed } from "../../src/client/for-bun.ts";
import { Outbox } from "../../src/client/outbox.ts";
import type { Pending } from "../../src/client/pending.ts";
import { publishMany } from "../../src/client/publish-many.ts";
import type { Kept, Store, StoreChange } from "../../src/client/store.ts";
import { TestBroker } from "../../src/testing/test-broker.ts";

const away = { reconnect: { minMs: 1, maxMs: 5 }, retry: "for ever" } as const;

function batch(count: number, options: object = { qos: 1 }): BatchMessage[] {
  return Array.from({ length: count }, (_, n) => ({ topic: `t/${n}`, payload: String(n), ...options }));
}

/** A store in memory that notes how many changes each write has. */
class NotedStore implements Store {
  readonly writes: number[] = [];
  full = false;

  open(): Kept {
    return { messages: [], received: [] };
  }

  write(changes: readonly StoreChange[]): void {
    if (this.full) throw new Error("no room");
    this.writes.push(changes.filter(({ kind }) => kind === "add").length);
  }

  close(): void {}
}

/** Returns what a batch has rejected with. */
async function failed(batch: Promise<unknown>): Promise<PublishManyFailed> {
  const error = await batch.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(PublishManyFailed);
  return error;
}

test("all are taken, in order; those that are refused are named, and the others are taken", async () => {
  const broker = new TestBroker();
  await using client = await connect(broker.url);
  for (const qos of [0, 1, 2]) expect((await client.publishMany(batch(300, { qos }))).length).toBe(300);
  expect(broker.published.map(({ text }) => Number(text))).toEqual([0, 1, 2].flatMap(() => [...Array(300).keys()]));
  expect(await client.publishMany([])).toEqual([]);
  broker.refuse("publish", 0x97, { filter: "t/3" });
  broker.refuse("publish", 0x87, { filter: "t/7" });
  const { failures, message } = await failed(client.publishMany(batch(10)));
  expect(failures).toMatchObject([
    { index: 3, topic: "t/3", error: { name: "QuotaExceeded" } },
    { index: 7, topic: "t/7", error: { name: "PublishRefused" } },
  ]);
  expect(message).toStartWith("2 of 10 messages were not taken; the first of them is [3]: ");
  expect(broker.published.length).toBe(908);
});

test("what cannot be published is told before anything leaves", async () => {
  const broker = new TestBroker();
  await using client = await connect(broker.url);
  const wrong = [...batch(3), { topic: "a/#", payload: "x" }];
  await expect(client.publishMany(wrong)).rejects.toThrow('messages[3]: "a/#" is not a topic');
  await expect(client.publishMany(5 as never)).rejects.toThrow(TypeError);
  expect(broker.published).toEqual([]);
});

test("without a connection, what does not fit is refused by its place; the rest goes out later", async () => {
  const broker = new TestBroker();
  broker.stop();
  await using client = await connect(broker.url, { ...away, offline: { messagesMax: 5 } });
  const publishing = failed(client.publishMany(batch(8)));
  expect(client.pending).toBe(5);
  broker.start();
  const { failures } = await publishing;
  expect(failures.map(({ index, error }) => [index, (error as Error).name])).toEqual(
    [5, 6, 7].map((index) => [index, "QueueFull"]),
  );
  expect(broker.published.map(({ text }) => text)).toEqual(["0", "1", "2", "3", "4"]);
});

test("with a connection, a batch larger than all queues waits for room", async () => {
  // The bytes are only counted: all messages have the same.
  const payload = new Uint8Array(64 * 1024 * 1024);
  for (const qos of [0, 1] as const) {
    const outbox = new Outbox();
    const wire = { granted: { receiveMaximum: 1 }, unsent: 0, written: 0, unsentMax: 0, pendingMax: 0 };
    const settle = (pending: Pending): void => {
      wire.pendingMax = Math.max(wire.pendingMax, outbox.pending);
      outbox.session.settle(outbox.session.add(pending), 0, undefined);
      wire.written++;
    };
    const drain = (): void => {
      wire.unsent = 0;
      outbox.drained();
    };
    const write = (): void => {
      wire.written++;
      wire.unsent += payload.length;
      wire.unsentMax = Math.max(wire.unsentMax, wire.unsent);
      setImmediate(drain);
    };
    const deliver = (pending: Pending): void => {
      outbox.session.outgoing.set(65_535, pending);
      setImmediate(() => {
        outbox.session.outgoing.delete(65_535);
        settle(pending);
      });
    };
    outbox.connected(Object.assign(wire, { write, deliver }) as never);
    const large = Array.from({ length: 20 }, () => ({ topic: "t", payload, qos }));
    expect((await publishMany(outbox, large, {})).length).toBe(20);
    expect([wire.written, wire.unsentMax <= payload.length, wire.pendingMax <= 5]).toEqual([20, true, true]);
  }
});

test("a store keeps a batch at once, or refuses it as a whole", async () => {
  const broker = new TestBroker();
  broker.stop();
  const store = new NotedStore();
  const options = { ...away, clientId: "c", sessionExpiryMs: 60_000, offline: { messagesMax: 100 } };
  await using client = await connect(broker.url, { ...options, store });
  const publishing = failed(client.publishMany(batch(120)));
  expect(store.writes).toEqual([100]);
  broker.start();
  const { failures } = await publishing;
  expect(failures.length).toBe(20);
  expect(broker.published.length).toBe(100);
  store.full = true;
  const refused = await failed(client.publishMany(batch(3)));
  expect(refused.failures.map(({ error }) => (error as Error).message)).toEqual(Array(3).fill("no room"));
  store.full = false;
});

test("a signal ends the waiting, and what has not left does not leave", async () => {
  const broker = new TestBroker();
  broker.stop();
  await using client = await connect(broker.url, away);
  const ending = new AbortController();
  const publishing = client.publishMany(batch(3), { signal: ending.signal });
  ending.abort(new Error("enough"));
  await expect(publishing).rejects.toThrow("enough");
  await expect(client.publishMany(batch(3), { signal: ending.signal })).rejects.toThrow("enough");
  broker.start();
  await client.connected();
  await client.publish("last", "", { qos: 1 });
  expect(broker.published.map(({ topic }) => topic)).toEqual(["last"]);
});
