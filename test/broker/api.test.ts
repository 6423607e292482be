/** The HTTP API of one broker: what it tells, page by page, each answer as the document has it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
let api: ApiClient;
let port: number;
beforeAll(async () => {
  port = await freePort();
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1", maxSubscriptions: 50 });
  api = await ApiClient.open(port);
});
afterAll(() => broker.stop());

const connect = (clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId, ...more });

describe("clients", () => {
  test("those that are connected, and those that are away, are listed with what is known of them", async () => {
    const here = await connect("here/1", { keepalive: 77, properties: { sessionExpiryInterval: 60 } });
    here.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/+", qos: 1 }] });
    await here.take("suback");
    const away = await connect("away", { properties: { sessionExpiryInterval: 4_294_967_295 }, clean: false });
    away.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "mail", qos: 1 }] });
    await away.take("suback");
    away.send({ cmd: "disconnect", reasonCode: 0 });
    await away.closed;
    here.send({ cmd: "publish", topic: "mail", payload: "x", qos: 1, messageId: 2, retain: false, dup: false });
    await here.take("puback");
    const { items, next } = await api.get("/clients");
    expect(next).toBeNull();
    expect(items.map((item: { client_id: string }) => item.client_id)).toEqual(["away", "here/1"]);
    expect(items[0]).toMatchObject({
      ...{ broker: "test", connected: false, address: null, listener: null, keep_alive: null, connected_at: null },
      ...{ subscriptions: 1, mailbox: 1, last_refusal: null, user: null, protocol: "MQTT 5.0" },
    });
    expect(items[1]).toMatchObject({
      ...{ connected: true, listener: "tcp", keep_alive: 77, session_expiry: 60, subscriptions: 1, mailbox: 0 },
    });
    expect(items[1].address).toStartWith("127.0.0.1:");
    expect(Math.abs(Date.parse(items[1].connected_at) - Date.now())).toBeLessThan(60_000);
    const only = async (query: string): Promise<string[]> =>
      (await api.get(`/clients?${query}`)).items.map((item: { client_id: string }) => item.client_id);
    expect(await only("connected=true")).toEqual(["here/1"]);
    expect(await only("search=wa")).toEqual(["away"]);
    expect(await only("listener=tls")).toEqual([]);
    expect(await only("client_id=here%2F1")).toEqual(["here/1"]);
    expect(await only("sort=-mailbox")).toEqual(["away", "here/1"]);
    expect(await only("sort=-client_id")).toEqual(["here/1", "away"]);
    expect(await api.get("/clients/here%2F1")).toMatchObject({ client_id: "here/1", will_topic: null, refusals: [] });
    expect((await api.ask("/clients/nobody")).status).toBe(404);
    here.abort();
  });

  test("how fast messages and bytes come and go is told of each client, and clients are listed by it", async () => {
    const [from, to, slow] = await Promise.all(["rate-from", "rate-to", "rate-slow"].map((name) => connect(name)));
    to!.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "rate/#", qos: 1 }] });
    await to!.take("suback");
    const publish = async (): Promise<void> => {
      // Passed on in one piece, one by one, and with acks.
      for (let at = 0; at < 60; at++) from!.publish(`rate/${at < 40 ? "same" : at}`, "x".repeat(100));
      for (let at = 1; at <= 20; at++) from!.publish("rate/acked", "x", { qos: 1, messageId: at });
      slow!.publish("rate/slow", "x");
      for (const { messageId, qos } of await to!.takeMany("publish", 81))
        if (qos === 1) to!.send({ cmd: "puback", messageId });
    };
    const largest = async (what: string): Promise<Record<string, number>[]> =>
      (await api.get(`/clients?search=rate-&sort=-${what}_per_second`)).items;
    // A look at all connections may come in between, and find a part of it.
    await eventually(async () => {
      await publish();
      const rows = await largest("messages_in");
      const [first, second, last] = rows.map((row) => row.messages_in_per_second!);
      const isInOrder = rows.map((row) => row.client_id as unknown).join() === "rate-from,rate-slow,rate-to";
      return isInOrder && first! > 20 * second! && second! > 0 && last === 0;
    }, "messages from clients are told");
    await eventually(async () => {
      await publish();
      const [first, second] = await largest("messages_out");
      return (
        (first!.client_id as unknown) === "rate-to" &&
        first!.messages_out_per_second! > 10 &&
        second!.messages_out_per_second === 0
      );
    }, "messages to clients are told");
    for (const [what, clientId] of [
      ["bytes_in", "rate-from"],
      ["bytes_out", "rate-to"],
    ] as const)
      await eventually(async () => {
        await publish();
        const [first] = await largest(what);
        return (first!.client_id as unknown) === clientId && first![`${what}_per_second`]! > 1000;
      }, `${what} is told`);
    for (const client of [from, to, slow]) client!.abort();
    await eventually(() => broker.server.broker.context.localSessions.get("rate-to") === undefined, "they have gone");
  });

  test("a page goes on where the one before ended, whatever comes and goes between", async () => {
    const names = Array.from({ length: 25 }, (_, index) => `page-${String(index).padStart(2, "0")}`);
    const clients = await Promise.all(names.map((name) => connect(name)));
    const first = await api.get("/clients?search=page-&limit=10");
    expect(first.items.length).toBe(10);
    clients[3]!.abort();
    clients[20]!.abort();
    const late = await connect("page-005");
    await eventually(() => broker.server.broker.context.localSessions.size < 27, "two have gone");
    const second = await api.get(`/clients?search=page-&limit=10&cursor=${first.next}`);
    const third = await api.get(`/clients?search=page-&limit=10&cursor=${second.next}`);
    const listed = [first, second, third].flatMap(({ items }) =>
      items.map((item: { client_id: string }) => item.client_id),
    );
    expect(listed).toEqual(names.filter((name) => name !== "page-20"));
    expect(third.next).toBeNull();
    for (const sort of ["connected_at", "-connected_at", "user", "-client_id", "-subscriptions"]) {
      const all = await api.all(`/clients?search=page-&limit=4&sort=${sort}`);
      expect(new Set(all.map(({ client_id }) => client_id)).size).toBe(all.length);
      expect(all.length).toBe(24);
    }
    expect((await api.ask(`/clients?cursor=${first.next}&sort=user`)).status).toBe(400);
    expect((await api.ask("/clients?cursor=x")).status).toBe(400);
    for (const client of [...clients, late]) client.abort();
  });

  test("a client is disconnected with 0x98; its level of the log is set; both are in the audit log", async () => {
    const client = await connect("doomed");
    const { status } = await api.ask("/clients/doomed/disconnect", { method: "POST" });
    expect(status).toBe(200);
    expect((await client.take("disconnect")).reasonCode).toBe(0x98);
    expect((await api.ask("/clients/doomed/disconnect", { method: "POST" })).status).toBe(404);
    const before = (await api.get("/log-level")).level;
    expect((await api.ask("/log-level", { method: "PUT", body: { level: "error" } })).status).toBe(200);
    expect((await api.ask("/log-level", { method: "PUT", body: { level: "loud" } })).status).toBe(400);
    expect(await api.get("/log-level")).toEqual({ level: "error" });
    const { items } = await api.get("/audit-log?sort=-number&limit=4");
    const seen = items.map(({ what, status, on, after }: Record<string, unknown>) => ({ what, status, on, after }));
    expect(seen).toEqual([
      { what: "setLogLevel", status: 400, on: {}, after: null },
      { what: "setLogLevel", status: 200, on: { level: "error" }, after: "error" },
      { what: "disconnectClient", status: 404, on: { client_id: "doomed" }, after: null },
      { what: "disconnectClient", status: 200, on: { client_id: "doomed" }, after: "disconnected" },
    ]);
    expect(items[1]).toMatchObject({ who: "(this machine)", from: "127.0.0.1", before });
  });
});

describe("messages", () => {
  test("subscriptions, retained messages and topics are listed", async () => {
    const client = await connect("reader");
    const filters = ["b/#", "$share/g/b/x", "c"];
    const subscriptions = filters.map((topic) => ({ topic, qos: 2, nl: !topic.startsWith("$") }));
    client.send({ cmd: "subscribe", messageId: 1, subscriptions, properties: { subscriptionIdentifier: 9 } } as never);
    await client.take("suback");
    const listed = await api.get("/subscriptions?client_id=reader");
    expect(listed.items.map(({ filter }: { filter: string }) => filter)).toEqual(["$share/g/b/x", "b/#", "c"]);
    expect(listed.items[1]).toEqual({
      ...{ broker: "test", client_id: "reader", filter: "b/#", qos: 2, no_local: true, retain_as_published: false },
      ...{ retain_handling: 0, identifier: 9 },
    });
    expect((await api.get("/subscriptions?filter=c")).items.length).toBe(1);
    expect((await api.get("/publishers?search=nobody")).items).toEqual([]);
    expect((await api.get("/subscriptions?search=share&sort=client_id")).items.length).toBe(1);
    for (const topic of ["r/1", "r/2/x", "r/2", "s", "r//y"])
      client.send({ cmd: "publish", topic, payload: "ä€", qos: 0, retain: true, dup: false });
    client.send({
      cmd: "publish",
      topic: "r/bytes",
      payload: Buffer.from([0xff, 0]),
      qos: 0,
      retain: true,
      dup: false,
    });
    await eventually(async () => (await api.get("/retained")).items.length === 6, "all are retained");
    const topics = async (query: string): Promise<string[]> =>
      (await api.all(`/retained?${query}`)).map(({ topic }) => topic);
    expect(await topics("filter=r/%2B")).toEqual(["r/1", "r/2", "r/bytes"]);
    expect(await topics("filter=%23&limit=2")).toEqual(["r//y", "r/1", "r/2", "r/2/x", "r/bytes", "s"]);
    expect((await api.ask("/retained?filter=a%23")).status).toBe(400);
    const message = await api.get("/retained/r%2F2%2Fx");
    expect(message).toMatchObject({ topic: "r/2/x", payload: "ä€", payload_bytes: 5, qos: 0 });
    expect(Buffer.from(message.payload_base64, "base64").toString()).toBe("ä€");
    expect(await api.get("/retained/r%2Fbytes")).toMatchObject({ payload: null, payload_base64: "/wA=" });
    expect((await api.ask("/retained/r%2Fnone")).status).toBe(404);
    const levels = await api.get("/topics?below=r");
    expect(levels.items.map(({ level, topic, retained }: Record<string, unknown>) => [level, topic, retained])).toEqual(
      [
        ["", "r/", 1],
        ["1", "r/1", 1],
        ["2", "r/2", 2],
        ["bytes", "r/bytes", 1],
      ],
    );
    expect((await api.all("/topics?limit=1")).filter(({ retained }) => retained > 0).map(({ level }) => level)).toEqual(
      ["r", "s"],
    );
    expect((await api.all("/topics?limit=1&sort=-level&below=r")).map(({ level }) => level)).toEqual([
      "bytes",
      "2",
      "1",
      "",
    ]);
    expect((await api.ask("/topics?below=%23")).status).toBe(400);
    client.abort();
  });

  test("a topic with very many levels is listed page by page, and completely", async () => {
    const { retained } = broker.server.broker.context;
    const { makePublish } = await import("../../src/mqtt/publish.ts");
    const names = Array.from({ length: 700 }, (_, index) => `many/${(index * 7919) % 700}`);
    for (const name of names)
      retained.set(name, makePublish(Buffer.from(name), Buffer.from("1"), { qos: 0, retain: true }), "here");
    const levels = (await api.all("/topics?below=many&limit=9")).map(({ topic }) => topic);
    expect(levels).toEqual([...names].sort());
    for (const name of names) retained.delete(name);
  });
});

describe("mailboxes", () => {
  test("what waits is told page by page, with the beginning of each payload, and nothing of it is sent", async () => {
    const away = await connect("m/away", { properties: { sessionExpiryInterval: 600 } });
    away.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "m/#", qos: 2 }] });
    await away.take("suback");
    away.send({ cmd: "disconnect", reasonCode: 0 });
    await away.closed;
    const credits = async (): Promise<number> => (await api.get("/clients/m-from")).credits;
    const from = await connect("m-from");
    expect(await credits()).toBe(0);
    const payloads = ["first", "ä".repeat(1000), Buffer.of(0xff, 0), "", ...Array.from({ length: 20 }, () => "more")];
    for (const [index, payload] of payloads.entries()) {
      from.send({ cmd: "publish", topic: `m/${index}`, payload, qos: 1, messageId: 1, retain: false, dup: false });
      await from.take("puback");
    }
    expect(await credits()).toBeGreaterThan(0);
    expect((await api.get("/clients?sort=-credits&limit=1")).items[0].client_id).toBe("m-from");
    const page = await api.get("/clients/m%2Faway/mailbox?limit=3");
    expect(page.total).toBe(24);
    const told = page.items.map(
      ({ topic, qos, state, payload_bytes, payload, payload_base64 }: Record<string, unknown>) => [
        ...[topic, qos, state, payload_bytes, payload, String(payload_base64).length],
      ],
    );
    expect(told).toEqual([
      ["m/0", 1, "waiting", 5, "first", 8],
      ["m/1", 1, "waiting", 2000, "ä".repeat(512), 1368],
      ["m/2", 1, "waiting", 2, null, 4],
    ]);
    expect(await api.all("/clients/m%2Faway/mailbox?limit=5")).toHaveLength(24);
    expect((await api.get("/clients/m%2Faway/mailbox?limit=100")).next).toBeNull();
    const back = await connect("m/away", { clean: false, properties: { sessionExpiryInterval: 600 } });
    expect((await back.take("publish")).topic).toBe("m/0");
    expect((await api.get("/clients/m%2Faway")).mailbox).toBe(24);
    expect((await api.ask("/clients/m-from/mailbox")).status).toBe(409);
    expect((await api.ask("/clients/nobody/mailbox")).status).toBe(404);
    expect((await api.ask("/clients/m%2Faway/mailbox?limit=101")).status).toBe(400);
    for (const client of [back, from]) client.abort();
  });
});

describe("refusals", () => {
  test("are told with their reasons; a flood takes one place", async () => {
    const client = await connect("forbidden-client");
    const tooMany = Array.from({ length: 53 }, (_, index) => ({ topic: `f/${index}`, qos: 0 as const }));
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: tooMany });
    await client.take("suback");
    client.send({ cmd: "publish", topic: "$SYS/x", payload: "", qos: 1, messageId: 2, retain: false, dup: false });
    expect((await client.take("puback")).reasonCode).toBe(0x87);
    const { items } = await api.get("/refusals?client_id=forbidden-client&sort=-at");
    expect(items.map(({ kind, cause, times }: Record<string, unknown>) => [kind, cause, times])).toEqual([
      ["publish", "forbidden", 1],
      ["subscribe", "0x97 quota exceeded", 3],
    ]);
    expect(items[0].reason).toStartWith("on $SYS/x: ");
    expect(items[1].reason).toStartWith("to f/50: ");
    const detail = await api.get("/clients/forbidden-client");
    expect(detail.last_refusal).toMatchObject({ kind: "publish" });
    expect(detail.refusals.length).toBe(2);
    expect((await api.get("/refusals?kind=connect")).items).toEqual([]);
    client.abort();
    const wrong = await RawClient.dial(broker.port, 5);
    wrong.send(connectPacket({ clientId: "x", protocolVersion: 5, properties: { authenticationMethod: "none" } }));
    await wrong.closed;
    const refused = (await api.get("/refusals?kind=connect")).items;
    expect(refused.length).toBe(1);
    expect(refused[0].address).toStartWith("127.0.0.1:");
  });
});

describe("the broker", () => {
  test("tells how it is, its bank, options and certificates", async () => {
    const own = await api.get("/broker");
    expect(own).toMatchObject({ broker: "test", ready: true, store: "embedded", draining: false, links: [] });
    expect(own.checks.length).toBeGreaterThan(3);
    const bank = await api.get("/bank");
    expect(bank).toMatchObject({ capital: 10_000_000, open: true });
    const quotes = (await api.get("/bank/quote?bytes=100&topic=a/b")).items;
    expect(quotes.map(({ kept, ttl_min, ttl_max }: Record<string, unknown>) => [kept, ttl_min, ttl_max])).toEqual([
      ["mailbox", 86_400, 86_400],
      ["drop", 30, 86_400],
    ]);
    expect(quotes[0].least).toBe(quotes[1].most);
    expect(quotes[1].most - quotes[1].least).toBeCloseTo(100, 6);
    expect((await api.get("/bank/quote?bytes=100&topic=a/b&ttl=30")).items).toEqual([
      { kept: null, ttl_min: 30, ttl_max: 30, least: quotes[1].least, most: quotes[1].least },
    ]);
    expect((await api.get("/bank/quote?bytes=125&topic=a/b&ttl=30")).items[0].least).toBeCloseTo(
      quotes[1].least + 1,
      6,
    );
    expect((await api.ask("/bank/quote?topic=%23")).status).toBe(400);
    const { items } = await api.get("/options");
    expect(items).toContainEqual({ name: "http-port", value: port, source: "unknown" });
    expect((await api.get("/certificates")).items).toEqual([]);
    expect(await api.get("/me")).toEqual({ name: "(this machine)", role: "operator", from: "127.0.0.1" });
    expect((await api.ask("/tokens", { method: "POST" })).status).toBe(409);
    expect((await api.ask("/tokens/current", { method: "DELETE" })).status).toBe(404);
  });

  test("serves a document that names every operation once, and each that reads has been asked here", async () => {
    expect((await api.get("/bans")).items).toEqual([]);
    for (const list of ["/bank/statement", "/bank/mail"]) expect((await api.get(list)).unanswered).toEqual([]);
    // The first sample comes within ten seconds, as `test/unit/history.test.ts` shows.
    expect(await api.get("/history?after=2199-01-01T00:00:00Z")).toEqual({ broker: "test", items: [] });
    expect((await api.ask("/history?after=yesterday")).status).toBe(400);
    expect((await api.get("/events/poll")).events).toEqual([]);
    expect(await api.get("/overview")).toMatchObject({ brokers: [{ broker: "test" }], unanswered: [] });
    const operations = Object.values(api.document.paths).flatMap((path) => Object.entries(path));
    const ids = operations.map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    const reading = operations.filter(([method]) => method === "get").map(([, { operationId }]) => operationId);
    expect((await api.get("/trace/events?trace=t&topic=x")).items).toEqual([]);
    expect((await api.get("/explain?client_id=nobody&topic=x")).unanswered).toEqual([]);
    expect((await api.get("/explain/message?topic=x")).unanswered).toEqual([]);
    // Events, traces and messages are listened to in files of their own.
    expect(reading.filter((id) => !api.asked.has(id))).toEqual(["listenEvents", "followTrace", "watchTopics"]);
  });
});
