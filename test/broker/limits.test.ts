/** Limits that hold, each with its reason code and its counter; and what an administrator may do over HTTP. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram, hashPassword } from "../../src/access/hashes.ts";
import {
  linesPerCauseMax,
  refusalsLogMs,
  shapesPerSessionMax,
  sharedShapesPerSessionMax,
} from "../../src/base/limits.ts";
import { createLog } from "../../src/base/log.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker, withBroker } from "../support/broker.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { machine } from "../support/machine.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { scramClient } from "../support/scram-client.ts";

async function connackOf(port: number, options: AnyPacket = {}): Promise<number> {
  const client = await RawClient.dial(port, options.protocolVersion ?? 5);
  client.send(connectPacket({ protocolVersion: 5, ...options }));
  const { reasonCode, returnCode } = await client.take("connack");
  client.abort();
  return reasonCode ?? returnCode;
}

test("connections of one address, and the rate of new ones", async () => {
  await withBroker({ maxConnectionsPerAddress: 2 }, async ({ port, server }) => {
    const first = await RawClient.connect(port);
    await RawClient.connect(port);
    expect(await connackOf(port)).toBe(0x97);
    expect(await connackOf(port, { protocolVersion: 4 })).toBe(3);
    first.abort();
    await eventually(async () => (await connackOf(port)) === 0, "there is room again");
    expect(server.broker.context.metrics.turnedAway.address).toBeGreaterThanOrEqual(2);
  });
  await withBroker({ connectRate: 5 }, async ({ port, server }) => {
    const startedAt = performance.now();
    const codes = await Promise.all(Array.from({ length: 40 }, () => connackOf(port)));
    const takenMax = 5 + Math.ceil((5 * (performance.now() - startedAt)) / 1000);
    const refused = codes.filter((code) => code === 0x9f).length;
    expect(codes.filter((code) => code === 0).length).toBe(40 - refused);
    expect(refused).toBeGreaterThanOrEqual(40 - takenMax);
    expect(server.broker.context.metrics.turnedAway.connect_rate).toBe(refused);
    await eventually(async () => (await connackOf(port)) === 0, "a second later");
  });
});

test("messages and bytes a second: the client is read more slowly, and nothing is lost", async () => {
  for (const options of [{ maxMessageRate: 200 }, { maxByteRate: 20_000 }]) {
    await withBroker(options, async ({ port, server }) => {
      const subscriber = await RawClient.connect(port);
      await subscriber.subscribe("#", { qos: 1 });
      const publisher = await RawClient.connect(port, { protocolVersion: 5 });
      const bystander = await RawClient.connect(port);
      const startedAt = performance.now();
      for (let at = 1; at <= 600; at++) publisher.publish("t", "x".repeat(90), { qos: 1, messageId: at });
      await bystander.ping();
      // He is answered long before the publisher is.
      expect(publisher.packets.length).toBeLessThan(600);
      await subscriber.takeMany("publish", 600);
      // A second's worth at once, and then two seconds for the rest.
      expect(performance.now() - startedAt).toBeGreaterThan(1500);
      expect(server.broker.context.metrics.slowedDown).toBeGreaterThan(0);
      expect(publisher.closed).toBe(false);
    });
  }
});

test("subscriptions of a session, and retained messages", async () => {
  await withBroker({ maxSubscriptions: 2, maxRetained: 2 }, async ({ port, server }) => {
    const client = await RawClient.connect(port, { protocolVersion: 5 });
    const granted = async (topic: string): Promise<number> => (await client.subscribe(topic)).granted[0];
    expect([await granted("a"), await granted("b"), await granted("c"), await granted("a")]).toEqual([0, 0, 0x97, 0]);
    const retain = async (topic: string, payload = "x"): Promise<AnyPacket> => {
      client.publish(topic, payload, { qos: 1, retain: true, messageId: 1 });
      return client.take("puback");
    };
    expect((await retain("r/1")).reasonCode).toBe(0);
    expect((await retain("r/2")).reasonCode).toBe(0);
    const third = await retain("r/3");
    expect([third.reasonCode, third.properties.reasonString]).toEqual([
      0x97,
      expect.stringContaining("maximum of 2 retained"),
    ]);
    expect((await retain("r/1", "y")).reasonCode).toBe(0);
    expect((await retain("r/2", "")).reasonCode).toBe(0);
    expect((await retain("r/3")).reasonCode).toBe(0);
    expect(server.broker.context.metrics.beyondLimit).toMatchObject({ subscriptions: 1, retained: 1 });
  });
});

test("levels of topics and filters, for each version and QoS", async () => {
  await withBroker({ topicLevelsMax: 3 }, async ({ port, server }) => {
    const { metrics } = server.broker.context;
    const client = await RawClient.connect(port, { protocolVersion: 5 });
    const asked = ["a/b/c", "a/b/c/d", "$share/g/a/b/c", "$share/g/a/+/c/#"];
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: asked.map((topic) => ({ topic, qos: 0 })) });
    const suback = await client.take("suback");
    expect(suback.granted).toEqual([0, 0x8f, 0, 0x8f]);
    expect(suback.properties.reasonString).toContain("3 levels");
    for (const [qos, ack] of [
      [1, "puback"],
      [2, "pubrec"],
    ] as const) {
      client.publish("a/b/c/d", "x", { qos, messageId: 7 });
      const { reasonCode, properties } = await client.take(ack);
      expect([reasonCode, properties.reasonString]).toEqual([0x90, expect.stringContaining("more than 3 levels")]);
    }
    // At QoS 0 nobody waits for an answer: the message is dropped, and counted.
    client.publish("a/b/c/d", "x");
    client.publish("a/b/c", "x");
    expect((await client.take("publish")).topic).toBe("a/b/c");
    expect(metrics.beyondLimit.levels).toBe(5);
    const old = await RawClient.connect(port);
    expect((await old.subscribe("a/b/c/d")).granted).toEqual([0x80]);
    old.publish("a/b/c/d", "x");
    await old.ping();
    old.publish("a/b/c/d", "x", { qos: 1, messageId: 1 });
    await old.untilClosed();
    expect(old.packets.filter(({ cmd }) => cmd === "puback")).toEqual([]);
    const will = { topic: "a/b/c/d", payload: "x", qos: 0 };
    expect(await connackOf(port, { will })).toBe(0x90);
    const silent = await RawClient.dial(port, 4);
    silent.send(connectPacket({ will }));
    await silent.untilClosed();
    expect(silent.packets).toEqual([]);
  });
});

test("bytes of a filter, where the store keeps it for a session that outlives its connection", async () => {
  const lasting = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const;
  const [fits, long] = ["f".repeat(4096), "é".repeat(2049)];
  const broker = await startBroker({ filterBytesMax: 65_535 });
  const before = await RawClient.connect(broker.port, { ...lasting, clientId: "before" });
  expect((await before.subscribe(long)).granted).toEqual([0]);
  before.abort();
  const { port, stop } = await broker.restart({ filterBytesMax: defaultOptions.filterBytesMax });
  const stays = await RawClient.connect(port, { ...lasting, clientId: "stays" });
  const suback = await stays.subscribe(long);
  expect([suback.granted, suback.properties.reasonString]).toEqual([[0x8f], expect.stringContaining("4096 bytes")]);
  expect((await stays.subscribe(fits)).granted).toEqual([0]);
  const old = await RawClient.connect(port, { clean: false, clientId: "old" });
  expect((await old.subscribe(long)).granted).toEqual([0x80]);
  // What ends with its connection is in nobody's way, and who had it before keeps it.
  expect((await (await RawClient.connect(port)).subscribe(long)).granted).toEqual([0]);
  const back = await RawClient.connect(port, { ...lasting, clientId: "before" });
  expect((await back.subscribe(long, { qos: 1 })).granted).toEqual([1]);
  await stop();
});

test("filters of one session that one topic may match: by the places of their wildcards", async () => {
  await withBroker({}, async ({ port, server }) => {
    const { context } = server.broker;
    const client = await RawClient.connect(port, { protocolVersion: 5 });
    const subscribe = async (who: RawClient, topics: readonly string[]): Promise<AnyPacket> => {
      who.send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos: 0 })) });
      return who.take("suback");
    };
    const granted = ({ granted }: AnyPacket): number => granted.filter((code: number) => code < 3).length;
    // Every filter of ten levels, each a name or a wildcard.
    const wild = (length: number, seed = 0): string[] =>
      Array.from({ length }, (_, at) =>
        [...(seed + at).toString(2).padStart(12, "0")].map((bit) => (bit === "0" ? "a" : "+")).join("/"),
      );
    const many = await subscribe(client, wild(1024));
    expect([granted(many), many.granted.at(-1)]).toEqual([shapesPerSessionMax, 0x97]);
    expect(many.properties.reasonString).toContain("wildcards");
    // Filters that are alike in their wildcards are as many as there may be.
    const alike = Array.from({ length: 500 }, (_, at) => `a/a/a/${at}/a/a/a/a/a/a/a/+`);
    expect(granted(await subscribe(client, alike))).toBe(500);
    // What is given up makes room.
    client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: [wild(1)[0]] });
    await client.take("unsuback");
    expect(granted(await subscribe(client, wild(2, 1024)))).toBe(1);
    // All sessions together: what has few wildcards is always taken.
    for (let round = 0; round < 8; round++)
      await subscribe(await RawClient.connect(port, { protocolVersion: 5 }), wild(256, 256 * round));
    expect(context.metrics.beyondLimit.wildcards).toBeGreaterThan(1000);
    const last = await RawClient.connect(port, { protocolVersion: 5 });
    expect((await subscribe(last, ["+/+/z/z/z", "+/z/z/z/z/z/+", "+/z/+/z/+/z/+/#"])).granted).toEqual([0, 0, 0x97]);
    const groups = Array.from({ length: 1000 }, (_, at) => `$share/g${at}/#`);
    expect(granted(await subscribe(last, groups))).toBe(sharedShapesPerSessionMax);
    expect(
      granted(
        await subscribe(
          last,
          Array.from({ length: 1000 }, (_, at) => `$share/g1/t/${at}`),
        ),
      ),
    ).toBe(0);
    const worker = await RawClient.connect(port, { protocolVersion: 5 });
    expect(
      granted(
        await subscribe(
          worker,
          Array.from({ length: 1000 }, (_, at) => `$share/g1/t/${at}`),
        ),
      ),
    ).toBe(1000);
  });
});

test("a Keep Alive longer than the operator's counts as his, also before MQTT 5", async () => {
  await withBroker({ keepaliveMax: 1 }, async ({ port }) => {
    const since = performance.now();
    const silent = await Promise.all(
      [0, 2, 600].map((keepalive) => RawClient.connect(port, { protocolVersion: 4, keepalive })),
    );
    const busy = await RawClient.connect(port, { protocolVersion: 4, keepalive: 600 });
    while (silent.some(({ closed }) => !closed)) {
      await busy.ping();
      await Bun.sleep(100);
    }
    expect([performance.now() - since > 1400, busy.closed]).toEqual([true, false]);
  });
});

test("failed logins have an address banned, for a while; an administrator may lift that", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-limits-"));
  const passwordFile = join(folder, "users");
  const httpTokenFile = join(folder, "token");
  writeFileSync(passwordFile, `alice:${await hashPassword("pw")}\n`);
  writeFileSync(httpTokenFile, "open sesame\n");
  const httpPort = await freePort();
  const options = { passwordFile, httpTokenFile, httpPort, httpHost: "127.0.0.1", banAfter: 3, banTime: 600 };
  await withBroker(options, async ({ port, server }) => {
    const ask = async (method: string, path: string, body?: string, token = "open sesame"): Promise<string> => {
      const headers = token === "" ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`http://127.0.0.1:${httpPort}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
      });
      return `${response.status} ${(await response.text()).trim()}`;
    };
    const alice = { username: "alice", password: Buffer.from("pw") };
    expect(await connackOf(port, alice)).toBe(0);
    for (let at = 0; at < 3; at++) expect(await connackOf(port, { ...alice, password: Buffer.from("x") })).toBe(0x87);
    expect(await connackOf(port, alice)).toBe(0x8a);
    expect(await connackOf(port, { ...alice, protocolVersion: 4 })).toBe(5);
    expect(await ask("GET", "/bans", undefined, "")).toStartWith("401 ");
    expect(await ask("GET", "/bans", undefined, "guess")).toStartWith("401 ");
    expect(JSON.parse((await ask("GET", "/bans")).slice(4))).toEqual([
      { address: "127.0.0.1", seconds: expect.any(Number) },
      { user: "alice", seconds: expect.any(Number) },
    ]);
    expect(await ask("DELETE", "/bans/127.0.0.1")).toBe("200 lifted");
    expect(await ask("DELETE", "/bans/user/nobody")).toStartWith("404 ");
    const client = await RawClient.connect(port, { ...alice, clientId: "a/b", protocolVersion: 5 });
    expect(await ask("DELETE", "/clients/nobody")).toStartWith("404 ");
    expect(await ask("DELETE", "/clients/%E0%A4%A")).toStartWith("400 ");
    expect(await ask("DELETE", "/clients/a%2Fb")).toStartWith("200 ");
    expect((await client.take("disconnect")).reasonCode).toBe(0x98);
    expect(await ask("PUT", "/log-level", "loud")).toStartWith("400 ");
    expect(await ask("POST", "/log-level")).toStartWith("405 ");
    const before = server.broker.context.log.level;
    expect(await ask("PUT", "/log-level", "error")).toBe("200 error");
    expect(await ask("PUT", "/log-level", before)).toBe(`200 ${before}`);
    const metrics = await ask("GET", "/metrics", undefined, "");
    expect(metrics).toContain('mqttzoo_connections_refused_total{limit="banned"} 2');
    expect(metrics).toContain("mqttzoo_logins_failed_total 3");
    expect(await ask("POST", "/readyz")).toStartWith("405 ");
  });
  await withBroker({ httpPort, httpHost: "127.0.0.1" }, async () => {
    expect((await fetch(`http://127.0.0.1:${httpPort}/bans`)).status).toBe(403);
  });
  rmSync(folder, { recursive: true });
});

test.each(["fenced", "disk", "protocol"] as const)(
  "a thousand clients refused for one cause (%s): all are counted, few are logged",
  async (cause) => {
    const lines: { level: string; msg: string }[] = [];
    const log = createLog({ level: "info", format: "json", write: (line) => void lines.push(JSON.parse(line)) });
    const { broker, dial, pass } = await machine({ ...instantCoordinator(), isFull: cause === "disk" }, log);
    const { self, metrics } = broker.context;
    self.isFenced = cause === "fenced";
    // A session that outlives its connection needs the store; a second CONNECT breaks the protocol.
    const connect = `1012 0004 4d515454 04 ${cause === "protocol" ? "02" : "00"} 0000 0006`;
    const flood = async (count: number): Promise<void> => {
      for (let number = 100_000; number < 100_000 + count; number++) {
        const packet = `${connect} ${Buffer.from(String(number)).toString("hex")}`;
        const client = dial();
        client.send(cause === "protocol" ? packet + packet : packet);
        await Promise.resolve();
        expect(client.state.closed).toBe(true);
      }
    };
    lines.length = 0;
    await flood(1000);
    expect(cause === "protocol" ? metrics.protocolErrors.get(0x82) : metrics.turnedAway[cause]).toBe(1000);
    expect(cause === "protocol" ? 0 : metrics.protocolErrors.size).toBe(0);
    expect(lines).toHaveLength(linesPerCauseMax);
    expect(new Set(lines.map(({ level }) => level))).toEqual(new Set(["info"]));
    pass(refusalsLogMs);
    await flood(1);
    expect(lines).toHaveLength(linesPerCauseMax + 1);
    expect(lines.at(-1)!.msg).toEndWith(`(and ${1000 - linesPerCauseMax} more like it)`);
  },
);

test("a ban holds over connections that are open, and over logins that are being checked; a good login forgets nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-limits-"));
  const passwordFile = join(folder, "users");
  // Quick ones: what is opened before the ban has ten seconds to log in.
  const quick = { iterations: 1, salt: Buffer.from("salt") };
  const hashes = await Promise.all(["pw", "pw-eve"].map((password) => hashForScram(password, quick)));
  writeFileSync(passwordFile, `alice:${hashes[0]}\neve:${hashes[1]}\n`);
  await withBroker({ passwordFile, banAfter: 4, banTime: 600 }, async ({ port }) => {
    const alice = { protocolVersion: 5, username: "alice", password: Buffer.from("pw") };
    const eve = { ...alice, username: "eve", password: Buffer.from("pw-eve") };
    const wrong = { ...alice, password: Buffer.from("guess") };
    // Opened before the ban: one that has said nothing yet, one within an exchange, one that is connected.
    const early = await RawClient.dial(port, 5);
    const midway = await RawClient.dial(port, 5);
    const proof = scramClient("eve", "pw-eve");
    const method = { authenticationMethod: "SCRAM-SHA-256" };
    midway.send(connectPacket({ protocolVersion: 5, properties: { ...method, authenticationData: proof.first } }));
    const { properties } = await midway.take("auth");
    const connected = await RawClient.connect(port, { ...alice, clientId: "connected" });
    for (const packet of [wrong, wrong, eve, wrong])
      expect(await connackOf(port, packet)).toBe(packet === eve ? 0 : 0x87);
    // Sent at once: after the last failure that is allowed the others that are being checked are not told.
    const guesses = await Promise.all(Array.from({ length: 6 }, () => RawClient.dial(port, 5)));
    for (const guess of guesses) guess.send(connectPacket(wrong));
    const codes = await Promise.all(guesses.map(async (guess) => (await guess.take("connack")).reasonCode));
    expect(codes.filter((code) => code === 0x87).length).toBe(1);
    early.send(connectPacket({ ...eve, clientId: "early" }));
    expect((await early.take("connack")).reasonCode).toBe(0x8a);
    midway.send({
      cmd: "auth",
      reasonCode: 0x18,
      properties: { ...method, authenticationData: proof.final(properties.authenticationData) },
    });
    expect((await midway.take("connack")).reasonCode).toBe(0x8a);
    // Who is in already stays.
    await connected.ping();
  });
  rmSync(folder, { recursive: true });
});

test("a name that is nobody's looks the same after a restart", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-limits-"));
  const passwordFile = join(folder, "users");
  writeFileSync(passwordFile, `eve:${await hashForScram("pw-eve")}\n`);
  const saltOf = async (port: number): Promise<string> => {
    const client = await RawClient.dial(port, 5);
    const authenticationData = scramClient("nobody", "x").first;
    const properties = { authenticationMethod: "SCRAM-SHA-256", authenticationData };
    client.send(connectPacket({ protocolVersion: 5, properties }));
    const answer = (await client.take("auth")).properties.authenticationData.toString();
    client.abort();
    return /s=([^,]+)/.exec(answer)![1]!;
  };
  const broker = await startBroker({ passwordFile });
  const salt = await saltOf(broker.port);
  const again = await broker.restart();
  expect(await saltOf(again.port)).toBe(salt);
  await again.stop();
  const other = await startBroker({ passwordFile });
  expect(await saltOf(other.port)).not.toBe(salt);
  await other.stop();
  rmSync(folder, { recursive: true });
});
