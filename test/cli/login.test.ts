/** Tools that prove a password (SCRAM), that find brokers in the DNS (SRV), and that have encrypted keys. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inOrder } from "../../cli/cluster/srv.ts";
import { randomOf } from "../../cli/simulate/seeded-random.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { makeAuthority } from "../support/certificates.ts";
import { type Ended, runExecutable } from "../support/process.ts";
import { ScriptedBroker } from "../support/scripted-broker.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-login-"));
const users = join(folder, "users");
const secret = join(folder, "secret");
let broker: TestBroker;
let port: string;

beforeAll(async () => {
  for (const name of ["alice", "o=l,ga"])
    expect((await runExecutable(["passwd", users, name, "--scram"], { input: "sesame\n" })).code).toBe(0);
  writeFileSync(secret, "sesame\n", { mode: 0o600 });
  broker = await startBroker({ passwordFile: users });
  port = String(broker.port);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const to = (...words: readonly string[]): string[] => ["-h", "127.0.0.1", "-p", port, ...words];
const prove = ["--auth-method", "SCRAM-SHA-256", "--pw-file", secret];

describe("SCRAM", () => {
  test.each([
    ["pub", ["pub", "-u", "alice", "-t", "a", "-m", "x", "-q", "1"], ""],
    ["pub as a user with = and ,", ["pub", "-u", "o=l,ga", "-t", "a", "-m", "x", "-q", "1"], ""],
    ["sub", ["sub", "-u", "alice", "-t", "a", "-E"], ""],
    [
      "bench",
      ["bench", "pub", "-u", "alice", "-c", "3", "-L", "2", "-I", "0", "-q", "1", "--json"],
      '"acknowledged":6,',
    ],
    [
      "bench in processes",
      ["bench", "conn", "-u", "alice", "-c", "4", "-d", "1", "--processes", "2", "--json"],
      '"failed":0',
    ],
    ["doctor", ["doctor", "-u", "alice", "--json"], '"check":"versions","result":"ok"'],
  ] as const)(
    "%s",
    async (_, [command, ...words], said) => {
      const { code, out, err } = await runExecutable([command!, ...words, ...to(), ...prove]);
      expect(out).toContain(said);
      if (command !== "doctor") expect([code, err.replace(/^ +\d+ s .*\n/gm, "")]).toEqual([0, ""]);
    },
    60_000,
  );

  test("a wrong password, an unknown user, and a method that is not spoken are refused in words", async () => {
    const pub = (...words: readonly string[]): Promise<Ended> =>
      runExecutable(["pub", ...to(), "-t", "a", "-m", "x", ...words]);
    for (const [name, password] of [
      ["alice", "wrong"],
      ["nobody", "sesame"],
    ] as const) {
      const { code, err } = await pub("-u", name, "-P", password, "--auth-method", "SCRAM-SHA-256");
      expect([code, err]).toEqual([
        0x87,
        expect.stringMatching(/^mqttzoo: the broker refused the connection: 0x87.*\n$/),
      ]);
    }
    const other = await pub("-u", "alice", ...prove.slice(2), "--auth-method", "SCRAM-SHA-512");
    expect([other.code, other.err]).toEqual([2, expect.stringContaining("Allowed choices are SCRAM-SHA-256")]);
    const old = await pub("-u", "alice", ...prove, "-V", "311");
    expect([old.code, old.err]).toEqual([2, "mqttzoo: --auth-method needs MQTT 5: leave -V away\n"]);
    const alone = await pub("-u", "alice", "--auth-method", "SCRAM-SHA-256");
    expect([alone.code, alone.err]).toEqual([2, "mqttzoo: --auth-method needs a user and a password: -u, --pw-file\n"]);
  }, 60_000);

  test("a broker that does not prove itself is not spoken to, and the password is not sent", async () => {
    const impostor = new ScriptedBroker();
    const running = runExecutable([
      "pub",
      "-h",
      "127.0.0.1",
      "-p",
      `${impostor.port}`,
      "-t",
      "a",
      "-m",
      "x",
      "-u",
      "alice",
      ...prove,
    ]);
    const connection = await impostor.next();
    const { username, password, properties } = await connection.take("connect");
    expect([username, password]).toEqual([undefined, undefined]);
    expect(`${properties.authenticationData}`).toMatch(/^n,,n=alice,r=[\w+/=]+$/);
    connection.send({ cmd: "connack", reasonCode: 0, sessionPresent: false, properties: {} });
    const { code, err } = await running;
    expect([code, err]).toEqual([
      1,
      "mqttzoo: SCRAM: the broker is not trusted: it has not proved that it knows the password\n",
    ]);
    expect(connection.packets).toEqual([]);
    impostor.stop();
  }, 60_000);
});

/** A DNS server that knows SRV records alone: by name, a list of port and target. */
async function startDns(records: Readonly<Record<string, readonly (readonly [port: number, target: string])[]>>) {
  const label = (name: string): Buffer =>
    Buffer.concat([...name.split(".").map((part) => Buffer.from([part.length, ...Buffer.from(part)])), Buffer.of(0)]);
  const socket = await Bun.udpSocket({
    hostname: "127.0.0.1",
    socket: {
      data(to, query, fromPort, address) {
        const names: string[] = [];
        let at = 12;
        while (query[at] !== 0) {
          names.push(query.subarray(at + 1, at + 1 + query[at]!).toString());
          at += 1 + query[at]!;
        }
        const question = query.subarray(12, at + 5);
        const found = records[names.join(".").toLowerCase()] ?? [];
        const answers = found.map(([srvPort, target], index) => {
          const data = Buffer.concat([Buffer.from([0, index, 0, 0, srvPort >> 8, srvPort & 255]), label(target)]);
          const head = Buffer.from([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 255]);
          return Buffer.concat([head, data]);
        });
        const flags = found.length === 0 ? [0x81, 0x83] : [0x81, 0x80];
        const header = Buffer.from([query[0]!, query[1]!, ...flags, 0, 1, 0, answers.length, 0, 0, 0, 0]);
        to.send(Buffer.concat([header, question, ...answers]), fromPort, address);
      },
    },
  });
  return socket;
}

