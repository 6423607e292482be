/** Sessions in the store, and their handover: whose they are, until when, and what is left when they go. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import type { ConnectionEnd } from "../../../src/broker/connect/connection-end.ts";
import { SessionHandover } from "../../../src/broker/connect/session-handover.ts";
import { SessionStore } from "../../../src/broker/connect/session-store.ts";
import type { Wills } from "../../../src/broker/connect/wills.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import type { SubscriptionDirectory } from "../../../src/broker/peers/subscription-directory.ts";
import type { Regrouping } from "../../../src/broker/publish/regrouping.ts";
import { mailPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { decodeSession, type SessionRecord } from "../../../src/mail/records.ts";
import type { WillRecord } from "../../../src/mail/will-record.ts";
import { sessionNeverExpires } from "../../../src/mqtt/constants.ts";
import { makePublish } from "../../../src/mqtt/publish.ts";
import { Reason } from "../../../src/mqtt/reason.ts";
import { noteIn, room, settled } from "../../support/room.ts";

function scene() {
  const made = room();
  const { context, store } = made;
  /** The calls of other parts, in order. */
  const asked: string[] = [];
  const ask = noteIn(asked);
  const wills = {
    publishNow: ask("publish the will of"),
    forget: ask("forget the will of"),
    abandon: ask("leave the will of"),
    cameBack: (clientId: string) => void asked.push(`${clientId} is elsewhere`),
  } as unknown as Wills;
  const regrouping = { reassignSlip: (_: unknown, __: unknown, done: (isGone: boolean) => void) => done(false) };
  const sessionStore = new SessionStore(context, {
    ...{ wills, interest: new Interest(context) },
    regrouping: regrouping as unknown as Regrouping,
  });
  const disconnect = ({ client }: Connection, reason: number): void => {
    asked.push(`disconnect ${client!.session.clientId}, 0x${reason.toString(16)}`);
    client!.detach();
  };
  const directory = {
    release: (client: LocalSession) => {
      ask("release")(client);
      context.localSessions.delete(client.session.clientId);
    },
    lose: ask("lose"),
  } as unknown as SubscriptionDirectory;
  const handover = new SessionHandover(context, {
    ...{ wills, sessionStore, directory },
    connectionEnd: { disconnect } as unknown as ConnectionEnd,
  });
  const connect = (client: LocalSession): void => {
    const connection = { client, writer: { unsent: 0 }, channel: { phase: "open" } };
    client.attach(connection as unknown as Connection, 10);
  };
  /** A session whose record is in the store. */
  const recorded = (clientId: string, expiry = 100): LocalSession => {
    const client = made.session(clientId, expiry);
    context.journal.commit([sessionStore.record(client, "connected")]);
    return client;
  };
  const record = (clientId: string): SessionRecord =>
    decodeSession(new TextEncoder().encode(store.textOf(sessionPath(clientId))));
  const isStored = (clientId: string): boolean => store.textOf(sessionPath(clientId)) !== undefined;
  const commitAll = async (): Promise<void> => {
    for (let step = 0; step < 5; step++) {
      made.pass(10);
      await settled();
    }
  };
  return { ...made, asked, sessionStore, handover, connect, recorded, record, isStored, commitAll };
}

