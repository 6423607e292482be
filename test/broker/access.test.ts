/** Access, packet by packet: logins of every kind, and the access list wherever messages go. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, SignJWT } from "jose";
import { hashForScram, hashPassword } from "../../src/access/hashes.ts";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { scramClient } from "../support/scram-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-access-"));
const path = (name: string): string => join(folder, name);
const secret = "0123456789abcdef0123456789abcdef";

const list = `
user alice
topic readwrite a/#
topic read r/#
topic write w/#
topic deny a/secret
user bob
topic readwrite a/#
pattern readwrite own/%u/%c/#
`;

let hashes: Record<string, string>;

const write = (name: string, text: string): string => {
  writeFileSync(path(name), text);
  return path(name);
};
const usersFile = (names = Object.keys(hashes)): string =>
  write("users", names.map((name) => `${name}:${hashes[name]}\n`).join(""));

beforeAll(async () => {
  hashes = { alice: await hashPassword("alice-pw"), bob: await hashForScram("bob-pw") };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function guarded(options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  return startBroker({ passwordFile: usersFile(), aclFile: write("acl", list), ...options });
}

/** CONNACK's code. */
async function login(port: number, options: AnyPacket): Promise<number> {
  const client = await RawClient.dial(port, options.protocolVersion ?? 5);
  client.send(connectPacket({ protocolVersion: 5, ...options }));
  const { reasonCode, returnCode } = await client.take("connack");
  client.abort();
  return reasonCode ?? returnCode;
}

const as = (username: string, options: AnyPacket = {}): AnyPacket => ({
  protocolVersion: 5,
  username,
  password: Buffer.from(`${username}-pw`),
  ...options,
});

test("user names and passwords, in the words of each version", async () => {
  const broker = await guarded();
  const { port } = broker;
  expect(await login(port, as("alice"))).toBe(0);
  expect(await login(port, as("alice"))).toBe(0);
  expect(await login(port, as("bob"))).toBe(0);
  expect(await login(port, as("alice", { protocolVersion: 4 }))).toBe(0);
  expect(await login(port, as("alice", { password: Buffer.from("x") }))).toBe(0x87);
  expect(await login(port, as("alice", { password: Buffer.from("x"), protocolVersion: 4 }))).toBe(5);
  expect(await login(port, as("alice", { password: undefined }))).toBe(0x87);
  expect(await login(port, as("eve"))).toBe(0x87);
  expect(await login(port, {})).toBe(0x87);
  await broker.stop();
});

