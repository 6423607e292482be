/** The HTTP API of a cluster: any broker answers for all, and says who has not answered. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";
import { Traced } from "../support/traced.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-cluster-api-"));
let cluster: Cluster;
let api: ApiClient;
const audits = ["a", "b", "c"].map((id) => join(folder, id));

beforeAll(async () => {
  const port = await freePort();
  cluster = await startCluster(["a"], { httpPort: port, httpHost: "127.0.0.1", auditLog: audits[0]! });
  // These have no HTTP of their own.
  for (const [index, id] of ["b", "c"].entries()) await cluster.add(id, { httpPort: 0, auditLog: audits[index + 1]! });
  api = await ApiClient.open(port);
  await eventually(async () => (await api.get("/overview")).brokers.length === 3, "all are asked");
}, 120_000);
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

const connect = (broker: number, clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(cluster.port(broker), { protocolVersion: 5, clientId, ...more });

describe("one broker answers for all", () => {
  test("their clients are one list, in one order, page by page", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `list-${String((index * 7) % 30).padStart(2, "0")}`);
    const clients = await Promise.all(names.map((name, index) => connect(index % 3, name)));
    for (const sort of ["client_id", "-client_id", "connected_at", "user"]) {
      const all = await api.all(`/clients?search=list-&limit=4&sort=${sort}`);
      expect(all.length).toBe(30);
      expect(new Set(all.map(({ client_id }) => client_id)).size).toBe(30);
      const ids = all.map(({ client_id }) => client_id);
      if (sort === "client_id") expect(ids).toEqual([...names].sort());
      if (sort === "-client_id") expect(ids).toEqual([...names].sort().reverse());
    }
    const ofB = await api.all("/clients?search=list-&broker=b&limit=3");
    expect(ofB.map(({ broker }) => broker)).toEqual(Array(10).fill("b"));
    expect((await api.get("/clients?limit=1")).unanswered).toEqual([]);
    for (const client of clients) client.abort();
  });

  test("a client is told of, and disconnected, wherever it is; both brokers keep that in mind", async () => {
    const client = await connect(2, "far/away", { will: { topic: "w", payload: "", qos: 0, retain: false } });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "far", qos: 1 }] });
    await client.take("suback");
    expect(await api.get("/clients/far%2Faway")).toMatchObject({ broker: "c", will_topic: "w", connected: true });
    expect((await api.get("/subscriptions?filter=far")).items).toMatchObject([{ broker: "c", client_id: "far/away" }]);
    expect((await api.ask("/clients/far%2Faway?broker=b")).status).toBe(404);
    expect((await api.ask("/clients/far%2Faway/disconnect", { method: "POST" })).status).toBe(200);
    expect((await client.take("disconnect")).reasonCode).toBe(0x98);
    for (const at of [0, 2]) {
      const lines = readFileSync(audits[at]!, "utf8").trimEnd().split("\n");
      expect(JSON.parse(lines.at(-1)!)).toMatchObject({
        ...{ who: "(this machine)", from: "127.0.0.1", what: "disconnectClient", status: 200 },
      });
    }
    const { status, body } = await api.ask("/clients/nobody/disconnect", { method: "POST" });
    expect([status, body.detail]).toEqual([404, "no such client is connected"]);
    const gone = await connect(1, "ends", { properties: { sessionExpiryInterval: 600 } });
    expect(await api.get("/clients/ends/mailbox")).toEqual({ items: [], next: null, total: 0 });
    expect((await api.ask("/clients/ends/mailbox", { method: "DELETE" })).status).toBe(409);
    expect((await api.ask("/clients/ends", { method: "DELETE" })).status).toBe(200);
    expect((await gone.take("disconnect")).reasonCode).toBe(0x98);
    expect((await api.ask("/clients/ends")).status).toBe(404);
  });

  test("what other brokers have stored for a client that is away is counted", async () => {
    const away = await connect(1, "m-away", { clean: false, properties: { sessionExpiryInterval: 600 } });
    await away.subscribe("counted/x", { qos: 1 });
    away.disconnect();
    await away.untilClosed();
    const writer = await connect(2, "m-writer");
    for (let messageId = 1; messageId < 4; messageId++) {
      writer.publish("counted/x", "x", { qos: 1, messageId });
      await writer.take("puback");
    }
    expect((await api.get("/clients/m-away")).mailbox).toBe(3);
    const { items } = await api.get("/clients?search=m-&sort=-client_id");
    const rows = items.map(({ client_id, mailbox }: Record<string, unknown>) => [client_id, mailbox]);
    expect(rows).toEqual([
      ["m-writer", null],
      ["m-away", 3],
    ]);
    const { findings } = await api.get("/explain?client_id=m-away&topic=counted/x");
    const found = findings.find(({ cause }: { cause: string }) => cause === "away");
    expect(found).toMatchObject({ broker: "b", text: expect.stringContaining("wait in its mailbox (3 do)") });
    writer.abort();
  });

  test("who has set a retained message is told, also of another broker's client", async () => {
    const before = Date.now();
    const setter = await connect(2, "r-setter");
    setter.publish("surprise/x", "boo", { qos: 1, messageId: 1, retain: true });
    await setter.take("puback");
    await eventually(async () => (await api.ask("/retained/surprise%2Fx")).status === 200, "it is known here");
    const row = await api.get("/retained/surprise%2Fx");
    expect(row).toMatchObject({ broker: "c", client_id: "r-setter", user: null, payload: "boo" });
    expect(Math.abs(Date.parse(row.retained_at) - before)).toBeLessThan(60_000);
    const [listed] = (await api.get("/retained?filter=surprise/x")).items;
    expect(listed).toMatchObject({ broker: "c", client_id: null, retained_at: row.retained_at });
    const { findings } = await api.get("/explain/message?topic=surprise/x");
    const words = "was published by client r-setter, at broker c";
    expect(findings).toContainEqual(
      expect.objectContaining({ broker: "c", cause: "retained", text: expect.stringContaining(words) }),
    );
    setter.abort();
  });

  test("another broker is asked, and told, by its name", async () => {
    expect((await api.get("/broker?broker=b")).broker).toBe("b");
    const set = await api.ask("/log-level?broker=b", { method: "PUT", body: { level: "error" } });
    expect(set.status).toBe(200);
    expect(cluster.brokers[1]!.broker.context.log.level).toBe("error");
    expect((await api.ask("/log-level?broker=b", { method: "PUT", body: { level: "x" } })).status).toBe(400);
    expect((await api.get("/audit-log?broker=b&sort=-number&limit=1")).items).toMatchObject([{ what: "setLogLevel" }]);
    expect((await api.ask("/broker?broker=nobody")).status).toBe(404);
    const { totals, brokers, unanswered } = await api.get("/overview");
    expect(brokers.map(({ broker }: { broker: string }) => broker)).toEqual(["a", "b", "c"]);
    expect(unanswered).toEqual([]);
    expect(totals.connections).toBe(
      brokers.reduce((sum: number, row: { connections: number }) => sum + row.connections, 0),
    );
    expect(brokers[0].links).toContainEqual(expect.objectContaining({ broker: "b", up: true, member: true }));
  });

  test("events of all brokers are told as they happen, or of one; whoever does not tell his is named", async () => {
    const [all, ofB] = [await api.listen("/events"), await api.listen("/events?broker=b&kind=connected")];
    const watched = (at: number): boolean => cluster.brokers[at]!.broker.context.events.isWatched;
    await eventually(() => watched(1) && watched(2), "they are asked");
    const clients: RawClient[] = [];
    for (const at of [0, 1, 2]) clients.push(await connect(at, `event-${at}`));
    const told = new Map<string, unknown>();
    while (told.size < 3) {
      const { data } = (await all.next())!;
      expect([data.kind, data.reason]).toEqual(["connected", null]);
      told.set(data.client_id, data.broker);
    }
    expect(Object.fromEntries(told)).toEqual({ "event-0": "a", "event-1": "b", "event-2": "c" });
    expect((await ofB.next())!.data).toMatchObject({ kind: "connected", broker: "b", client_id: "event-1" });
    const { peers } = cluster.brokers[0]!.broker.context;
    const peer = peers.get("b")!;
    const { facts } = peer;
    peer.facts = { ...facts!, answersQuestions: false };
    const why = "its version cannot be asked over the link";
    for (const reader of [all, ofB])
      expect((await reader.next())!.data).toMatchObject({
        kind: "unanswered",
        broker: "b",
        client_id: null,
        reason: why,
      });
    // One who comes later is told so, too.
    const late = await api.listen("/events?broker=b");
    expect((await late.next())!.data).toMatchObject({ kind: "unanswered", broker: "b", reason: why });
    peer.facts = facts;
    for (const reader of [all, ofB, late])
      expect((await reader.next())!.data).toMatchObject({ kind: "answered", broker: "b", reason: null });
    for (const reader of [all, ofB, late]) reader.leave();
    for (const client of clients) client.abort();
    await eventually(() => !watched(1) && !watched(2), "nobody asks them any more", 60_000);
    expect((await api.ask("/events?broker=nobody")).status).toBe(404);
    expect((await api.get("/events/poll?broker=b")).events).toEqual([]);
  }, 90_000);

  test("the teller sweeps, whoever is asked", async () => {
    expect((await api.ask("/bank/sweep?broker=b", { method: "POST" })).status).toBe(404);
    const { status, body } = await api.ask("/bank/sweep", { method: "POST" });
    expect([status, body]).toEqual([200, { teller: "a" }]);
  });

  test("a trace follows at every broker, and none of them after its end", async () => {
    const away = await connect(1, "t-away", { clean: false, properties: { sessionExpiryInterval: 600 } });
    await away.subscribe("traced/x", { qos: 1 });
    away.disconnect();
    await away.untilClosed();
    const reader = await connect(2, "t-reader");
    await reader.subscribe("traced/#", { qos: 1 });
    const trace = await Traced.begin(api, "topic=traced/%23&payload_bytes=4");
    const isOn = (at: number): boolean => cluster.brokers[at]!.broker.context.trace.isOn;
    await eventually(() => [0, 1, 2].every(isOn), "all follow");
    const writer = await connect(1, "t-writer");
    writer.publish("traced/x", "hello", { qos: 1, messageId: 1 });
    await reader.take("publish");
    await trace.until("published", "QoS 1", { broker: "b", client_id: "t-writer" });
    const { text } = await trace.until("routed", "broker c", { broker: "b" });
    expect(text).toContain("client t-away (away, QoS 1)");
    await trace.until("arrived", "arrived from broker b; goes to client t-reader", { broker: "c" });
    await trace.until("delivered", "QoS 1", { broker: "c", client_id: "t-reader", payload_base64: btoa("hell") });
    await trace.until("stored", "mailbox", { broker: "b", client_id: "t-away" });
    await trace.until("settled", "PUBACK for packet id 1: 0x00", { broker: "b" });
    const client = await Traced.begin(api, "client_id=t-reader");
    await eventually(() => cluster.brokers[2]!.broker.context.trace.readsPackets, "c reads along");
    await reader.ping();
    await client.until("received", "PINGREQ", { broker: "c" });
    for (const one of [trace, client]) one.leave();
    await eventually(() => ![0, 1, 2].some(isOn), "nobody follows", 40_000);
    for (const [at, what] of ["followTrace", "collectTrace", "collectTrace"].entries()) {
      const lines = readFileSync(audits[at]!, "utf8").trimEnd().split("\n");
      const ofTopic = lines.map((line) => JSON.parse(line)).filter(({ on }) => on.topic === "traced/#");
      const words = ofTopic.map((line) => [line.what, line.who, line.from, line.after.state]);
      const asked = [what, "(this machine)", "127.0.0.1"];
      expect(words).toEqual([
        [...asked, "following"],
        [...asked, "ended"],
      ]);
    }
    for (const one of [reader, writer]) one.abort();
  }, 90_000);

  test("why a message has not come is told by all: the session is elsewhere, another broker has refused or given it", async () => {
    const reader = await connect(2, "e-reader");
    await reader.subscribe("$share/g/explained/x", { qos: 1 });
    const other = await connect(1, "e-other");
    await other.subscribe("$share/g/explained/x", { qos: 1 });
    const writer = await connect(1, "e-writer");
    const taken: string[] = [];
    for (let messageId = 1; messageId < 3; messageId++) {
      writer.publish("explained/x", "x", { qos: 1, messageId });
      const whose = await Promise.race([reader, other].map((one, at) => one.take("publish").then(() => at)));
      taken.push(["e-reader", "e-other"][whose]!);
      [reader, other][whose]!.send({ cmd: "puback", messageId: 1 });
      await writer.take("puback");
    }
    // By turns: who was first was not last.
    const missed = taken[0]!;
    const { findings, unanswered } = await api.get(`/explain?client_id=${missed}&topic=explained/x`);
    expect(unanswered).toEqual([]);
    const words = findings.map(({ broker, cause, text }: Record<string, string>) => `${broker} ${cause}: ${text}`);
    const at = missed === "e-reader" ? "c" : "b";
    expect(words).toContainEqual(
      expect.stringContaining(`${at} session elsewhere: the session of ${missed} is at broker ${at}`),
    );
    const last = taken[1] === "e-other" ? "e-other" : "a client at broker c";
    expect(words).toContainEqual(expect.stringContaining(`was given to another member: ${last}`));
    const nowhere = await api.get("/explain?client_id=e-nobody&topic=explained/x");
    expect(nowhere.findings.filter(({ cause }: { cause: string }) => cause === "no session").length).toBe(1);
    expect((await api.get("/explain/message?topic=explained/x")).findings).toContainEqual(
      expect.objectContaining({ broker: "b", cause: "shared", text: expect.stringContaining("2 members") }),
    );
    for (const one of [reader, other, writer]) one.abort();
  });

  test("who cannot be asked, or says nothing in time, is named", async () => {
    const { peers } = cluster.brokers[0]!.broker.context;
    const peer = peers.get("b")!;
    const { facts } = peer;
    // A broker of an earlier version does not say that it answers, and must not be sent what would close its link.
    peer.facts = { ...facts!, answersQuestions: false };
    const why = "its version cannot be asked over the link";
    expect((await api.get("/clients?limit=1")).unanswered).toEqual([{ broker: "b", why }]);
    expect((await api.get("/overview")).unanswered).toEqual([{ broker: "b", why }]);
    expect((await api.ask("/broker?broker=b")).status).toBe(504);
    const { status, body } = await api.ask("/clients/nobody");
    expect([status, body.detail]).toEqual([504, expect.stringContaining(`b (${why})`)]);
    peer.facts = facts;
    const { questions } = cluster.brokers[2]!.broker;
    const asked = questions.asked;
    questions.asked = () => {};
    expect((await api.get("/clients?limit=1")).unanswered).toEqual([
      { broker: "c", why: "it has not answered in time" },
    ]);
    questions.asked = asked;
    expect((await api.get("/clients?limit=1")).unanswered).toEqual([]);
  }, 60_000);
});
