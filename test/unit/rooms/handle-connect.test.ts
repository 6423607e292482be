/** CONNECT, handled alone: what it waits for in turn, who is let in with which session, and who is refused why. */
import { describe, expect, test } from "bun:test";
import type { ProtocolError } from "../../../src/base/errors.ts";
import type { Admission } from "../../../src/broker/connect/admission.ts";
import type { ConnectionEnd } from "../../../src/broker/connect/connection-end.ts";
import type { EndedSessions } from "../../../src/broker/connect/ended-sessions.ts";
import { ConnectHandler } from "../../../src/broker/connect/handle-connect.ts";
import type { OrphanedWills } from "../../../src/broker/connect/orphaned-wills.ts";
import { SessionStore } from "../../../src/broker/connect/session-store.ts";
import { type Grant, sessionFromStore, type TakeOver } from "../../../src/broker/connect/take-over.ts";
import type { Wills } from "../../../src/broker/connect/wills.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import type { StoreBackPressure } from "../../../src/broker/delivery/store-back-pressure.ts";
import type { MailDrops } from "../../../src/broker/drops/mail-drops.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import type { SessionRegistry } from "../../../src/broker/peers/session-registry.ts";
import type { SubscriptionDirectory } from "../../../src/broker/peers/subscription-directory.ts";
import type { Regrouping } from "../../../src/broker/publish/regrouping.ts";
import type { ReadResult } from "../../../src/coordinator/coordinator.ts";
import { sessionPath } from "../../../src/coordinator/paths.ts";
import { decodeSession, encodeSession, type SessionRecord } from "../../../src/mail/records.ts";
import { Reason } from "../../../src/mqtt/reason.ts";
import { framed, nearClient } from "../../support/near-client.ts";
import { permissionsBy } from "../../support/permissions.ts";
import type { AnyPacket } from "../../support/raw-client.ts";
import { noteIn, type RoomOptions, room, settled } from "../../support/room.ts";

type Room = ReturnType<typeof room>;
type Calls = (() => void)[];

/** A place that a CONNECT passes on its way: at once, or when the test says so. */
class Gate {
  isOpen = true;
  readonly waiting: Calls = [];

  readonly pass = (go: () => void): void => {
    if (this.isOpen) go();
    else this.waiting.push(go);
  };

  open(): void {
    for (const go of this.waiting.splice(0)) go();
  }
}

interface World {
  readonly gates: { readonly login: Gate; readonly store: Gate; readonly others: Gate; readonly will: Gate };
  readonly asked: string[];
  outcome: string;
  mustRead: boolean;
  permissions: ReturnType<typeof permissionsBy> | undefined;
  username: string | undefined;
  /** The Reason String of CONNACK, of an earlier session that was ended. */
  ended?: string;
}

/** Reads a session as `TakeOver.read` does. */
function readFrom({ context, store }: Room, clientId: string): LocalSession | undefined {
  const results = [store.tree.read({ kind: "get", path: sessionPath(clientId) }), "NoNode", "NoNode"] as ReadResult[];
  return results[0] === "NoNode" ? undefined : sessionFromStore(context, clientId, results);
}

