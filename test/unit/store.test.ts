/**
 * Paths and records there and back; the journal when nodes come and go under it; the writer when the kernel is full.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8, noBytes, readUint64, writeUint64 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import {
  type Coordinator,
  CoordinatorError,
  type ReadDone,
  type ReadOperation,
  type Repair,
  type WriteOperation,
} from "../../src/coordinator/coordinator.ts";
import { decodeName, encodeName, sessionPath, topicOfPath, topicPath } from "../../src/coordinator/paths.ts";
import { Journal } from "../../src/mail/journal.ts";
import {
  decodeMessage,
  decodeMessageHead,
  decodeSlip,
  decodeSubscription,
  encodeMessage,
  encodeSlip,
  encodeSubscription,
  payloadBytesIn,
} from "../../src/mail/records.ts";
import { decodeWill, encodeWill } from "../../src/mail/will-record.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { parseFilter } from "../../src/mqtt/topic.ts";
import { Turn, Writer } from "../../src/net/writer.ts";

const text = fc.string({ unit: "grapheme", maxLength: 30 });

test("names and topics become paths that ZooKeeper takes, and come back", () => {
  fc.assert(
    fc.property(text, (name) => {
      const encoded = encodeName(name);
      expect(decodeName(encoded)).toBe(name);
      expect([...encoded].some((char) => char === "/" || char < " " || (char >= "\x7f" && char <= "\x9f"))).toBe(false);
      expect(encoded).not.toMatch(/^[@~=]|^\.{0,2}$/);
    }),
    { numRuns: 1000 },
  );
  for (const name of [".", "..", "", "@a", "~a", "=a", "%", "a/b", "\u{f000}", "\u{10ffff}", "ä"]) {
    expect(decodeName(encodeName(name))).toBe(name);
  }
  for (const topic of ["a/b", "/a//b/", "$share/g/+/#", "=x/~y/@z"])
    expect(topicOfPath("/t", topicPath("/t", topic))).toBe(topic);
  expect(sessionPath("x")).toMatch(/^\/sessions\/[0-9a-f]{2}\/x$/);
});

const head = { credits: 123_456_789, keepUntil: Infinity, branch: "b", recipients: 3 };

test("whose a message is comes back, in a mail drop beside its client, and with what else it may hold", () => {
  const publish = makePublish(encodeUtf8("t"), encodeUtf8("payload"), { qos: 1, retain: true });
  publish.copyUntil = 1_800_000_000_123;
  for (const payer of ["", "alice", "zoë 🦓"])
    for (const publisher of [undefined, "", "client"])
      for (const parts of [undefined, { id: "00000001-0", count: 2 }]) {
        publish.payer = payer;
        const bytes = encodeMessage(publish, { ...head, publisher, parts });
        expect(decodeMessageHead(bytes)).toEqual({ ...head, publisher, parts, payer });
        expect(decodeMessage("t", bytes)).toMatchObject({ payer, copyUntil: 1_800_000_000_123 });
      }
});

test("a message's credits hold those of its payload in parts, which it tells apart; without them nothing is told", () => {
  const publish = makePublish(encodeUtf8("t"), encodeUtf8("payload"), { qos: 1, retain: false });
  const parts = { id: "00000001-0", count: 2 };
  for (const publisher of [undefined, "client"]) {
    const bytes = encodeMessage(publish, { ...head, publisher, parts, payloadCredits: 5000 });
    // By its place alone, as a broker of format 1 and programs of others read it.
    expect(readUint64(bytes, 0)).toBe(head.credits + 5000);
    expect(decodeMessageHead(bytes)).toMatchObject({ credits: head.credits, payloadCredits: 5000, parts });
    expect(payloadBytesIn(bytes)).toBe(0);
    expect(decodeMessage("t", bytes).payloadLength).toBe(0);
    // As brokers wrote it that did not yet tell the payload's credits.
    const untold = encodeMessage(publish, { ...head, publisher, parts });
    expect(bytes.length - untold.length).toBe(8);
    expect(decodeMessageHead(untold)).toEqual({ ...head, publisher, parts, payer: "" });
    const cheap = bytes.slice();
    writeUint64(cheap, 0, 4999);
    expect(() => decodeMessageHead(cheap)).toThrow("costs less than its payload");
  }
  // A payload of eight bytes that is not in parts is none.
  const small = makePublish(encodeUtf8("t"), new Uint8Array(8), { qos: 1, retain: false });
  const whole = encodeMessage(small, { ...head, payloadCredits: 5000 });
  expect(decodeMessageHead(whole)).toEqual({ ...head, publisher: undefined, parts: undefined, payer: "" });
  expect(payloadBytesIn(whole)).toBe(8);
});

test("messages, slips, subscriptions and wills come back as they were", () => {
  const properties = Uint8Array.of(1, 1);
  const publish = makePublish(encodeUtf8("t/ö"), encodeUtf8("payload"), { qos: 2, retain: false, properties });
  publish.expiresAt = 1_800_000_000_123;
  const message = decodeMessage("t/ö", encodeMessage(publish, head));
  expect(encodeMessage(message, head)).toEqual(encodeMessage(publish, head));
  expect(message).toMatchObject({ qos: 2, expiresAt: 1_800_000_000_123 });
  const slip = {
    state: "released",
    hasParts: true,
    groupMark: 15,
    qos: 2,
    retain: true,
    packetId: 65_535,
    recipients: 7,
    keepUntil: 1_800_000_000_123,
    branch: "bröker",
    subscriptionIds: [1, 268_435_455],
    messagePath: "/topics/ö/=1",
  } as const;
  expect(decodeSlip(encodeSlip(slip))).toEqual(slip);
  const subscription = {
    filter: parseFilter("$share/g/a/#")!,
    qos: 1,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 2,
    id: 9,
  } as const;
  expect(decodeSubscription("$share/g/a/#", encodeSubscription(subscription))).toEqual(subscription);
  const will = decodeWill(encodeWill({ publish, delay: 5, epoch: 7, expiryMs: 7000 }));
  expect(will).toMatchObject({ delay: 5, epoch: 7, expiryMs: 7000 });
  expect(encodeMessage(will.publish, head).slice(18)).toEqual(encodeMessage(publish, head).slice(18));
});

/** A tree that answers at once, of paths alone, and that the test can change behind the journal's back. */
class FakeTree {
  readonly nodes = new Map<string, string>();
  readonly coordinator = { write: this.write.bind(this), read: this.read.bind(this) } as unknown as Coordinator;

