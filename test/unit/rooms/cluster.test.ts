/** The room `cluster`, part by part: who publishes what, what others have left, the teller, and leaving in order. */
import { describe, expect, test } from "bun:test";
import { markPriceOf } from "../../../src/bank/price.ts";
import { branchCloseMs, sweepMs } from "../../../src/base/bank-limits.ts";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import {
  leftoversAfterMs,
  orphanPartsMs,
  publisherBatchMax,
  publisherForgetMs,
  publisherLookMs,
  publisherPartMax,
  publisherTreeBytesMax,
  sweepGraceMs,
} from "../../../src/base/limits.ts";
import { Leftovers } from "../../../src/broker/cluster/leftovers.ts";
import { Publishers } from "../../../src/broker/cluster/publishers.ts";
import { Sweeper } from "../../../src/broker/cluster/sweeper.ts";
import type { EndedSessions } from "../../../src/broker/connect/ended-sessions.ts";
import type { SessionRemains } from "../../../src/broker/connect/session-remains.ts";
import type { MailDrops } from "../../../src/broker/drops/mail-drops.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import type { RetainedStore } from "../../../src/broker/publish/retained-store.ts";
import { branchPath, commitPath, publisherPath, retainedPath } from "../../../src/coordinator/paths.ts";
import { encodeMessage } from "../../../src/mail/records.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { room, settled } from "../../support/room.ts";

/** Time, and what the store is asked in it, step by step. */
async function live(pass: (ms: number) => void, ms: number): Promise<void> {
  pass(ms);
  for (let step = 0; step < 20; step++) {
    await settled();
    pass(1);
  }
}

describe("who publishes what", () => {
  function scene({ capital = 1e12 } = {}) {
    const made = room();
    Object.defineProperty(made.context.bankAccount, "capital", { value: capital });
    const published: string[] = [];
    made.context.router.takePublished = function* () {
      yield* published.splice(0);
    };
    const publishers = new Publishers(made.context);
    const stands = (topic: string): string | undefined => made.store.textOf(publisherPath(topic, "here"));
    const look = async (...topics: readonly string[]): Promise<void> => {
      published.push(...topics);
      made.pass(publisherLookMs);
      await settled();
    };
    return { ...made, publishers, stands, look };
  }

  test("is registered now and then, once, with this broker's epoch, and without its own topics", async () => {
    const { store, publishers, stands, look } = scene();
    await look("a/b", "$SYS/x");
    expect([stands("a/b"), stands("$SYS/x")]).toEqual(["07", undefined]);
    expect(publishers.isRegistered(publisherPath("a/b", "here"))).toBe(true);
    const commits = store.commits.length;
    await look("a/b");
    expect(store.commits.length).toBe(commits);
  });

  test("is forgotten when nobody has published on it for long", async () => {
    const { stands, look, pass } = scene();
    await look("old", "new");
    pass(publisherForgetMs - 2 * publisherLookMs);
    await look("new");
    await look();
    await look();
    expect([stands("old"), stands("new")]).toEqual([undefined, "07"]);
  });

  test("takes a bounded part of the tree, whatever is published on, and so many at a time", async () => {
    const { context, publishers, look } = scene();
    const topics = Array.from({ length: publisherBatchMax + 1 }, (_, index) => `many/${index}`);
    const isThere = (topic: string): boolean => publishers.isRegistered(publisherPath(topic, "here"));
    await look(...topics);
    expect(topics.filter(isThere).length).toBe(publisherBatchMax);
    await look(topics.at(-1)!);
    expect(isThere(topics.at(-1)!)).toBe(true);
    const long = Array.from({ length: 400 }, (_, index) => `${index}`.padEnd(50_000, "x"));
    await look(...long);
    const count = long.filter(isThere).length;
    expect(count * 50_000).toBeLessThan(publisherTreeBytesMax);
    expect(count).toBeGreaterThan(10);
    await look("small");
    expect([isThere("small"), context.journal.pendingUnits]).toEqual([true, 0]);
  });

  test("takes a small part of a small bank", async () => {
    const capital = 5_000_000;
    const { context, publishers, look } = scene({ capital });
    const topics = Array.from({ length: 100 }, (_, index) => `many/${index}`);
    await look(...topics);
    const paths = topics.map((topic) => publisherPath(topic, "here")).filter((path) => publishers.isRegistered(path));
    const price = paths.reduce((sum, path) => sum + markPriceOf(path), 0);
    expect(paths.length).toBeGreaterThan(0);
    expect(price).toBeLessThan(1.2 * capital * publisherPartMax);
    expect(context.journal.pendingUnits).toBe(0);
  });

  test("is not registered while nobody can pay for it, and is when it is published on again after that", async () => {
    const { context, publishers, stands, look } = scene();
    const { bankAccount } = context;
    const { reserve } = bankAccount;
    bankAccount.reserve = () => undefined;
    await look("a");
    expect([stands("a"), publishers.isRegistered(publisherPath("a", "here"))]).toEqual([undefined, false]);
    bankAccount.reserve = reserve;
    await look("a");
    expect(stands("a")).toBe("07");
  });

  test("is not written while the disk is full, or without contact, and all of it goes when the broker ends", async () => {
    const { store, publishers, stands, look } = scene();
    store.isFull = true;
    await look("a");
    expect(stands("a")).toBeUndefined();
    store.isFull = false;
    store.turn("SUSPENDED");
    await look("a");
    expect(stands("a")).toBeUndefined();
    store.turn("CONNECTED");
    await look("a", "b");
    expect(stands("a")).toBe("07");
    let isDone = false;
    publishers.retire(() => {
      isDone = true;
    });
    await settled();
    expect([isDone, stands("a"), stands("b")]).toEqual([true, undefined, undefined]);
  });
});

