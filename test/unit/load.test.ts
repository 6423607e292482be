/**
 * The measuring of a load must itself be right: percentiles, stamps, what counts as lost, twice, late; how much must
 * arrive.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Latencies } from "../../src/load/latencies.ts";
import { fill, type Plan, receiversOf, unlimited } from "../../src/load/plan.ts";
import { presetNames, readPreset } from "../../src/load/presets.ts";
import { Stamp, stampBytes } from "../../src/load/stamp.ts";
import { Streams } from "../../src/load/streams.ts";
import { filterMatches } from "../../src/mqtt/topic.ts";

const plan: Plan = {
  version: 5,
  publishers: 1,
  subscribers: 1,
  idle: 0,
  firstNumber: 0,
  prefix: "bench",
  username: undefined,
  password: undefined,
  topic: "t/%i",
  filter: "t/%i",
  qos: 0,
  retain: false,
  payloadBytes: 16,
  payload: undefined,
  rate: 0,
  limit: unlimited,
  inflight: 1,
  connectRate: 0,
  keepAlive: 0,
  clean: true,
  sessionExpiry: 0,
};

describe("latencies", () => {
  const times = fc.array(fc.double({ min: 0.001, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 300 });

  test("percentiles are within 4 % of the exact ones, and never above the maximum", () => {
    fc.assert(
      fc.property(times, fc.constantFrom(1, 50, 90, 99, 99.9, 100), (values, percent) => {
        const latencies = new Latencies();
        for (const value of values) latencies.record(value);
        const exact = values.toSorted((a, b) => a - b)[Math.ceil((values.length * percent) / 100) - 1]!;
        const found = latencies.percentile(percent);
        expect(found).toBeGreaterThanOrEqual(exact * 0.999);
        expect(found).toBeLessThanOrEqual(exact * 1.04);
        expect(found).toBeLessThanOrEqual(Math.max(...values));
      }),
    );
  });

  test("those of two processes together are those of all", () => {
    fc.assert(
      fc.property(times, times, (some, others) => {
        const [one, other, all] = [new Latencies(), new Latencies(), new Latencies()];
        for (const value of some) one.record(value);
        for (const value of others) other.record(value);
        for (const value of [...some, ...others]) all.record(value);
        one.add(JSON.parse(JSON.stringify(other)));
        expect([one.percentile(50), one.percentile(99), one.max, one.count]).toEqual([
          all.percentile(50),
          all.percentile(99),
          all.max,
          all.count,
        ]);
        expect(one.mean).toBeCloseTo(all.mean, 6);
        expect(one.between(0, Infinity)).toBe(all.count);
      }),
    );
  });

  test("none is none", () => {
    expect([new Latencies().percentile(99), new Latencies().mean]).toEqual([0, 0]);
  });
});

test("a stamp is read as it was written, to the microsecond; other payloads are none", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 24 - 1), fc.nat(0xffff_ffff), fc.nat(2 ** 50), (publisher, sequence, micros) => {
      const written = Object.assign(new Stamp(), { publisher, sequence, sentAt: micros / 1000 });
      const bytes = new Uint8Array(stampBytes + 2);
      written.write(bytes.subarray(1));
      const read = new Stamp();
      expect(read.read(bytes, 1, bytes.length)).toBe(true);
      expect([read.publisher, read.sequence, Math.round(read.sentAt * 1000)]).toEqual([publisher, sequence, micros]);
      expect(read.read(bytes, 0, bytes.length)).toBe(bytes[0] === 0x4d);
      expect(read.read(bytes, 1, stampBytes)).toBe(false);
    }),
  );
});

test("what comes twice, and what comes late, is found, however it is mixed; the rest is counted once", () => {
  const arrivals = fc.array(fc.nat(20), { maxLength: 60, size: "max" });
  fc.assert(
    fc.property(arrivals, (sequences) => {
      const streams = new Streams(false);
      for (const sequence of sequences) streams.receive(7, sequence);
      const seen = new Set<number>();
      let [duplicates, outOfOrder] = [0, 0];
      for (const sequence of sequences) {
        if (seen.has(sequence)) duplicates++;
        else if ([...seen].some((other) => other > sequence)) outOfOrder++;
        seen.add(sequence);
      }
      expect([streams.received, streams.duplicates, streams.outOfOrder]).toEqual([seen.size, duplicates, outOfOrder]);
    }),
  );
});

test("a member of a shared group misses what the others get, and that is no fault", () => {
  const streams = new Streams(true);
  for (const sequence of [0, 3, 9]) streams.receive(1, sequence);
  expect([streams.received, streams.duplicates, streams.outOfOrder]).toEqual([3, 0, 0]);
});

describe("how much must arrive", () => {
  test.each([
    ["t/%i", "t/%i", 3, 3, [1, 1, 1]],
    ["t/%i", "t/#", 2, 5, [5, 5]],
    ["t/%i", "t/+", 2, 5, [5, 5]],
    ["same", "same", 2, 4, [4, 4]],
    ["t/%i", "$share/g/t/#", 3, 7, [1, 1, 1]],
    ["t/%i", "$share/g%i/t/#", 2, 3, [3, 3]],
    ["t/%i", "other", 1, 3, [0]],
    ["%c/x", "bench_pub_1/#", 3, 2, [0, 2, 0]],
  ])("topic %s, filter %s", (topic, filter, publishers, subscribers, expected) => {
    expect(receiversOf({ ...plan, topic, filter, publishers, subscribers })).toEqual(expected);
  });

  test("as the standard's own matcher has it", () => {
    const level = fc.constantFrom("a", "b", "+", "%i");
    fc.assert(
      fc.property(
        fc.array(level, { minLength: 1, maxLength: 3 }),
        fc.nat(3),
        fc.boolean(),
        (levels, count, hasRest) => {
          const all = { ...plan, topic: "a/%i/b", filter: levels.join("/") + (hasRest ? "/#" : ""), publishers: 3 };
          const subscribers = count + 1;
          const naive = [0, 1, 2].map(
            (at) =>
              Array.from({ length: subscribers }, (_, index) => fill(all, all.filter, "sub", index)).filter((filter) =>
                filterMatches(filter.split("/"), fill(all, all.topic, "pub", at).split("/")),
              ).length,
          );
          expect(receiversOf({ ...all, subscribers })).toEqual(naive);
        },
      ),
    );
  });
});

test("the suite's scenarios have the numbers that their names say", () => {
  expect(presetNames.map((name) => readPreset(name))).toMatchObject([
    { idle: 10_000, connectRate: 100, publishers: 0, subscribers: 0, isTls: false },
    { publishers: 1000, subscribers: 1000, rate: 1000, topic: "bench/p2p/%i", filter: "bench/p2p/%i" },
    // 1,000 deliveries a second are one message.
    { publishers: 1, subscribers: 1000, rate: 1 },
    { publishers: 1000, subscribers: 5, rate: 1000, filter: "$share/bench/bench/shared/#" },
  ]);
  expect(readPreset("fanout-5-1000-5-250K")).toMatchObject({ publishers: 5, subscribers: 1000, rate: 250 });
  expect(readPreset("conn-tls-1M-5K")).toMatchObject({ idle: 1_000_000, connectRate: 5000, isTls: true });
  for (const name of ["p2p-1K-2K-1K-1K", "fanout-1-1K-1", "conn-udp-1-1", "p2p"])
    expect(readPreset(name)).toBeUndefined();
});