test("publish and subscribe: MQTT 5 is told, older clients are acknowledged and ignored [MQTT-3.3.5-2 of 3.1.1]", async () => {
  const broker = await guarded();
  const alice = await RawClient.connect(broker.port, as("alice"));
  const bob = await RawClient.connect(broker.port, as("bob", { protocolVersion: 4, clientId: "b1" }));
  const codes = async (client: RawClient, topic: string): Promise<number> => (await client.subscribe(topic)).granted[0];
  expect(await codes(alice, "a/#")).toBe(0);
  expect(await codes(alice, "$share/g/a/x")).toBe(0);
  expect(await codes(alice, "a/secret")).toBe(0x87);
  expect(await codes(alice, "w/x")).toBe(0x87);
  expect(await codes(alice, "#")).toBe(0);
  expect(await codes(bob, "z/#")).toBe(0x80);
  expect(await codes(bob, "own/bob/b1/x")).toBe(0);
  expect(await codes(bob, "own/bob/b2/x")).toBe(0x80);
  const answer = async (client: RawClient, topic: string, qos: number, messageId: number): Promise<number> => {
    client.publish(topic, "x", { qos, messageId });
    return (await client.take(qos === 1 ? "puback" : "pubrec")).reasonCode ?? 0;
  };
  expect(await answer(alice, "z", 1, 11)).toBe(0x87);
  expect(await answer(alice, "z", 2, 12)).toBe(0x87);
  expect(await answer(alice, "r/x", 1, 13)).toBe(0x87);
  expect(await answer(alice, "a/secret", 2, 14)).toBe(0x87);
  expect(await answer(alice, "a/x", 2, 14)).toBe(0);
  alice.send({ cmd: "pubrel", messageId: 14 });
  expect(await answer(bob, "z", 1, 15)).toBe(0);
  expect(await answer(bob, "z", 2, 16)).toBe(0);
  bob.send({ cmd: "pubrel", messageId: 16 });
  await bob.take("pubcomp");
  alice.publish("z", "QoS 0, dropped");
  alice.publish("a/y", "first");
  alice.publish("z", "dropped");
  alice.publish("a/y", "second");
  await alice.ping();
  const heard = alice.packets.filter(({ cmd }) => cmd === "publish").map(({ topic, payload }) => `${topic} ${payload}`);
  // Two subscriptions match a/x, one of them shared.
  expect(heard.sort()).toEqual(["a/x x", "a/x x", "a/y first", "a/y second"]);
  const { forbidden } = broker.server.broker.context.metrics;
  expect(forbidden).toEqual({ publish: 8, subscribe: 4, receive: 0, will: 0 });
  // The operator is told by which line; clients are not told of his file.
  const why = "the access list does not allow it";
  const reasons = [...broker.server.broker.context.refused.all()].map(({ reason }) => reason);
  expect(reasons).toContain(`to a/secret: ${why}: ${path("acl")} line 6: topic deny a/secret`);
  expect(reasons).toContain(`to z/#: ${why}: no rule of ${path("acl")} allows it`);
  expect(reasons).toContain(`on z: ${why}: no rule of ${path("acl")} allows it`);
  await broker.stop();
});

test("each delivery is asked for: wildcards, retained, shared, mail, mail drops; and again when a session resumes", async () => {
  const all = "user root\ntopic readwrite #\n";
  hashes.root = hashes.alice!;
  const aclFile = write("acl2", `${all}${list}`);
  const root = (options = {}) => as("root", { password: Buffer.from("alice-pw"), ...options });
  const broker = await startBroker({ passwordFile: usersFile(), aclFile, mailDrop: ["r/#", "z/drop"] });
  const publisher = await RawClient.connect(broker.port, root());
  const send = async (topic: string, options = {}): Promise<void> => {
    publisher.publish(topic, topic, { qos: 1, messageId: 1, ...options });
    await publisher.take("puback");
  };
  for (const topic of ["a/kept", "a/secret", "z/kept"]) await send(topic, { retain: true });
  await send("r/drop");
  await send("z/drop");
  const durable = { clientId: "durable", clean: false, properties: { sessionExpiryInterval: 600 } };
  const alice = await RawClient.connect(broker.port, as("alice", durable));
  await alice.subscribe("#", { qos: 1 });
  const topicsOf = (client: RawClient): string[] =>
    client.packets.filter(({ cmd }) => cmd === "publish").map(({ topic }) => topic);
  await eventually(() => topicsOf(alice).length === 2, "what may be read");
  expect(topicsOf(alice).sort()).toEqual(["a/kept", "r/drop"]);
  // A group whose first member may not read the topic: the other one gets all of it.
  const member = await RawClient.connect(broker.port, root());
  await member.subscribe("$share/g/z/#");
  await alice.subscribe("$share/g/#");
  for (let turn = 0; turn < 6; turn++) await send("z/shared");
  await eventually(() => topicsOf(member).length === 6, "the member who may has all");
  for (const packet of alice.packets)
    if (packet.cmd === "publish") alice.send({ cmd: "puback", messageId: packet.messageId });
  alice.disconnect();
  await alice.untilClosed();
  for (const topic of ["a/mail", "a/other", "z/mail"]) await send(topic);
  // While she is away she loses a/other.
  writeFileSync(aclFile, `${all}${list.replace("topic deny a/secret", "topic deny a/secret\ntopic deny a/other")}`);
  broker.server.reload();
  const again = await RawClient.connect(broker.port, as("alice", durable));
  expect(again.connack.sessionPresent).toBe(true);
  await again.take("publish").then(({ topic }) => expect(topic).toBe("a/mail"));
  await send("a/other");
  await send("a/live");
  await again.take("publish").then(({ topic }) => expect(topic).toBe("a/live"));
  await again.ping();
  // Once more through the group, of which she is the only member for that topic.
  expect(topicsOf(again).filter((topic) => topic !== "a/live")).toEqual([]);
  const mailbox = broker.server.broker.context.localSessions.get("durable")!.mailbox!;
  await eventually(() => mailbox.count <= 2, "what may not be read is not kept");
  await broker.stop();
});

