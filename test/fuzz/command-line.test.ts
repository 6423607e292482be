/**
 * Command lines at random, made of every command and flag that the help shows: each ends by itself, and where it could
 * not do what was asked for, with a code that says so and one line that does not speak of how the program is made.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-words-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A command line that takes longer than this on a machine that does much else hangs. */
const patienceMs = 60_000;
/** Command lines that are tried: MQTTZOO_FUZZ_RUNS for more. */
const numRuns = Number(process.env.MQTTZOO_FUZZ_RUNS ?? 40);

/** Flags that would lead out of this machine, write elsewhere, or wait as long as they are told to. */
const excluded =
  /^(-h|--host|-L|--url|--proxy|--zk|--data|--unix|--api|-W|--wait|--retry-for|--duration|-d|--repeat.*)$/;

/** Returns the commands that a help text shows, and the flags. */
function readHelp(help: string): { commands: string[]; flags: string[] } {
  const part = /\nCommands:\n(.*?)(\n\n|$)/s.exec(help)?.[1] ?? "";
  const flags = [...help.matchAll(/^ {2}(-\w)?(?:, )?(--[a-z][\w-]*)?/gm)].flatMap(([, short, long]) => [short, long]);
  return {
    commands: [...part.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name!),
    flags: flags.filter((flag) => flag !== undefined && !excluded.test(flag)) as string[],
  };
}

const helpOf = async (...names: readonly string[]): Promise<ReturnType<typeof readHelp>> =>
  readHelp((await runExecutable([...names, "--help"])).out);

/** Commands that connect are sent where nobody listens; a broker cannot begin there. */
const where: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(
    ["pub", "sub", "bench", "doctor", "record", "replay", "simulate", "top"].map((name) => [
      name,
      ["-p", "1", "-h", "127.0.0.1"],
    ]),
  ),
};

const values = [
  ...[
    "a/b",
    "a/#",
    "#",
    "0",
    "1",
    "3",
    "-1",
    "1.5",
    "1e9",
    "NaN",
    "mqtt://",
    "ws://127.0.0.1:1",
    "311",
    "5",
    "publish",
  ],
  ...["user-property", "/nowhere", "/dev/null", "/etc/passwd", "\ud83d", "=", "", " ", "--", "-", "{{", "{{count}}"],
  ...[
    "{{random 2 1}}",
    "cbor",
    "json",
    "max",
    "%",
    "%p",
    "$share/g/#",
    "text",
    "\u0000x".slice(1),
    "ü",
    "x".repeat(70_000),
  ],
];

test("end by themselves, with one line at most, and never with a listing of the program", async () => {
  const { commands, flags: ownFlags } = await helpOf();
  expect(commands.length).toBeGreaterThan(15);
  const lines = await Promise.all(
    commands.map(async (name) => {
      const { commands: below, flags } = await helpOf(name);
      return { name, words: [...below, ...flags, ...ownFlags] };
    }),
  );
  const line = fc.constantFrom(...lines).chain(({ name, words }) => {
    const word = fc.oneof(fc.constantFrom(...words), fc.constantFrom(...values), fc.string({ maxLength: 5 }));
    return fc.tuple(
      fc.constant(name),
      fc.array(
        word.filter((one) => !one.includes("\0")),
        { maxLength: 6 },
      ),
    );
  });
  await fc.assert(
    fc.asyncProperty(line, async ([name, words]) => {
      const given = [name, ...(where[name] ?? []), ...words];
      const env = { ...process.env, HOME: folder, MQTTZOO_DATA: "/dev/null/x", MQTTZOO_ZK: "", MQTTZOO_API: "" };
      const child = killedAtExit(
        Bun.spawn([executable, ...given], { stdin: "ignore", stdout: "pipe", stderr: "pipe", env, cwd: folder }),
      );
      const late = setTimeout(() => child.kill("SIGKILL"), patienceMs);
      const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      const code = await child.exited;
      clearTimeout(late);
      expect(child.signalCode).toBeNull();
      // Where a command of a command is lacking, the help says which there are.
      const isHelp = err.startsWith("Usage: ");
      if (!isHelp) expect(err.trim().split("\n").length).toBe(1);
      expect(err).not.toMatch(/bunfs|\.ts:\d|node_modules|\bat .*:\d+:\d+|a fault of its own|undefined|\[object/);
      // A word of the system's, or of a library's, is told with what it means.
      expect(err).not.toMatch(/\b(E[A-Z]{4,}|ERR_\w+)\n$/);
      if (code !== 0) expect(err).toMatch(/^(mqttzoo|Usage): /);
      else if (!isHelp) expect(err).toBe("");
      expect(out).not.toContain("bunfs");
    }),
    { numRuns },
  );
}, 600_000);
