/** The memory that clients take: how it is counted, for whom, and what follows when there is too much of it. */
import { describe, expect, test } from "bun:test";
import { RuleList } from "../../../src/access/rule-list.ts";
import { commonShape, ScramExchange } from "../../../src/access/scram.ts";
import type { ProtocolError } from "../../../src/base/errors.ts";
import {
  collectGrowthPartMin,
  connectionMemoryBytes,
  lookReceivedPartMax,
  memoryEndPartMin,
  memoryLookMinMs,
  memoryLookMs,
  memoryRefusedMs,
  memoryRefusePartMin,
  memorySettleMs,
  memoryWarnPartMin,
  pressureLookMs,
  receivedPartMax,
} from "../../../src/base/memory-limits.ts";
import { MemoryPressure } from "../../../src/broker/connect/memory-pressure.ts";
import { MemoryWatch } from "../../../src/broker/connect/memory-watch.ts";
import { lastingMemoryOf, memoryOf, nothingCounted } from "../../../src/broker/delivery/client-memory.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import { type SpenderKind, Spenders } from "../../../src/broker/delivery/spender.ts";
import { Framer } from "../../../src/mqtt/framer.ts";
import { Turn, Writer } from "../../../src/net/writer.ts";
import { groupLimitOf } from "../../../src/server/process-memory.ts";
import { nearClient } from "../../support/near-client.ts";
import { type RoomOptions, room } from "../../support/room.ts";

const limitBytes = 100_000_000;

/** A process whose memory the test sets; what is garbage of it goes when that is collected. */
function processOf(residentBytes: number) {
  const state = { residentBytes, garbage: 0, collected: [] as string[] };
  const memory = {
    limitBytes,
    residentBytes: () => state.residentBytes + state.garbage,
    collect(when: "now" | "soon") {
      state.collected.push(when);
      if (when === "now") state.garbage = 0;
    },
  };
  return { state, memory };
}

function scene(options: RoomOptions = {}) {
  const made = room(options);
  const { context } = made;
  const spenders = new Spenders();
  const connections = new Set<Connection>();
  const ended: string[] = [];
  const names = new Map<Connection, string>();
  const { state, memory } = processOf(0);
  const fail = (connection: Connection, { reason, message }: ProtocolError): void => {
    expect(reason).toBe(0x97);
    expect(message).toContain("memory");
    ended.push(names.get(connection)!);
    state.residentBytes -= connection.waitingBytes;
    connection.waitingBytes = 0;
    connection.channel.close();
  };
  const parts = { connections, spenders, fail };
  const watch = new MemoryWatch(context, parts);
  /** Begins to hold the process to its limit. */
  const press = (): MemoryPressure => new MemoryPressure(context, { ...parts, memory, watch });
  /** A connection that has sent so many bytes, each of which is one of the process'. */
  const open = (kind: SpenderKind, name: string, bytes: number): Connection => {
    const { connection } = nearClient(context.turn);
    connection.channel.open();
    connection.waitingBytes = bytes;
    state.residentBytes += bytes;
    names.set(connection, `${name} ${bytes}`);
    connections.add(connection);
    spenders.move(connection, spenders.of(kind, name));
    return connection;
  };
  const words = (): string[] => made.lines.map(({ text }) => text);
  return { ...made, spenders, ended, state, watch, press, open, words };
}