test("wills that are forbidden keep nobody out, and are not published, nor those that are not allowed any more", async () => {
  const broker = await guarded();
  const will = (topic: string): AnyPacket => ({ will: { topic, payload: "gone", qos: 1, retain: false } });
  const { context } = broker.server.broker;
  for (const protocolVersion of [4, 5]) {
    const asked = { ...as("alice", will("z")), clean: false, clientId: "willing", protocolVersion };
    const client = await RawClient.connect(broker.port, asked);
    if (protocolVersion === 5) expect(client.connack.properties.reasonString).toMatch(/will is not taken/);
    expect(context.localSessions.get("willing")!.will).toBeUndefined();
    client.abort();
    await client.untilClosed();
  }
  expect(context.metrics.forbidden.will).toBe(2);
  await eventually(() => context.metrics.connections === 0, "they are gone");
  const watcher = await RawClient.connect(broker.port, as("bob"));
  await watcher.subscribe("a/#");
  const first = await RawClient.connect(broker.port, as("alice", will("a/will")));
  const second = await RawClient.connect(broker.port, as("alice", will("a/will")));
  first.abort();
  expect((await watcher.take("publish")).topic).toBe("a/will");
  write("acl", list.replace("user bob", "topic deny a/will\nuser bob"));
  broker.server.reload();
  second.abort();
  await eventually(() => broker.server.broker.context.metrics.connections === 1, "it is gone");
  await watcher.ping();
  expect(watcher.packets.length).toBe(0);
  await broker.stop();
});

test("files that change: rules for who is connected, users who are removed, and a file that is no good", async () => {
  const broker = await guarded();
  const alice = await RawClient.connect(broker.port, as("alice"));
  const bob = await RawClient.connect(broker.port, as("bob"));
  await alice.subscribe("a/#");
  write("acl", "user alice\ntopic readwrite other/#\nuser bob\ntopic readwrite a/#");
  // Found by itself, within seconds.
  await eventually(async () => {
    alice.publish("a/x", "look", { qos: 1, messageId: 1 });
    return (await alice.take("puback")).reasonCode === 0x87;
  }, "the new rules hold");
  bob.publish("a/x", "x", { qos: 1, messageId: 1 });
  await bob.take("puback");
  await alice.ping();
  expect(alice.packets.filter(({ payload }) => String(payload) === "x")).toEqual([]);
  usersFile(["bob"]);
  broker.server.reload();
  expect((await alice.take("disconnect")).reasonCode).toBe(0x87);
  await bob.ping();
  write("users", `bob:${hashes.bob}\neve:plain`);
  write("acl", "nonsense");
  broker.server.reload();
  expect(await login(broker.port, as("bob"))).toBe(0);
  await broker.stop();
});

const method = "SCRAM-SHA-256";

