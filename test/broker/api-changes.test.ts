/** Changes over the HTTP API: messages, sessions, bans, the bank; each change is in the audit log. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clearedAtOnceMax } from "../../src/base/api-limits.ts";
import { CoordinatorError } from "../../src/coordinator/coordinator.ts";
import { mailPath } from "../../src/coordinator/paths.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient, type ApiReply } from "../support/api.ts";
import { eventually, startBroker, type TestBroker, withBroker } from "../support/broker.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-changes-"));
const banFile = join(folder, "bans");
let broker: TestBroker;
let api: ApiClient;
beforeAll(async () => {
  writeFileSync(banFile, "");
  const port = await freePort();
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1", banFile, drainTime: 0 });
  api = await ApiClient.open(port);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const connect = (clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId, ...more });
const change = (method: string, path: string, body?: unknown): Promise<ApiReply> => api.ask(path, { method, body });
const statusOf = async (reply: Promise<ApiReply>): Promise<number> => (await reply).status;

/** Returns the last changes, the newest first. */
async function lastChanges(count: number): Promise<Record<string, unknown>[]> {
  return (await api.get(`/audit-log?sort=-number&limit=${count}`)).items;
}

describe("messages", () => {
  test("a publish reaches those who have subscribed, and the mailboxes of those who are away", async () => {
    const away = await connect("away", { properties: { sessionExpiryInterval: 600 } });
    away.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "to/#", qos: 1 }] });
    await away.take("suback");
    away.send({ cmd: "disconnect", reasonCode: 0 });
    await away.closed;
    const here = await connect("here");
    here.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "to/+", qos: 2 }] });
    await here.take("suback");
    expect(await statusOf(change("POST", "/publish", { topic: "to/x", payload: "ä", qos: 1 }))).toBe(200);
    expect((await here.take("publish")).payload.toString()).toBe("ä");
    expect((await api.get("/clients/away")).mailbox).toBe(1);
    const bytes = { topic: "to/y", payload_base64: "/wA=", retain: true };
    expect(await statusOf(change("POST", "/publish", bytes))).toBe(200);
    expect([...(await here.take("publish")).payload]).toEqual([0xff, 0]);
    expect((await api.get("/retained/to%2Fy")).payload_bytes).toBe(2);
    here.abort();
  });

  test.each([
    { topic: "a/#" },
    { topic: "" },
    { topic: "a/\u0000" },
    { topic: "x", payload: "a", payload_base64: "YQ==" },
    { topic: "x", payload_base64: "%" },
    { topic: "x", qos: 3 },
    { topic: "x", payload: 1 },
    { payload: "x" },
  ])("a publish that is none is refused: %p", async (body) => {
    expect(await statusOf(change("POST", "/publish", body))).toBe(400);
  });

  test("nobody publishes on the broker's own topics", async () => {
    const { status, body } = await change("POST", "/publish", { topic: "$SYS/broker/x", payload: "1" });
    expect([status, body.detail]).toEqual([409, "only the broker publishes on that topic"]);
  });

  test("what the bank cannot pay for is refused with the reason", async () => {
    const port = await freePort();
    await withBroker({ httpPort: port, httpHost: "127.0.0.1", bankCapital: 1 }, async () => {
      const poor = await ApiClient.open(port);
      const { status, body } = await poor.ask("/retained/x", { method: "PUT", body: { payload: "x".repeat(9999) } });
      expect([status, body.detail]).toEqual([409, expect.stringContaining("credits")]);
    });
  });

  test("retained messages are set and cleared, one by one and many", async () => {
    for (const level of ["1", "2", "3/4"])
      expect(await statusOf(change("PUT", `/retained/${encodeURIComponent(`c/${level}`)}`, { payload: level }))).toBe(
        200,
      );
    expect(await statusOf(change("PUT", "/retained/c%2F1", {}))).toBe(400);
    expect((await lastChanges(2))[1]).toMatchObject({ what: "setRetained", on: { topic: "c/3/4" }, after: "3 bytes" });
    expect(await statusOf(change("DELETE", "/retained/c%2F1"))).toBe(200);
    expect(await statusOf(change("DELETE", "/retained/c%2F1"))).toBe(404);
    const dry = (await change("DELETE", "/retained?filter=c/%23")).body;
    expect(dry).toMatchObject({ dry_run: true, matched: 2, cleared: 0, remaining: 2 });
    expect([...dry.topics].sort()).toEqual(["c/2", "c/3/4"]);
    expect((await api.get("/retained?filter=c/%23")).items.length).toBe(2);
    for (const query of ["", "?filter=a%23", "?filter=$share/g/a", "?filter="])
      expect(await statusOf(change("DELETE", `/retained${query}`))).toBe(400);
    const cleared = (await change("DELETE", "/retained?filter=c/%23&dry_run=false")).body;
    expect(cleared).toMatchObject({ dry_run: false, matched: 2, cleared: 2, remaining: 0, refused: [] });
    expect((await api.get("/retained?filter=c/%23")).items).toEqual([]);
    const restarted = await broker.server.broker.context.retained.match(["c", "#"]);
    expect(restarted).toEqual([]);
  });

  test("one request clears so many and says how many are left", async () => {
    const publisher = await connect("lots", { properties: { receiveMaximum: 65_535 } });
    const lots = clearedAtOnceMax + 5;
    for (let index = 0; index < lots; index++)
      publisher.send({ cmd: "publish", topic: `lots/${index}`, payload: "x", qos: 0, retain: true, dup: false });
    const { retained } = broker.server.broker.context;
    await eventually(() => retained.match(["lots", "+"]).length === lots, "all are retained");
    publisher.abort();
    const first = (await change("DELETE", "/retained?filter=lots/%2B&dry_run=false")).body;
    expect(first).toMatchObject({ matched: clearedAtOnceMax + 5, cleared: clearedAtOnceMax, remaining: 5 });
    const second = (await change("DELETE", "/retained?filter=lots/%2B&dry_run=false")).body;
    expect(second).toMatchObject({ matched: 5, cleared: 5, remaining: 0 });
  });
});