  read(operations: readonly ReadOperation[], done: ReadDone): void {
    done(
      undefined,
      operations.map(({ path }) =>
        this.nodes.has(path) ? { stat: { czxid: 1, mzxid: 1, version: 0, childCount: 0 } } : "NoNode",
      ),
    );
  }

  write(
    operations: readonly WriteOperation[],
    done: (error: CoordinatorError | undefined, results: unknown[]) => void,
    repair?: Repair,
  ): void {
    const before = new Map(this.nodes);
    for (let index = 0; index < operations.length; index++) {
      const code = this.#apply(operations[index]!);
      if (code === undefined) continue;
      this.nodes.clear();
      for (const [path, data] of before) this.nodes.set(path, data);
      const error = new CoordinatorError(code, operations[index]!.path, index);
      const instead = repair?.(error);
      return instead === undefined ? done(error, []) : this.write(instead, done, repair);
    }
    done(
      undefined,
      operations.map(() => ({ version: 0 })),
    );
  }

  #apply(operation: WriteOperation): CoordinatorError["code"] | undefined {
    const { path } = operation;
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (operation.kind === "create") {
      if (this.nodes.has(path)) return "NodeExists";
      if (parent !== "" && !this.nodes.has(parent)) return "NoNode";
      this.nodes.set(path, Buffer.from(operation.data).toString());
      return undefined;
    }
    if (!this.nodes.has(path)) return "NoNode";
    if (operation.kind === "set") this.nodes.set(path, Buffer.from(operation.data).toString());
    if (operation.kind !== "delete") return undefined;
    if ([...this.nodes.keys()].some((other) => other.startsWith(`${path}/`))) return "NotEmpty";
    this.nodes.delete(path);
    return undefined;
  }
}