describe("memory is counted", () => {
  test("output: what was lent to many once, and buffers as large as they are", () => {
    const blocked = { write: () => 0 } as unknown as ConstructorParameters<typeof Writer>[0];
    const turn = new Turn(() => {});
    const large = new Uint8Array(100_000);
    const [one, other] = [new Writer(blocked, turn), new Writer(blocked, turn)];
    for (const writer of [one, other]) {
      writer.lend(large, 0, large.length);
      writer.append(new Uint8Array(3000), 0, 3000);
      writer.flush();
    }
    const seen = new Set<Uint8Array>();
    expect([one.memoryBytes(seen), other.memoryBytes(seen)]).toEqual([100_000 + 4096, 4096]);
    one.close();
    expect(one.memoryBytes(new Set())).toBe(0);
  });

  test("input: the whole chunk that waits, and a packet that is gathered", () => {
    const framer = new Framer(1_000_000);
    framer.feed(Uint8Array.of(0xc0, 0, 0xc0, 0));
    framer.next();
    expect(framer.memoryBytes).toBe(4);
    framer.next();
    framer.release();
    expect(framer.memoryBytes).toBe(0);
    for (const part of [Uint8Array.of(0x30, 0x80, 0x80, 0x20), new Uint8Array(19_000), new Uint8Array(996)]) {
      framer.feed(part);
      expect(framer.next()).toBe(false);
      framer.release();
    }
    // There is room for all of the 512 KB that were announced, which takes nothing before they come.
    expect(framer.memoryBytes).toBe(20_000);
    framer.close();
    expect(framer.memoryBytes).toBe(0);
  });

  test("what the access list says of topics: for each user once, and not what all share", () => {
    const rules = [{ levels: ["#"], read: true, write: true }];
    const own = new RuleList(rules, { isShared: false, topicsMax: 10, charactersMax: 1000 });
    const shared = new RuleList(rules, { isShared: true, topicsMax: 10, charactersMax: 1000 });
    for (const list of [own, shared]) list.of("a/topic");
    const seen = new Set<RuleList>();
    expect(own.memoryBytes(seen)).toBeGreaterThan("a/topic".length);
    expect([own.memoryBytes(seen), shared.memoryBytes(new Set())]).toEqual([0, 0]);
  });

  test("a connection with nothing takes something; a packet that waits, and its session's subscriptions, more", () => {
    const { context, session, open } = scene();
    const connection = open("user", "a", 0);
    expect(memoryOf(connection, nothingCounted())).toBe(connectionMemoryBytes);
    connection.waitingBytes = 1000;
    expect(memoryOf(connection, nothingCounted())).toBe(connectionMemoryBytes + 2000);
    const scram = new ScramExchange(new Map(), {
      decoys: { secret: Buffer.alloc(32), ...commonShape(new Map()) },
      nonce: "n",
    });
    scram.first(Buffer.from(`n,,n=user,r=${"r".repeat(1000)}`));
    connection.exchange = { scram, done: () => {}, refused: () => {} };
    expect(memoryOf(connection, nothingCounted())).toBeGreaterThan(connectionMemoryBytes + 4000);
    // What is kept for a device that sleeps is its, too.
    Object.defineProperty(connection.transport, "memoryBytes", { value: 100_000, configurable: true });
    expect(memoryOf(connection, nothingCounted())).toBeGreaterThan(connectionMemoryBytes + 104_000);
    const client = session("c", 100);
    const before = lastingMemoryOf(client, nothingCounted());
    client.session.addIncoming(1);
    expect(lastingMemoryOf(client, nothingCounted())).toBeGreaterThan(before);
    expect(context.localSessions.size).toBe(1);
  });

  test("for users, whatever connections and sessions they have, and for addresses", () => {
    const { context, spenders, open, session, pass } = scene();
    const first = open("user", "alice", 1000);
    open("user", "alice", 3000);
    open("anonymous", "192.0.2.1", 500);
    session("away", 100).belongTo("alice", 1);
    pass(memoryLookMs);
    const [alice, address] = spenders.largest(2);
    expect([alice!.words, alice!.connections]).toEqual(["user alice", 2]);
    expect(alice!.bytes).toBeGreaterThan(2 * (connectionMemoryBytes + 4000));
    expect([address!.words, address!.bytes]).toEqual([
      "clients without a user name from 192.0.2.1",
      connectionMemoryBytes + 1000,
    ]);
    expect(context.metrics.memory.clients).toBe(alice!.bytes + address!.bytes);
    expect(context.metrics.memory.largest).toBe(alice!.bytes);
    // Who has nothing left is forgotten.
    first.channel.close();
    for (const connection of [first]) spenders.move(connection, undefined);
    context.localSessions.clear();
    pass(memoryLookMs);
    expect(spenders.of("user", "alice").bytes).toBe(connectionMemoryBytes + 6000);
  });
});

