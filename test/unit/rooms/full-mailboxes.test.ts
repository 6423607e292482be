/** Mailboxes that are full, each part alone: what is counted, who ends a session, and what its client is told. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import {
  endedNoticeMs,
  endedSessionsMax,
  mailboxFullRetryMs,
  mailboxHighLookMs,
  mailboxRemainsMs,
  mailboxSpentMs,
  slipNumberMax,
} from "../../../src/base/limits.ts";
import type { ConnectionEnd } from "../../../src/broker/connect/connection-end.ts";
import { EndedSessions } from "../../../src/broker/connect/ended-sessions.ts";
import { FullMailboxes } from "../../../src/broker/connect/full-mailboxes.ts";
import { SessionRemains } from "../../../src/broker/connect/session-remains.ts";
import { SessionStore } from "../../../src/broker/connect/session-store.ts";
import type { Wills } from "../../../src/broker/connect/wills.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { MailboxGauge } from "../../../src/broker/delivery/mailbox-gauge.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import type { Links } from "../../../src/broker/peers/links.ts";
import { type BrokerFacts, Peer } from "../../../src/broker/peers/peer.ts";
import { RemoteSession } from "../../../src/broker/peers/remote-session.ts";
import type { Regrouping } from "../../../src/broker/publish/regrouping.ts";
import { endedPath, endedSessionPath, mailPath, sessionPath, subscriberPath } from "../../../src/coordinator/paths.ts";
import { decodeEnded, describeEnded, encodeEnded } from "../../../src/mail/ended-record.ts";
import { decodeSession, encodeSlip } from "../../../src/mail/records.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { noteIn, type RoomOptions, room, settled } from "../../support/room.ts";

const maxQueued = 10;
/** A slip in the store; its message is gone already. */
const slip = encodeSlip({
  ...{ state: "waiting", packetId: 0, qos: 1, retain: false, recipients: 1, keepUntil: Infinity },
  ...{ subscriptionIds: [], branch: "here", messagePath: "/topics/t/=x", groupMark: 0, hasParts: false },
});

/** The parts that end sessions; those around them note what they are asked. */
function scene(options: RoomOptions = {}) {
  const made = room({ maxQueued, ...options });
  const { context, store } = made;
  for (const path of ["/sessions", "/subscribers", endedPath]) store.put(path);
  const asked: string[] = [];
  const ask = noteIn(asked);
  const wills = { publishNow: ask("publish the will of") } as unknown as Wills;
  const regrouping = { reassignSlip: (_: unknown, __: unknown, done: (isGone: boolean) => void) => done(false) };
  const sessionStore = new SessionStore(context, {
    ...{ wills, interest: new Interest(context) },
    regrouping: regrouping as unknown as Regrouping,
  });
  const endedSessions = new EndedSessions(context, sessionStore);
  const obtaining = new Set<string>();
  const isObtaining = (clientId: string): boolean => obtaining.has(clientId);
  const sessionRemains = new SessionRemains(context, { sessionStore, isObtaining });
  const dismiss = ({ client }: Connection, reason: number, why: string): void => {
    asked.push(`dismiss ${client!.session.clientId}, 0x${reason.toString(16)}: ${why}`);
    client!.detach();
  };
  const sendControl = (peer: Peer, control: unknown): void =>
    void asked.push(`to ${peer.id}: ${JSON.stringify(control)}`);
  const fullMailboxes = new FullMailboxes(context, {
    ...{ sessionStore, endedSessions, sessionRemains, wills, isObtaining },
    connectionEnd: { dismiss } as unknown as ConnectionEnd,
    links: { sendControl } as unknown as Links,
  });
  const fill = (clientId: string, count: number, from = 0): void => {
    store.put(mailPath(clientId));
    for (let number = from; number < from + count; number++)
      store.put(`${mailPath(clientId)}/${String(number).padStart(10, "0")}`, slip);
  };
  /** A session that this broker keeps, whose client is away, with so many slips in the store. */
  const kept = (clientId: string, count: number): LocalSession => {
    const client = made.session(clientId, 100);
    client.belongTo("alice", 1);
    context.journal.commit([sessionStore.record(client, "away")]);
    fill(clientId, count);
    return client;
  };
  const noted = (): string[] => asked.splice(0);
  const rest = async (ms = 0): Promise<void> => {
    made.pass(ms);
    for (let step = 0; step < 5; step++) await settled();
  };
  return { ...made, endedSessions, sessionRemains, sessionStore, fullMailboxes, obtaining, fill, kept, noted, rest };
}