describe("a session's record", () => {
  test("names this broker and its epoch; while its client is connected it has no end", async () => {
    const { recorded, record, commitAll } = scene();
    recorded("c", 60);
    await commitAll();
    const connected = { connected: true, expiresAt: null };
    expect(record("c")).toMatchObject({ owner: "here", epoch: 7, version: 5, expiryInterval: 60, ...connected });
  });

  test("of a client that is away says when it expires: never, if the client wants it so", async () => {
    const { context, sessionStore, recorded, record, commitAll } = scene();
    const [brief, endless] = [recorded("c", 60), recorded("e", sessionNeverExpires)];
    await commitAll();
    const until = context.clock.wall() + 60_000;
    for (const client of [brief, endless]) sessionStore.recordAway(client);
    await commitAll();
    expect(record("c")).toMatchObject({ connected: false, expiresAt: until });
    expect(record("e")).toMatchObject({ connected: false, expiresAt: null });
  });

  test("is written on the version that this broker has written last: another's change makes the session that one's", async () => {
    const { store, evicted, sessionStore, recorded, record, commitAll } = scene();
    const client = recorded("c");
    await commitAll();
    for (let count = 0; count < 3; count++) sessionStore.recordAway(client);
    await commitAll();
    expect([client.fencingToken.version, evicted]).toEqual([3, []]);
    store.put(sessionPath("c"), store.textOf(sessionPath("c"))!.replace('"here"', '"there"'));
    sessionStore.recordAway(client);
    await commitAll();
    expect([record("c").owner, evicted]).toEqual(["there", ["c"]]);
  });
});

describe("the expiry of a session", () => {
  test("publishes its will and leaves nothing of it, when its client has been away for long enough", async () => {
    const { context, asked, sessionStore, recorded, isStored, commitAll, pass } = scene();
    sessionStore.recordAway(recorded("c", 60));
    await commitAll();
    pass(59_000);
    await commitAll();
    expect([asked, isStored("c")]).toEqual([[], true]);
    pass(1000);
    await commitAll();
    expect(asked).toEqual(["publish the will of c"]);
    expect([isStored("c"), context.localSessions.has("c")]).toEqual([false, false]);
  });

  test("does not come for one whose client is back after two others of its connections had gone", async () => {
    const { asked, context, sessionStore, recorded, commitAll, pass } = scene();
    const client = recorded("c", 60);
    for (let gone = 0; gone < 2; gone++) sessionStore.recordAway(client);
    client.stopExpiry();
    await commitAll();
    pass(61_000);
    await commitAll();
    expect([asked, client.isOver, context.localSessions.get("c") === client]).toEqual([[], false, true]);
  });

  test("does not come for a session without end, for one whose client is back, or that is another broker's", async () => {
    const { context, asked, sessionStore, recorded, commitAll, pass } = scene();
    const [endless, back, given] = [recorded("endless", sessionNeverExpires), recorded("back"), recorded("given")];
    for (const client of [endless, back, given]) sessionStore.recordAway(client);
    back.stopExpiry();
    context.localSessions.delete("given");
    pass(1001 * sessionNeverExpires);
    await commitAll();
    expect([asked, endless.isOver, back.isOver]).toEqual([[], false, false]);
  });
});

describe("mail from before a session began", () => {
  test("is removed, since a broker that had not heard of the last session's end may have stored it", async () => {
    const { context, store, sessionStore, recorded, commitAll } = scene();
    const client = recorded("c");
    const publish = makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 1, retain: false });
    const draft = { clientId: "c", qos: 1, retain: false, subscriptionIds: [], packetId: 0, groupMark: 0 } as const;
    for (const { operations } of context.mail.store(publish, { order: 1, from: 0 }, [draft]))
      context.journal.commit(operations);
    await commitAll();
    const slips = (): number => [...store.tree.nodes.keys()].filter((path) => path.startsWith(mailPath("c"))).length;
    expect(slips()).toBe(2);
    // Nobody else could have stored it.
    sessionStore.emptyOldMailbox(client);
    await commitAll();
    expect(slips()).toBe(2);
    context.peers.set("b", Object.assign(new Peer("b"), { epoch: 4 }));
    sessionStore.emptyOldMailbox(client);
    await commitAll();
    expect(slips()).toBe(1);
  });
});

