/**
 * Every door with clients in processes of their own: mosquitto's, MQTT.js under Node, our own; with passwords and TLS.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { executable } from "../support/process.ts";

let authority: Authority;
let broker: TestBroker;
const login = { username: "alice", password: "s3cret words" };

beforeAll(async () => {
  authority = makeAuthority();
  const { cert, key } = authority.issue("server");
  const users = join(authority.folder, "users");
  // As its own tool writes it.
  const made = Bun.spawnSync(["mosquitto_passwd", "-b", "-c", users, login.username, login.password]);
  expect(made.exitCode).toBe(0);
  writeFileSync(join(authority.folder, "password"), `${login.password}\n`);
  writeFileSync(join(authority.folder, "acl"), "user alice\ntopic readwrite home/#\n");
  broker = await startBroker({
    tlsPort: 0,
    wsPort: 0,
    wssPort: 0,
    tlsCert: cert,
    tlsKey: key,
    socket: join(authority.folder, "mqtt.sock"),
    passwordFile: users,
    aclFile: join(authority.folder, "acl"),
  });
});

afterAll(async () => {
  await broker.stop();
  authority.remove();
});

/** Runs a command, and returns what it prints, and its exit code. */
async function run(command: readonly string[]): Promise<{ out: string; code: number }> {
  const child = Bun.spawn([...command], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NODE_EXTRA_CA_CERTS: authority.ca },
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { out: `${out}${err}`.trim(), code: await child.exited };
}

/** A retained message goes in by one door and is fetched by another. */
async function through(publish: readonly string[], subscribe: readonly string[], text: string): Promise<void> {
  expect(await run([...publish, "-t", "home/door", "-m", text, "-r", "-q", "1"])).toEqual({ out: "", code: 0 });
  expect(await run([...subscribe, "-t", "home/#", "-C", "1", "-W", "10"])).toEqual({ out: text, code: 0 });
}

test("mosquitto's clients and ours, over TLS and a Unix socket", async () => {
  const { tls } = broker.server.ports;
  const named = ["-u", login.username, "-P", login.password];
  const overTls = ["-h", "localhost", "-p", String(tls), "--cafile", authority.ca];
  const socket = ["--unix", join(authority.folder, "mqtt.sock")];
  const mosquitto = (program: string, where: readonly string[]): string[] => [program, ...where, ...named];
  const ours = (command: string): string[] => {
    const secret = ["-u", login.username, "--pw-file", join(authority.folder, "password")];
    return [executable, command, ...overTls, ...secret];
  };
  await through(mosquitto("mosquitto_pub", overTls), mosquitto("mosquitto_sub", socket), "one");
  await through(mosquitto("mosquitto_pub", socket), ours("sub"), "two");
  await through(ours("pub"), mosquitto("mosquitto_sub", overTls), "three");
});

test("ours, when the broker is not who it should be, or does not let us in", async () => {
  const { tls, tcp } = broker.server.ports;
  const at = ["-h", "localhost", "-p", String(tls), "-t", "home/x", "-m", "x", "-q", "1"];
  const stranger = makeAuthority();
  const distrusted = await run([executable, "pub", ...at, "--cafile", stranger.ca]);
  expect([distrusted.code, distrusted.out]).toEqual([
    1,
    expect.stringMatching(/^mqttzoo: cannot connect to localhost:\d+: TLS: .*certificate/),
  ]);
  // Another name is believed then, another authority is not.
  const loose = ["-u", login.username, "-P", login.password, "--insecure"];
  expect((await run([executable, "pub", ...at, ...loose, "--cafile", authority.ca])).code).toBe(0);
  expect((await run([executable, "pub", ...at, ...loose, "--cafile", stranger.ca])).code).toBe(1);
  const insecure = await run([executable, "pub", ...at, "--insecure", "-u", login.username, "-P", login.password]);
  expect(insecure).toEqual({ out: "", code: 0 });
  const nameless = await run([executable, "pub", ...at, "--cafile", authority.ca]);
  expect(nameless.out).toBe("mqttzoo: the broker refused the connection: 0x87 not authorized");
  const forbidden = await run([
    executable,
    "pub",
    "-h",
    "localhost",
    "-p",
    String(tcp),
    "-t",
    "other",
    "-m",
    "x",
    "-q",
    "1",
    "-u",
    login.username,
    "-P",
    login.password,
  ]);
  expect([forbidden.code, forbidden.out]).toEqual([
    0x87,
    "mqttzoo: the broker refused the message: 0x87 not authorized: the access list does not allow it",
  ]);
  stranger.remove();
});

test("MQTT.js under Node, over WebSocket with and without TLS", async () => {
  const { ws, wss } = broker.server.ports;
  for (const url of [`ws://127.0.0.1:${ws}/mqtt`, `wss://localhost:${wss}/mqtt`]) {
    const script = `
      import mqtt from "mqtt";
      const client = await mqtt.connectAsync(${JSON.stringify(url)}, { ...${JSON.stringify(login)}, protocolVersion: 5, reconnectPeriod: 0 });
      const heard = new Promise((done) => client.on("message", (_, payload) => done(payload.length)));
      await client.subscribeAsync("home/js", { qos: 1 });
      await client.publishAsync("home/js", Buffer.alloc(200000, 1), { qos: 2 });
      console.log(await heard);
      await client.endAsync();`;
    expect(await run(["node", "--input-type=module", "-e", script])).toEqual({ out: "200000", code: 0 });
  }
});