describe("sessions", () => {
  test("one that is connected, and one whose client is away, end with all that was stored for them", async () => {
    for (const state of ["connected", "away"]) {
      const client = await connect(`ends-${state}`, { properties: { sessionExpiryInterval: 600 } });
      client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "ends", qos: 1 }] });
      await client.take("suback");
      if (state === "away") {
        client.send({ cmd: "disconnect", reasonCode: 0 });
        await client.closed;
      }
      const { router } = broker.server.broker.context;
      const routed = router.subscriptions;
      expect(await statusOf(change("DELETE", `/clients/ends-${state}`))).toBe(200);
      expect(router.subscriptions).toBe(routed - 1);
      if (state === "connected") expect((await client.take("disconnect")).reasonCode).toBe(0x98);
      expect(await statusOf(change("DELETE", `/clients/ends-${state}`))).toBe(404);
      expect((await lastChanges(2))[1]).toMatchObject({
        ...{ what: "endSession", before: { subscriptions: 1, mailbox: 0 }, after: "ended" },
      });
      const back = await RawClient.dial(broker.port, 5);
      const properties = { sessionExpiryInterval: 600 };
      back.send(connectPacket({ protocolVersion: 5, clientId: `ends-${state}`, clean: false, properties }));
      expect((await back.take("connack")).sessionPresent).toBe(false);
      back.abort();
    }
    expect((await api.get("/subscriptions?filter=ends")).items).toEqual([]);
  });
});

describe("mailboxes", () => {
  test("what waits is dropped, but for what the client may hold; its credits come back, and nothing of it is sent", async () => {
    const properties = { sessionExpiryInterval: 600 };
    const client = await connect("drops", { properties: { ...properties, receiveMaximum: 2 } });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "drops/#", qos: 2 }] });
    await client.take("suback");
    const { account } = broker.server.broker.context.bankAccount;
    const messages = account.messages;
    const publish = (name: string, qos: 1 | 2): Promise<number> =>
      statusOf(change("POST", "/publish", { topic: `drops/${name}`, payload: name, qos }));
    // It holds the first ones, unacknowledged, when it goes.
    const published = [publish("held", 2), publish("sent", 1)];
    await client.take("publish");
    await client.take("publish");
    expect(await statusOf(change("DELETE", "/clients/drops/mailbox"))).toBe(409);
    client.abort();
    expect(await Promise.all(published)).toEqual([200, 200]);
    await eventually(async () => !(await api.get("/clients/drops")).connected, "the client is gone");
    for (const name of ["1", "2", "3"]) expect(await publish(name, 1)).toBe(200);
    expect(account.messages).toBe(messages + 5);
    const dropped = (await change("DELETE", "/clients/drops/mailbox")).body;
    expect(dropped).toEqual({ dropped: 4, kept: 1, remaining: 0 });
    expect(await lastChanges(1)).toMatchObject([
      { what: "dropMailbox", on: { client_id: "drops" }, before: "5 waiting", after: "4 dropped" },
    ]);
    expect((await api.get("/clients/drops")).mailbox).toBe(1);
    await eventually(() => account.messages === messages + 1, "the credits have come back");
    expect((await change("DELETE", "/clients/drops/mailbox")).body).toEqual({ dropped: 0, kept: 1, remaining: 0 });
    const back = await connect("drops", { clean: false, properties });
    expect((await back.take("publish")).topic).toBe("drops/held");
    expect(await publish("new", 1)).toBe(200);
    expect((await back.take("publish")).topic).toBe("drops/new");
    back.abort();
    expect(await statusOf(change("DELETE", "/clients/nobody/mailbox"))).toBe(404);
  });

  test("a store that cannot tell what waits is told of at once; what waits is sent when it can", async () => {
    const properties = { sessionExpiryInterval: 600 };
    const client = await connect("unread", { properties });
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "unread", qos: 1 }] });
    await client.take("suback");
    client.send({ cmd: "disconnect", reasonCode: 0 });
    await client.closed;
    expect(await statusOf(change("POST", "/publish", { topic: "unread", payload: "x", qos: 1 }))).toBe(200);
    const { coordinator } = broker.server.broker.context;
    const read = coordinator.read.bind(coordinator);
    let refusals = 0;
    coordinator.read = (operations, done) => {
      const [{ kind, path }] = operations as [(typeof operations)[number]];
      if (kind !== "children" || path !== mailPath("unread")) return read(operations, done);
      refusals++;
      done(new CoordinatorError("TooLarge", path, 0), []);
    };
    try {
      for (const method of ["GET", "DELETE"]) {
        const { status, body } = await change(method, "/clients/unread/mailbox");
        expect([status, body.detail]).toEqual([503, "the store cannot tell what is in the mailbox"]);
      }
      const back = await connect("unread", { clean: false, properties });
      await eventually(() => refusals === 3, "its mailbox is listed");
      coordinator.read = read;
      await eventually(() => back.packets.some(({ cmd }) => cmd === "publish"), "it is sent", 60_000);
      back.abort();
    } finally {
      coordinator.read = read;
    }
  }, 90_000);

  test("one request drops so many, and says how many are left", async () => {
    const many = await connect("many", { properties: { sessionExpiryInterval: 600 } });
    many.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "many", qos: 1 }] });
    await many.take("suback");
    many.send({ cmd: "disconnect", reasonCode: 0 });
    await many.closed;
    const from = await connect("many-from");
    const { localSessions } = broker.server.broker.context;
    for (let index = 0; index < clearedAtOnceMax + 7; index++)
      from.send({
        cmd: "publish",
        topic: "many",
        payload: "x",
        qos: 1,
        messageId: index + 1,
        retain: false,
        dup: false,
      });
    const isStored = (): boolean => localSessions.get("many")!.mailbox!.count === clearedAtOnceMax + 7;
    await eventually(isStored, "all wait");
    from.abort();
    const drop = async (): Promise<unknown> => (await change("DELETE", "/clients/many/mailbox")).body;
    expect(await drop()).toEqual({ dropped: clearedAtOnceMax, kept: 0, remaining: 7 });
    expect(await drop()).toEqual({ dropped: 7, kept: 0, remaining: 0 });
    expect((await api.get("/clients/many")).mailbox).toBe(0);
  });
});