test("SCRAM: both prove the password, in CONNECT and again later; others are refused", async () => {
  const broker = await guarded();
  const begin = async (scram: ReturnType<typeof scramClient>): Promise<RawClient> => {
    const client = await RawClient.dial(broker.port, 5);
    const properties = { authenticationMethod: method, authenticationData: scram.first };
    client.send(connectPacket({ protocolVersion: 5, properties }));
    return client;
  };
  const go = async (client: RawClient, scram: ReturnType<typeof scramClient>): Promise<void> => {
    const { properties, reasonCode } = await client.take("auth");
    expect(reasonCode).toBe(0x18);
    const authenticationData = scram.final(properties.authenticationData);
    client.send({ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: method, authenticationData } });
  };
  const scram = scramClient("bob", "bob-pw");
  const bob = await begin(scram);
  await go(bob, scram);
  const connack = await bob.take("connack");
  expect(connack.reasonCode).toBe(0);
  expect(connack.properties.authenticationMethod).toBe(method);
  expect(scram.proves(connack.properties.authenticationData)).toBe(true);
  // He is bob to the access list.
  expect((await bob.subscribe("a/x")).granted).toEqual([0]);
  expect((await bob.subscribe("z")).granted).toEqual([0x87]);
  const anew = scramClient("bob", "bob-pw");
  bob.send({
    cmd: "auth",
    reasonCode: 0x19,
    properties: { authenticationMethod: method, authenticationData: anew.first },
  });
  await go(bob, anew);
  const done = await bob.take("auth");
  expect([done.reasonCode, anew.proves(done.properties.authenticationData)]).toEqual([0, true]);
  for (const [name, password] of [
    ["bob", "x"],
    ["nobody", "x"],
    ["alice", "alice-pw"],
  ] as const) {
    const wrong = scramClient(name, password);
    const client = await begin(wrong);
    await go(client, wrong);
    expect((await client.take("connack")).reasonCode).toBe(0x87);
  }
  // It has the password, and says in its proof that it began otherwise than it did.
  const twisted = scramClient("bob", "bob-pw", "y,,");
  const downgraded = await begin(twisted);
  await go(downgraded, twisted);
  expect((await downgraded.take("connack")).reasonCode).toBe(0x87);
  const other = scramClient("bob", "wrong");
  bob.send({
    cmd: "auth",
    reasonCode: 0x19,
    properties: { authenticationMethod: method, authenticationData: other.first },
  });
  await go(bob, other);
  expect((await bob.take("disconnect")).reasonCode).toBe(0x87);
  expect(await login(broker.port, { properties: { authenticationMethod: "GS2-KRB5" } })).toBe(0x8c);
  for (const options of [{}, { qos: 1, messageId: 1 }, { qos: 2, messageId: 1, retain: true }]) {
    const early = await begin(scramClient("bob", "bob-pw"));
    await early.take("auth");
    early.publish("a/x", "before the login is over", options);
    expect((await early.take("connack")).reasonCode).toBe(0x82);
    await early.untilClosed();
  }
  const data = { authenticationData: Buffer.from("n,,n=bob,r=x") };
  expect(await login(broker.port, as("alice", { properties: data }))).toBe(0x82);
  await broker.stop();
});

test("tokens: topics from claims, and the end of the connection with the token", async () => {
  const jwtKey = write("key", secret);
  const broker = await startBroker({ jwtKey, aclFile: write("acl3", list) });
  const sign = (claims: object): Promise<string> =>
    new SignJWT({ sub: "dev", ...claims }).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(secret));
  const token = async (claims: object): Promise<AnyPacket> => as("dev", { password: Buffer.from(await sign(claims)) });
  const client = await RawClient.connect(
    broker.port,
    await token({ acl: { pub: ["up/%c"], sub: ["down/%u"] }, client_id: "d1" }).then((packet) => ({
      ...packet,
      clientId: "d1",
    })),
  );
  expect((await client.subscribe("down/dev")).granted).toEqual([0]);
  expect((await client.subscribe("a/x")).granted).toEqual([0x87]);
  client.publish("up/d1", "x", { qos: 1, messageId: 1 });
  expect((await client.take("puback")).reasonCode).toBe(0x10);
  expect(await login(broker.port, { ...(await token({ client_id: "d1" })), clientId: "d2" })).toBe(0x87);
  expect(await login(broker.port, { ...(await token({})), username: "other" })).toBe(0x87);
  expect(await login(broker.port, await token({ exp: 1000 }))).toBe(0x87);
  expect(await login(broker.port, as("dev"))).toBe(0x87);
  // Without claims about topics the access list says what alice may do.
  const alice = await RawClient.connect(broker.port, { ...(await token({ sub: "alice" })), username: "alice" });
  expect((await alice.subscribe("a/x")).granted).toEqual([0]);
  const brief = (): number => Math.floor(Date.now() / 1000) + 2;
  // It may be over before it is shown, where the machine is busy.
  let ends: RawClient | undefined;
  const isIn = async (): Promise<boolean> => {
    ends = await RawClient.connect(broker.port, await token({ exp: brief() })).catch(() => undefined);
    return ends !== undefined;
  };
  await eventually(isIn, "a token that is still good lets in");
  expect((await ends!.take("disconnect")).reasonCode).toBe(0x87);
  expect(client.closed).toBe(false);
  await broker.stop();
});

