/** The room `connect`, part by part: who comes in and with what, and how sessions end; its wills: `wills.test.ts`. */
import { describe, expect, test } from "bun:test";
import type { Access } from "../../../src/access/access.ts";
import { Bans } from "../../../src/access/bans.ts";
import { expiringMax, linesPerCauseMax, refusedConnectionsMax } from "../../../src/base/limits.ts";
import { Admission } from "../../../src/broker/connect/admission.ts";
import { encodeConnack } from "../../../src/broker/connect/connack.ts";
import { readConnectRequest } from "../../../src/broker/connect/connect-request.ts";
import type { ConnectionEnd } from "../../../src/broker/connect/connection-end.ts";
import { SessionErasure } from "../../../src/broker/connect/session-erasure.ts";
import { type BrokerOptions, defaultOptions } from "../../../src/broker/core/options.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { LocalSession } from "../../../src/broker/delivery/local-session.ts";
import { Interest } from "../../../src/broker/peers/interest.ts";
import type { MailboxOwner, Regrouping } from "../../../src/broker/publish/regrouping.ts";
import { mailPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { decodeWill, encodeWill } from "../../../src/mail/will-record.ts";
import { sessionNeverExpires } from "../../../src/mqtt/constants.ts";
import { type ConnectPacket, decodeConnect } from "../../../src/mqtt/control.ts";
import { Framer } from "../../../src/mqtt/framer.ts";
import { topicOf } from "../../../src/mqtt/publish.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { alternativeNamesIn } from "../../../src/net/tls.ts";
import { packetOf, sectionHex, textHex } from "../../support/packet-bytes.ts";
import { type RoomOptions, room, settled } from "../../support/room.ts";

describe("what CONNECT asks for", () => {
  interface Asked {
    readonly version?: 3 | 4 | 5;
    readonly flags?: string;
    readonly keepAlive?: string;
    readonly properties?: string;
    readonly payload?: string;
    readonly options?: Partial<BrokerOptions>;
  }

  function read({ version = 5, flags = "02", keepAlive = "0000", properties, payload = textHex("c"), options }: Asked) {
    const framer = new Framer(100_000);
    const section = version === 5 ? (properties ?? sectionHex()) : "";
    const name = textHex(version === 3 ? "MQIsdp" : "MQTT");
    framer.feed(packetOf(0x10, name, `0${version}`, flags, keepAlive, section, payload));
    expect(framer.next()).toBe(true);
    const random = { next: () => 0, hex: (bytes: number) => "0f".repeat(bytes) };
    return readConnectRequest(decodeConnect(framer), framer, { options: { ...defaultOptions, ...options }, random });
  }

  test("a session's expiry: MQTT 5 says it, before that clean session does; the operator's limit holds", () => {
    const expiries = [
      read({}),
      read({ properties: sectionHex("11 00000064") }),
      read({ properties: sectionHex("11 ffffffff") }),
      read({ version: 4 }),
      read({ version: 4, flags: "00" }),
      read({ version: 4, flags: "00", options: { sessionExpiryMax: sessionNeverExpires } }),
      read({ version: 3, flags: "00", options: { sessionExpiryMax: 60 } }),
      read({ properties: sectionHex("11 00000064"), options: { sessionExpiryMax: 60 } }),
    ].map(({ expiryInterval }) => expiryInterval);
    const week = 7 * 86_400;
    expect(expiries).toEqual([0, 100, week, 0, week, sessionNeverExpires, 60, 60]);
  });

  test("a keep alive within the operator's limit, whether the client can be told of it or not", () => {
    const options = { keepaliveMax: 60 };
    const of = (version: 4 | 5, keepAlive: string) => read({ version, keepAlive, options }).keepAlive;
    expect([of(5, "001e"), of(5, "003c"), of(5, "003d"), of(5, "0000")]).toEqual([30, 60, 60, 60]);
    expect([of(4, "003c"), of(4, "003d"), of(4, "0000")]).toEqual([60, 60, 60]);
    expect(read({ keepAlive: "0000" }).keepAlive).toBe(0);
  });

  test("a client identifier that is empty is made up, or refused where there is none to go on with", () => {
    expect(read({ payload: textHex("") })).toMatchObject({ assigned: true, clientId: `auto-${"0f".repeat(16)}` });
    expect(read({ version: 4, payload: textHex("") })).toMatchObject({ assigned: true });
    for (const [version, flags] of [
      [4, "00"],
      [3, "02"],
    ] as const)
      expect(() => read({ version, flags, payload: textHex("") })).toThrow("empty client identifier");
  });

  test("Authentication Data only with a Method (3.1.2.11.10)", () => {
    expect(() => read({ properties: sectionHex("16", textHex("x")) })).toThrow("without an Authentication Method");
    const properties = sectionHex("15", textHex("SCRAM-SHA-256"), "16", textHex("x"));
    expect(read({ properties }).clientId).toBe("c");
  });

  test("data of an authentication without its method is refused", () => {
    expect(() => read({ properties: sectionHex("16 0002 6162") })).toThrow("without an Authentication Method");
    expect(read({ properties: sectionHex("15 0001 78", "16 0002 6162") }).clientId).toBe("c");
  });

  test("a will with its properties, kept apart from the chunk that it came in", () => {
    const section = sectionHex("18 0000000a", "02 0000003c", "26", textHex("k"), textHex("v"));
    const { will } = read({ flags: "36", payload: `${textHex("c")}${section}${textHex("t")}${textHex("gone")}` });
    expect([topicOf(will!.publish), will!.publish.qos, will!.publish.retain]).toEqual(["t", 2, true]);
    expect([will!.delay, will!.expiryMs]).toEqual([10, 60_000]);
    const again = decodeWill(encodeWill({ ...will!, epoch: 1 }));
    expect([again.delay, again.expiryMs, topicOf(again.publish)]).toEqual([10, 60_000, "t"]);
    const wild = `${textHex("c")}${sectionHex()}${textHex("t/#")}${textHex("gone")}`;
    expect(() => read({ flags: "06", payload: wild })).toThrow("not a topic name");
  });

  test("and CONNACK says only what is otherwise than it was asked", () => {
    const connackOf = (asked: Asked): string => {
      const wanted = { ...read(asked), login: { proof: undefined } };
      const options = { ...defaultOptions, ...asked.options };
      return Buffer.from(encodeConnack(wanted, { sessionPresent: false }, options)).toString("hex");
    };
    const plain = connackOf({});
    expect(connackOf({ keepAlive: "001e", properties: sectionHex("11 00000064") })).toBe(plain);
    // Server Keep Alive, Session Expiry Interval.
    expect(connackOf({ keepAlive: "00ff", options: { keepaliveMax: 60 } })).toContain("13003c");
    const options = { sessionExpiryMax: 60 };
    expect(connackOf({ properties: sectionHex("11 00000064"), options })).toContain("110000003c");
    expect([connackOf({ version: 4 }), connackOf({ version: 3 })]).toEqual(["20020000", "20020000"]);
  });
});

describe("the door", () => {
  function door(options: RoomOptions) {
    const made = room(options);
    const bans = new Bans({ failures: 2, ms: 1000 });
    const connectionEnd = {} as unknown as ConnectionEnd;
    const admission = new Admission(made.context, { connectionEnd, access: undefined, bans });
    const open = (address = "192.0.2.1"): Connection => {
      const connection = { transport: { address }, framer: {}, refusal: undefined } as unknown as Connection;
      made.context.metrics.connections++;
      return Object.assign(connection, { isKept: admission.arrived(connection) });
    };
    return { ...made, bans, admission, open };
  }

  test("counts connections by their address, and those that have left no more", () => {
    const { admission, open } = door({ maxConnectionsPerAddress: 2 });
    const [first, second, third] = [open(), open(), open()];
    expect([first.refusal, second.refusal, third.refusal]).toEqual([undefined, undefined, 0x97]);
    expect(open("192.0.2.2").refusal).toBeUndefined();
    admission.left(third);
    admission.left(first);
    expect([open().refusal, open().refusal]).toEqual([undefined, 0x97]);
    // Of whom no address is known they are not counted.
    for (let count = 0; count < 5; count++) expect(open("").refusal).toBeUndefined();
  });

  test("says the first reason only, and counts by it", () => {
    const { context, bans, open } = door({ maxConnections: 1, maxConnectionsPerAddress: 1 });
    open();
    for (let count = 0; count < 2; count++)
      bans.failed({ address: "192.0.2.1", username: undefined }, context.clock.now());
    expect(open().refusal).toBe(0x97);
    expect(open("192.0.2.2").refusal).toBe(0x97);
    expect(context.metrics.turnedAway).toMatchObject({ address: 1, connections: 1, banned: 0 });
  });

  test("logs some of the logins that it refuses, from each address", () => {
    const { context, lines } = room({});
    const refuse = (): void => {};
    const why = "there is no user";
    const access = {
      authenticate: (_: unknown, done: (verdict: object) => void) => done({ kind: "refused", why }),
    } as unknown as Access;
    const bans = new Bans({ failures: 0, ms: 1000 });
    const admission = new Admission(context, { connectionEnd: { refuse } as unknown as ConnectionEnd, access, bans });
    const attempt = (address: string): void => {
      const connection = { transport: { address, remote: address }, channel: { phase: "connecting" } };
      admission.login(connection as unknown as Connection, {} as ConnectPacket, "c", () => {});
    };
    for (const address of ["192.0.2.1", "192.0.2.2"]) for (let count = 0; count < 100; count++) attempt(address);
    expect(lines.length).toBe(2 * linesPerCauseMax);
    expect(lines[linesPerCauseMax]!.text).toBe(`login refused: ${why} (and ${100 - linesPerCauseMax} more like it)`);
    expect(context.metrics.loginsFailed).toBe(200);
  });

  test("tells nobody whether a guess was right that was checked when the ban came", () => {
    const { context } = room({});
    const refused: number[] = [];
    const checking: ((verdict: object) => void)[] = [];
    const access = { authenticate: (_: unknown, done: (verdict: object) => void) => checking.push(done) };
    const bans = new Bans({ failures: 1, ms: 1000 });
    const connectionEnd = { refuse: (_: unknown, reason: number) => refused.push(reason) } as unknown as ConnectionEnd;
    const admission = new Admission(context, { connectionEnd, access: access as unknown as Access, bans });
    for (const username of ["alice", "alice", "bob"]) {
      const connection = { transport: { address: "192.0.2.1" }, channel: { phase: "connecting" } };
      const admitted = (): never => expect.unreachable();
      admission.login(connection as unknown as Connection, { username } as ConnectPacket, "c", admitted);
    }
    checking[0]!({ kind: "refused", why: "wrong" });
    checking[1]!({ kind: "welcome", identity: { username: "alice" } });
    checking[2]!({ kind: "refused", why: "wrong" });
    expect(refused).toEqual([0x87, 0x8a, 0x8a]);
    expect(context.metrics).toMatchObject({ loginsFailed: 1, turnedAway: { banned: 2 } });
  });

  test("takes a user name from the kind of a certificate's names that the operator has chosen", () => {
    const alternativeNames = alternativeNamesIn(
      'URI:urn:admin, email:admin@a.test, URI:"urn:x\\u002c DNS:admin", DNS:dev.test, DNS:two.test, IP Address:10.0.0.1',
    );
    const nameBy = (tlsIdentity: BrokerOptions["tlsIdentity"], names = alternativeNames): string | undefined => {
      const asked: { certificate: string | undefined }[] = [];
      const access = { authenticate: (applicant: (typeof asked)[0]) => asked.push(applicant) } as unknown as Access;
      const { context } = room({ tlsIdentity });
      const bans = new Bans({ failures: 0, ms: 1000 });
      const admission = new Admission(context, { connectionEnd: {} as unknown as ConnectionEnd, access, bans });
      const certificate = { commonName: "dev", alternativeNames: names, expiresAt: Infinity };
      const connection = { transport: { address: "", certificate }, channel: { phase: "connecting" } };
      admission.login(connection as unknown as Connection, {} as ConnectPacket, "c", () => {});
      return asked[0]!.certificate;
    };
    expect(nameBy("cn")).toBe("dev");
    expect(nameBy("san")).toBe("dev.test");
    expect([nameBy("san-email"), nameBy("san-uri"), nameBy("san-ip")]).toEqual([
      "admin@a.test",
      "urn:admin",
      "10.0.0.1",
    ]);
    expect([nameBy("none"), nameBy("san", alternativeNames.slice(0, 3))]).toEqual([undefined, ""]);
    expect(alternativeNames[2]).toEqual({ kind: "uri", name: "urn:x, DNS:admin" });
    expect(alternativeNamesIn('othername:x, DNS:"broken, DNS:')).toEqual([]);
  });

  test("has a client disconnected when its certificate, or its token, has expired", () => {
    for (const [certificate, token, why] of [
      [5000, Infinity, "its certificate has expired"],
      [5000, 9000, "its certificate has expired"],
      [9000, 5000, "its token has expired"],
    ] as const) {
      const { context, pass } = room({});
      const ended: string[] = [];
      const connectionEnd = { disconnect: (...[, , words]: string[]) => ended.push(words!) };
      const bans = new Bans({ failures: 0, ms: 1000 });
      const parts = { connectionEnd: connectionEnd as unknown as ConnectionEnd, access: undefined, bans };
      const wall = context.clock.wall();
      const connection = { transport: { certificate: { expiresAt: wall + certificate } } };
      const identity = {
        username: "dev",
        topics: undefined,
        expiresAt: wall + token,
        entry: undefined,
        keyId: undefined,
      };
      new Admission(context, parts).watch(connection as unknown as Connection, identity);
      pass(4999);
      expect(ended).toEqual([]);
      pass(1);
      expect(ended).toEqual([why]);
    }
  });

  test("keeps so many who are only waiting to be told no, and no more", () => {
    const { context, admission, open } = door({});
    const { options } = context;
    context.metrics.connections = options.maxConnections;
    const refused = Array.from({ length: refusedConnectionsMax }, () => open());
    expect(refused.every((connection) => (connection as unknown as { isKept: boolean }).isKept)).toBe(true);
    const last = open() as unknown as { isKept: boolean };
    expect(last.isKept).toBe(false);
    admission.left(last as unknown as Connection);
    admission.left(refused[0]!);
    expect((open() as unknown as { isKept: boolean }).isKept).toBe(true);
  });
});

describe("the end of a session", () => {
  function scene() {
    const made = room();
    const { context, store, session } = made;
    const handed: string[] = [];
    const regrouping = {
      reassignSlip: (owner: MailboxOwner, _: unknown, gone: () => void) => {
        handed.push(owner.clientId);
        gone();
        return false;
      },
    } as unknown as Regrouping;
    const erasure = new SessionErasure(context, { interest: new Interest(context), regrouping });
    const stored = (clientId: string): LocalSession => {
      const client = session(clientId, 100);
      store.put(sessionPath(clientId), "{}");
      for (const text of ["a/+", "b"]) {
        const subscription = { filter: parseFilter(text)!, qos: 1, noLocal: false } as never;
        client.session.subscribe(subscription);
        context.router.subscribe(client, subscription);
        store.put(`/subscribers/${text}/~${clientId}`, "{}");
      }
      store.put(`${sessionPath(clientId)}/in/7`);
      store.put(`${sessionPath(clientId)}/drops/x`, "{}");
      return client;
    };
    const left = (clientId: string): string[] =>
      [...store.tree.nodes.keys()].filter((path) => path.includes(clientId)).toSorted();
    return { ...made, erasure, stored, left };
  }

  test("leaves nothing of it: subscriptions, half-received publishes, places in mail drops, the record last", async () => {
    const { context, store, erasure, stored, left, pass } = scene();
    const client = stored("gone");
    stored("stays");
    let isDone = false;
    erasure.erase(client, () => {
      isDone = true;
    });
    expect(context.localSessions.has("gone")).toBe(false);
    for (let step = 0; step < 5; step++) {
      pass(10);
      await settled();
    }
    expect([isDone, left("gone")]).toEqual([true, []]);
    expect(left("stays").length).toBeGreaterThan(4);
    const commits = store.commits.filter((commit) => commit.some(({ path }) => path.includes("gone")));
    expect(commits.at(-1)!.at(-1)).toMatchObject({ kind: "delete", path: sessionPath("gone") });
  });

  test("is waited for by whoever connects with that client id, and by nobody else", async () => {
    const { store, erasure, stored, pass } = scene();
    const client = stored("gone");
    store.answers = false;
    const done: string[] = [];
    erasure.erase(client, () => void done.push("erased"));
    for (const id of ["gone", "other"]) erasure.whenErased(id, () => void done.push(id));
    expect(done).toEqual(["other"]);
    store.answers = true;
    for (let step = 0; step < 10; step++) {
      store.answer();
      pass(10);
      await settled();
    }
    expect(done).toEqual(["other", "erased", "gone"]);
  });

  test("comes in turn where many expire together: so many at a time, oldest first", () => {
    const { erasure } = scene();
    const begun: number[] = [];
    const finish: (() => void)[] = [];
    for (let number = 0; number < expiringMax + 3; number++)
      erasure.inTurn((done) => {
        begun.push(number);
        finish.push(done);
      });
    expect(begun.length).toBe(expiringMax);
    finish[5]!();
    finish[0]!();
    expect(begun.slice(expiringMax)).toEqual([expiringMax, expiringMax + 1]);
    for (const done of finish.splice(0)) done();
    expect(begun.at(-1)).toBe(expiringMax + 2);
  });

  test("stops where another broker has taken the session meanwhile", async () => {
    const { store, erasure, stored, left, pass } = scene();
    const client = stored("taken");
    store.put(sessionPath("taken"), "theirs");
    client.fencingToken.version = 0;
    let isDone = false;
    erasure.erase(client, () => {
      isDone = true;
    });
    for (let step = 0; step < 5; step++) {
      pass(10);
      await settled();
    }
    expect([isDone, store.textOf(sessionPath("taken"))]).toEqual([true, "theirs"]);
    expect(left("taken").length).toBeGreaterThan(3);
    expect(store.textOf(mailPath("taken"))).toBeUndefined();
  });
});
