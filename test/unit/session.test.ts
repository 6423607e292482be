/** The window of packet ids against a naive model, owed acks, aliases, rings and timers. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { packetIdMemoryBytes, topicMemoryBytes } from "../../src/base/memory-limits.ts";
import { Ring } from "../../src/base/ring.ts";
import { Timer, Timers } from "../../src/base/timers.ts";
import { makePublish, type Publish } from "../../src/mqtt/publish.ts";
import { MemorySink } from "../../src/mqtt/sink.ts";
import { parseFilter } from "../../src/mqtt/topic.ts";
import { Channel } from "../../src/session/channel.ts";
import { Inflight } from "../../src/session/inflight.ts";
import { OwedAcks } from "../../src/session/owed-acks.ts";
import { Session } from "../../src/session/session.ts";
import { IncomingAliases, OutgoingAliases } from "../../src/session/topic-aliases.ts";

test("the window agrees with a map, whatever order the acks come in", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 400, size: "max" }),
      (limit, steps) => {
        const inflight = new Inflight<number>(limit);
        const model = new Map<number, number>();
        for (let index = 0; index < steps.length; index++) {
          const step = steps[index]!;
          if (step % 2 === 0 && !inflight.full) {
            const id = inflight.add(index);
            expect(id).toBeGreaterThan(0);
            expect(id).toBeLessThanOrEqual(65_535);
            expect(model.has(id)).toBe(false);
            model.set(id, index);
          } else if (model.size > 0) {
            const id = [...model.keys()][step % model.size]!;
            inflight.remove(id);
            inflight.remove(id);
            model.delete(id);
          }
          expect(inflight.size).toBe(model.size);
          expect(inflight.full).toBe(model.size >= limit);
          for (const [id, entry] of model) expect(inflight.get(id)).toBe(entry);
        }
        expect(new Map(inflight.drain())).toEqual(model);
      },
    ),
    { numRuns: 200 },
  );
});

test("packet ids go round, and a slow one is passed over", () => {
  const inflight = new Inflight<string>(10);
  const slow = inflight.add("slow");
  const seen = new Set<number>();
  for (let turn = 0; turn < 70_000; turn++) {
    const id = inflight.add("fast");
    expect(id).not.toBe(slow);
    seen.add(id);
    inflight.remove(id);
  }
  expect(inflight.get(slow)).toBe("slow");
  expect(inflight.restore(slow, "again")).toBe(false);
  expect(inflight.restore(64_000, "restored")).toBe(true);
  expect(inflight.get(64_000)).toBe("restored");
});

test("acks leave in the order of the publishes, each not before it is settled", () => {
  const owed = new OwedAcks();
  const sink = new MemorySink();
  const [a, b, c] = [owed.owe(4, [1], 10), owed.owe(5, [2], 10), owed.owe(4, [3], 10)];
  owed.settle(c, { reason: 0 }, sink);
  owed.settle(b, { reason: 0 }, sink);
  expect(sink.length).toBe(0);
  expect(owed.bytes).toBe(30);
  owed.settle(a, { reason: 0 }, sink);
  expect([...sink.take()]).toEqual([0x40, 2, 0, 1, 0x50, 2, 0, 2, 0x40, 2, 0, 3]);
  expect(owed.count).toBe(0);
});

test("the memory of subscriptions and aliases is counted, and given back", () => {
  const session = new Session("c", 5, 0);
  const filter = parseFilter("a/filter")!;
  const subscription = { filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
  expect(session.memoryBytes).toBe(0);
  session.subscribe(subscription);
  const once = session.memoryBytes;
  session.subscribe(subscription);
  expect([once > filter.text.length, session.memoryBytes]).toEqual([true, once]);
  session.unsubscribe(filter.text);
  expect(session.memoryBytes).toBe(0);
  session.addIncoming(1);
  expect(session.memoryBytes).toBe(packetIdMemoryBytes);
  const channel = new Channel();
  channel.allowAliases(10);
  const named = (topic: string, alias: number): Publish => {
    const publish = makePublish(encodeUtf8(topic), encodeUtf8("x"), { qos: 0, retain: false });
    publish.alias = alias;
    return publish;
  };
  channel.resolveAlias(named("long/topic", 1), 10);
  channel.resolveAlias(named("short", 1), 10);
  channel.resolveAlias(named("other", 2), 10);
  expect(channel.memoryBytes).toBe("short".length + "other".length + 2 * topicMemoryBytes);
  channel.outgoingAliases!.assign(named("out", 0));
  channel.outgoingAliases!.assign(named("out", 0));
  expect(channel.memoryBytes).toBe("short".length + "other".length + "out".length + 3 * topicMemoryBytes);
});

test("aliases: set, used, set anew; none left to give", () => {
  const incoming = new IncomingAliases(2);
  const withAlias = (topic: string, alias: number): Publish => {
    const publish = makePublish(encodeUtf8(topic), encodeUtf8(""), { qos: 0, retain: false });
    publish.alias = alias;
    return publish;
  };
  incoming.resolve(withAlias("one", 1));
  const used = withAlias("", 1);
  incoming.resolve(used);
  expect(Buffer.from(used.topicBytes.subarray(used.topicStart, used.topicEnd)).toString()).toBe("one");
  expect(() => incoming.resolve(withAlias("", 2))).toThrow("not been set");
  expect(() => incoming.resolve(withAlias("x", 3))).toThrow("maximum is 2");
  const outgoing = new OutgoingAliases(1);
  expect(outgoing.assign(withAlias("a", 0))).toEqual({ alias: 1, known: false });
  expect(outgoing.assign(withAlias("b", 0))).toEqual({ alias: 0, known: false });
  expect(outgoing.assign(withAlias("a", 0))).toEqual({ alias: 1, known: true });
});

test("a ring is a queue from both ends", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("push", "shift", "unshift"), { maxLength: 200, size: "max" }), (steps) => {
      const ring = new Ring<number>();
      const model: number[] = [];
      steps.forEach((step, index) => {
        if (step === "push") model.push(index);
        if (step === "unshift") model.unshift(index);
        if (step === "shift") expect(ring.shift()).toBe(model.shift());
        else ring[step](index);
        expect(ring.length).toBe(model.length);
        expect(ring.peek()).toBe(model[0]);
        expect(ring.at(model.length - 1)).toBe(model.at(-1));
      });
      expect(ring.drain()).toEqual(model);
    }),
  );
});

test("timers fire once, in order, when they were last set for", () => {
  const timers = new Timers();
  const fired: string[] = [];
  const named = (name: string): Timer => new Timer(() => fired.push(name));
  const [a, b, c] = [named("a"), named("b"), named("c")];
  let sooner = 0;
  timers.onSooner = () => sooner++;
  timers.set(a, 100);
  timers.set(b, 50);
  timers.set(c, 70);
  expect(sooner).toBe(2);
  timers.set(b, 200);
  timers.set(a, 60);
  timers.cancel(c);
  timers.tick(150);
  expect(fired).toEqual(["a"]);
  timers.tick(199);
  timers.tick(200);
  timers.tick(300);
  expect(fired).toEqual(["a", "b"]);
  expect(timers.nextDeadline()).toBe(Infinity);
});

test("deadlines that are cancelled do not gather, and the others are met in their order", () => {
  const timers = new Timers();
  const fired: number[] = [];
  for (let number = 0; number < 100_000; number++) {
    const timer = new Timer(() => fired.push(number));
    timers.set(timer, 1_000_000 - number);
    if (number % 1000 !== 0) timers.cancel(timer);
  }
  expect(timers.size).toBeLessThan(5000);
  timers.tick(1_000_000);
  expect(fired).toEqual(Array.from({ length: 100 }, (_, index) => 99_000 - index * 1000));
  expect(timers.size).toBe(0);
});