/** The parts around the handler; the store of sessions is real. */
function partsOf(room_: Room, world: World) {
  const [{ context }, { asked, gates }] = [room_, world];
  const note = noteIn(asked);
  const keep = (client: LocalSession) => context.localSessions.set(client.session.clientId, client);
  const end = ({ channel }: Connection, what: string): void => {
    asked.push(what);
    channel.close();
  };
  const hex = (reason: number): string => `0x${reason.toString(16)}`;
  const wills = {
    whenPublished: (_: string, go: () => void) => gates.will.pass(go),
    ...{ set: () => [], mayRemain: () => false },
    withdrawn: note("will withdrawn:"),
    abandon: note("will abandoned:"),
    forget: note("will forgotten:"),
    publishNow: note("will published:"),
  } as unknown as Wills;
  const regrouping = {} as unknown as Regrouping;
  return {
    wills,
    sessionStore: new SessionStore(context, { wills, interest: new Interest(context), regrouping }),
    connectionEnd: {
      refuse: (connection: Connection, reason: number) => end(connection, `refuse ${hex(reason)}`),
      turnAway: (connection: Connection, why: string) => end(connection, `turn away: ${why}`),
      fail: (connection: Connection, { reason }: ProtocolError) => end(connection, `fail ${hex(reason)}`),
      disconnect(connection: Connection, reason: number) {
        end(connection, `disconnect ${hex(reason)}`);
        connection.client?.detach();
      },
    } as unknown as ConnectionEnd,
    admission: {
      login: (_: unknown, __: unknown, ___: unknown, admitted: (login: object) => void) =>
        gates.login.pass(() =>
          admitted({ identity: { username: world.username }, permissions: world.permissions, proof: undefined }),
        ),
      watch: () => {},
    } as unknown as Admission,
    takeOver: {
      claim: (_: unknown, decided: (outcome: string, grant: Grant) => void) =>
        gates.others.pass(() => decided(world.outcome, { silent: () => [], stamp: 1 })),
      mustReadStore: () => world.mustRead,
      read: (clientId: string, done: (found: LocalSession | undefined) => void) => {
        asked.push(`read ${clientId}`);
        done(readFrom(room_, clientId));
      },
      readIncoming: (client: LocalSession, done: () => void) => {
        note("read half-received publishes of")(client);
        done();
      },
    } as unknown as TakeOver,
    orphanedWills: { cameBack: () => [] } as unknown as OrphanedWills,
    registry: { begin: note("register") } as unknown as SessionRegistry,
    directory: {
      begin: keep,
      adopt: (client: LocalSession) => [note("adopt")(client), keep(client)],
    } as unknown as SubscriptionDirectory,
    endedSessions: { begin: () => {}, told: () => {}, tell: () => world.ended } as unknown as EndedSessions,
    drops: { resume: note("resume drops of") } as unknown as MailDrops,
    storeBackPressure: {
      pass: (_: unknown, go: () => void) => gates.store.pass(go),
    } as unknown as StoreBackPressure,
    resume: (connection: Connection, reason: number) =>
      void (connection.release(reason) && connection.transport.resume()),
  };
}

function scene(options: RoomOptions = {}) {
  const made = room(options);
  const { context, store } = made;
  const gates = { login: new Gate(), store: new Gate(), others: new Gate(), will: new Gate() };
  const world: World = {
    gates,
    asked: [],
    outcome: "granted",
    mustRead: false,
    permissions: undefined,
    username: undefined,
  };
  const handler = new ConnectHandler(context, partsOf(made, world));
  /** Has a client of MQTT 5 send CONNECT; `expiry` in seconds. */
  const connect = (clientId: string, { expiry = 0, ...more }: AnyPacket = {}) => {
    const near = nearClient(context.turn);
    const properties = { sessionExpiryInterval: expiry, ...more.properties };
    handler.receive(
      near.connection,
      framed({ cmd: "connect", clientId, protocolVersion: 5, clean: false, keepalive: 10, ...more, properties }),
    );
    return near;
  };
  const put = (clientId: string, some: Partial<SessionRecord> = {}): void => {
    const record = {
      owner: "dead",
      epoch: 3,
      connected: false,
      version: 5,
      expiryInterval: 60,
      expiresAt: null,
    } as const;
    store.put(sessionPath(clientId), encodeSession({ ...record, ...some }));
  };
  const record = (clientId: string): SessionRecord =>
    decodeSession(new TextEncoder().encode(store.textOf(sessionPath(clientId))));
  const noted = (): string[] => world.asked.splice(0);
  return { ...made, handler, gates, world, connect, put, record, noted };
}

const letIn = (sessionPresent: boolean) => [{ cmd: "connack", reasonCode: 0, sessionPresent }];

describe("a client whose session ends with its connection", () => {
  test("is let in at once, without the store, within what both sides take", () => {
    const { context, store, gates, connect, noted } = scene({ maxInflight: 20 });
    store.answers = false;
    gates.store.isOpen = false;
    const { connection, state, received } = connect("c", { properties: { receiveMaximum: 5, topicAliasMaximum: 3 } });
    expect(received()).toMatchObject([{ cmd: "connack", reasonCode: 0, properties: { receiveMaximum: 20 } }]);
    expect([connection.channel.phase, connection.channel.silenceMs, state.isRead]).toEqual(["open", 15_000, true]);
    expect(connection.client).toBe(context.localSessions.get("c")!);
    const { inflight } = connection.client!;
    expect([inflight.limit, noted()]).toEqual([5, []]);
  });
});