test("tokens by the keys of a service, which exchanges them; while it is away clients are told to come later", async () => {
  const pairs = { old: generateKeyPairSync("ed25519"), new: generateKeyPairSync("ed25519") };
  let shown: keyof typeof pairs = "old";
  const service = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      // Whoever is sent elsewhere could be sent anywhere.
      if (new URL(request.url).pathname === "/moved") return Response.redirect(new URL("/", request.url).href);
      return Response.json({ keys: [{ ...(await exportJWK(pairs[shown].publicKey)), kid: shown }] });
    },
  });
  const url = `http://127.0.0.1:${service.port}/`;
  const terms = { jwtAudience: "mqtt", jwtIssuer: "id", jwtClaim: ["sub"] };
  const loginBy = async (port: number, kid: keyof typeof pairs, claims = {}): Promise<number> => {
    const token = new SignJWT({ sub: "dev", aud: "mqtt", iss: "id", ...claims });
    const password = await token.setProtectedHeader({ alg: "EdDSA", kid }).sign(pairs[kid].privateKey);
    return login(port, { password: Buffer.from(password), username: "" });
  };
  const broker = await startBroker({ jwtKey: url, ...terms });
  expect(await loginBy(broker.port, "old")).toBe(0);
  expect(await loginBy(broker.port, "old", { aud: "web" })).toBe(0x87);
  shown = "new";
  expect(await loginBy(broker.port, "new")).toBe(0);
  expect(await loginBy(broker.port, "old")).toBe(0x87);
  await broker.stop();
  const lost = await startBroker({ jwtKey: `${url}moved`, ...terms });
  expect(await loginBy(lost.port, "new")).toBe(0x89);
  await lost.stop();
  await service.stop(true);
  expect(startBroker({ jwtAudience: "mqtt" })).rejects.toThrow("--jwt-key");
});

test("a hook: asked over HTTP, and whoever it does not answer for stays out", async () => {
  const asked: AnyPacket[] = [];
  const service = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const question = (await request.json()) as AnyPacket;
      asked.push(question);
      return Response.json({ result: question.username === "eve" ? "deny" : "allow", acl: { all: ["h/#"] } });
    },
  });
  const broker = await startBroker({ authHook: `http://127.0.0.1:${service.port}/auth` });
  const client = await RawClient.connect(broker.port, as("dev", { clientId: "h1" }));
  expect(asked[0]).toEqual({
    clientid: "h1",
    username: "dev",
    password: "dev-pw",
    address: "127.0.0.1",
    certificate: null,
  });
  expect((await client.subscribe("h/x")).granted).toEqual([0]);
  expect((await client.subscribe("a/x")).granted).toEqual([0x87]);
  expect(await login(broker.port, as("eve"))).toBe(0x87);
  await service.stop(true);
  expect(await login(broker.port, as("late"))).toBe(0x87);
  await broker.stop();
});
