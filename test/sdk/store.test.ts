/** The store of a client: what was published survives the process, whenever that is killed; QoS 2 comes once. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Client,
  type ClientOptions,
  connect,
  type Store,
  StoreFailed,
  sqliteStore,
} from "../../src/client/for-bun.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, withBroker } from "../support/broker.ts";
import { nodeWithSqlite } from "../support/node-with-sqlite.ts";
import { builtPackage } from "../support/package.ts";
import { ScriptedBroker, type ScriptedConnection } from "../support/scripted-broker.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-store-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
let path = "";
beforeEach(() => {
  path = join(folder, `${++files}.sqlite`);
});

const durable = {
  clientId: "c",
  sessionExpiryMs: 600_000,
  retry: "for ever",
  reconnect: { minMs: 1, maxMs: 10 },
} as const;

/** Numbers as a seed draws them (a linear congruential generator). */
function drawn(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

async function begin(
  broker: ScriptedBroker,
  options: ClientOptions = {},
  sessionPresent = false,
): Promise<[Client, ScriptedConnection]> {
  const client = await connect(`mqtt://127.0.0.1:${broker.port}`, { ...durable, store: sqliteStore(path), ...options });
  const connection = await broker.next();
  await connection.admit({}, sessionPresent);
  await client.connected();
  return [client, connection];
}

/** The executable of a runtime, and the library that it runs. */
function runtimeOf(name: "Bun" | "Node"): readonly [executable: string, library: string] {
  return name === "Bun"
    ? [process.execPath, join(import.meta.dir, "../../src/client/for-bun.ts")]
    : [nodeWithSqlite(), join(builtPackage(), "node/main.js")];
}

test.each([
  [1, "Bun"],
  [2, "Bun"],
  [1, "Node"],
  [2, "Node"],
] as const)(
  "QoS %i: an application on %s that is killed again and again loses nothing that publish() had returned for",
  async (qos, name) => {
    const seed = 20_260 + qos;
    const [executable, library] = runtimeOf(name);
    const random = drawn(seed);
    await withBroker({}, async ({ port }) => {
      const url = `mqtt://127.0.0.1:${port}`;
      const reader = await connect(url, { clientId: "reader", sessionExpiryMs: 600_000 });
      const messages = await reader.subscribe("numbers", { qos });
      const seen: number[] = [];
      const reading = (async () => {
        for await (const { text } of messages) seen.push(Number(text));
      })();
      const accepted: number[] = [];
      let next = 1;
      for (let life = 0; life < 4; life++) {
        const isLast = life === 3;
        const count = isLast ? 50 : 100_000;
        const killAt = Math.floor(random() * 400);
        const args = [library, url, path, String(next), String(count), String(qos)];
        const child = Bun.spawn([executable, join(import.meta.dir, "store-app.mjs"), ...args], {
          stdout: "pipe",
          stderr: "inherit",
          // That SQLite is new in Node is said in the library's pages.
          env: { ...process.env, NODE_NO_WARNINGS: "1" },
        });
        let text = "";
        let isSettled = false;
        for await (const chunk of child.stdout) {
          text += new TextDecoder().decode(chunk);
          isSettled = text.endsWith("settled\n");
          if (!isLast && text.split("\n").length > killAt) child.kill("SIGKILL");
        }
        await child.exited;
        expect([seed, isSettled]).toEqual([seed, isLast]);
        const numbers = text.split("\n").slice(0, -1).map(Number).filter(Number.isInteger);
        accepted.push(...numbers);
        next = Math.max(next, ...numbers) + 1;
        // One more may have been kept whose number could not be printed.
        if (!isLast) next++;
      }
      await eventually(() => accepted.every((number) => seen.includes(number)), "all to come");
      const first = [...new Set(seen)];
      expect(first).toEqual(first.toSorted((a, b) => a - b));
      if (qos === 2) expect(seen.length).toBe(first.length);
      await reader.end();
      await reading;
    });
  },
  60_000,
);

test("what waits offline goes out with the next process, whole, in order, with its properties", async () => {
  const url = `mqtt://127.0.0.1:${await freePort()}`;
  const options = { ...durable, store: sqliteStore(path) };
  const first = await connect(url, options);
  const kept = [0, 1, 2].map((qos) =>
    first.publish(`kept/${qos}`, qos === 0 ? "" : new Uint8Array([0, 255, qos]), {
      qos: qos as 0,
      retain: qos === 1,
      expiryMs: 600_000,
      userProperties: { n: String(qos) },
      contentType: "x/y",
    }),
  );
  for (const publish of kept) publish.catch(() => {});
  await first.stored();
  await first.end();
  await expect(kept[0]).rejects.toThrow("the client was ended");
  const broker = new ScriptedBroker();
  try {
    const [second, connection] = await begin(broker);
    for (const qos of [0, 1, 2]) {
      const sent = await connection.take("publish");
      expect([sent.topic, sent.qos, sent.retain, sent.dup]).toEqual([`kept/${qos}`, qos, qos === 1, false]);
      expect([...sent.payload]).toEqual(qos === 0 ? [] : [0, 255, qos]);
      expect(sent.properties).toMatchObject({ contentType: "x/y", userProperties: { n: String(qos) } });
      expect(sent.properties.messageExpiryInterval).toBeWithin(300, 601);
      if (qos > 0) connection.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: sent.messageId });
      if (qos === 2) connection.send({ cmd: "pubcomp", messageId: (await connection.take("pubrel")).messageId });
    }
    await eventually(() => second.pending === 0, "all to be settled");
    await second.end();
    // Nothing is left for a third one.
    const [third, quiet] = await begin(broker, {}, true);
    third.roundTrip().catch(() => {});
    await quiet.take("pingreq");
    expect(quiet.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    await third.end({ timeoutMs: 0 });
  } finally {
    broker.stop();
  }
});

