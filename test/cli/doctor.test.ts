/** `mqttzoo doctor` at healthy brokers of three kinds, and at ill ones. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Aedes } from "aedes";
import { type BrokerName, start } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { runExecutable } from "../support/process.ts";

let folder: string;
let authority: Authority;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-doctor-"));
  authority = makeAuthority();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  authority.remove();
});

interface Row {
  readonly check: string;
  readonly result: string;
  readonly found: string;
  readonly advice: string | null;
}

async function examine(args: readonly string[]) {
  const { code, out, err } = await runExecutable(["doctor", ...args, "--json"]);
  const rows = out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Row);
  return { code, err, rows, of: (check: string) => rows.find((row) => row.check === check) };
}

test.each(["mqttzoo", "mosquitto", "aedes"] as const)(
  "%s is healthy, and is told so",
  async (name) => {
    const broker = await start(name as BrokerName);
    try {
      const { code, err, rows, of } = await examine(["127.0.0.1", "-p", String(broker.port)]);
      expect(rows.filter(({ result }) => result === "fail")).toEqual([]);
      expect([code, err]).toEqual([0, ""]);
      const speaks5 = name !== "aedes";
      expect(rows.length).toBe(speaks5 ? 17 : 13);
      expect(of("versions")).toMatchObject(
        speaks5 ? { result: "ok", found: "5, 3.1.1, 3.1" } : { result: "warn", found: "3.1.1, 3.1" },
      );
      expect(of("who may come in")).toMatchObject({ result: "note", found: "anybody, without a name" });
      expect(of("order")).toMatchObject({ result: "ok" });
      expect(of("bank")?.result).toBe(name === "mqttzoo" ? "ok" : "note");
      expect(of("bank")?.advice).toBeNull();
      if (name === "mqttzoo") expect(of("bank")?.found).toStartWith("100% of 10,000,000 credits free");
      // Nothing of the examination is left.
      const again = await runExecutable([
        "sub",
        "-p",
        String(broker.port),
        "-V",
        "4",
        "-t",
        "mqttzoo-doctor/#",
        "-W",
        "1",
      ]);
      expect(again.out).toBe("");
    } finally {
      await broker.stop();
    }
  },
  120_000,
);

test("over TLS with a login: what strangers may not, we may", async () => {
  const users = join(folder, "users");
  expect(Bun.spawnSync(["mosquitto_passwd", "-b", "-c", users, "alice", "right"]).exitCode).toBe(0);
  const { cert, key } = authority.issue("server");
  const broker = await startBroker({ tlsPort: 0, tlsCert: cert, tlsKey: key, passwordFile: users, banAfter: 0 });
  try {
    const where = [`mqtts://localhost:${broker.server.ports.tls}`, "--cafile", authority.ca];
    const { code, of, rows } = await examine([...where, "-u", "alice", "-P", "right"]);
    expect(rows.filter(({ result }) => result === "fail" || result === "warn")).toEqual([]);
    expect(of("encryption")).toMatchObject({ result: "ok", found: "TLS" });
    expect(of("who may come in")).toMatchObject({ result: "ok", found: "lets us in, and no stranger" });
    expect(code).toBe(0);
    const refused = await examine([...where, "-u", "alice", "-P", "wrong"]);
    expect([refused.code, refused.rows.length, refused.err.split("\n").length]).toEqual([1, 0, 2]);
    expect(refused.err).toContain("the broker refused the connection: 0x87 not authorized");
  } finally {
    await broker.stop();
  }
}, 120_000);

test("an access list that forbids is found, with the broker's reason", async () => {
  const acl = join(folder, "acl");
  writeFileSync(acl, "topic readwrite allowed/#\n");
  const broker: TestBroker = await startBroker({ aclFile: acl, allowAnonymous: true });
  try {
    const forbidden = await examine(["-h", "127.0.0.1", "-p", String(broker.port)]);
    expect(forbidden.code).toBe(1);
    expect(forbidden.of("retained")).toMatchObject({ result: "fail", found: "PUBACK says 0x87 not authorized" });
    expect(forbidden.of("QoS 0, 1, 2")).toMatchObject({ result: "fail", found: "SUBACK says 0x87 not authorized" });
    expect(forbidden.err).toMatch(/^mqttzoo: \d+ things are broken\n$/);
    const allowed = await examine(["127.0.0.1", "-p", String(broker.port), "-t", "allowed/doctor"]);
    expect(allowed.rows.filter(({ result }) => result === "fail").map(({ check }) => check)).toEqual([]);
  } finally {
    await broker.stop();
  }
}, 120_000);

test("a broker that loses, and one that repeats", async () => {
  const aedes = await Aedes.createBroker();
  const server: Server = createServer(aedes.handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  try {
    aedes.authorizeForward = (_, packet) => (packet.topic.includes("/order") ? null : packet);
    const loses = await examine(["127.0.0.1", "-p", String(port)]);
    expect(loses.of("order")).toMatchObject({ result: "fail", found: "no message came" });
    expect([loses.code, loses.err]).toEqual([1, "mqttzoo: one thing is broken\n"]);
    let isRepeat = false;
    aedes.authorizeForward = (_, packet) => {
      const { topic, payload } = packet;
      isRepeat = !isRepeat;
      if (isRepeat && topic.endsWith("/qos2"))
        aedes.publish({ cmd: "publish", topic, payload, qos: 2, retain: false, dup: false }, () => {});
      return packet;
    };
    expect((await examine(["127.0.0.1", "-p", String(port)])).of("QoS 0, 1, 2")?.advice).toBe(
      "a message of QoS 2 came twice: it breaks MQTT (4.3.3)",
    );
  } finally {
    server.close();
    aedes.close();
  }
}, 120_000);

test("nobody there, and what cannot be meant, are one line", async () => {
  for (const [args, code, words] of [
    [["127.0.0.1", "-p", "1"], 1, "cannot connect to 127.0.0.1:1: ECONNREFUSED"],
    [["http://localhost"], 2, '"http://localhost" is not mqtt(s)://'],
    [["-t", "a/#"], 2, '"a/#" is not a topic'],
  ] as const) {
    const ended = await runExecutable(["doctor", ...args]);
    expect([ended.code, ended.out, ended.err.split("\n").length]).toEqual([code, "", 2]);
    expect(ended.err).toContain(words);
  }
});