describe("a user's own limit", () => {
  test("near it he is refused, beyond it his largest clients are disconnected, and nobody else's", () => {
    const { spenders, ended, open, pass, words } = scene({ maxMemoryPerUser: 1_000_000 });
    const alice = spenders.of("user", "alice");
    const bob = spenders.of("user", "bob");
    for (const bytes of [40_000, 60_000, 200_000]) open("user", "alice", bytes);
    open("user", "bob", 300_000);
    pass(memoryLookMs);
    expect([alice.refusal, bob.refusal, ended.length]).toEqual([undefined, undefined, 0]);
    open("user", "alice", 170_000);
    pass(memoryLookMs);
    expect(alice.refusal).toContain("user alice");
    expect([bob.refusal, ended.length]).toEqual([undefined, 0]);
    open("user", "alice", 50_000);
    pass(memoryLookMs);
    expect(ended).toEqual(["alice 200000"]);
    expect(words()).toEqual(["beyond --max-memory-per-user: the largest clients are disconnected"]);
    pass(memoryLookMs);
    expect([alice.refusal, ended.length]).toEqual([undefined, 1]);
  });

  test("what comes fast is looked at sooner, but not all the time", () => {
    const { ended, open, pass, watch } = scene({ maxMemoryPerUser: 1_000_000 });
    pass(memoryLookMs);
    pass(memoryLookMinMs);
    open("user", "alice", 600_000);
    watch.received(lookReceivedPartMax * 1_000_000 - 1);
    expect(ended.length).toBe(0);
    watch.received(1);
    expect(ended).toEqual(["alice 600000"]);
    open("user", "alice", 700_000);
    watch.received(1_000_000);
    expect(ended.length).toBe(1);
    pass(memoryLookMinMs);
    watch.received(1);
    expect(ended.length).toBe(2);
  });
});