describe("a client whose session outlives its connection", () => {
  test("is let in when the store has its session, and only listened to before", async () => {
    const { context, store, connect, record, noted } = scene();
    store.answers = false;
    const { connection, state, received } = connect("c", { expiry: 60 });
    await settled();
    expect([received(), connection.isHeld, state.isRead]).toEqual([[], true, true]);
    expect(context.localSessions.has("c")).toBe(false);
    store.answers = true;
    store.answer();
    await settled();
    expect(received()).toMatchObject(letIn(false));
    expect(record("c")).toMatchObject({ owner: "here", epoch: 7, connected: true, expiryInterval: 60 });
    expect([connection.connectZxid, state.isRead, noted()]).toEqual([store.tree.zxid, true, ["register c"]]);
  });

  test("waits in turn for its login, the store, the other brokers, and its earlier will", async () => {
    const { gates, connect } = scene();
    const order = [gates.login, gates.store, gates.others, gates.will];
    for (const gate of order) gate.isOpen = false;
    const { connection, received } = connect("c", { expiry: 60 });
    for (const gate of order) {
      await settled();
      expect(connection.isHeld).toBe(true);
      expect([received(), order.map(({ waiting }) => waiting.length)]).toEqual([
        [],
        order.map((other) => (other === gate ? 1 : 0)),
      ]);
      gate.open();
    }
    await settled();
    expect(received()).toMatchObject(letIn(false));
  });

  test("finds its session as it has left it", async () => {
    const { connect, noted } = scene();
    const first = connect("c", { expiry: 60 });
    await settled();
    noted();
    const { client } = first.connection;
    const second = connect("c", { expiry: 90 });
    await settled();
    expect(second.received()).toMatchObject(letIn(true));
    expect(second.connection.client).toBe(client!);
    const takenOver = `disconnect 0x${Reason.sessionTakenOver.toString(16)}`;
    expect([noted(), client!.session.expiryInterval]).toEqual([[takenOver, "register c", "resume drops of c"], 90]);
  });

  test("begins anew with Clean Start: the earlier session is gone from the store before", async () => {
    const { context, store, connect, noted, pass } = scene();
    connect("c", { expiry: 60 });
    await settled();
    const before = context.localSessions.get("c");
    noted();
    const { received } = connect("c", { expiry: 60, clean: true });
    for (let step = 0; step < 5; step++) {
      pass(10);
      await settled();
    }
    expect(received()).toMatchObject(letIn(false));
    expect(context.localSessions.get("c")).not.toBe(before);
    const kinds = store.commits.flat().filter(({ path }) => path === sessionPath("c"));
    expect(kinds.map(({ kind }) => kind)).toEqual(["create", "check", "set", "set"]);
  });
});

describe("a session that no broker keeps", () => {
  test("is read from the store, and this broker's when its record says so", async () => {
    const { context, store, world, connect, put, record, noted } = scene();
    world.mustRead = true;
    put("c");
    store.answers = false;
    const { received } = connect("c", { expiry: 60 });
    await settled();
    expect([noted(), received(), context.localSessions.has("c")]).toEqual([["read c"], [], false]);
    store.answers = true;
    store.answer();
    await settled();
    expect([received(), record("c").owner]).toMatchObject([letIn(true), "here"]);
    expect(noted()).toEqual(["read half-received publishes of c", "adopt c", "register c", "resume drops of c"]);
  });

  test("is read anew if another broker was faster, and not for ever", async () => {
    const { store, world, evicted, connect, put, noted } = scene();
    world.mustRead = true;
    put("c");
    let losses = 2;
    const write = store.write.bind(store);
    store.write = (operations, done, repair) => {
      if (losses-- > 0) put("c", { owner: "faster" });
      write(operations, done, repair);
    };
    const { received } = connect("c", { expiry: 60 });
    for (let step = 0; step < 10; step++) await settled();
    expect(received()).toMatchObject(letIn(true));
    expect([evicted, noted().filter((what) => what === "read c").length]).toEqual([["c", "c"], 3]);
    losses = Infinity;
    put("d");
    store.write = (operations, done, repair) => {
      put("d", { owner: "faster" });
      write(operations, done, repair);
    };
    connect("d", { expiry: 60 });
    for (let step = 0; step < 20; step++) await settled();
    expect(noted().at(-1)).toBe(`refuse 0x${Reason.serverBusy.toString(16)}`);
  });
});

