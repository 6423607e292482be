/** This broker as a member of the cluster: what it does, in which order, when others come and go or contact is lost. */
import { describe, expect, test } from "bun:test";
import { adoptAfterMs, fencedLookMs, leaveTidyMs } from "../../../src/base/limits.ts";
import { Cluster, type ClusterParts } from "../../../src/broker/cluster/cluster.ts";
import { type BrokerFacts, Peer } from "../../../src/broker/peers/peer.ts";
import { brokerPath, formatPath } from "../../../src/coordinator/paths.ts";
import { room, settled } from "../../support/room.ts";

const facts = { version: "1", host: "h", port: 1, linkHost: "l", linkPort: 2, mailDrops: [] } as unknown as BrokerFacts;

function scene() {
  const made = room();
  const { context, store } = made;
  const asked: string[] = [];
  /** A part whose methods only note that they were called, with the broker that it is about. */
  const part = (name: string, real: Record<string, unknown> = {}): object =>
    new Proxy(real, {
      get: (_, method: string) =>
        method in real
          ? real[method]
          : (first?: unknown) => void asked.push(`${name}.${method}${first instanceof Peer ? ` ${first.id}` : ""}`),
    });
  const lowest = { isLowest: true };
  const tidy: (() => void)[] = [];
  const emptied: (() => void)[] = [];
  const session = (clientId: string) => ({ clientId });
  const parts = {
    ...{ adoption: part("adoption", { adopt: async () => void asked.push("adoption.adopt"), expectOrphans() {} }) },
    ...{
      arriving: part("arriving"),
      barrier: part("barrier"),
      forwarding: part("forwarding"),
      linkSender: part("linkSender"),
    },
    ...{
      directory: part("directory", {
        session,
        caughtUp: (read: () => void) => read(),
        joined: (peer: Peer) => void asked.push(`directory ${peer.id}`),
      }),
    },
    ...{ registry: part("registry"), leftovers: part("leftovers"), orphanedWills: part("orphanedWills") },
    ...{ interest: part("interest", { whenTidy: (done: () => void) => tidy.push(done), renew: () => {} }) },
    links: part("links", {
      sendControl: ({ id }: Peer, what: object) => void asked.push(`${id}: ${JSON.stringify(what)}`),
    }),
    membership: part("membership", {
      members: () => [...context.peers.values()].filter(({ isMember }) => isMember),
      get isLowest() {
        return lowest.isLowest;
      },
    }),
    publishers: part("publishers", { retire: (done: () => void) => done(), renew: () => {} }),
    levelSweep: part("levelSweep", { finish: (done: () => void) => emptied.push(done) }),
    questions: part("questions"),
    ...{ handover: part("handover"), takeOver: part("takeOver"), wills: part("wills") },
  } as unknown as ClusterParts;
  const cluster = new Cluster(context, facts, parts);
  const peer = (id: string, epoch: number | undefined = 4): Peer => {
    const made_ = Object.assign(new Peer(id), { epoch });
    context.peers.set(id, made_);
    return made_;
  };
  const stated = (): Partial<BrokerFacts> => JSON.parse(store.textOf(brokerPath("here")) ?? "{}");
  store.put(brokerPath("here"), "{}");
  store.put(formatPath, "1");
  /** Until when this broker's lease lasts, by its clock. */
  const lease = (until: number): void => void Object.assign(store, { leaseUntil: until });
  const noted = (): string[] => asked.splice(0);
  return { ...made, cluster, peer, lowest, tidy, emptied, stated, lease, noted };
}

describe("the facts that a broker states", () => {
  test("are changed one by one; the others stay", async () => {
    const { cluster, stated } = scene();
    cluster.changeFacts({ port: 5 });
    cluster.changeFacts({ draining: true });
    await settled();
    expect(stated()).toMatchObject({ host: "h", port: 5, draining: true });
  });

  test("the tree's format is one of them", async () => {
    const { context, store, cluster } = scene();
    context.self.format = 2;
    cluster.formatChanged();
    await settled();
    expect(store.textOf(formatPath)).toBe("2");
  });
});