describe("a client id that another broker claims", () => {
  test("is given up at once if nothing of it is here", () => {
    const { asked, handover } = scene();
    handover.giveUp("c", { clean: false, done: () => void asked.push("done") });
    expect(asked).toEqual(["c is elsewhere", "done"]);
  });

  test("takes its session with it, when all that is under way is committed", async () => {
    const { store, asked, handover, connect, recorded, commitAll } = scene();
    const client = recorded("c");
    connect(client);
    await commitAll();
    store.answers = false;
    client.context.journal.commit([{ kind: "put", path: "/under-way", data: new Uint8Array(0), exists: false }]);
    await settled();
    handover.giveUp("c", { clean: false, done: () => void asked.push("done") });
    await settled();
    const reason = Reason.sessionTakenOver.toString(16);
    // A broker that drains leaves the will of a connection that ends to wait, until it hears where its client is.
    expect(asked).toEqual([`disconnect c, 0x${reason}`, "c is elsewhere", "forget the will of c"]);
    store.answers = true;
    store.answer();
    await commitAll();
    expect(asked.slice(3)).toEqual(["release c", "done"]);
  });

  test("keeps its session if its client comes back here, by a later claim, before all of that is committed", async () => {
    const { store, asked, context, handover, connect, recorded, commitAll } = scene();
    const client = recorded("c");
    await commitAll();
    store.answers = false;
    client.context.journal.commit([{ kind: "put", path: "/under-way", data: new Uint8Array(0), exists: false }]);
    await settled();
    handover.giveUp("c", { clean: false, done: () => void asked.push("done") });
    client.belongTo("", 2000);
    connect(client);
    store.answers = true;
    store.answer();
    await commitAll();
    expect(asked).toEqual(["c is elsewhere", "forget the will of c", "done"]);
    expect([context.localSessions.get("c") === client, client.isReleased]).toEqual([true, false]);
  });

  test("ends its session where the client begins anew, and its will is published", async () => {
    const { context, asked, handover, recorded, isStored, commitAll } = scene();
    recorded("c");
    await commitAll();
    handover.giveUp("c", { clean: true, done: () => void asked.push(isStored("c") ? "too early" : "done") });
    await commitAll();
    expect(asked).toEqual(["c is elsewhere", "publish the will of c", "done"]);
    expect(context.localSessions.has("c")).toBe(false);
  });
});

describe("a session that another broker has taken", () => {
  test("is given up with its connection and its will, once, and only if it is in the store", () => {
    const { context, asked, handover, connect, session } = scene();
    const [kept, brief] = [session("kept", 100), session("brief")];
    for (const client of [kept, brief]) connect(client);
    handover.evict(brief);
    expect(asked).toEqual([]);
    handover.evict(kept);
    const reason = Reason.sessionTakenOver.toString(16);
    expect(asked).toEqual(["forget the will of kept", "lose kept", `disconnect kept, 0x${reason}`]);
    context.localSessions.delete("kept");
    handover.evict(kept);
    expect(asked.length).toBe(3);
  });
});

describe("when its time is over", () => {
  test("a session whose client is away ends and is counted, and one that another broker keeps is neither", async () => {
    const { context, asked, recorded, sessionStore, pass } = scene();
    const [away, moved] = [recorded("away"), recorded("moved")];
    for (const client of [away, moved]) sessionStore.expireIn(client, 1000);
    context.localSessions.delete("moved");
    pass(1001);
    await settled();
    expect(asked).toContain("publish the will of away");
    expect(asked).not.toContain("publish the will of moved");
    expect(context.metrics.sessionsExpired).toBe(1);
  });
});

describe("when the lease is over", () => {
  test("no session that others may keep is served, and no client with a will; the others stay", () => {
    const { asked, handover, connect, session, sessionStore, pass } = scene();
    const [kept, away, brief, willing] = [session("kept", 50), session("away", 50), session("brief"), session("will")];
    for (const client of [kept, brief, willing]) connect(client);
    willing.setWill({} as WillRecord);
    sessionStore.expireIn(away, 1000);
    handover.fence();
    const reason = Reason.useAnotherServer.toString(16);
    expect(asked).toEqual([
      ...["leave the will of kept", "lose kept", `disconnect kept, 0x${reason}`],
      ...["leave the will of away", "lose away"],
      ...["leave the will of will", `disconnect will, 0x${reason}`],
    ]);
    pass(2000);
    expect(away.isOver).toBe(false);
  });
});