describe("a client id", () => {
  test("that two connections ask for at once is the later one's", () => {
    const { gates, connect, noted } = scene();
    gates.others.isOpen = false;
    const [first, second] = [connect("c"), connect("c")];
    expect(noted()).toEqual([`refuse 0x${Reason.serverBusy.toString(16)}`]);
    gates.others.open();
    expect([first.received(), second.received()]).toMatchObject([[], letIn(false)]);
  });

  test("that another broker has been asked for later is refused here", () => {
    const { context, world, connect, noted } = scene();
    world.outcome = "elsewhere";
    connect("c");
    expect([noted(), context.localSessions.size]).toEqual([[`refuse 0x${Reason.serverBusy.toString(16)}`], 0]);
  });

  test("has others wait for it while its session is being taken, and only then", async () => {
    const { store, handler, connect } = scene();
    const gone: string[] = [];
    store.answers = false;
    connect("c", { expiry: 60 });
    await settled();
    expect([handler.isObtaining("c"), handler.isObtaining("d")]).toEqual([true, false]);
    for (const clientId of ["c", "d"]) handler.whenConnected(clientId, () => void gone.push(clientId));
    expect(gone).toEqual(["d"]);
    store.answers = true;
    store.answer();
    await settled();
    expect([gone, handler.isObtaining("c")]).toEqual([["d", "c"], false]);
  });
});

describe("a client that is not let in", () => {
  test("is one of another user, whose session is here or at another broker", async () => {
    const { context, world, connect, noted } = scene();
    world.username = "owner";
    const first = connect("c", { expiry: 60 });
    await settled();
    noted();
    world.username = "other";
    connect("c", { expiry: 60 });
    await settled();
    expect(noted()).toEqual(["turn away: client_id"]);
    expect(context.localSessions.get("c")!.connection).toBe(first.connection);
    world.outcome = "anothers";
    connect("d");
    expect(noted()).toEqual(["turn away: client_id"]);
  });

  const reasonOf = (reason: number): string => `0x${reason.toString(16)}`;

  test("is one that could not be sent CONNACK, but not one that may not publish its will: it has none", () => {
    const { context, world, connect, noted } = scene();
    connect("c", { properties: { maximumPacketSize: 5 } });
    expect(noted()).toEqual([`fail ${reasonOf(Reason.packetTooLarge)}`]);
    world.permissions = permissionsBy("pattern write #\npattern deny secret");
    const will = { topic: "secret", payload: "x", qos: 0, retain: false };
    expect(connect("c", { will }).received()[0].properties.reasonString).toMatch(/will/);
    expect([noted(), context.metrics.forbidden.will]).toEqual([[], 1]);
  });

  test("is any at a broker that is about to leave, and one that needs the store at a broker without a lease", () => {
    const { context, connect, noted } = scene();
    context.self.isFenced = true;
    expect(connect("plain").received()).toMatchObject(letIn(false));
    connect("kept", { expiry: 60 });
    connect("willing", { will: { topic: "t", payload: "x", qos: 0, retain: false } });
    context.self.isDraining = true;
    connect("late");
    expect(noted()).toEqual(["turn away: fenced", "turn away: fenced", `refuse ${reasonOf(Reason.useAnotherServer)}`]);
  });

  test("is one whose session was claimed before the lease was over, and comes to be recorded after it", async () => {
    const { context, gates, connect, noted } = scene();
    gates.will.isOpen = false;
    connect("c", { expiry: 60 });
    context.self.fences++;
    gates.will.open();
    await settled();
    expect(noted()).toEqual(["turn away: fenced"]);
  });

  test("is one that brings something new for a full disk", async () => {
    const { store, connect, noted } = scene();
    store.isFull = true;
    connect("c", { expiry: 60 });
    await settled();
    expect(noted()).toEqual(["turn away: disk"]);
  });

  test("since it has gone before CONNACK leaves its session as if it had left", async () => {
    const { store, connect, record, noted } = scene();
    store.answers = false;
    const { connection, received } = connect("c", { expiry: 60 });
    await settled();
    connection.channel.close();
    store.answers = true;
    store.answer();
    await settled();
    expect([received(), noted(), record("c").connected]).toEqual([[], ["will forgotten: c"], false]);
  });
});