describe("a broker that ends", () => {
  test("leaves the tree before what it has announced goes, and is done when the levels above that are gone", async () => {
    const { store, cluster, tidy, emptied } = scene();
    let count = 0;
    cluster.leave(() => count++);
    await settled();
    expect([store.textOf(brokerPath("here")), count]).toEqual([undefined, 0]);
    tidy[0]!();
    expect(count).toBe(0);
    emptied[0]!();
    expect(count).toBe(1);
  });

  test("does not wait for that for long, and is done once", () => {
    const { cluster, tidy, pass } = scene();
    let count = 0;
    cluster.leave(() => count++);
    pass(leaveTidyMs - 1);
    expect(count).toBe(0);
    pass(1);
    expect(count).toBe(1);
    tidy[0]!();
    expect(count).toBe(1);
  });
});

describe("another broker that joins", () => {
  test("is told which sessions are connected here before anything is claimed from it", () => {
    const { cluster, peer, noted } = scene();
    cluster.joined(peer("b"));
    expect(noted()).toEqual(["directory b", "links.join b", "registry.announceAll b", "takeOver.joined b"]);
  });
});

describe("another broker that leaves", () => {
  test("is waited for by nobody, and its sessions are adopted after a moment by the one with the lowest id", async () => {
    const { cluster, peer, noted, pass } = scene();
    const b = peer("b");
    cluster.left(Object.assign(b, { epoch: undefined }));
    const ends = ["links.leave b", "arriving.left b", "forwarding.left b", "barrier.left b", "takeOver.left b"];
    expect(noted()).toEqual([...ends, "questions.left b", "leftovers.expect"]);
    pass(adoptAfterMs - 1);
    expect(noted()).toEqual([]);
    pass(1);
    await settled();
    expect(noted()).toEqual(["adoption.adopt"]);
  });

  test("keeps its sessions if it is back by then; nor does a broker adopt that is not the lowest, or has no lease", async () => {
    const { context, cluster, peer, lowest, noted, pass } = scene();
    const after = async (change: (b: Peer) => void): Promise<string[]> => {
      const b = peer("b");
      cluster.left(Object.assign(b, { epoch: undefined }));
      noted();
      change(b);
      pass(adoptAfterMs);
      await settled();
      return noted();
    };
    expect(await after((b) => void Object.assign(b, { epoch: 9 }))).toEqual([]);
    expect(await after(() => void Object.assign(lowest, { isLowest: false }))).toEqual([]);
    lowest.isLowest = true;
    expect(await after(() => void Object.assign(context.self, { isFenced: true }))).toEqual([]);
    context.self.isFenced = false;
    expect(await after(() => {})).toEqual(["adoption.adopt"]);
  });
});

describe("what another broker says over its link", () => {
  test("goes to the part that it is for", () => {
    const { context, cluster, peer, noted } = scene();
    const b = peer("b");
    cluster.control(b, { say: "claim", number: 1, clientId: "c", stamp: 1, clean: false });
    cluster.control(b, { say: "claimed", number: 1, granted: true });
    cluster.control(b, { say: "see", number: 1, zxid: 5 });
    cluster.control(b, { say: "seen", number: 1 });
    cluster.control(b, { say: "unhosting", handles: [1] });
    const parts = ["takeOver.receive", "takeOver.answered", "barrier.see", "barrier.seen", "forwarding.unhosting"];
    expect(noted()).toEqual(parts.map((what) => `${what} b`));
    const freed: (readonly string[])[] = [];
    context.bankAccount.freedByOthers = (paths) => void freed.push(paths);
    cluster.control(b, { say: "freed", paths: ["/topics/t/=1"] });
    expect(freed).toEqual([["/topics/t/=1"]]);
  });

  test("a session that it says to serve is contested if it lasts, and is served here", () => {
    const { cluster, peer, session, noted } = scene();
    session("lasting", 100);
    session("brief");
    const sessions = ["lasting", "brief", "nobody"].map((clientId, index) => [index + 1, clientId] as const);
    cluster.control(peer("b"), { say: "hosting", sessions });
    expect(noted()).toEqual(["registry.contest", "forwarding.hosted b"]);
  });

  test("that it has enough to do holds publishers until it says otherwise, or has read what it was sent", () => {
    const { cluster, peer, noted } = scene();
    const b = peer("b");
    cluster.control(b, { say: "hold" });
    cluster.linkDrained(b);
    expect([b.asksToWait, noted()]).toEqual([true, []]);
    cluster.control(b, { say: "go" });
    expect([b.asksToWait, noted()]).toEqual([false, ["linkSender.release b"]]);
    cluster.linkDrained(b);
    expect(noted()).toEqual(["linkSender.release b"]);
  });

  test("that it could not pay is confirmed to it, and its confirmation counts for what was sent back from here", () => {
    const { cluster, peer, noted } = scene();
    const b = peer("b");
    const remain = { id: 1, handles: [], groups: [] };
    cluster.remain(b, remain);
    expect(noted()).toEqual(["forwarding.remain b"]);
    cluster.remain(b, { ...remain, unpaid: true });
    expect(noted()).toEqual(['b: {"say":"remained"}', "forwarding.remain b"]);
    b.sendBack();
    cluster.control(b, { say: "remained" });
    expect(b.hasSentBack).toBe(false);
  });
});

