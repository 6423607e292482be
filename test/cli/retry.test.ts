/** `mqttzoo pub` over lost connections: a broker that is restarted, and messages that no broker will take. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, startBroker } from "../support/broker.ts";
import { executable, runExecutable, startBrokerProcess } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-retry-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("pub -l goes on when its only broker has been killed and started again, and loses no line", async () => {
  const data = join(folder, "data");
  const first = await startBrokerProcess(data);
  const where = ["-h", "127.0.0.1", "-p", String(first.port)];
  const session = ["sub", ...where, "-i", "kept", "-c", "-q", "1", "-t", "lines"];
  expect((await runExecutable([...session, "-E"])).code).toBe(0);
  const child = Bun.spawn([executable, "pub", ...where, "-t", "lines", "-l", "-q", "1", "-d"], {
    stdin: "pipe",
    stderr: "pipe",
  });
  let said = "";
  const reading = (async () => {
    for await (const bytes of child.stderr) said += Buffer.from(bytes).toString();
  })();
  const lines = Array.from({ length: 60 }, (_, number) => `line ${number}`);
  const write = (from: number, to: number): void => {
    child.stdin.write(lines.slice(from, to).join("\n").concat("\n"));
    child.stdin.flush();
  };
  await eventually(() => said.includes("connected to"), "it is connected");
  write(0, 20);
  await first.kill("SIGKILL");
  write(20, 40);
  await eventually(() => said.includes("connecting again"), "it has seen the loss");
  const second = await startBrokerProcess(data, { port: first.port });
  write(40, 60);
  child.stdin.end();
  expect(await child.exited).toBe(0);
  await reading;
  const { out } = await runExecutable([...session, "-W", "5"]);
  expect([...new Set(out.trim().split("\n"))].sort()).toEqual([...lines].sort());
  await second.kill("SIGTERM");
}, 120_000);

test("--retry-for ends it, with what went wrong last", async () => {
  const mine = await startBrokerProcess(join(folder, "gone"));
  const where = ["-h", "127.0.0.1", "-p", String(mine.port)];
  const run = (...more: string[]) =>
    Bun.spawn([executable, "pub", ...where, "-t", "a", "-l", "-q", "1", "-d", ...more], {
      stdin: "pipe",
      stderr: "pipe",
    });
  const children = [run("--retry-for", "0"), run("--retry-for", "1")];
  const said = children.map(() => "");
  const reading = children.map(async (child, at) => {
    for await (const bytes of child.stderr) said[at] += Buffer.from(bytes).toString();
  });
  await eventually(() => said.every((text) => text.includes("connected to")), "both are connected");
  await mine.kill("SIGKILL");
  for (const child of children) {
    child.stdin.write("x\n");
    child.stdin.flush();
  }
  expect(await Promise.all(children.map(({ exited }) => exited))).toEqual([1, 1]);
  await Promise.all(reading);
  expect(said[0]).not.toContain("connecting again");
  expect(said[1]).toContain("connecting again");
  expect(said[1]!.trim().split("\n").at(-1)).toMatch(/cannot connect to 127.0.0.1:\d+/);
}, 60_000);

test.each([
  ["5", [], 0x95, /0x95 packet too large: it has 100\d\d\d bytes; the broker takes 65536\n$/],
  ["5", ["-q", "0"], 0x95, /0x95 packet too large\n$/],
  ["311", [], 0x80, /the broker closes the connection whenever it comes\n$/],
] as const)(
  "a line that is larger than what the broker takes is refused with -V %s %p, and others go on",
  async (version, more, code, words) => {
    const broker = await startBroker({ maxPacketSize: 65_536 });
    const where = ["-h", "127.0.0.1,127.0.0.1", "-p", String(broker.port)];
    const file = join(folder, "lines");
    writeFileSync(file, `before\n${"x".repeat(100_000)}\nafter\n`);
    const session = ["sub", ...where, "-i", "kept", "-c", "-q", "1", "-t", "lines"];
    const subscriber = Bun.spawn([executable, ...session, "-F", "%l", "-C", "2", "-W", "60"], { stdout: "pipe" });
    await eventually(() => broker.server.broker.context.router.subscriptions > 0, "the subscription");
    const input = await Bun.file(file).text();
    const ended = await runExecutable(["pub", ...where, "-V", version, "-t", "lines", "-l", "-q", "1", ...more], {
      input,
    });
    expect(ended.err.trim().split("\n").at(-1)!.concat("\n")).toMatch(words);
    expect(ended.code).toBe(code);
    const lengths = (await new Response(subscriber.stdout).text()).trim().split("\n").map(Number);
    expect(lengths.every((length) => length === "before".length || length === "after".length)).toBe(true);
    await broker.stop();
  },
  120_000,
);
