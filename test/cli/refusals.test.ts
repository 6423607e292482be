/** The requests of a user that cannot be fulfilled: refused in one line, before anything wrong is sent. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeConnect } from "../../src/mqtt/control.ts";
import { Framer } from "../../src/mqtt/framer.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

/** An argument may have 128 KB. */
const long = "x".repeat(65_542);
let broker: TestBroker;
let to: readonly string[];
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-refusals-"));
const users = join(folder, "users");

beforeAll(async () => {
  broker = await startBroker();
  expect((await runExecutable(["passwd", users, "alice"], { input: "right\n" })).code).toBe(0);
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a text that is too long for the wire", () => {
  test.each([
    ["topic", ["pub", "-m", "x", "-t", long], /the topic has 65542 bytes; 65,535 is the most/],
    ["filter", ["sub", "-t", long], /the topic filter has 65542 bytes/],
    ["client id", ["pub", "-m", "x", "-t", "a", "-i", long], /the client id has 65542 bytes/],
    ["user name", ["sub", "-t", "a", "-u", long], /the user name has 65542 bytes/],
    ["password", ["pub", "-m", "x", "-t", "a", "-u", "u", "-P", long], /the password has 65542 bytes/],
    ["will's topic", ["sub", "-t", "a", "--will-topic", long], /the topic has 65542 bytes/],
    ["will's payload", ["sub", "-t", "a", "--will-topic", "w", "--will-payload", long], /payload has 65542 bytes/],
    ["property", ["pub", "-m", "x", "-t", "a", "-D", "publish", "content-type", long], /65,535 bytes are the most/],
  ] as const)("%s", async (_, words, said) => {
    for (const version of ["5", "311"]) {
      if (version === "311" && words.includes("-D" as never)) continue;
      const { code, out, err } = await runExecutable([...words, ...to, "-V", version]);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toMatch(said);
      expect(err.length).toBeLessThan(300);
      expect(err.trim().split("\n").length).toBe(1);
    }
    expect(broker.server.broker.context.router.subscriptions).toBe(0);
  });
});

describe("bytes that are not UTF-8", () => {
  /** Starts a command in whose words `BYTES` stands for some of them. */
  function start(words: string): Bun.Subprocess<"ignore", "ignore", "pipe"> {
    const given = words.replaceAll("BYTES", `"$(printf 'a\\377\\303\\244\\355\\240\\200b')"`);
    const command = ["sh", "-c", `exec "$0" ${given} "$@"`, executable, ...to];
    return killedAtExit(Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" }));
  }
  async function runWithBytes(words: string): Promise<{ code: number; err: string }> {
    const child = start(words);
    const err = await new Response(child.stderr).text();
    return { code: await child.exited, err };
  }
  const bytes = Buffer.from("61ffc3a4eda08062", "hex");

  test("are sent as they are in a payload, and in a will's", async () => {
    const subscriber = await RawClient.connect(broker.port);
    await subscriber.subscribe("bytes/#");
    for (const words of ["-m BYTES", "--message=BYTES", "-mBYTES"]) {
      expect(await runWithBytes(`pub -t bytes/ü ${words}`)).toEqual({ code: 0, err: "" });
      expect((await subscriber.take("publish")).payload).toEqual(bytes);
    }
    const mortal = start("sub -t bytes/none --will-topic bytes/will --will-payload BYTES");
    await eventually(() => broker.server.broker.context.router.subscriptions === 2, "it subscribes");
    mortal.kill("SIGKILL");
    expect((await subscriber.take("publish")).payload).toEqual(bytes);
    subscriber.abort();
  });

  test.each([
    ["pub -m x -t BYTES", "--topic"],
    ["pub -m x -t a -i BYTES", "--id"],
    ["pub -m x -t a -u BYTES", "--username"],
    ["pub -m x -t a -D publish content-type BYTES", "--property"],
    ["pub -m x -t a --will-topic BYTES", "--will-topic"],
    ["sub -t a -t BYTES", "--topic"],
    ["sub -t a -F BYTES", "--print"],
  ])("%s is refused", async (words, option) => {
    const { code, err } = await runWithBytes(words);
    expect(err).toBe(`mqttzoo: ${option} holds bytes that are not UTF-8, which only the payload of a message may\n`);
    expect(code).toBe(2);
  });
});

describe("a broker that does not let us in", () => {
  test.each([
    ["5", 0x87],
    ["311", 5],
  ] as const)("with -V %s pub and sub end with what it has said, as mosquitto's clients do", async (version, code) => {
    const guarded = await startBroker({ passwordFile: users });
    const words = [
      "-h",
      "127.0.0.1",
      "-p",
      String(guarded.port),
      "-V",
      version,
      "-t",
      "a",
      "-u",
      "alice",
      "-P",
      "wrong",
    ];
    for (const command of [["pub", "-m", "x"], ["sub"]]) {
      const { code: ended, err } = await runExecutable([...command, ...words]);
      expect(ended).toBe(code);
      expect(err).toMatch(/^mqttzoo: the broker refused the connection: .*not authori[sz]ed\n$/);
    }
    await guarded.stop();
  });
});

describe("a password without a user name", () => {
  test("is sent in MQTT 5", async () => {
    const framer = new Framer(1_000_000);
    const { promise, resolve } = Promise.withResolvers<ReturnType<typeof decodeConnect>["packet"]>();
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, bytes) {
          framer.feed(bytes);
          if (!framer.next()) return;
          resolve(decodeConnect(framer).packet);
          socket.end();
        },
      },
    });
    const where = ["-h", "127.0.0.1", "-p", String(listener.port)];
    const running = runExecutable(["pub", ...where, "-V", "5", "-t", "a", "-m", "x", "-P", "token"]);
    const { username, password } = await promise;
    expect([username, password?.toString()]).toEqual([undefined as unknown as string, "token"]);
    await running;
    listener.stop(true);
    expect(await runExecutable(["pub", ...to, "-t", "a", "-m", "x", "-P", "token"])).toEqual({
      code: 0,
      out: "",
      err: "",
    });
  });

  test.each(["311", "31"])("is refused with -V %s", async (version) => {
    const { code, err } = await runExecutable(["sub", ...to, "-V", version, "-t", "a", "-P", "token"]);
    expect({ code, err }).toEqual({ code: 2, err: "mqttzoo: a password needs a user name: give -u\n" });
  });
});

test("help and version are to be had by word and by flag", async () => {
  const { out: help } = await runExecutable(["--help"]);
  for (const words of [["help"], ["-h"]]) expect((await runExecutable(words)).out).toBe(help);
  const { out: version } = await runExecutable(["--version"]);
  expect((await runExecutable(["version"])).out).toBe(version);
  const { out: mailHelp } = await runExecutable(["bank", "mail", "--help"]);
  for (const words of [
    ["help", "bank", "mail"],
    ["bank", "mail", "-h"],
  ])
    expect((await runExecutable(words)).out).toBe(mailHelp);
});

test.each([
  [["brokr"], "see mqttzoo --help"],
  [["--nonsense"], "see mqttzoo --help"],
  [["pub", "--nonsense"], "see mqttzoo pub --help"],
  [["bank", "mail", "list", "--nonsense"], "see mqttzoo bank mail list --help"],
])("what %p says names the help page that tells about it", async (words, page) => {
  const { code, err } = await runExecutable(words);
  expect([code, err.trim().endsWith(page)]).toEqual([2, true]);
});