const isThere = ({ store }: ReturnType<typeof scene>, path: string): boolean =>
  store.tree.read({ kind: "exists", path }) !== "NoNode";

describe("a session whose mailbox is full", () => {
  test("ends in one commit with its notice; then nothing is left of it", async () => {
    const made = scene();
    const { context, store, kept, fullMailboxes, noted, rest, lines } = made;
    const client = kept("c", maxQueued);
    const subscription = { filter: parseFilter("a/#")!, qos: 1, noLocal: false, retainAsPublished: false } as const;
    client.session.subscribe({ ...subscription, retainHandling: 0, id: 0 });
    store.put(subscriberPath("a/#", "c"));
    await rest();
    store.commits.length = 0;
    fullMailboxes.look("c");
    await rest();
    const paths = [sessionPath("c"), mailPath("c"), subscriberPath("a/#", "c")];
    expect(paths.map((path) => isThere(made, path))).toEqual([false, false, false]);
    expect(store.commits[0]!.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      `set ${sessionPath("c")}`,
      `create ${endedSessionPath("c")}`,
    ]);
    expect(noted()).toEqual(["publish the will of c"]);
    expect([context.localSessions.has("c"), context.metrics.sessionsEnded]).toEqual([false, 1]);
    expect(lines.at(-1)).toEqual({
      level: "warn",
      facts: { client: "c", user: "alice", messages: maxQueued },
      text: "session ended: its mailbox is full",
    });
  });

  test("is counted by the store: what has been counted here may be too much", async () => {
    const { context, kept, fullMailboxes, rest } = scene();
    const client = kept("c", 3);
    client.mailbox!.count = maxQueued;
    fullMailboxes.look("c");
    await rest();
    expect([context.localSessions.get("c"), client.mailbox!.count, client.isEnding]).toEqual([client, 3, false]);
  });

  test("does not end while its client is let in, it is being given up, or the lease is over", async () => {
    const { context, kept, fullMailboxes, obtaining, rest } = scene();
    kept("c", maxQueued);
    const look = async (): Promise<boolean> => {
      fullMailboxes.look("c");
      await rest();
      // It is left alone for a while.
      await rest(mailboxFullRetryMs);
      return context.localSessions.has("c");
    };
    obtaining.add("c");
    expect(await look()).toBe(true);
    obtaining.clear();
    context.self.isFenced = true;
    expect(await look()).toBe(true);
    context.self.isFenced = false;
    expect(await look()).toBe(false);
  });

  test("is another broker's that has written its record meanwhile: nothing is removed", async () => {
    const made = scene();
    const { context, store, kept, fullMailboxes, sessionStore, evicted, rest } = made;
    const client = kept("c", maxQueued);
    await rest();
    store.put(sessionPath("c"), "another's");
    fullMailboxes.look("c");
    await rest();
    expect([evicted, context.metrics.sessionsEnded, client.isEnding]).toEqual([["c"], 0, true]);
    expect([isThere(made, endedSessionPath("c")), isThere(made, mailPath("c"))]).toEqual([false, true]);
    let isErased = false;
    sessionStore.whenErased("c", () => {
      isErased = true;
    });
    expect(isErased).toBe(true);
  });

  test("whose client is connected has it told why, before anything is removed", async () => {
    const { context, kept, fullMailboxes, noted, rest } = scene();
    const client = kept("c", maxQueued);
    const connection = { client, writer: { unsent: 0 }, channel: { phase: "open" } } as unknown as Connection;
    client.attach(connection, 10);
    fullMailboxes.look("c");
    await rest();
    expect(noted()[0]).toMatch(
      /^dismiss c, 0x97: the session was ended at .*: its mailbox was full, 10 messages waited$/,
    );
    expect(context.localSessions.has("c")).toBe(false);
  });

  test("has new ones of its client wait until it is gone", async () => {
    const { store, kept, fullMailboxes, sessionStore, rest } = scene();
    kept("c", maxQueued);
    await rest();
    store.answers = false;
    fullMailboxes.look("c");
    await rest();
    store.answers = true;
    const order: string[] = [];
    fullMailboxes.look("c");
    await rest(mailboxFullRetryMs);
    sessionStore.whenErased("c", () => void order.push(store.textOf(sessionPath("c")) ?? "gone"));
    await rest();
    expect(order.length).toBe(1);
  });

  test("that has used up its numbers ends when it has not been emptied for a while", async () => {
    const { context, kept, fill, fullMailboxes, rest } = scene();
    kept("c", 0);
    fill("c", 1, slipNumberMax);
    context.slips.numbers.seen("c", String(slipNumberMax));
    for (let ms = 0; ms <= mailboxSpentMs; ms += mailboxFullRetryMs) {
      expect(context.localSessions.has("c")).toBe(true);
      fullMailboxes.look("c");
      await rest();
      await rest(mailboxFullRetryMs);
    }
    expect(context.localSessions.has("c")).toBe(false);
  });
});

