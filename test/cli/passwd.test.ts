/** `mqttzoo passwd`, as a user meets it: from a pipe, from a terminal, and what it refuses. */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPasswordOf } from "../../src/access/hashes.ts";
import { parsePasswordFile } from "../../src/access/password-file.ts";
import { eventually } from "../support/broker.ts";
import { executable, runExecutable, startBrokerProcess } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-passwd-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const users = join(folder, "users");
const passwd = (user: string, flags: readonly string[] = [], input = "") =>
  runExecutable(["passwd", users, user, ...flags], { input });
const fits = (user: string, password: string): Promise<boolean> =>
  isPasswordOf(parsePasswordFile(readFileSync(users, "utf8")).get(user)!, Buffer.from(password));

test("users are added, changed and removed; the file is its owner's alone, and stays what it was", async () => {
  expect(await passwd("alice", [], "first\n")).toEqual({ code: 0, out: "", err: "" });
  expect(statSync(users).mode & 0o777).toBe(0o600);
  expect(await fits("alice", "first")).toBe(true);
  chmodSync(users, 0o640);
  writeFileSync(users, `# people\n${readFileSync(users, "utf8")}`);
  expect((await passwd("bob", ["--scram"], "päss")).code).toBe(0);
  expect((await passwd("alice", [], "second\n")).code).toBe(0);
  expect([await fits("alice", "second"), await fits("alice", "first"), await fits("bob", "päss")]).toEqual([
    true,
    false,
    true,
  ]);
  expect(readFileSync(users, "utf8")).toMatch(/^# people\nalice:\$argon2id\$.*\nbob:SCRAM-SHA-256\$.*\n$/);
  expect(statSync(users).mode & 0o777).toBe(0o640);
  expect((await passwd("alice", ["--delete"])).code).toBe(0);
  expect(readFileSync(users, "utf8")).toMatch(/^# people\nbob:/);
});

test("what is wrong is said in one line, and changes nothing", async () => {
  const before = readFileSync(users, "utf8");
  for (const [user, flags, input, words] of [
    ["nobody", ["--delete"], "", "no user nobody"],
    ["a:b", [], "x", "colon"],
    ["carol", [], "", "empty password"],
  ] as const) {
    const { code, err } = await passwd(user, flags, input);
    expect([code === 0, err.trim().split("\n").length]).toEqual([false, 1]);
    expect(err).toContain(words);
  }
  expect(readFileSync(users, "utf8")).toBe(before);
  const broken = join(folder, "broken");
  writeFileSync(broken, "alice:plain\n");
  expect((await runExecutable(["passwd", broken, "bob"], { input: "x" })).err).toContain(`${broken}: line 1`);
});

test("on a terminal the password is asked for twice, and never shown", async () => {
  // Python has a terminal for it: what it prints is what somebody who looks on would see.
  const script = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def until(words):
    global seen
    while words not in seen: seen += os.read(fd, 1000)
until(b"Password of dora: "); os.write(fd, b"sesamx\\x7fe\\r")
until(b"The same again: "); os.write(fd, b"sesame\\r")
try:
    while True:
        more = os.read(fd, 1000)
        if not more: break
        seen += more
except OSError: pass
print(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
  const child = Bun.spawn(["/usr/bin/python3", "-c", script, executable, "passwd", users, "dora"], { stdout: "pipe" });
  const seen = await new Response(child.stdout).text();
  expect([await child.exited, await fits("dora", "sesame")]).toEqual([0, true]);
  expect(seen).not.toContain("sesam");
});

test("SIGHUP has a running broker read the file at once", async () => {
  await passwd("erin", [], "first");
  const broker = await startBrokerProcess(join(folder, "data"), {
    args: ["--password-file", users, "--ban-after", "0"],
  });
  const pub = async (password: string): Promise<number> =>
    (
      await runExecutable([
        "pub",
        "-p",
        String(broker.port),
        "-t",
        "t",
        "-m",
        "x",
        "-q",
        "1",
        "-u",
        "erin",
        "-P",
        password,
      ])
    ).code;
  expect([await pub("first"), await pub("second")]).toEqual([0, 0x87]);
  await passwd("erin", [], "second");
  process.kill(broker.pid, "SIGHUP");
  await eventually(async () => (await pub("second")) === 0, "the new password is right");
  expect(await pub("first")).toBe(0x87);
  await broker.kill("SIGTERM");
});

test("users of the HTTP API have roles, which they keep when their passwords change", async () => {
  const file = join(folder, "http-users");
  const set = (user: string, flags: readonly string[], password = "pw"): ReturnType<typeof runExecutable> =>
    runExecutable(["passwd", file, user, ...flags], { input: `${password}\n` });
  expect((await set("vera", ["--role", "viewer"])).code).toBe(0);
  expect((await set("olga", ["--role", "operator"])).code).toBe(0);
  const before = readFileSync(file, "utf8");
  expect(before).toMatch(/^vera:viewer:\$argon2id\$.*\nolga:operator:\$argon2id\$.*\n$/);
  expect((await set("olga", [], "another")).code).toBe(0);
  const after = readFileSync(file, "utf8");
  expect(after).toMatch(/^vera:viewer:\$argon2id\$.*\nolga:operator:\$argon2id\$.*\n$/);
  expect(after).not.toBe(before);
  const nobody = await set("noa", []);
  expect([nobody.code, nobody.err]).toEqual([2, expect.stringContaining("--role viewer or operator")]);
  const chief = await set("noa", ["--role", "chief"]);
  expect(chief.code).not.toBe(0);
  expect((await set("vera", ["--delete"])).code).toBe(0);
  expect(readFileSync(file, "utf8")).toStartWith("olga:operator:");
  expect((await runExecutable(["passwd", users, "ann", "--role", "viewer"], { input: "pw\n" })).code).not.toBe(0);
});