test("brokers are found by SRV records, in their order, with TLS under its own name", async () => {
  const dns = await startDns({
    "_mqtt._tcp.home.example": [
      [1, "localhost"],
      [broker.port, "localhost"],
    ],
    "_mqtt._tcp.none.example": [[0, ""]],
  });
  const where = ["--dns", `127.0.0.1:${dns.port}`, "-u", "alice", ...prove];
  const pub = (...words: readonly string[]): Promise<Ended> =>
    runExecutable(["pub", "-t", "a", "-m", "x", "-q", "1", ...words, ...where]);
  expect(await pub("-S", "-h", "home.example")).toEqual({ code: 0, out: "", err: "" });
  const tls = await pub("-S", "-h", "home.example", "--tls-use-os-certs");
  expect([tls.code, tls.err]).toEqual([
    1,
    expect.stringContaining("_secure-mqtt._tcp.home.example (SRV): there is no such name"),
  ]);
  const bench = await runExecutable([
    "bench",
    "conn",
    "--srv",
    "-h",
    "home.example",
    "-c",
    "1",
    "-d",
    "1",
    "--json",
    ...where,
  ]);
  // The first that the DNS names is tried by the first client: nobody is there.
  expect(bench.out).toContain('"connected":0');
  dns.close();
  for (const [words, why] of [
    [["-S"], "--srv needs a domain"],
    [["-S", "-h", "a.example", "-p", "1"], "--srv does not go with a port"],
    [["-S", "-h", "a.example", "--ws"], "--srv does not go with --ws"],
    [["-h", "a.example"], "--dns belongs to --srv"],
  ] as const)
    expect((await pub(...words)).err).toContain(why);
}, 60_000);

test("SRV records are taken by priority, and by weight among equals", () => {
  const record = (name: string, priority: number, weight: number) => ({ name, port: 1, priority, weight });
  const records = [record("later", 5, 0), record("heavy", 1, 90), record("light", 1, 10), record("never", 1, 0)];
  const random = randomOf(3, "srv");
  const firsts = new Map<string, number>();
  for (let at = 0; at < 2000; at++) {
    const sorted = inOrder(records, random).map(({ name }) => name);
    expect([sorted.at(-1), new Set(sorted).size]).toEqual(["later", 4]);
    firsts.set(sorted[0]!, (firsts.get(sorted[0]!) ?? 0) + 1);
  }
  expect(firsts.get("heavy")! / firsts.get("light")!).toBeGreaterThan(6);
  expect((firsts.get("never") ?? 0) < 60).toBe(true);
});

test("an encrypted key is opened by its passphrase; without it, or with another, that is said in words", async () => {
  const authority = makeAuthority();
  const server = authority.issue("127.0.0.1");
  const mine = authority.issue("alice");
  const locked = join(folder, "locked.key");
  const openssl = ["openssl", "pkcs8", "-topk8", "-in", mine.key, "-out", locked, "-passout", "pass:open sesame"];
  expect(Bun.spawnSync(openssl).exitCode).toBe(0);
  const guarded = await startBroker({
    ...{ tlsPort: 0, tlsCert: server.cert, tlsKey: server.key },
    ...{ tlsCa: authority.ca, tlsClientCert: "require" },
  });
  const right = join(folder, "passphrase");
  const wrong = join(folder, "other");
  writeFileSync(right, "open sesame\n");
  writeFileSync(wrong, "sesame\n");
  const keys = ["--cafile", authority.ca, "--cert", mine.cert, "--key", locked];
  const where = ["-h", "127.0.0.1", "-p", String(guarded.server.ports.tls), ...keys];
  const pub = (...words: readonly string[]): Promise<Ended> =>
    runExecutable(["pub", ...where, "-t", "a", "-m", "x", "-q", "1", ...words]);
  expect(await pub("--key-passphrase-file", right)).toEqual({ code: 0, out: "", err: "" });
  for (const words of [[], ["--key-passphrase-file", wrong]]) {
    const { code, out, err } = await pub(...words);
    expect([code, out, err.trim().split("\n").length]).toEqual([1, "", 1]);
    expect(err).toContain("--key is encrypted: --key-passphrase-file names its passphrase");
  }
  const alone = await runExecutable(["pub", "-t", "a", "-m", "x", "--key-passphrase-file", right]);
  expect([alone.code, alone.err]).toEqual([2, "mqttzoo: --key-passphrase-file belongs to --key\n"]);
  await guarded.stop();
  authority.remove();
}, 60_000);
