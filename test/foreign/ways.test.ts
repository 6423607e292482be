/**
 * The ways to a broker that are not the straight one: through a proxy, from an address of one's own, to a broker that
 * is old.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { start } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { runExecutable } from "../support/process.ts";
import { startSocksProxy } from "../support/socks-proxy.ts";

let authority: Authority;
let broker: TestBroker;
beforeAll(async () => {
  authority = makeAuthority();
  const { cert, key } = authority.issue("server");
  broker = await startBroker({ tlsPort: 0, tlsCert: cert, tlsKey: key });
});
afterAll(async () => {
  await broker.stop();
  authority.remove();
});

async function theirs(program: string, args: readonly string[]) {
  const child = Bun.spawn([program, ...args], { stdout: "pipe", stderr: "pipe" });
  const out = await new Response(child.stdout).text();
  return { code: await child.exited, out };
}

test.each([
  ["without a login", undefined],
  ["with a login", { username: "alice", password: "s3cret" }],
])("through a SOCKS proxy %s: theirs and ours, also with TLS", async (_, login) => {
  const proxy = await startSocksProxy(login);
  try {
    const who = login === undefined ? "" : `${login.username}:${login.password}@`;
    const way = ["--proxy", `socks5h://${who}127.0.0.1:${proxy.port}`];
    const plain = ["-h", "localhost", "-p", String(broker.port), ...way];
    const tls = ["-h", "localhost", "-p", String(broker.server.ports.tls), "--cafile", authority.ca, ...way];
    const words = ["-t", "proxy", "-m", "through", "-r", "-q", "2"];
    expect((await theirs("mosquitto_pub", [...plain, ...words])).code).toBe(0);
    expect(await runExecutable(["sub", ...plain, "-t", "proxy", "-C", "1"])).toMatchObject({
      code: 0,
      out: "through\n",
    });
    expect(await runExecutable(["pub", ...tls, "-t", "proxy", "-m", "with TLS", "-r", "-q", "2"])).toEqual({
      code: 0,
      out: "",
      err: "",
    });
    expect(await theirs("mosquitto_sub", [...plain, "-t", "proxy", "-C", "1"])).toEqual({ code: 0, out: "with TLS\n" });
    // The proxy finds the host's address, not we.
    expect(proxy.asked).toEqual([plain[3]!, plain[3]!, tls[3]!, plain[3]!].map((port) => `localhost:${port}`));
  } finally {
    proxy.stop();
  }
});

test("a proxy that refuses, one that is not there, and a host that is not there, are told in one line", async () => {
  const proxy = await startSocksProxy({ username: "alice", password: "right" });
  try {
    const to = (who: string, port: number, target = broker.port): string[] => [
      "pub",
      ...["-p", String(target), "--proxy", `socks5h://${who}127.0.0.1:${port}`, "-t", "t", "-m", "x"],
    ];
    for (const [args, words] of [
      [to("", proxy.port), "the proxy refuses: it wants another login than a user name and a password"],
      [to("alice:wrong@", proxy.port), "the proxy refuses: it does not accept user name and password"],
      [to("alice:right@", proxy.port, 1), "cannot connect to localhost:1: the proxy refuses: connection refused"],
      [to("", 1), "the proxy 127.0.0.1:1 cannot be reached: ECONNREFUSED"],
      [to("", broker.port), "the proxy has hung up"],
    ] as const) {
      const { code, err } = await runExecutable(args);
      expect([code, err.split("\n").length]).toEqual([1, 2]);
      expect(err).toContain(words);
    }
    expect(await runExecutable(["pub", "--proxy", "http://localhost", "-t", "t", "-m", "x"])).toMatchObject({
      code: 2,
    });
  } finally {
    proxy.stop();
  }
});

test("-A: connections come from that address", async () => {
  const seen: string[] = [];
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        seen.push(socket.remoteAddress);
        socket.end();
      },
      data() {},
    },
  });
  const args = ["-h", "127.0.0.1", "-p", String(listener.port), "-A", "127.0.0.7", "-t", "t", "-m", "x"];
  await theirs("mosquitto_pub", args);
  await runExecutable(["pub", ...args]);
  listener.stop(true);
  expect(seen).toEqual(["127.0.0.7", "127.0.0.7"]);
});

test("a broker that does not speak MQTT 5 is spoken to in 3.1.1, unless -V says 5", async () => {
  const old = await start("aedes");
  try {
    const where = ["-h", "127.0.0.1", "-p", String(old.port), "-t", "old"];
    expect(await runExecutable(["pub", ...where, "-m", "spoken", "-r", "-q", "2"])).toEqual({
      code: 0,
      out: "",
      err: "",
    });
    expect(await runExecutable(["sub", ...where, "-q", "1", "-C", "1"])).toMatchObject({ code: 0, out: "spoken\n" });
    const strict = await runExecutable(["pub", ...where, "-m", "x", "-V", "5"]);
    expect(strict).toEqual({
      code: 1,
      out: "",
      err: "mqttzoo: the broker refused the connection: unacceptable protocol version\n",
    });
  } finally {
    await old.stop();
  }
});
