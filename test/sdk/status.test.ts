/** The status of a client, its figures and its log, and a start before its network; on Bun and on Node. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { ClientClosed, connect, type LogEntry, MqttError, type Status, TimedOut } from "../../src/client/for-bun.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { ScriptedBroker } from "../support/scripted-broker.ts";

let real: TestBroker;
beforeAll(async () => {
  real = await startBroker();
});
afterAll(() => real.stop());

let broker: ScriptedBroker;
beforeEach(() => {
  broker = new ScriptedBroker();
});
afterEach(() => broker.stop());

const soon = { reconnect: { minMs: 1, maxMs: 10 } } as const;
const patient = { retry: "for ever", ...soon } as const;

test("retry for ever: a client that begins before its broker publishes and subscribes as soon as there is one", async () => {
  const port = await freePort();
  const client = await connect(`mqtt://127.0.0.1:${port}`, patient);
  expect(client.status.state).not.toBe("connected");
  const messages = client.messages("early", { qos: 1 });
  const published = client.publish("early", "before the network", { qos: 1 });
  await expect(client.connected({ timeoutMs: 30 })).rejects.toBeInstanceOf(TimedOut);
  await eventually(() => client.status.state === "reconnecting", "a failure");
  const late = await startBroker({ port });
  try {
    await client.connected({ timeoutMs: 30_000 });
    await published;
    await messages.ready;
    await client.publish("early", "later", { qos: 1 });
    const seen = (await messages.next()).value!.text;
    expect(["before the network", "later"]).toContain(seen);
    await client.end();
  } finally {
    await late.stop();
  }
});

test("retry for ever ends where trying again is no use, by the signal, and by end()", async () => {
  const refused = await connect(`mqtt://127.0.0.1:${broker.port}`, patient);
  const waiting = refused.connected();
  (await broker.next()).send({ cmd: "connack", reasonCode: 0x86, sessionPresent: false, properties: {} });
  const error = await waiting.catch((thrown) => thrown);
  expect(error).toBeInstanceOf(ClientClosed);
  expect(error.cause.cause).toMatchObject({ name: "ConnectFailed", reasonCode: 0x86 });
  expect(refused.status.state).toBe("closed");

  const port = await freePort();
  const aborting = new AbortController();
  const aborted = await connect(`mqtt://127.0.0.1:${port}`, { ...patient, signal: aborting.signal });
  aborting.abort();
  await expect(aborted.connected()).rejects.toBeInstanceOf(ClientClosed);

  const ended = await connect(`mqtt://127.0.0.1:${port}`, patient);
  const publish = ended.publish("t", "x", { qos: 1 });
  await ended.end();
  await expect(publish).rejects.toBeInstanceOf(ClientClosed);
  await expect(connect(`mqtt://127.0.0.1:${port}`)).rejects.toMatchObject({ name: "ConnectFailed" });
});

test("statuses: any number of listeners and iterators, told in order, connecting among them", async () => {
  const url = `mqtt://127.0.0.1:${broker.port}`;
  const fromOption: Status["state"][] = [];
  const client = await connect(url, { ...patient, onStatus: ({ state }) => fromOption.push(state) });
  const [one, two]: [Status[], Status[]] = [[], []];
  client.on("status", (status) => one.push(status));
  const remove = client.on("status", (status) => two.push(status));
  const iterated: Status["state"][] = [];
  const iterating = (async () => {
    for await (const { state } of client.statuses()) iterated.push(state);
  })();
  const first = await broker.next();
  await first.admit();
  await client.connected();
  remove();
  first.cut();
  await (await broker.next()).admit();
  await eventually(() => one.filter(({ state }) => state === "connected").length === 2, "the second connection");
  await client.end();
  await iterating;
  const begun: Status["state"][] = ["connecting", "connected", "reconnecting", "connecting", "connected", "closed"];
  expect(fromOption).toEqual(begun);
  expect(iterated).toEqual(begun);
  expect(one.map(({ state }) => state)).toEqual(begun.slice(1));
  expect(two.map(({ state }) => state)).toEqual(["connected"]);
  expect(one[2]).toEqual({ state: "connecting", broker: url });
  for await (const { state } of client.statuses()) expect(state).toBe("closed");
  for (const [event, words] of [
    ["message", "client.messages(pattern)"],
    ["connect", 'the only event is "status"'],
  ])
    expect(() => client.on(event as "status", () => {})).toThrow(words);
});

test("an iterator ends with its loop and by its signal, and a slow one has the newest statuses", async () => {
  const client = await connect(`mqtt://127.0.0.1:${await freePort()}`, {
    retry: "for ever",
    reconnect: { minMs: 0, maxMs: 1 },
  });
  const aborting = new AbortController();
  const slow = client.statuses();
  const stopped = client.statuses({ signal: aborting.signal });
  let told = 0;
  client.on("status", () => told++);
  await eventually(() => told > 300, "many attempts");
  aborting.abort();
  let left = 0;
  for await (const _ of stopped) left++;
  expect(left).toBeLessThanOrEqual(64);
  await client.end();
  const states: string[] = [];
  for await (const { state } of slow) states.push(state);
  expect([states.length, states.at(-1)]).toEqual([64, "closed"]);
});

test("figures: messages and bytes both ways, connections, the round trip", async () => {
  const client = await connect(`mqtt://127.0.0.1:${real.port}`);
  const messages = await client.subscribe("figures", { qos: 1 });
  await client.publish("figures", "x".repeat(1000), { qos: 1 });
  await client.publish("nobody", "x");
  await client.publish("$SYS/mine", "x", { qos: 1 }).catch(() => {});
  await messages.next();
  const roundTrip = await client.roundTrip({ timeoutMs: 10_000 });
  expect(roundTrip).toBeWithin(0, 10_000);
  const { bytesSent, bytesReceived, ...rest } = client.statistics;
  expect(rest).toEqual({ connections: 1, published: 2, refused: 1, received: 1, pending: 0, roundTripMs: roundTrip });
  expect(bytesSent).toBeWithin(1000, 2000);
  expect(bytesReceived).toBeWithin(1000, 2000);
  await client.end();
  expect(client.statistics.bytesSent).toBeGreaterThanOrEqual(bytesSent);
  await expect(client.roundTrip()).rejects.toBeInstanceOf(MqttError);
});

test("the log: what happens is told, and what callbacks throw or reject with stands there and ends nothing", async () => {
  const lines: LogEntry[] = [];
  const thrower = (): never => {
    throw new Error("of the application's own");
  };
  const rejecter = async (): Promise<void> => thrower();
  const client = await connect(`mqtt://127.0.0.1:${real.port}`, {
    clientId: "logged",
    onStatus: thrower,
    onLog: (entry) => {
      lines.push(entry);
      if (entry.level === "debug") thrower();
    },
  });
  client.on("status", rejecter);
  const schema = {
    "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "no" }] }) },
  } as const;
  const [invalid, valid] = [
    await client.subscribe("json", { schema, onInvalid: rejecter }),
    await client.subscribe("json"),
  ];
  const next = invalid.next();
  await client.publish("json", "{}");
  await valid.next();
  const responder = client.respond("ask", thrower, { onError: rejecter });
  await responder.ready;
  await expect(client.request("ask", "")).rejects.toThrow("of the application's own");
  await eventually(
    () => ["onInvalid", "onError"].every((name) => lines.some((line) => line.message === `${name} has thrown`)),
    "both",
  );
  await client.end();
  await next.catch(() => {});
  const told = lines.map(({ level, message }) => `${level}: ${message}`);
  expect(told).toContain(`info: connected to mqtt://127.0.0.1:${real.port}, in a new session`);
  expect(told).toContain("error: onStatus has thrown");
  expect(told).toContain('error: a listener of "status" has thrown');
  expect(told.at(-1)).toBe('error: a listener of "status" has thrown');
  expect(lines.every(({ clientId }) => clientId === "logged")).toBe(true);
  expect(lines.find(({ level }) => level === "error")!.error).toBeInstanceOf(Error);
});

test("a password that never comes is no connection, and the next attempt asks again", async () => {
  let asked = 0;
  const client = await connect(`mqtt://127.0.0.1:${real.port}`, {
    ...patient,
    username: "u",
    connectTimeoutMs: 50,
    password: () => (++asked < 3 ? new Promise<string>(() => {}) : "p"),
  });
  await client.connected({ timeoutMs: 30_000 });
  expect(asked).toBeGreaterThanOrEqual(3);
  await client.end();
});

test.each(["bun", "node"])("%s: no exception in a listener is the end of the process", async (runtime) => {
  const { builtPackage } = await import("../support/package.ts");
  const script = `
    import { connect } from ${JSON.stringify(join(builtPackage(), runtime, "main.js"))};
    const fail = () => { throw new Error("mine") };
    const client = await connect("mqtt://127.0.0.1:${real.port}", { onStatus: async () => fail(), onLog: async () => fail() });
    client.on("status", fail);
    const responder = client.respond("a", fail, { onError: fail });
    await responder.ready;
    await client.request("a", "").catch(() => {});
    await client.end();
    console.log("goes on");
  `;
  const how = runtime === "bun" ? [process.execPath, "-e", script] : ["node", "--input-type=module", "-e", script];
  const child = Bun.spawn(how, { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect({ code: await child.exited, out }).toEqual({ code: 0, out: "goes on\n" });
  expect(err).toContain("onLog has thrown");
});