test("the journal makes levels, and makes them again when they have vanished", () => {
  const tree = new FakeTree();
  const journal = new Journal(tree.coordinator, systemClock);
  let committed = 0;
  const store = (path: string): void =>
    journal.commit([{ kind: "create", path, data: encodeUtf8("x"), mode: "persistent" }], () => committed++);
  store("/topics/a/b/=1");
  expect([...tree.nodes.keys()]).toEqual(["/topics", "/topics/a", "/topics/a/b", "/topics/a/b/=1"]);
  tree.nodes.clear();
  store("/topics/a/b/=2");
  expect(tree.nodes.has("/topics/a/b/=2")).toBe(true);
  expect(committed).toBe(2);
  expect(journal.pendingUnits).toBe(0);
});

test("a node made in a unit is no level: the next operation stands below it", () => {
  const tree = new FakeTree();
  const create = (path: string) => ({ kind: "create", path, data: encodeUtf8("mine"), mode: "persistent" }) as const;
  new Journal(tree.coordinator, systemClock).commit([create("/topics/a/=1"), create("/topics/a/=1/left")]);
  expect(tree.nodes.get("/topics/a/=1")).toBe("mine");
});

test("put and remove do not care what is there; what is overtaken is left out of a retry", () => {
  const tree = new FakeTree();
  const journal = new Journal(tree.coordinator, systemClock);
  const put = (path: string, data: string, exists: boolean, isCurrent = () => true) =>
    ({ kind: "put", path, data: encodeUtf8(data), exists, isCurrent }) as const;
  journal.commit([put("/r/a", "1", true)]);
  journal.commit([put("/r/a", "2", false)]);
  expect(tree.nodes.get("/r/a")).toBe("2");
  journal.commit([put("/r/a/b", "3", false)]);
  journal.commit([{ kind: "remove", path: "/r/a" }]);
  expect(tree.nodes.get("/r/a")).toBe("");
  journal.commit([{ kind: "remove", path: "/r/none" }]);
  const outcomes: string[] = [];
  const after = (how: string): void => void outcomes.push(how);
  journal.commit([
    { ...put("/r/a/b", "old", false, () => false), after },
    { ...put("/r/a", "4", true), after },
  ]);
  expect(tree.nodes.get("/r/a/b")).toBe("3");
  expect(tree.nodes.get("/r/a")).toBe("4");
  journal.commit([{ ...put("/r/a/b", "old", false, () => false), after }]);
  expect(outcomes).toEqual(["overtaken", "committed", "overtaken"]);
});

test("the writer loses nothing and keeps the order, however little the kernel takes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 6000 }), { maxLength: 30, size: "max" }),
      fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 30, size: "max" }),
      (sizes, takes) => {
        const written: number[] = [];
        let turn = 0;
        const flushes: (() => void)[] = [];
        const write = (bytes: Uint8Array, start: number, end: number): number => {
          const count = Math.min(end - start, takes[turn++ % takes.length]!);
          for (let at = start; at < start + count; at++) written.push(bytes[at]!);
          return count;
        };
        const transport = {
          remote: "",
          address: "",
          certificate: undefined,
          write,
          pause() {},
          resume() {},
          close() {},
          abort() {},
        };
        const writer = new Writer(transport, new Turn((flush) => flushes.push(flush)));
        const expected: number[] = [];
        sizes.forEach((size, index) => {
          const bytes = Uint8Array.from({ length: size }, (_, at) => (at * 7 + index) & 0xff);
          expected.push(...bytes);
          if (index % 2 === 0) {
            writer.append(bytes, 0, size);
          } else {
            const at = writer.reserve(size);
            writer.buffer.set(bytes, at);
          }
          if (index % 3 === 0) for (const flush of flushes.splice(0)) flush();
          if (index % 4 === 0) writer.drained();
        });
        for (const flush of flushes.splice(0)) flush();
        if (takes.some((take) => take > 0))
          for (let round = 0; writer.unsent > 0 && round < 1_000_000; round++) writer.drained();
        else return;
        expect(written).toEqual(expected);
        expect(writer.buffer).toBe(noBytes);
      },
    ),
    { numRuns: 100 },
  );
});