describe("a session that another broker keeps", () => {
  function elsewhere(facts: Partial<BrokerFacts>) {
    const made = scene();
    const peer = Object.assign(new Peer("there"), { epoch: 4, facts });
    Object.defineProperty(peer, "isMember", { get: () => true });
    made.context.peers.set("there", peer);
    const remote = new RemoteSession("c");
    made.context.remoteSessions.set("c", remote);
    const record = { owner: "there", epoch: 4, connected: false, version: 5, expiryInterval: 60, expiresAt: null };
    made.store.put(sessionPath("c"), JSON.stringify(record));
    made.fill("c", maxQueued);
    return { ...made, remote };
  }

  test("is ended by that one, which is told so; it looks itself", async () => {
    const { context, fullMailboxes, remote, noted, rest } = elsewhere({ endsSessions: true });
    fullMailboxes.look("c");
    await rest();
    expect([noted(), remote.mailCount]).toEqual([['to there: {"say":"full","clientId":"c"}'], maxQueued]);
    expect([remote.isRefusedWhenFull, context.metrics.sessionsEnded]).toEqual([false, 0]);
    // Not at once again.
    fullMailboxes.look("c");
    await rest();
    expect(noted()).toEqual([]);
    await rest(mailboxFullRetryMs);
    fullMailboxes.look("c");
    await rest();
    expect(noted().length).toBe(1);
  });

  test("is not where that broker does not end sessions: publishes are refused, until it has been emptied", async () => {
    const { store, fullMailboxes, remote, noted, rest } = elsewhere({});
    fullMailboxes.look("c");
    await rest();
    expect([noted(), remote.isRefusedWhenFull]).toEqual([[], true]);
    store.remove(`${mailPath("c")}/0000000000`);
    await rest(mailboxFullRetryMs);
    fullMailboxes.look("c");
    await rest();
    expect(remote.isRefusedWhenFull).toBe(false);
  });
});

