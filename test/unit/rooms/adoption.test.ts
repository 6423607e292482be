/** The adoption of sessions that no broker keeps: which ones, in which state, and what their dead brokers left. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../../src/base/bytes.ts";
import { adoptionPageMax, orphansMs } from "../../../src/base/limits.ts";
import { Adoption } from "../../../src/broker/cluster/adoption.ts";
import type { OrphanedWills } from "../../../src/broker/connect/orphaned-wills.ts";
import type { SessionRemains } from "../../../src/broker/connect/session-remains.ts";
import type { SessionStore } from "../../../src/broker/connect/session-store.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { Membership } from "../../../src/broker/peers/membership.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession } from "../../../src/broker/peers/remote-session.ts";
import type { SubscriptionDirectory } from "../../../src/broker/peers/subscription-directory.ts";
import { incomingPath, mailPath, parentPath, sessionPath, subscriberPath } from "../../../src/coordinator/paths.ts";
import { encodeSession, type SessionRecord } from "../../../src/mail/records.ts";
import { counterPath } from "../../../src/mail/slips.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import type { Subscription } from "../../../src/mqtt/subscription.ts";
import { noteIn, room } from "../../support/room.ts";

/** The broker "there" is alive in epoch 4; "dead" is not. */
function scene() {
  const made = room();
  const { context, store } = made;
  const asked: string[] = [];
  const ask = noteIn(asked);
  context.peers.set("there", Object.assign(new Peer("there"), { epoch: 4 }));
  context.peers.set("dead", new Peer("dead"));
  const isAlive = (id: string, epoch: number): boolean => epoch === (id === "there" ? 4 : id === "here" ? 7 : 0);
  const obtaining = new Set<string>();
  const adoption = new Adoption(context, {
    membership: { isAlive } as unknown as Membership,
    directory: {
      caughtUp: (done: () => void) => done(),
      adopt: (client: LocalSession) => {
        ask("adopt")(client);
        context.localSessions.set(client.session.clientId, client);
      },
    } as unknown as SubscriptionDirectory,
    sessionStore: {
      recordAway: ask("away"),
      expireIn: ({ session }: LocalSession, ms: number) => void asked.push(`expire ${session.clientId} in ${ms}`),
    } as unknown as SessionStore,
    sessionRemains: { erase: ask("erase") } as unknown as SessionRemains,
    orphanedWills: {
      died: (id: string) => void asked.push(`${id} died`),
      look: async () => void asked.push("look for wills"),
    } as unknown as OrphanedWills,
    isObtaining: (clientId) => obtaining.has(clientId),
  });
  /** Puts a session's record into the store. */
  const put = (clientId: string, some: Partial<SessionRecord>): void => {
    const record = {
      owner: "dead",
      epoch: 3,
      connected: true,
      version: 5,
      expiryInterval: 60,
      expiresAt: null,
    } as const;
    store.put(sessionPath(clientId), encodeSession({ ...record, ...some }));
  };
  const adopted = (): string[] => [...context.localSessions.keys()].toSorted();
  return { ...made, asked, obtaining, adoption, put, adopted };
}