describe("what brokers that are gone have left", () => {
  function scene({ isLowest = true } = {}) {
    const made = room();
    const { context, store } = made;
    const membership = {
      isLowestOf: () => isLowest,
      peer: (id: string) => {
        const peer = context.peers.get(id) ?? new Peer(id);
        context.peers.set(id, peer);
        return peer;
      },
    };
    const publishers = { isRegistered: (path: string) => path.includes("registered") };
    new Leftovers(context, {
      membership: membership as unknown as Membership,
      publishers: publishers as unknown as Publishers,
    });
    const left = (id: string, topic: string, data = "3"): string => {
      const path = publisherPath(topic, id);
      store.put(path, data);
      return path;
    };
    return { ...made, left };
  }

  test("is removed when they have had time to come back; so is what this one has left in an earlier life", async () => {
    const { store, left, pass } = scene();
    const paths = [left("dead", "a"), left("here", "mine")];
    const [registered, ephemeral] = [left("here", "registered"), left("dead", "format1", "")];
    await live(pass, leftoversAfterMs - 100);
    expect(paths.map((path) => store.textOf(path))).toEqual(["3", "3"]);
    await live(pass, 100);
    expect(paths.map((path) => store.textOf(path))).toEqual([undefined, undefined]);
    // What goes with its keeper session goes without our doing.
    expect([store.textOf(registered), store.textOf(ephemeral)]).toEqual(["3", ""]);
  });

  test("is one broker's business: the others see to their own", async () => {
    const { store, left, pass } = scene({ isLowest: false });
    const [theirs, own] = [left("dead", "a"), left("here", "mine")];
    await live(pass, leftoversAfterMs);
    expect([store.textOf(theirs), store.textOf(own)]).toEqual(["3", undefined]);
  });

  test("stays if they are there, or commit anything meanwhile", async () => {
    const { context, store, left, pass } = scene();
    const [living, coming] = [left("living", "a"), left("coming", "b")];
    context.peers.set("living", Object.assign(new Peer("living"), { epoch: 4 }));
    store.put(commitPath("coming"), "1");
    // It commits something when it has been looked at, before anything is removed.
    const read = store.read.bind(store);
    store.read = (operations, done) =>
      read(operations, (error, results) => {
        done(error, results);
        if (operations.some(({ path }) => path === commitPath("coming"))) store.put(commitPath("coming"), "2");
      });
    await live(pass, leftoversAfterMs);
    expect([store.textOf(commitPath("coming")), store.textOf(coming), store.textOf(living)]).toEqual(["2", "3", "3"]);
  });
});