describe("the operator's tools", () => {
  test("bans are added, listed and lifted", async () => {
    const eve = await connect("eve/1");
    expect(await statusOf(change("PUT", "/bans/client/eve%2F1"))).toBe(200);
    expect((await eve.take("disconnect")).reasonCode).toBe(0x98);
    expect(readFileSync(banFile, "utf8")).toBe("client eve/1\n");
    expect((await api.get("/bans")).items).toEqual([{ kind: "client", name: "eve/1", seconds: null }]);
    expect((await api.get("/bans?kind=user")).items).toEqual([]);
    expect(await statusOf(change("DELETE", "/bans/client/eve%2F1"))).toBe(200);
    expect(await statusOf(change("DELETE", "/bans/client/eve%2F1"))).toBe(404);
    for (const path of ["/bans/nobody/x", "/bans/address/x", "/bans/user/%0Auser%20a"])
      expect(await statusOf(change("PUT", path))).toBe(400);
    expect(readFileSync(banFile, "utf8")).toBe("");
  });

  test("the bank's capital is raised and lowered", async () => {
    const { capital } = (await change("POST", "/bank/deposit", { credits: 500 })).body;
    expect((await change("POST", "/bank/withdraw", { credits: 200 })).body.capital).toBe(capital - 200);
    expect(await lastChanges(1)).toMatchObject([{ what: "withdraw", before: capital, after: capital - 200 }]);
    expect(await statusOf(change("POST", "/bank/withdraw", { credits: capital * 2 }))).toBe(409);
    for (const credits of [0, -1, 1.5, "1"])
      expect(await statusOf(change("POST", "/bank/deposit", { credits }))).toBe(400);
  });

  test("a broker is drained once, unless it has no time for that", async () => {
    expect(await statusOf(change("POST", "/drain"))).toBe(409);
    const port = await freePort();
    await withBroker({ httpPort: port, httpHost: "127.0.0.1", drainTime: 1 }, async () => {
      const other = await ApiClient.open(port);
      expect((await other.ask("/drain", { method: "POST" })).status).toBe(200);
      expect(await other.get("/broker")).toMatchObject({ draining: true, ready: false });
      expect((await other.ask("/drain", { method: "POST" })).status).toBe(409);
    });
  });

  test("every operation that changes something has been asked", () => {
    const elsewhere = ["createToken", "deleteToken", "disconnectClient", "dropMail", "setLogLevel", "sweep"];
    const changing = Object.values(api.document.paths).flatMap((path) =>
      Object.entries(path).flatMap(([method, { operationId }]) => (method === "get" ? [] : [operationId])),
    );
    expect([...changing].filter((id) => !api.asked.has(id)).sort()).toEqual(elsewhere);
  });
});