describe("sessions that are adopted", () => {
  test("are those of brokers that are gone, and of this broker's earlier life", async () => {
    const { adoption, put, adopted } = scene();
    put("connected-dead", {});
    put("away-dead", { connected: false });
    put("own-earlier", { owner: "here", epoch: 2 });
    // It was let go of when the lease was over, and is found again.
    put("own-now", { owner: "here", epoch: 7 });
    put("own-away", { owner: "here", epoch: 2, connected: false });
    // The broker has come back as another incarnation: who was connected to the earlier one is nobody's.
    put("connected-earlier", { owner: "there", epoch: 2 });
    put("connected-there", { owner: "there", epoch: 4 });
    put("away-there", { owner: "there", epoch: 2, connected: false });
    await adoption.adopt();
    expect(adopted()).toEqual([
      "away-dead",
      "connected-dead",
      "connected-earlier",
      "own-away",
      "own-earlier",
      "own-now",
    ]);
  });

  test("are not those that are here already, or that a client here is being given", async () => {
    const { adoption, put, session, obtaining, asked, adopted } = scene();
    for (const clientId of ["here", "coming", "other"]) put(clientId, {});
    session("here", 100);
    obtaining.add("coming");
    await adoption.adopt();
    expect([adopted(), asked.filter((what) => what.startsWith("adopt"))]).toEqual([["here", "other"], ["adopt other"]]);
  });

  test("have what the store holds: their place among versions, mail, and publishes received by half", async () => {
    const { context, store, adoption, put } = scene();
    put("c", { expiryInterval: 60 });
    put("c", { expiryInterval: 90 });
    for (let number = 0; number < 3; number++) store.put(`${mailPath("c")}/000000000${number}`);
    for (const name of ["7", "65535", "seven"]) store.put(`${incomingPath("c")}/${name}`);
    await adoption.adopt();
    const client = context.localSessions.get("c")!;
    expect([client.fencingToken.version, client.session.expiryInterval, client.mailbox!.count]).toEqual([1, 90, 3]);
    expect([7, 65_535, 1].map((id) => client.session.hasIncoming(id))).toEqual([true, true, false]);
  });

  test("wait for their clients from now on, or from when this broker has seen them go", async () => {
    const { context, asked, adoption, put } = scene();
    const wall = context.clock.wall();
    put("connected", { owner: "here" });
    put("theirs", { connected: false, expiresAt: wall + 5000 });
    put("own", { owner: "here", connected: false, expiresAt: wall + 5000 });
    put("over", { owner: "here", connected: false, expiresAt: wall - 5000 });
    put("endless", { owner: "here", connected: false, expiresAt: null });
    // Its broker let sessions last longer.
    put("from before", { owner: "here", connected: false, expiryInterval: 0xffff_ffff, expiresAt: null });
    await adoption.adopt();
    const waits = asked.filter((what) => /^(away|expire)/.test(what)).toSorted();
    expect(waits).toEqual([
      "away connected",
      "away from before",
      "away theirs",
      "expire over in 0",
      "expire own in 5000",
    ]);
  });

  test("are read page by page, all of them", async () => {
    const { adoption, put, adopted, store } = scene();
    const shard = parentPath(sessionPath("many-0"));
    const ids: string[] = [];
    for (let index = 0; ids.length <= adoptionPageMax; index++)
      if (parentPath(sessionPath(`many-${index}`)) === shard) ids.push(`many-${index}`);
    for (const id of ids) put(id, {});
    const sizes: number[] = [];
    const read = store.read.bind(store);
    store.read = (operations, done) => {
      sizes.push(operations.length);
      read(operations, done);
    };
    await adoption.adopt();
    expect(adopted()).toEqual(ids.toSorted());
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4 * adoptionPageMax);
  });
});

describe("what stands where sessions should be", () => {
  test("is left alone if it is a stranger's, and noted", async () => {
    const { context, store, asked, adoption, put, adopted } = scene();
    store.put(sessionPath("stranger"), "no record");
    put("misplaced", {});
    store.put("/sessions/zz/misplaced", store.textOf(sessionPath("misplaced")));
    store.remove(sessionPath("misplaced"));
    await adoption.adopt();
    expect([adopted(), asked]).toEqual([[], ["look for wills"]]);
    expect(context.strangers.count).toBe(2);
  });

  test("is erased if only mail is there, which came while the session was erased", async () => {
    const { store, asked, adoption, adopted } = scene();
    store.put(`${mailPath("c")}/0000000000`);
    await adoption.adopt();
    expect([adopted(), asked]).toEqual([[], ["erase c", "look for wills"]]);
  });
});

describe("what dead brokers have left half done", () => {
  test("goes: subscriptions of sessions that are gone, but not of those that are there", async () => {
    const { context, store, adoption, put } = scene();
    const filters = ["a", "b"];
    for (const clientId of ["gone", "there"]) {
      const remote = new RemoteSession(clientId);
      context.remoteSessions.set(clientId, remote);
      for (const filter of filters) {
        remote.subscriptions.set(filter, {} as Subscription);
        store.put(subscriberPath(filter, clientId), "{}");
      }
    }
    put("there", { owner: "there", epoch: 4 });
    await adoption.adopt();
    const left = (clientId: string) => filters.map((filter) => store.textOf(subscriberPath(filter, clientId)));
    expect([left("gone"), left("there")]).toEqual([
      [undefined, undefined],
      ["{}", "{}"],
    ]);
  });

  test("goes: a message that all of its receivers have left, and not before", async () => {
    const { context, store, adoption } = scene();
    const publish = makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 1, retain: false });
    const draft = { qos: 1, retain: false, subscriptionIds: [], packetId: 0, groupMark: 0 } as const;
    const drafts = ["c", "d"].map((clientId) => ({ clientId, ...draft }));
    const [unit] = context.mail.store(publish, { order: 1, from: 0 }, drafts);
    context.journal.commit(unit!.operations);
    await adoption.adopt();
    expect(store.tree.nodes.has(unit!.path)).toBe(true);
    // Each receiver leaves it by a change of its counter.
    for (let left = 0; left < 2; left++) store.put(counterPath(unit!.path), noBytes);
    await adoption.adopt();
    expect(store.tree.nodes.has(unit!.path)).toBe(false);
  });

  test("may be found for a while after a death: the store is asked for sessions, and wills are looked for", () => {
    const { context, asked, adoption } = scene();
    adoption.expectOrphans("dead");
    expect([asked, context.self.orphansUntil]).toEqual([["dead died"], context.clock.now() + orphansMs]);
  });
});
