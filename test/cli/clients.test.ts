/** `mqttzoo clients` on a broker that runs alone, over its socket and over HTTP. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import { makeAuthority } from "../support/certificates.ts";
import { type BrokerProcess, runExecutable, startBrokerProcess } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-clients-"));
const data = join(folder, "data");
const users = join(folder, "users");
let broker: BrokerProcess;
let httpPort: number;
beforeAll(async () => {
  writeFileSync(users, `vera:viewer:${await hashPassword("v")}\nolga:operator:${await hashPassword("o")}\n`);
  httpPort = await freePort();
  const args = ["--http-port", String(httpPort), "--http-host", "127.0.0.1", "--http-users", users];
  broker = await startBrokerProcess(data, { args });
});
afterAll(async () => {
  await broker.kill("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

const clients = (...words: string[]): ReturnType<typeof runExecutable> => runExecutable(["clients", ...words]);

test("clients are listed, shown and disconnected over the socket, which is its owner's alone", async () => {
  expect(statSync(join(data, "api.sock")).mode & 0o777).toBe(0o600);
  const names = Array.from({ length: 12 }, (_, index) => `c/${index}`);
  const connected = await Promise.all(
    names.map((clientId) => RawClient.connect(broker.port, { protocolVersion: 5, clientId })),
  );
  const list = await clients("list", "--data", data, "--json");
  expect([list.code, list.err]).toEqual([0, ""]);
  const rows = list.out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(rows.map(({ client_id }) => client_id)).toEqual([...names].sort());
  expect(rows[0]).toMatchObject({ broker: "test", connected: true, listener: "tcp", protocol: "MQTT 5.0" });
  const top = await clients(
    "list",
    "--data",
    data,
    "--top",
    "2",
    "--sort",
    "-client_id",
    "--connected",
    "--search",
    "c/",
  );
  expect(top.out).toMatch(/^CLIENT +USER +BROKER .*\nc\/9 .*\nc\/8 .*\n$/);
  expect((await clients("list", "--data", data, "--away")).out).toBe("(none)\n");
  const shown = await clients("show", "c/3", "--data", data);
  expect(shown.out).toMatch(/client id +c\/3\n/);
  expect(JSON.parse((await clients("show", "c/3", "--data", data, "--json")).out).client_id).toBe("c/3");
  expect(await clients("disconnect", "c/3", "--data", data)).toEqual({ code: 0, out: "disconnected c/3\n", err: "" });
  expect((await connected[3]!.take("disconnect")).reasonCode).toBe(0x98);
  for (const client of connected) client.abort();
});

test("the same is asked over HTTP, as a user", async () => {
  const at = (who: string): string[] => ["--api", `http://${who}127.0.0.1:${httpPort}`];
  const client = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "web" });
  expect((await clients("list", ...at("vera:v@"), "--search", "web")).out).toContain("\nweb ");
  expect((await clients("disconnect", "web", ...at("vera:v@"))).err).toContain("vera may only look");
  expect((await clients("disconnect", "web", ...at("olga:o@"))).code).toBe(0);
  expect((await client.take("disconnect")).reasonCode).toBe(0x98);
  const token = join(folder, "token");
  const given = await fetch(`http://127.0.0.1:${httpPort}/api/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa("vera:v")}` },
  });
  writeFileSync(token, ((await given.json()) as { token: string }).token);
  expect((await clients("list", ...at(""), "--token-file", token)).code).toBe(0);
});

test("what is wrong is said in one line, and ends with an exit code", async () => {
  const oneLine = async (...words: string[]): Promise<[number, string]> => {
    const { code, err, out } = await clients(...words);
    expect([out, err.trimEnd().split("\n").length]).toEqual(["", 1]);
    return [code, err];
  };
  expect(await oneLine("show", "nobody", "--data", data)).toEqual([1, "mqttzoo: there is no session of that client\n"]);
  expect(await oneLine("disconnect", "nobody", "--data", data)).toEqual([1, "mqttzoo: no such client is connected\n"]);
  const nowhere = await oneLine("list", "--data", join(folder, "nothing"));
  expect(nowhere).toEqual([2, expect.stringContaining("no broker runs alone on")]);
  const closed = await oneLine("list", "--api", `http://127.0.0.1:${await freePort()}`);
  expect(closed).toEqual([1, expect.stringContaining("no answer from http://127.0.0.1:")]);
  const secret = await oneLine("list", "--api", `http://vera:wrong@127.0.0.1:${httpPort}`);
  expect(secret).toEqual([1, expect.stringContaining("user or password is wrong")]);
  expect(await oneLine("list", "--data", data, "--sort", "age")).toEqual([
    1,
    expect.stringContaining("sort must be one of"),
  ]);
});

test("a broker with --http-tls is asked over TLS, once it is said who has signed its certificate", async () => {
  const authority = makeAuthority();
  const { cert, key } = authority.issue("server");
  const port = await freePort();
  const args = ["--http-port", String(port), "--http-host", "127.0.0.1", "--http-tls"];
  const secure = await startBrokerProcess(join(folder, "secure"), {
    args: [...args, "--tls-cert", cert, "--tls-key", key],
  });
  const api = ["--api", `https://localhost:${port}`];
  expect(await clients("list", ...api, "--cafile", authority.ca)).toEqual({ code: 0, out: "(none)\n", err: "" });
  const unknown = await clients("list", ...api);
  expect([unknown.code, unknown.out, unknown.err.split("\n").length]).toEqual([1, "", 2]);
  expect(unknown.err).toContain("--cafile names who has signed");
  expect((await clients("list", ...api, "--cafile", join(folder, "none"))).code).not.toBe(0);
  const health = ["health", "--http-port", String(port)];
  expect((await runExecutable([...health, "--http-tls"])).code).toBe(0);
  expect((await runExecutable(health)).code).toBe(1);
  await secure.kill("SIGTERM");
  authority.remove();
});

test("a value that a flag cannot have is bad usage, in one line that names the flag", async () => {
  for (const [flag, value] of [
    ["--top", "many"],
    ["--api", "localhost"],
  ] as const) {
    const { code, out, err } = await clients("list", flag, value);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(new RegExp(`^mqttzoo: .*${flag}.*${value}.*; see mqttzoo clients list --help\n$`));
  }
});

test("of a client that was not let in it is said why", async () => {
  const wrong = await RawClient.dial(broker.port, 5);
  wrong.send({
    ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clientId: "kept-out", clean: true, keepalive: 0 },
    properties: { authenticationMethod: "none" },
  });
  await wrong.closed;
  const { code, err } = await clients("show", "kept-out", "--data", data);
  expect(code).toBe(1);
  expect(err).toMatch(
    /^mqttzoo: there is no session of that client; it was refused at \S+ \(connect, broker test\): \S/,
  );
});

test.each(["clients list", "acl check", "show", "retained list", "health", "repair"])(
  "the help of %s names each variable once",
  async (words) => {
    const { code, out } = await runExecutable([...words.split(" "), "--help"]);
    const named = [...out.replace(/\s+/g, " ").matchAll(/env: (MQTTZOO_\w+)/g)].map(([, name]) => name);
    expect([code, named.length > 0]).toEqual([0, true]);
    expect(named).toEqual([...new Set(named)]);
  },
);
