/** The users of the HTTP API: with roles, with tokens, on this machine; and what pages and strangers cannot do. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { apiTargetMax } from "../../src/base/api-limits.ts";
import { httpBodyBytesMax } from "../../src/base/limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { startBroker, type TestBroker, withBroker } from "../support/broker.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-people-"));
const [httpUsers, httpTokenFile, auditLog] = ["users", "token", "audit"].map((name) => join(folder, name)) as [
  string,
  string,
  string,
];
const basic = (words: string): Record<string, string> => ({ authorization: `Basic ${btoa(words)}` });
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

let broker: TestBroker;
let port: number;
let users: string;
beforeAll(async () => {
  const [vera, olga] = await Promise.all([hashPassword("v"), hashPassword("o")]);
  users = `# who may\nvera:viewer:${vera}\nolga:operator:${olga}\n`;
  writeFileSync(httpUsers, users);
  writeFileSync(httpTokenFile, "the operator's own\n");
  port = await freePort();
  broker = await startBroker({
    ...{ httpPort: port, httpHost: "127.0.0.1", httpUsers, httpTokenFile, auditLog, banAfter: 4 },
  });
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}/api/v1${path}`, init);
const setLevel = (headers: Record<string, string>, level = "warn"): Promise<Response> =>
  ask("/log-level", {
    method: "PUT",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ level }),
  });
const statusOf = async (answer: Promise<Response>): Promise<number> => (await answer).status;

describe("with users", () => {
  test("nobody is answered who does not say who he is, not even from this machine", async () => {
    for (const path of ["/me", "/openapi.json", "/nothing", ""]) {
      const answer = await ask(path);
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
    }
    for (const headers of [bearer("x"), { authorization: "Basic !" }, { authorization: "Digest x" }])
      expect(await statusOf(ask("/me", { headers }))).toBe(401);
  });

  test("a viewer may look and change nothing, an operator may both, and so may the operator's token", async () => {
    const viewer = await ApiClient.open(port, basic("vera:v"));
    expect(await viewer.get("/me")).toEqual({ name: "vera", role: "viewer", from: "127.0.0.1" });
    expect((await viewer.ask("/options")).status).toBe(403);
    expect((await viewer.ask("/audit-log")).status).toBe(403);
    expect((await viewer.ask("/log-level", { method: "PUT", body: { level: "warn" } })).status).toBe(403);
    const operator = await ApiClient.open(port, basic("olga:o"));
    expect((await operator.ask("/log-level", { method: "PUT", body: { level: "warn" } })).status).toBe(200);
    expect(await statusOf(setLevel(bearer("the operator's own"), "error"))).toBe(200);
    const old = await fetch(`http://127.0.0.1:${port}/log-level`, {
      ...{ method: "PUT", body: "warn", headers: bearer("the operator's own") },
    });
    expect(old.status).toBe(200);
    await fetch(`http://127.0.0.1:${port}/log-level`, { method: "PUT", body: "warn" });
    const lines = readFileSync(auditLog, "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line)).map(({ who, status, after }) => [who, status, after])).toEqual([
      ["vera", 403, null],
      ["olga", 200, "warn"],
      ["(token)", 200, "error"],
      ["(token)", 200, null],
    ]);
    expect(statSync(auditLog).mode & 0o777).toBe(0o600);
  });

  test("a token stands for its user, until it is given back, or the user's password is another", async () => {
    const viewer = await ApiClient.open(port, basic("vera:v"));
    const { token } = (await viewer.ask("/tokens", { method: "POST" })).body;
    const withToken = await ApiClient.open(port, bearer(token));
    expect((await withToken.get("/me")).name).toBe("vera");
    expect((await withToken.ask("/log-level", { method: "PUT", body: { level: "warn" } })).status).toBe(403);
    expect((await withToken.ask("/tokens/current", { method: "DELETE" })).status).toBe(200);
    expect((await withToken.ask("/me")).status).toBe(401);
    const second = (await viewer.ask("/tokens", { method: "POST" })).body.token;
    writeFileSync(httpUsers, users.replace(/^vera.*\n/m, ""));
    broker.server.reload();
    expect(await statusOf(ask("/me", { headers: bearer(second) }))).toBe(401);
    writeFileSync(httpUsers, "vera:chief:x\n");
    broker.server.reload();
    expect(await statusOf(ask("/me", { headers: basic("olga:o") }))).toBe(200);
    writeFileSync(httpUsers, users);
    broker.server.reload();
    expect(await statusOf(ask("/me", { headers: basic("vera:v") }))).toBe(200);
  });

  test("a page of another origin changes nothing", async () => {
    const token = bearer("the operator's own");
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "null" },
      { origin: `https://127.0.0.1:${port + 1}` },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
    ])
      expect([headers, await statusOf(setLevel({ ...token, ...headers }))]).toEqual([headers, 403]);
    expect(await statusOf(setLevel({ ...token, origin: `http://127.0.0.1:${port}` }))).toBe(200);
    expect(await statusOf(setLevel({ ...token, "content-type": "text/plain" }))).toBe(415);
    const answer = await ask("/me", { headers: { ...token, origin: "http://evil.example" } });
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("too many wrong passwords keep an address away for a while, and the right one of it as well", async () => {
    const ownPort = await freePort();
    await withBroker({ httpPort: ownPort, httpHost: "127.0.0.1", httpUsers, banAfter: 4 }, async () => {
      const as = (words: string): Promise<number> =>
        statusOf(fetch(`http://127.0.0.1:${ownPort}/api/v1/me`, { headers: basic(words) }));
      expect(await as("vera:v")).toBe(200);
      for (const words of ["vera:x", "nobody:x", "olga:x"]) expect(await as(words)).toBe(401);
      // The fourth bans, and is not told whether it was right.
      expect([401, 429]).toContain(await as("olga:y"));
      expect([await as("vera:v"), await as("olga:o")]).toEqual([429, 429]);
    });
  });
});

describe("requests", () => {
  const token = bearer("the operator's own");

  test("are answered under strict headers, whatever the answer is", async () => {
    for (const answer of [
      await ask("/me"),
      await ask("/me", { headers: token }),
      await ask("/x", { headers: token }),
    ]) {
      expect(answer.headers.get("content-security-policy")).toContain("default-src 'none'; frame-ancestors 'none'");
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("x-frame-options")).toBe("DENY");
      expect(answer.headers.get("cache-control")).toBe("no-store");
    }
  });

  test.each([
    ["a path that is not there", "/none", {}, 404],
    ["a path that is malformed", "/clients/%ff", {}, 400],
    ["a method that is not there", "/clients", { method: "POST" }, 405],
    ["a parameter that is not there", "/clients?no=1", {}, 400],
    ["a parameter twice", "/clients?limit=1&limit=2", {}, 400],
    ["a limit that is too large", "/clients?limit=1001", {}, 400],
    ["a limit that is no number", "/clients?limit=1e2", {}, 400],
    ["a parameter that must be there", "/explain?client_id=x", {}, 400],
    ["a parameter that must be there, of a change", "/retained?dry_run=true", { method: "DELETE" }, 400],
    ["a word that is none", "/clients?connected=maybe", {}, 400],
    ["a body where none is taken", "/tokens", { method: "POST", body: "x" }, 400],
    ["a path that is too long", `/clients?search=${"x".repeat(apiTargetMax)}`, {}, 414],
    ["a body that is too long", "/log-level", { method: "PUT", body: "x".repeat(httpBodyBytesMax + 1) }, 413],
  ])("are told of %s", async (_, path, init, status) => {
    const answer = await ask(path, { ...init, headers: { ...token, "content-type": "application/json" } });
    // Bun itself refuses what its own limits do not take.
    expect(path.length > apiTargetMax ? [414, 431] : [status]).toContain(answer.status);
    if (status !== 413 && answer.status !== 431)
      expect(await answer.json()).toMatchObject({ type: "about:blank", status, detail: expect.any(String) });
  });

  test.each(["", "[", "null", "1", "[]", "{}", '{"level":1}', '{"level":"warn","x":1}', '{"__proto__":1}'])(
    "with the body %p are refused",
    async (body) => {
      const headers = { ...token, "content-type": "application/json" };
      expect(await statusOf(ask("/log-level", { method: "PUT", headers, body }))).toBe(400);
    },
  );

  test("HEAD gets what GET gets, without the body", async () => {
    const answer = await ask("/clients", { method: "HEAD", headers: token });
    expect([answer.status, await answer.text()]).toEqual([200, ""]);
  });
});

describe("without users", () => {
  test("this machine alone is answered, under its own names, and by nobody's proxy", async () => {
    const ownPort = await freePort();
    await withBroker({ httpPort: ownPort, httpHost: "127.0.0.1" }, async () => {
      const status = (headers: Record<string, string>): Promise<number> =>
        statusOf(fetch(`http://127.0.0.1:${ownPort}/api/v1/me`, { headers }));
      expect(await status({})).toBe(200);
      expect(await status({ host: "localhost" })).toBe(200);
      expect(await status({ host: "[::1]:80" })).toBe(200);
      // A name that has been made to point here (DNS rebinding).
      expect(await status({ host: "evil.example" })).toBe(403);
      expect(await status({ "x-forwarded-for": "203.0.113.7" })).toBe(403);
      expect(await status({ forwarded: "for=203.0.113.7" })).toBe(403);
    });
  });
});