describe("the teller", () => {
  function scene({ isLowest = true } = {}) {
    const made = room();
    const { context, store } = made;
    for (const path of ["/topics", "/sessions", "/parts", retainedPath]) store.put(path);
    store.put("/bank", JSON.stringify({ capital: 1000, vault: 500 }));
    store.put(branchPath("here"), JSON.stringify({ grant: 500 }));
    const expired: string[] = [];
    const swept: Set<string>[] = [];
    new Sweeper(context, {
      membership: { isLowest, members: () => [] } as unknown as Membership,
      retainedStore: { expire: (path: string) => void expired.push(path) } as unknown as RetainedStore,
      drops: { sweep: (_: Set<string>, on: Set<string>) => void swept.push(on) } as unknown as MailDrops,
      endedSessions: { sweep: () => {}, clientIds: [] } as unknown as EndedSessions,
      sessionRemains: { look: async () => {} } as unknown as SessionRemains,
    });
    const lay = async (topic: string, ms: number): Promise<string> => {
      const publish = makePublish(encodeUtf8(topic), encodeUtf8("x"), { qos: 1, retain: false });
      publish.expiresAt = context.clock.wall() + ms;
      const laid = context.mail.storeInDrop(publish, { publisher: "p", payment: undefined, keeping: "drop" });
      context.journal.commit([...laid.operations]);
      await settled();
      return laid.path;
    };
    return { ...made, lay, expired, swept };
  }

  test("removes what has outlived its time, and its credits come back", async () => {
    const { context, store, lay, swept, pass } = scene();
    const [short, long] = [await lay("d/short", 1000), await lay("d/long", 10 * sweepGraceMs)];
    const { account } = context.bankAccount;
    const bound = account.bound;
    await live(pass, sweepMs);
    expect([store.textOf(short), store.textOf(long) !== undefined]).toEqual([undefined, true]);
    expect(account.bound).toBeLessThan(bound);
    expect(swept).toEqual([new Set(["d/long"])]);
  });

  test("leaves what lies for somebody to who should remove it, for a while", async () => {
    const { context, store, pass } = scene();
    const publish = makePublish(encodeUtf8("m"), encodeUtf8("x"), { qos: 1, retain: false });
    const keepUntil = context.clock.wall() + 1000;
    const path = "/topics/m/=0000000700000099-0";
    store.put(path, encodeMessage(publish, { credits: 5, keepUntil, branch: "here", recipients: 1 }));
    await live(pass, sweepMs);
    expect(store.textOf(path)).toBeDefined();
    await live(pass, sweepGraceMs);
    await live(pass, sweepMs);
    expect(store.textOf(path)).toBeUndefined();
  });

  test("removes parts that no message has named for a while, and not those of a broker that lives", async () => {
    const { context, store, pass } = scene();
    const partsOf = (epoch: number): string => `/parts/${epoch}00000001-0/00000`;
    const [dead, living] = [partsOf(3), partsOf(context.self.epoch)];
    for (const path of [dead, living]) store.put(path, "x");
    await live(pass, sweepMs);
    expect(store.textOf(dead)).toBe("x");
    for (let sweeps = orphanPartsMs / sweepMs + 1; sweeps > 0; sweeps--) await live(pass, sweepMs);
    expect([store.textOf(dead), store.textOf(living)]).toEqual([undefined, "x"]);
  });

  test("has retained messages whose time is over go", async () => {
    const { context, store, expired, pass } = scene();
    const publish = makePublish(encodeUtf8("r"), encodeUtf8("x"), { qos: 1, retain: true });
    const wall = context.clock.wall();
    for (const [name, keepUntil] of [
      ["over", wall + 1000],
      ["lasts", wall + 10 * sweepMs],
    ] as const)
      store.put(
        `${retainedPath}/${name}`,
        encodeMessage(publish, { credits: 5, keepUntil, branch: "here", recipients: 0 }),
      );
    await live(pass, sweepMs);
    expect(expired).toEqual([`${retainedPath}/over`]);
  });

  test("is one broker of the cluster, with contact and a lease", async () => {
    for (const hinder of [
      ({ store }: ReturnType<typeof scene>) => store.turn("SUSPENDED"),
      ({ context }: ReturnType<typeof scene>) => Object.assign(context.self, { isFenced: true }),
    ]) {
      const made = scene();
      hinder(made);
      await live(made.pass, 3 * sweepMs);
      expect(made.swept).toEqual([]);
    }
    const other = scene({ isLowest: false });
    await live(other.pass, 3 * sweepMs);
    expect(other.swept).toEqual([]);
  });

  test("closes the branch of a broker that is gone for long, and what is unspent goes back; those of the living stay", async () => {
    const { context, store, pass } = scene();
    context.peers.set("b", Object.assign(new Peer("b"), { epoch: 3 }));
    store.put("/bank", JSON.stringify({ capital: 1000, vault: 100 }));
    for (const id of ["b", "dead"]) store.put(branchPath(id), JSON.stringify({ grant: 200 }));
    await live(pass, sweepMs);
    expect(store.textOf(branchPath("dead"))).toBeDefined();
    for (let round = 0; round < 2 + branchCloseMs / sweepMs; round++) await live(pass, sweepMs);
    expect([store.textOf(branchPath("dead")), store.textOf(branchPath("b")) !== undefined]).toEqual([undefined, true]);
    expect(JSON.parse(store.textOf("/bank")!)).toMatchObject({ capital: 1000, vault: 300 });
  });
});
