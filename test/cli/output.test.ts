/**
 * The output of commands reaches its reader whole, however slow that one is; where it cannot be written the command
 * says so in one line, and its exit code is not 0.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OutputQueue } from "../../cli/output/standard-output.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const full = /^mqttzoo: cannot write the output: no space left on device\n$/;
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-output-"));
let broker: TestBroker;
let to: readonly string[];

beforeAll(async () => {
  broker = await startBroker({ maxPacketSize: 16 * 1024 * 1024 });
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
  const publisher = await RawClient.connect(broker.port);
  publisher.publish("kept", "x", { retain: true });
  await publisher.ping();
  publisher.disconnect();
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Piped {
  readonly code: number;
  /** Bytes that the reader has read. */
  readonly read: number;
  readonly err: string;
}

/** Runs a command into a pipe whose reader sleeps for a second before it begins. */
async function runToSleeper(args: readonly string[]): Promise<Piped> {
  const script = `exec 3>&2; { "$@"; echo "code=$?" >&3; } | { sleep 1; wc -c; }`;
  const child = Bun.spawn(["sh", "-c", script, "sh", executable, ...args], { stdout: "pipe", stderr: "pipe" });
  const [out, said] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  const [, err, code] = /^(.*)code=(\d+)\n$/s.exec(said)!;
  return { code: Number(code), read: Number(out), err: err! };
}

/** Resolves when what a command has been started for is subscribed to. */
async function untilSubscribed<Running>(start: () => Running): Promise<{ readonly running: Running }> {
  const { router } = broker.server.broker.context;
  await eventually(() => router.subscriptions === 0, "nobody to be subscribed");
  const running = start();
  await eventually(() => router.subscriptions === 1, "the subscription");
  return { running };
}

describe("a reader that is slow", () => {
  test.each([60_000, 300_000, 5_000_000])("is given a message of %d bytes whole by sub -C 1 -N", async (bytes) => {
    const file = join(folder, "message");
    writeFileSync(file, new Uint8Array(bytes).fill(0x41));
    const command = ["sub", ...to, "-t", "large", "-q", "1", "-C", "1", "-N", "-W", "120"];
    const { running } = await untilSubscribed(() => runToSleeper(command));
    expect((await runExecutable(["pub", ...to, "-t", "large", "-f", file, "-q", "1"])).code).toBe(0);
    expect(await running).toEqual({ code: 0, read: bytes, err: "" });
  });

  test("is given many small messages, each of them", async () => {
    const command = ["sub", ...to, "-t", "many", "-q", "1", "-C", "20000", "-W", "120"];
    const { running } = await untilSubscribed(() => runToSleeper(command));
    const input = Array.from({ length: 20_000 }, (_, number) => `${String(number).padStart(9, "0")}\n`).join("");
    expect((await runExecutable(["pub", ...to, "-t", "many", "-l", "-q", "1"], { input })).code).toBe(0);
    expect(await running).toEqual({ code: 0, read: 200_000, err: "" });
  });

  test("is given a long listing whole", async () => {
    const publisher = await RawClient.connect(broker.port);
    for (let number = 0; number < 2000; number++)
      publisher.publish(`listed/${number}/${"x".repeat(100)}`, "x", { retain: true });
    await publisher.ping();
    publisher.disconnect();
    const command = ["bank", "mail", "list", "listed/#", "--json", "--data", broker.folder];
    await eventually(async () => (await runExecutable(command)).out.split("\n").length > 2000, "all are stored");
    const { out } = await runExecutable(command);
    expect(await runToSleeper(command)).toEqual({ code: 0, read: Buffer.byteLength(out), err: "" });
  }, 120_000);
});

test("a reader that has had enough ends a command quietly", async () => {
  const script = `exec 3>&2; { "$@"; echo "code=$?" >&3; } | head -c 1`;
  const command = [executable, "sub", ...to, "-t", "flood", "-W", "120"];
  const { running: child } = await untilSubscribed(() =>
    Bun.spawn(["sh", "-c", script, "sh", ...command], { stdout: "ignore", stderr: "pipe" }),
  );
  const publisher = await RawClient.connect(broker.port);
  const flood = setInterval(() => publisher.publish("flood", "x"), 20);
  expect(await new Response(child.stderr).text()).toBe("code=0\n");
  clearInterval(flood);
  publisher.disconnect();
});

test("a reader that takes nothing is given up when the time is over, and it is said", async () => {
  const pipe = join(folder, "pipe");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  const open = openSync(pipe, "r+");
  const file = join(folder, "unread");
  writeFileSync(file, new Uint8Array(300_000));
  const { running: child } = await untilSubscribed(() =>
    Bun.spawn([executable, "sub", ...to, "-t", "unread", "-W", "5"], { stdout: open, stderr: "pipe" }),
  );
  try {
    expect((await runExecutable(["pub", ...to, "-t", "unread", "-f", file, "-q", "1"])).code).toBe(0);
    expect(await new Response(child.stderr).text()).toMatch(
      /^mqttzoo: nobody reads the last \d+ bytes of the output\n$/,
    );
    expect(await child.exited).toBe(1);
  } finally {
    child.kill("SIGKILL");
    closeSync(open);
  }
}, 60_000);

describe("a full disk", () => {
  test.each([
    "--help",
    "--version",
    "pub --help",
    "completion bash",
    "broker --print-config",
    "sub -t kept",
    "sub -t kept -C 1",
    "doctor",
    "bench conn -c 1 --duration 1",
    "bench conn -c 1 --duration 1 --json",
    "bank balance",
    "bank audit",
    "bank statement --json",
    "bank watch",
    "bank mail list",
  ])(
    "is told of by %s",
    async (line) => {
      const words = line.split(" ");
      const where = words[0] === "bank" ? ["--data", broker.folder] : /^(sub|doctor|bench)/.test(line) ? to : [];
      const child = Bun.spawn([executable, ...words, ...where], { stdout: Bun.file("/dev/full"), stderr: "pipe" });
      const said = await new Response(child.stderr).text();
      // A load says each second how it goes.
      expect(said.split("\n").slice(-2).join("\n")).toMatch(full);
      expect(await child.exited).toBe(1);
    },
    60_000,
  );
});

test("a queue of output has nothing unwritten when nothing was printed", async () => {
  const queue = new OutputQueue(() => {});
  await queue.written();
  await queue.hurry(1000);
  expect(queue.unwritten).toBe(0);
});