describe("the lease", () => {
  const gaveUp = ["handover.fence", "wills.fence", "orphanedWills.fence"];

  test("that is over ends the service of persistent sessions and wills, once", () => {
    const { context, store, cluster, lease, noted } = scene();
    lease(2000);
    cluster.checkLease(2000);
    expect([context.self.isFenced, noted()]).toEqual([false, []]);
    cluster.checkLease(2001);
    cluster.checkLease(2002);
    store.turn("LOST");
    expect([context.self.isFenced, context.self.fences, noted()]).toEqual([true, 1, gaveUp]);
  });

  test("that holds through a short loss of contact changes nothing", async () => {
    const { context, store, lease, noted, pass } = scene();
    lease(10_000);
    store.turn("SUSPENDED");
    pass(fencedLookMs);
    store.turn("CONNECTED");
    pass(10 * fencedLookMs);
    await settled();
    expect([context.self.isFenced, noted()]).toEqual([false, []]);
  });

  test("that is over while contact is lost is noticed without any event; with a new one the broker serves again", async () => {
    const { context, store, lease, noted, pass } = scene();
    lease(1500);
    store.turn("SUSPENDED");
    pass(1000);
    expect([context.self.isFenced, noted()]).toEqual([true, gaveUp]);
    store.turn("CONNECTED");
    lease(10_000);
    pass(fencedLookMs);
    await settled();
    // Its keeper session lasts, and with it its epoch.
    expect([context.self.isFenced, context.self.epoch, noted()]).toEqual([false, 7, ["adoption.adopt"]]);
  });

  test("of a keeper session that has expired is over at once; the broker joins anew, and keeps its first epoch's facts", async () => {
    const { context, store, peer, stated, lease, noted, pass } = scene();
    peer("b");
    lease(Infinity);
    for (const first of [true, false]) {
      store.turn("LOST");
      expect([context.self.isFenced, noted()]).toEqual([true, gaveUp]);
      store.turn("CONNECTED");
      pass(fencedLookMs);
      await settled();
      expect(context.self.isFenced).toBe(false);
      expect(context.self.epoch).toBe(store.tree.nodes.get(brokerPath("here"))!.czxid);
      // What it announced since its first life stays valid.
      expect(stated().since).toBe(7);
      expect(noted()).toEqual([
        ...["links.leave b", "arriving.left b", "forwarding.left b"],
        ...["directory b", "links.join b", "registry.announceAll b", "takeOver.joined b"],
        "adoption.adopt",
      ]);
      expect(context.self.fences).toBe(first ? 1 : 2);
    }
  });

  test("that ends again while the broker returns keeps it from serving", async () => {
    const { context, store, lease, noted, pass } = scene();
    lease(Infinity);
    store.turn("LOST");
    store.turn("CONNECTED");
    store.answers = false;
    pass(fencedLookMs);
    await settled();
    lease(context.clock.now() - 1);
    store.answers = true;
    store.answer();
    for (let step = 0; step < 5; step++) await settled();
    expect(context.self.isFenced).toBe(true);
    expect(noted()).not.toContain("adoption.adopt");
    lease(Infinity);
    pass(fencedLookMs);
    await settled();
    expect([context.self.isFenced, noted()]).toEqual([false, ["adoption.adopt"]]);
  });
});