describe("the limit of the process", () => {
  const part = (of: number): number => limitBytes * of;
  const bitMs = pressureLookMs;

  test("below what is warned of nothing happens, and garbage is nobody's", () => {
    const { context, state, press, open, pass, words, spenders } = scene();
    open("user", "alice", part(0.5));
    press();
    state.garbage = part(0.6);
    pass(bitMs);
    expect(state.collected).toEqual(["now"]);
    expect([words().length, spenders.of("user", "alice").refusal]).toEqual([0, undefined]);
    expect(context.metrics.memory).toMatchObject({ limit: limitBytes, collections: 1, refused: 0 });
  });

  test("then the log names who takes most; then he is refused, and nobody else", () => {
    const { context, lines, press, open, pass, spenders, ended } = scene();
    const [alice, bob] = [spenders.of("user", "alice"), spenders.of("user", "bob")];
    open("user", "alice", part(memoryWarnPartMin) - 1_000_000);
    open("user", "bob", 2_000_000);
    pass(memoryLookMs);
    press();
    pass(bitMs);
    expect(lines.at(-1)).toMatchObject({ level: "warn", text: "memory is nearly used up" });
    expect(lines.at(-1)!.facts.most).toStartWith("user alice: ");
    open("user", "bob", part(memoryRefusePartMin) - part(memoryWarnPartMin));
    pass(4 * bitMs);
    expect([alice.refusal?.includes("short of memory"), bob.refusal, ended.length]).toEqual([true, undefined, 0]);
    expect(lines.at(-1)!.facts).toMatchObject({ user: "alice", limit: limitBytes });
    expect(context.metrics.memory.refused).toBe(1);
  });

  test("where little is left the largest clients of who takes most are disconnected, as many as it takes", () => {
    const { state, press, open, pass, ended, lines, spenders } = scene();
    open("user", "bob", 1_000_000);
    for (const bytes of [5, 30, 9, 40]) open("user", "alice", bytes * 1_000_000);
    state.residentBytes = part(memoryEndPartMin) + 1;
    press();
    pass(bitMs);
    expect(ended).toEqual(["alice 40000000"]);
    expect(lines.at(-1)).toMatchObject({ level: "error", facts: { user: "alice", connections: 4 } });
    // It is over, and who was refused is served when that has lasted for a while.
    const alice = spenders.of("user", "alice");
    pass(memorySettleMs + 2 * bitMs);
    expect([ended.length, alice.refusal === undefined]).toEqual([1, false]);
    pass(memoryRefusedMs);
    expect(alice.refusal).toBeUndefined();
  });

  test("who is refused and gives nothing back is disconnected in the end", () => {
    const { press, open, pass, ended } = scene();
    open("user", "alice", 20_000_000);
    open("user", "alice", part(memoryRefusePartMin) - 20_000_000 + 1000);
    press();
    pass(memoryRefusedMs - bitMs);
    expect(ended).toEqual([]);
    pass(3 * bitMs);
    expect(ended).toEqual(["alice 60001000"]);
  });

  test("and he is not refused for ever where the process stays just below that", () => {
    const { state, press, open, pass, ended, spenders } = scene();
    const alice = spenders.of("user", "alice");
    open("user", "alice", 20_000_000);
    open("user", "alice", part(memoryRefusePartMin) - 20_000_000 + 1000);
    press();
    pass(bitMs);
    expect(alice.refusal).toBeDefined();
    state.residentBytes = part(memoryWarnPartMin) + 1000;
    pass(memoryRefusedMs - 2 * bitMs);
    expect([ended, alice.refusal === undefined]).toEqual([[], false]);
    pass(3 * bitMs);
    expect(ended).toEqual(["alice 60001000"]);
    pass(memoryLookMs + memorySettleMs);
    expect([ended.length, alice.refusal, spenders.newcomersRefusal]).toEqual([1, undefined, undefined]);
  });

  test("who takes little is let alone, whatever the process has: then nobody new is let in", () => {
    const { state, press, open, pass, ended, spenders } = scene();
    for (let at = 0; at < 10; at++) open("user", `u${at}`, 100_000);
    state.residentBytes = part(memoryEndPartMin) + 1;
    press();
    pass(10 * bitMs);
    expect([ended.length, spenders.newcomersRefusal !== undefined]).toEqual([0, true]);
    state.residentBytes = 0;
    pass(memorySettleMs);
    expect(spenders.newcomersRefusal).toBeUndefined();
  });

  test("a flood is noticed while it comes, in whatever turn", () => {
    const { press, open, ended } = scene();
    const pressure = press();
    open("user", "alice", part(memoryEndPartMin));
    pressure.received(part(receivedPartMax));
    expect(ended).toEqual([]);
    pressure.received(1);
    expect(ended).toEqual(["alice 90000000"]);
  });

  test("garbage is not collected again and again where that does not help", () => {
    const { state, press, pass } = scene();
    state.residentBytes = part(memoryWarnPartMin) + 1;
    press();
    pass(100 * bitMs);
    expect(state.collected).toEqual(["soon"]);
    state.residentBytes += part(collectGrowthPartMin) + 1;
    pass(bitMs);
    expect(state.collected.length).toBe(2);
  });
});

describe("the limit of the control group", () => {
  const readerOf = (files: Record<string, string>) => (path: string) => files[path];

  test("is the least of all groups above the process, in both versions; a very large one is none", () => {
    const second = { "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/memory.max": "500\n" };
    expect(groupLimitOf(readerOf({ ...second, "/sys/fs/cgroup/a/b/memory.max": "max\n" }))).toBe(500);
    expect(groupLimitOf(readerOf({ ...second, "/sys/fs/cgroup/a/b/memory.max": "400\n" }))).toBe(400);
    expect(groupLimitOf(readerOf({ ...second, "/sys/fs/cgroup/a/b/memory.max": "600\n" }))).toBe(500);
    // A container sees its own group as the topmost.
    expect(groupLimitOf(readerOf({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "300\n" }))).toBe(300);
    const first = { "/proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/a\n0::/\n" };
    const path = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";
    expect(groupLimitOf(readerOf({ ...first, [path]: "200\n" }))).toBe(200);
    expect(groupLimitOf(readerOf({ ...first, [path]: "9223372036854771712\n" }))).toBeUndefined();
    expect(groupLimitOf(() => undefined)).toBeUndefined();
  });
});