test("packet ids and PUBREC outlive the process: with its session what was taken is released, and the rest comes under its id", async () => {
  const broker = new ScriptedBroker();
  try {
    const [first, connection] = await begin(broker);
    for (const text of ["taken", "sent"]) first.publish("t", text, { qos: 2 });
    const [taken, sent] = [await connection.take("publish"), await connection.take("publish")];
    connection.send({ cmd: "pubrec", messageId: taken.messageId });
    await connection.take("pubrel");
    await first.end({ timeoutMs: 0 });
    const [second, again] = await begin(broker, {}, true);
    expect((await again.take("pubrel")).messageId).toBe(taken.messageId);
    const repeated = await again.take("publish");
    expect([repeated.messageId, repeated.dup, repeated.payload.toString()]).toEqual([sent.messageId, true, "sent"]);
    await second.end({ timeoutMs: 0 });
    // A broker that has forgotten the session is sent the rest as new; what it had taken over is not sent again.
    const [third, anew] = await begin(broker, {}, false);
    const fresh = await anew.take("publish");
    expect([fresh.dup, fresh.payload.toString(), third.pending]).toEqual([false, "sent", 1]);
    expect(anew.packets).toEqual([]);
    await third.end({ timeoutMs: 0 });
  } finally {
    broker.stop();
  }
});

test("a message of QoS 2 that was taken and not released does not come again to the next process", async () => {
  const broker = new ScriptedBroker();
  try {
    const [first, connection] = await begin(broker);
    const messages = first.messages("in", { qos: 2, ack: "manual" });
    const { properties } = await connection.grant();
    await messages.ready;
    const publish = (messageId: number) => ({
      cmd: "publish",
      topic: "in",
      payload: `${messageId}`,
      qos: 2,
      messageId,
      properties,
    });
    connection.send(publish(7));
    connection.send(publish(8));
    (await messages.next()).value!.ack();
    await messages.next();
    expect((await connection.take("pubrec")).messageId).toBe(7);
    await first.end({ timeoutMs: 0 });
    const [second, again] = await begin(broker, {}, true);
    const seen = second.messages("in", { qos: 2 });
    await again.grant();
    for (const id of [7, 8]) again.send({ ...publish(id), dup: true });
    // The first was taken: only its acknowledgement is missing. The second was not.
    expect((await seen.next()).value?.text).toBe("8");
    expect((await again.take("pubrec")).messageId).toBe(7);
    again.send({ cmd: "pubrel", messageId: 7 });
    await again.take("pubcomp");
    again.send(publish(7));
    expect((await seen.next()).value?.text).toBe("7");
    await second.end({ timeoutMs: 0 });
  } finally {
    broker.stop();
  }
});

