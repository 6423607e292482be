/** The tools over WebSocket: `--ws`, `ws://`, `wss://`, Unix sockets, headers; and what is wrong in one line. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { residentBytes } from "../bench/process.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { makeAuthority } from "../support/certificates.ts";
import { type Ended, executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const authority = makeAuthority();
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-ws-"));
const socket = join(folder, "broker.sock");
let broker: TestBroker;

beforeAll(async () => {
  const { cert: tlsCert, key: tlsKey } = authority.issue("localhost");
  broker = await startBroker({ wsPort: 0, wssPort: 0, tlsCert, tlsKey, socket });
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const overWs = (): string[] => ["--ws", "-h", "127.0.0.1", "-p", String(broker.server.ports.ws)];

function expectOneLine({ code, err }: Ended, pattern: RegExp): void {
  expect(err).toMatch(pattern);
  expect(err.trim().split("\n").length).toBe(1);
  expect(code).not.toBe(0);
}

describe("pub and sub", () => {
  /** Every way to write where the broker is. */
  const ways = (): [string, string[]][] => {
    const { ws, wss, tcp } = broker.server.ports;
    return [
      ["--ws", overWs()],
      ["ws://", ["-L", `ws://127.0.0.1:${ws}/mqtt`]],
      ["ws:// with no path", ["-L", `ws://127.0.0.1:${ws}`]],
      ["wss://", ["-L", `wss://localhost:${wss}`, "--cafile", authority.ca]],
      ["--ws and TLS", ["--ws", "-h", "localhost", "-p", `${wss}`, "--cafile", authority.ca]],
      ["--ws to whomever", ["--ws", "-h", "127.0.0.1", "-p", `${wss}`, "--insecure", "-V", "311"]],
      ["tcp://", ["-L", `tcp://127.0.0.1:${tcp}`]],
      ["mqtt+unix://", ["-L", `mqtt+unix://${socket}`]],
    ];
  };

  test("a message each way, small and large", async () => {
    for (const [name, where] of ways()) {
      const topic = `ways/${name.replaceAll(/[#+]/g, "")}`;
      for (const message of ["small", "x".repeat(100_000)]) {
        const put = await runExecutable(["pub", ...where, "-t", topic, "-s", "-q", "1", "-r"], { input: message });
        expect([name, put.code, put.err]).toEqual([name, 0, ""]);
        const got = await runExecutable(["sub", ...where, "-t", topic, "-C", "1", "-q", "1"]);
        expect([name, got.code, got.err, got.out === `${message}\n`]).toEqual([name, 0, "", true]);
      }
    }
  }, 120_000);

  test("headers and the path are what the server is asked with", async () => {
    const asked = Promise.withResolvers<{ readonly url: string; readonly headers: Record<string, string> }>();
    const server = Bun.serve({
      port: 0,
      fetch({ url, headers }) {
        asked.resolve({ url, headers: Object.fromEntries(headers) });
        return new Response("no", { status: 404 });
      },
    });
    const where = ["--ws", "-p", String(server.port), "--ws-path", "/here?a=b"];
    const headers = ["--ws-header", "X-Key: abc: d", "--ws-header", "Authorization: Basic eDp5"];
    expectOneLine(
      await runExecutable(["pub", ...where, ...headers, "-t", "a", "-m", "x"]),
      /cannot connect to ws:\/\/localhost:\d+\/here\?a=b: it answers 404 Not Found; name its path with --ws-path/,
    );
    const request = await asked.promise;
    expect(request.url).toEndWith("/here?a=b");
    expect(request.headers).toMatchObject({
      host: `localhost:${server.port}`,
      "x-key": "abc: d",
      authorization: "Basic eDp5",
      "sec-websocket-protocol": "mqtt",
    });
    await server.stop(true);
  });

  test("what is wrong is said in one line", async () => {
    const to = (...where: string[]) => runExecutable(["pub", "-t", "a", "-m", "x", "--retry-for", "0", ...where]);
    const { ws, wss, tcp } = broker.server.ports;
    expectOneLine(await to(...overWs(), "--ws-path", "/else"), /it answers 404 Not Found; name its path/);
    expectOneLine(
      await to("-L", `ws://127.0.0.1:${tcp}`),
      /cannot connect to ws:\/\/127\.0\.0\.1:\d+\/mqtt: it has hung up/,
    );
    expectOneLine(await to("-L", `wss://localhost:${wss}`), /self.signed certificate|unable to/);
    expectOneLine(await to("-L", `wss://localhost:${ws}`), /cannot connect to .*TLS/);
    expectOneLine(await to("--ws-path", "/x"), /--ws-path and --ws-header need --ws/);
    expectOneLine(await to("--ws", "--ws-header", "nonsense"), /--ws-header.*It must be 'Name: value'/);
    expectOneLine(await to("--ws", "--ws-header", "Upgrade: h2c"), /It is said by the upgrade itself/);
    expectOneLine(await to("--ws", "--ws-path", "a b"), /--ws-path.*It must begin with \//);
    expectOneLine(await to("-L", "http://localhost"), /"http:\/\/localhost" is not mqtt\(s\):\/\//);
  });

  test("sub connects again when its broker is back", async () => {
    let own = await startBroker({ wsPort: 0 });
    const port = own.server.ports.ws!;
    const child = Bun.spawn([executable, "sub", "-L", `ws://127.0.0.1:${port}`, "-t", "a", "-C", "1"], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const subscriptions = () => own.server.broker.context.router.subscriptions;
    await eventually(() => subscriptions() === 1, "the subscription");
    own = await own.restart({ wsPort: port });
    await eventually(() => subscriptions() === 1, "the subscription again");
    await runExecutable(["pub", "-L", `ws://127.0.0.1:${port}`, "-t", "a", "-m", "again"]);
    expect(await new Response(child.stdout).text()).toBe("again\n");
    expect(await child.exited).toBe(0);
    await own.stop();
  }, 120_000);
});

test("a will is published when a client over WebSocket vanishes, and not when it leaves", async () => {
  const watcher = await RawClient.connect(broker.port);
  await watcher.subscribe("wills/#");
  const { router } = broker.server.broker.context;
  for (const signal of ["SIGKILL", "leaves"] as const) {
    const before = router.subscriptions;
    const will = ["--will-topic", `wills/${signal}`, "--will-payload", signal];
    const child = Bun.spawn([executable, "sub", ...overWs(), "-t", "none", ...will, "-C", "1"]);
    await eventually(() => router.subscriptions > before, "the subscription");
    if (signal === "SIGKILL") child.kill("SIGKILL");
    else await runExecutable(["pub", ...overWs(), "-t", "none", "-m", "x"]);
    await child.exited;
  }
  await eventually(() => router.subscriptions === 1, "both to be gone");
  expect((await watcher.take("publish")).topic).toBe("wills/SIGKILL");
  watcher.publish("wills/last", "x");
  expect((await watcher.take("publish")).topic).toBe("wills/last");
  watcher.disconnect();
});

test("doctor and bench", async () => {
  const url = `ws://127.0.0.1:${broker.server.ports.ws}/mqtt`;
  const doctor = await runExecutable(["doctor", url, "--json"]);
  expect([doctor.code, doctor.err]).toEqual([0, ""]);
  expect(doctor.out).toContain('"QoS 0, 1, 2","result":"ok"');
  const load = ["-c", "3", "-L", "200", "-I", "0", "-q", "1", "--json"];
  for (const more of [[], ["--processes", "2"]]) {
    const { code, out } = await runExecutable(["bench", "e2e", ...overWs(), ...load, ...more]);
    expect([code, JSON.parse(out).received, JSON.parse(out).lost]).toEqual([0, 600, 0]);
  }
}, 120_000);

test("a reader that sleeps through 100 MB makes the broker wait, and our memory does not grow", async () => {
  const pipe = join(folder, "pipe");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  // Open, so that the writer finds a reader; but nobody reads.
  const open = openSync(pipe, "r+");
  const child = Bun.spawn([executable, "sub", ...overWs(), "-t", "flood"], { stdout: open });
  try {
    const { metrics, router } = broker.server.broker.context;
    await eventually(() => router.subscriptions === 1, "the subscription");
    const before = residentBytes(child.pid);
    const load = ["-c", "1", "-t", "flood", "-I", "0", "-L", "100000", "-s", "1000"];
    expect((await runExecutable(["bench", "pub", ...overWs(), ...load])).code).toBe(0);
    await eventually(() => metrics.droppedOutput > 0, "the broker to drop");
    expect(residentBytes(child.pid) - before).toBeLessThan(60_000_000);
  } finally {
    child.kill("SIGKILL");
    closeSync(open);
  }
}, 120_000);
