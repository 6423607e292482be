/**
 * `mqttzoo import`, as somebody meets it who comes from mosquitto: Debian's runs with a configuration, then ours with
 * what became of it, and the same clients are let in or kept out.
 */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, untilListening } from "../bench/brokers.ts";
import { makeAuthority } from "../support/certificates.ts";
import { killedAtExit } from "../support/children.ts";
import { executable, runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-import-"));
const authority = makeAuthority();
chmodSync(folder, 0o755);
chmodSync(authority.folder, 0o755);
afterAll(() => {
  authority.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a program to its end; returns its exit code. */
const codeOf = (command: readonly string[]): Promise<number> =>
  Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "ignore" }).exited;

/** Runs a broker, asks, and ends it. */
async function during<Answer>(command: readonly string[], port: number, ask: () => Promise<Answer>): Promise<Answer> {
  const child = killedAtExit(Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "ignore" }));
  try {
    await untilListening(port);
    return await ask();
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

test("the same clients are let in, and may do the same, before and after", async () => {
  const [port, tls] = [await freePort(), await freePort()];
  const { cert, key } = authority.issue("server");
  chmodSync(key, 0o644);
  const at = (name: string): string => join(folder, name);
  for (const [user, more] of [
    ["alice", ["-c"]],
    ["bob", []],
  ] as const)
    expect(await codeOf(["mosquitto_passwd", "-b", ...more, at("pw"), user, `${user}'s`])).toBe(0);
  writeFileSync(at("rules"), "user alice\ntopic readwrite home/#\ntopic deny home/safe\npattern read for/%u/#\n");
  for (const name of ["pw", "rules"]) chmodSync(at(name), 0o644);
  mkdirSync(at("conf.d"));
  writeFileSync(
    at("conf.d/logins.conf"),
    `password_file ${at("pw")}\nacl_file ${at("rules")}\nallow_anonymous false\n`,
  );
  writeFileSync(
    at("mosquitto.conf"),
    `listener ${port} 127.0.0.1\nlistener ${tls} 127.0.0.1\ncertfile ${cert}\nkeyfile ${key}\ninclude_dir ${at("conf.d")}\nlog_dest none\n`,
  );
  const client = (user: string, password: string, topic: string): string[] =>
    ["mosquitto_pub", "-V", "5", "-u", user, "-P", password, "-t", topic, "-q", "1", "-m", "x"].concat(
      "-i",
      `${user}1`,
    );
  const plain = ["-p", String(port)];
  const secure = ["-h", "localhost", "-p", String(tls), "--cafile", authority.ca];
  const ask = async () => ({
    alice: await codeOf([...client("alice", "alice's", "home/x"), ...plain]),
    "alice over TLS": await codeOf([...client("alice", "alice's", "home/x"), ...secure]),
    "with a wrong password": await codeOf([...client("alice", "bob's", "home/x"), ...plain]),
    bob: await codeOf([...client("bob", "bob's", "for/bob/x"), ...plain]),
    nobody: await codeOf(["mosquitto_pub", ...plain, "-t", "home/x", "-m", "x"]),
  });
  const theirs = await during(["mosquitto", "-c", at("mosquitto.conf")], port, ask);
  expect(theirs).toMatchObject({ alice: 0, "alice over TLS": 0 });
  const { code, out, err } = await runExecutable(["import", at("mosquitto.conf"), "--out", at("ours")]);
  expect([code, err]).toEqual([0, ""]);
  const config = join(at("ours"), "mqttzoo.yaml");
  expect(out).toContain(`start it: mqttzoo broker --config ${config}`);
  expect(statSync(join(at("ours"), "users")).mode & 0o777).toBe(0o600);
  const ours = await during([executable, "broker", "--config", config], port, ask);
  // Codes differ where somebody is kept out; that he is does not.
  const isIn = (codes: Record<string, number>) => Object.entries(codes).map(([who, code]) => [who, code === 0]);
  expect(isIn(ours)).toEqual(isIn(theirs));
  const verdict = async (...what: string[]): Promise<number> =>
    (await runExecutable(["acl", "check", ...what, "--acl-file", join(at("ours"), "acl")])).code;
  expect([await verdict("alice", "home/safe", "read"), await verdict("bob", "for/bob/x", "read")]).toEqual([1, 0]);
}, 60_000);

test("Debian's own configuration, first as a dry run; nothing that is there is overwritten", async () => {
  const conf = join(folder, "debian.conf");
  writeFileSync(conf, "pid_file /run/m.pid\npersistence true\nlog_dest file /var/log/m.log\nmax_keepalive nonsense\n");
  const out = join(folder, "debian");
  const dry = await runExecutable(["import", conf, "--out", out, "--dry-run"]);
  expect([dry.code, dry.err, existsSync(out)]).toEqual([0, "", false]);
  expect(dry.out.trim().split("\n")).toEqual([
    expect.stringContaining(`${conf}:1: pid_file: `),
    expect.stringContaining(`${conf}:3: log_dest: `),
    expect.stringContaining("mqttzoo.yaml: keepalive-max: left at its default: "),
    expect.stringMatching(/^# Made by/),
    ...["port: 1883", "host: 127.0.0.1", "allow-anonymous: true"],
    expect.stringMatching(/^data: .*mqttzoo-data"?$/),
    `would be written: ${join(out, "mqttzoo.yaml")}`,
  ]);
  expect((await runExecutable(["import", conf, "--out", out])).code).toBe(0);
  const again = await runExecutable(["import", conf, "--out", out]);
  expect([again.code, again.err]).toEqual([
    1,
    expect.stringContaining("is there already: remove it, or choose another"),
  ]);
  const printed = await runExecutable(["broker", "--config", join(out, "mqttzoo.yaml"), "--print-config"]);
  expect([printed.code, printed.out.includes("keepalive-max: 65535")]).toEqual([0, true]);
});

test("a broker where nobody could log in lets nobody in", async () => {
  const port = await freePort();
  const conf = join(folder, "closed.conf");
  writeFileSync(conf, `listener ${port} 127.0.0.1\n`);
  const out = join(folder, "closed");
  expect((await runExecutable(["import", conf, "--out", out])).out).toContain("nobody could log in: add users");
  expect(readFileSync(join(out, "users"), "utf8")).toMatch(/^#/);
  const ask = () => codeOf(["mosquitto_pub", "-p", String(port), "-t", "a", "-m", "x"]);
  expect(await during([executable, "broker", "--config", join(out, "mqttzoo.yaml")], port, ask)).not.toBe(0);
});

test("what cannot be read is said in one line; so is mosquitto's file where ours is due", async () => {
  const conf = join(folder, "wrong.conf");
  writeFileSync(join(folder, "bad-rules"), "user a\ntopic deny a#\n");
  const oneLine = async (args: readonly string[], words: string): Promise<void> => {
    const { code, err } = await runExecutable(args);
    expect([code === 0, err.trim().split("\n").length]).toEqual([false, 1]);
    expect(err).toContain(words);
  };
  writeFileSync(conf, `acl_file ${join(folder, "bad-rules")}\n`);
  // Without that line alice might do more than before.
  await oneLine(["import", conf, "--out", join(folder, "never")], "bad-rules, line 2");
  writeFileSync(conf, "include_dir /nowhere\n");
  await oneLine(["import", conf, "--dry-run"], "cannot read /nowhere");
  await oneLine(["import", "/nowhere.conf"], "cannot read /nowhere.conf");
  await oneLine(["import", "/dev/zero"], "it is no file");
  await oneLine(["broker", "--config", conf], `"mqttzoo import ${conf}" makes one`);
  writeFileSync(conf, "listener 1883\nlog_dest file x: y\n");
  await oneLine(["broker", "--config", conf], `"mqttzoo import ${conf}" makes one`);
  expect(existsSync(join(folder, "never"))).toBe(false);
});