test("stores that cannot be had, and what stands in the options: refused in words", async () => {
  const broker = await startBroker();
  try {
    const url = `mqtt://127.0.0.1:${broker.port}`;
    const client = await connect(url, { ...durable, store: sqliteStore(path) });
    const inUse = connect(url, { ...durable, store: sqliteStore(path) });
    await expect(inUse).rejects.toThrow(/is in use by another client/);
    await client.end();
    await expect(connect(url, { ...durable, clientId: "d", store: sqliteStore(path) })).rejects.toThrow(
      'is of the client "c", not "d"',
    );
    const nowhere = connect(url, { ...durable, store: sqliteStore(join(folder, "no/such/folder")) });
    await expect(nowhere).rejects.toBeInstanceOf(StoreFailed);
    writeFileSync(path, "x".repeat(10_000));
    await expect(connect(url, { ...durable, store: sqliteStore(path) })).rejects.toThrow("is damaged");
    const needs = connect(url, { clientId: "c", store: sqliteStore(path) });
    await expect(needs).rejects.toThrow("a store needs a sessionExpiryMs");
  } finally {
    await broker.stop();
  }
});

test("on Node: empty payloads and properties are kept, and refusals are the same words", async () => {
  await withBroker({}, async ({ port }) => {
    const [node, library] = runtimeOf("Node");
    const script = join(import.meta.dir, "store-on-node.mjs");
    const args = [library, `mqtt://127.0.0.1:${port}`, mkdtempSync(join(folder, "node-"))];
    const child = Bun.spawn([node, "--no-warnings", script, ...args], { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(err).toBe("");
    const { received, left, inUse, other, noFolder, damaged } = JSON.parse(out);
    expect(received).toMatchObject([
      { payload: [], qos: 1 },
      { payload: [0, 255, 1], qos: 2 },
      { qos: 2, userProperties: [["n", "1"]], contentType: "x/y" },
    ]);
    expect(left).toBe(0);
    expect(inUse).toMatch(/^StoreFailed: the store \/store.sqlite is in use by another client/);
    expect(other).toBe('StoreFailed: the store /store.sqlite is of the client "c", not "d"');
    expect(noFolder).toMatch(/^StoreFailed: the store \/no\/such\/folder cannot be opened/);
    expect(damaged).toMatch(/^StoreFailed: the store \/store.sqlite is damaged/);
  });
});

test("a Node without SQLite says from which version on it is there", async () => {
  const library = join(builtPackage(), "node/main.js");
  // The machine's own Node may have it: it is taken away.
  const script = `
    const { connect, sqliteStore } = await import(${JSON.stringify(library)});
    const options = { clientId: "c", sessionExpiryMs: 1000, store: sqliteStore("nowhere") };
    await connect("mqtt://127.0.0.1:1", options).catch(({ name, message }) => console.log(name + ": " + message));
  `;
  const without = Bun.spawnSync(["node", "--no-experimental-sqlite", "--input-type=module", "-e", script]);
  const { stdout } = without.exitCode === 9 ? Bun.spawnSync(["node", "--input-type=module", "-e", script]) : without;
  expect(stdout.toString()).toBe("StoreFailed: this Node has no SQLite: it comes with Node 22.13\n");
});

test("a store that takes its time holds messages back until it has them; one that fails refuses, and sends nothing", async () => {
  const broker = new ScriptedBroker();
  try {
    const writes: { kinds: string[]; resolve: () => void; reject: (error: Error) => void }[] = [];
    const store: Store = {
      open: () => ({ messages: [], received: [] }),
      write: (changes) => {
        if (changes.every(({ kind }) => kind === "all forgotten")) return;
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        writes.push({ kinds: changes.map(({ kind }) => kind), resolve, reject });
        return promise;
      },
      close() {},
    };
    const [client, connection] = await begin(broker, { store, onLog() {} });
    const published = client.publish("t", "x", { qos: 2 });
    const step = async (kind: string): Promise<(typeof writes)[0]> => {
      await eventually(() => writes.some(({ kinds }) => kinds.includes(kind)), kind);
      return writes.splice(0).find(({ kinds }) => kinds.includes(kind))!;
    };
    const quiet = async (): Promise<void> => {
      await Bun.sleep(0);
      expect(connection.packets.filter(({ cmd }) => cmd !== "pingreq")).toEqual([]);
    };
    const add = await step("add");
    await quiet();
    add.resolve();
    const sent = await step("sent");
    await quiet();
    sent.resolve();
    const { messageId } = await connection.take("publish");
    connection.send({ cmd: "pubrec", messageId });
    const released = await step("released");
    await quiet();
    released.resolve();
    await connection.take("pubrel");
    connection.send({ cmd: "pubcomp", messageId });
    await published;
    (await step("removed")).resolve();
    const refused = client.publish("t", "y", { qos: 1 });
    (await step("add")).reject(new StoreFailed("no room"));
    await expect(refused).rejects.toThrow("no room");
    await quiet();
    await client.end({ timeoutMs: 0 });
  } finally {
    broker.stop();
  }
});