describe("the notice of a session that was ended", () => {
  const notice = { cause: "full", messages: 10, endedAt: 1_800_000_000_000, until: 1_900_000_000_000 } as const;

  test("is read as it was written, and told in words; a stranger's is not", () => {
    expect(decodeEnded(encodeEnded(notice))).toEqual(notice);
    expect(describeEnded(notice)).toBe(
      "the session was ended at 2027-01-15T08:00:00.000Z: its mailbox was full, 10 messages waited",
    );
    expect(describeEnded({ ...notice, cause: "numbers", endedAt: 1e300 })).toContain("had used up its numbers");
    for (const text of ["", "x", "{}", JSON.stringify({ ...notice, cause: "another" })])
      expect(() => decodeEnded(encodeUtf8(text))).toThrow();
  });

  /** A new session of a client for which there is a notice. */
  async function begun() {
    const made = scene();
    const { context, store, endedSessions } = made;
    store.put(endedSessionPath("c"), JSON.stringify({ ...notice, endedAt: context.clock.wall() }));
    await endedSessions.start();
    const client = made.session("c", 100);
    endedSessions.begin(client);
    const connection = {} as Connection;
    client.attach(connection, 10);
    return { ...made, client, connection };
  }

  test("is told until its client has been heard, and its session is begun anew as long", async () => {
    const { store, endedSessions, client, connection, rest } = await begun();
    expect(client.isUntold).toBe(true);
    expect(endedSessions.tell(connection, client)).toContain("its mailbox was full");
    expect(endedSessions.noticeOf("c")).toBeDefined();
    connection.onceHeard!();
    await rest();
    expect([client.isUntold, endedSessions.noticeOf("c")]).toEqual([false, undefined]);
    const record = decodeSession(encodeUtf8(store.textOf(sessionPath("c"))!));
    expect([record.untold, store.textOf(endedSessionPath("c"))]).toEqual([undefined, undefined]);
    expect(endedSessions.tell(connection, client)).toBeUndefined();
  });

  test("stays where its client was heard by a broker that does not keep the session any more", async () => {
    const { context, store, endedSessions, sessionStore, client, connection, rest } = await begun();
    endedSessions.tell(connection, client);
    context.journal.commit([sessionStore.record(client, "connected")]);
    await rest();
    // Another broker has taken it over: the record still says that the client is not known to have been told.
    const record = store.textOf(sessionPath("c"))!;
    expect(decodeSession(encodeUtf8(record)).untold).toBe(true);
    store.put(sessionPath("c"), record);
    connection.onceHeard!();
    await rest();
    expect([store.textOf(sessionPath("c")), endedSessions.noticeOf("c")?.messages]).toEqual([record, 10]);
    expect(store.textOf(endedSessionPath("c"))).toBeDefined();
  });

  test("is one of a bounded number, for a bounded time, and for no id that is long", async () => {
    const { context, store, endedSessions, rest } = scene();
    const now = context.clock.wall();
    for (let number = 0; number < endedSessionsMax; number++)
      store.put(
        endedSessionPath(`c${number}`),
        JSON.stringify({ ...notice, until: number === 3 ? now - 1 : now + 1000 }),
      );
    await endedSessions.start();
    expect([endedSessions.noticeOf("c3"), endedSessions.noticeOf("c4")?.messages]).toEqual([undefined, 10]);
    const why = { cause: "full", messages: 1 } as const;
    const [record, operations] = endedSessions.draft("new", why);
    expect(record.until - record.endedAt).toBe(endedNoticeMs);
    expect(operations.map(({ kind, path }) => [kind, path])).toEqual([
      ["remove", endedSessionPath("c0")],
      ["put", endedSessionPath("new")],
    ]);
    expect(endedSessions.draft("x".repeat(200), why)[1]).toEqual([]);
    endedSessions.sweep();
    await rest();
    expect([store.textOf(endedSessionPath("c3")), endedSessions.clientIds.length]).toEqual([
      undefined,
      endedSessionsMax - 1,
    ]);
  });
});

describe("what is left of a session that is over", () => {
  test("is removed with its subscriptions, but nothing of one that is being let in or has a record", async () => {
    const made = scene();
    const { context, store, fill, obtaining, sessionRemains, rest } = made;
    const ids = ["over", "coming", "living"];
    for (const id of ids) {
      store.put(sessionPath(id), id === "living" ? "{}" : "");
      fill(id, 0);
      const remote = new RemoteSession(id);
      const subscription = { filter: parseFilter("a")!, qos: 1, noLocal: false, retainAsPublished: false } as const;
      remote.subscriptions.set("a", { ...subscription, retainHandling: 0, id: 0 });
      context.remoteSessions.set(id, remote);
      store.put(subscriberPath("a", id));
    }
    obtaining.add("coming");
    await Promise.all([sessionRemains.look(ids), rest()]);
    await rest(mailboxRemainsMs);
    expect(ids.map((id) => isThere(made, sessionPath(id)))).toEqual([false, true, true]);
    expect(ids.map((id) => isThere(made, subscriberPath("a", id)))).toEqual([false, true, true]);
  });
});

test("mailboxes that are nearly full are counted again, for others may have emptied them", async () => {
  const { context, store, kept, fullMailboxes, rest } = scene();
  const mailboxes = new MailboxGauge(context, { numbers: context.slips.numbers, look: () => {} });
  Object.assign(context, { mailboxes });
  kept("c", maxQueued - 1);
  fullMailboxes.look("c");
  await rest();
  expect(context.metrics.mailboxesHigh).toBe(1);
  for (let number = 0; number < 5; number++) store.remove(`${mailPath("c")}/000000000${number}`);
  await rest(mailboxHighLookMs);
  expect(context.metrics.mailboxesHigh).toBe(0);
});
