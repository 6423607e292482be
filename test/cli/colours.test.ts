/** Colours on terminals, of which pipes, files and programs never see anything. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrokerProcess, runExecutable, runOnTerminal, startBrokerProcess } from "../support/process.ts";

let broker: BrokerProcess;
let folder: string;
let to: string[];
let commands: Record<string, string[]>;

/** Characters that speak to a terminal, but for the ends of lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const speaks = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const colour = /\x1b\[\d+m/g;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mqttzoo-colours-"));
  const data = join(folder, "data");
  broker = await startBrokerProcess(data);
  to = ["-p", String(broker.port)];
  const hostile = "evil/\x1b[31m\x1b]0;x\x07";
  expect((await runExecutable(["pub", ...to, "-t", hostile, "-m", "\x1b[2Jx", "-r", "-q", "1"])).code).toBe(0);
  commands = {
    sub: ["sub", ...to, "-t", "evil/#", "-v", "-C", "1"],
    format: ["sub", ...to, "-t", "evil/#", "-F", "%q:%t:%p", "-C", "1"],
    show: ["show", "brokers", "--data", data],
    none: ["show", "clients", "--data", data],
    explain: ["explain", "--client", "nobody", "--topic", "evil/x", "--data", data],
    top: ["top", ...to, "--once", "--interval", "1", "-t", "evil/#"],
    error: ["sub", ...to],
    help: ["sub", "--help"],
  };
});

afterAll(async () => {
  await broker.kill("SIGTERM");
  rmSync(folder, { recursive: true });
});

async function onTerminal(args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = runOnTerminal(args, env);
  const seen = await child.stdout.text();
  await child.exited;
  return seen;
}

test("on a terminal heads, topics, findings and errors stand out; what others sent stays escaped", async () => {
  const seen = Object.fromEntries(
    await Promise.all(Object.entries(commands).map(async ([name, args]) => [name, await onTerminal(args)] as const)),
  );
  expect(seen.sub).toStartWith("\x1b[36mevil/\\x1b[31m\\x1b]0;x\\x07\x1b[0m \\x1b[2Jx");
  expect(seen.format).toStartWith("0:\x1b[36mevil/\\x1b[31m\\x1b]0;x\\x07\x1b[0m:");
  expect(seen.show).toStartWith("\x1b[1mID\x1b[0m ");
  expect(seen.none).toBe("\x1b[2m(none)\x1b[0m\r\n");
  expect(seen.explain).toStartWith("\x1b[1mIt does not come because:\x1b[0m\r\n  \x1b[31m[");
  expect(seen.top).toStartWith("\x1b[1m");
  expect(seen.error).toStartWith("\x1b[31mmqttzoo:\x1b[0m no topic");
  expect(seen.help).toStartWith("\x1b[1mUsage:\x1b[0m mqttzoo sub");
  for (const text of Object.values(seen)) expect(text.replaceAll(colour, "")).not.toMatch(speaks);
}, 30_000);

test("pipes get none, nor do terminals where nobody wants any; always is always", async () => {
  const { sub, error } = commands as { sub: string[]; error: string[] };
  const plain = await Promise.all(
    Object.values(commands).map((args) => runExecutable(args, { env: { TERM: "xterm" } })),
  );
  // Payloads and topics are as they were published, for programs.
  const own = plain.map(({ out, err }) =>
    `${out}${err}`.replaceAll("evil/\x1b[31m\x1b]0;x\x07", "").replaceAll("\x1b[2Jx", ""),
  );
  for (const text of own) expect(text).not.toContain("\x1b");
  for (const args of [sub, error]) {
    const seen = await Promise.all([
      onTerminal(args, { NO_COLOR: "1" }),
      onTerminal(args, { TERM: "dumb" }),
      onTerminal([...args, "--color", "never"]),
    ]);
    for (const text of seen) expect(text).not.toContain("\x1b");
    const always = await runExecutable([...args, "--color=always"], { env: { NO_COLOR: "1", TERM: "dumb" } });
    expect(`${always.out}${always.err}`).toStartWith(`\x1b[${args === sub ? 36 : 31}m`);
  }
  const { code, err } = await runExecutable([...sub, "--color", "sometimes"]);
  expect([code, err]).toEqual([2, expect.stringMatching(/^mqttzoo: .*auto, always, never.*\n$/)]);
}, 30_000);
