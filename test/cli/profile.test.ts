/** Connection profiles: kept under names, used by the tools, outdone by the command line; and secrets stay secret. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { checkProfileName } from "../../cli/flags/profiles.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { type Ended, runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-profile-"));
const profiles = join(folder, "mqttzoo/profiles");
let broker: TestBroker;
let port: string;

beforeAll(async () => {
  broker = await startBroker({ wsPort: 0 });
  port = String(broker.port);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...words: string[]): Promise<Ended> => runExecutable(words, { env: { XDG_CONFIG_HOME: folder } });
const add = (...words: string[]): Promise<Ended> => run("profile", "add", ...words);

function expectOneLine({ code, out, err }: Ended, pattern: RegExp): void {
  expect(err).toMatch(pattern);
  expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1]);
}

test("one is added, listed, shown without its secrets, and removed", async () => {
  expect((await run("profile", "list")).out).toBe("(none)\n");
  const words = ["-h", "a.example.org,b", "-p", "8883", "-u", "alice", "-P", "s3cret", "--cafile", "ca.pem"];
  writeFileSync(join(folder, "ca.pem"), "x");
  const { code, err } = await add("home", ...words.slice(0, -1), join(folder, "ca.pem"));
  expect([code, err]).toEqual([0, ""]);
  const file = join(profiles, "home.json");
  expect([statSync(file).mode & 0o777, statSync(profiles).mode & 0o777]).toEqual([0o600, 0o700]);
  expect(readdirSync(profiles)).toEqual(["home.json"]);
  await add("web", "-L", "wss://bob:t0ken@host/mqtt", "--ws-header", "X-Key: h1dden", "--no-tls").then((ended) =>
    expectOneLine(ended, /--no-tls does not go with a URL that says TLS/),
  );
  expect((await add("web", "-L", "wss://bob:t0ken@host/mqtt", "--ws-header", "X-Key: h1dden")).code).toBe(0);
  for (const how of [["list"], ["list", "--json"], ["show", "home"], ["show", "web"], ["show", "web", "--json"]]) {
    const { code, out } = await run("profile", ...how);
    expect(code).toBe(0);
    expect(out).not.toMatch(/s3cret|t0ken|h1dden/);
  }
  expect((await run("profile", "show", "home")).out).toBe(
    `--host a.example.org,b\n--port 8883\n--username alice\n--pw (hidden)\n--cafile ${join(folder, "ca.pem")}\n`,
  );
  expectOneLine(await add("home", "-h", "c"), /there is a profile home already; --replace takes its place/);
  expect((await add("home", "-h", "c", "--replace")).code).toBe(0);
  expect((await run("profile", "show", "home")).out).toBe("--host c\n");
  expect((await run("profile", "list", "--json")).out).toBe('{"name":"home","flags":1}\n{"name":"web","flags":2}\n');
  for (const name of ["home", "web"]) expect((await run("profile", "remove", name)).code).toBe(0);
  expect(readdirSync(profiles)).toEqual([]);
  expectOneLine(await run("profile", "remove", "home"), /there is no profile home; there is none yet/);
});

describe("used", () => {
  test("by pub, sub, bench and doctor", async () => {
    await add("lab", "-h", "127.0.0.1", "-p", port, "-q", "1", "-V", "311", "-i", "labrat");
    await add("web", "-L", `ws://alice:secret@127.0.0.1:${broker.server.ports.ws}`);
    for (const name of ["lab", "web"]) {
      expect(await run("pub", "--profile", name, "-t", "kept", "-m", name, "-r")).toMatchObject({ code: 0, err: "" });
      const sub = await run("sub", `--profile=${name}`, "-t", "kept", "-C", "1", "-F", "%p %q");
      expect([sub.code, sub.out]).toEqual([0, `${name} ${name === "lab" ? 1 : 0}\n`]);
      const bench = await run("bench", "pub", "--profile", name, "-c", "1", "-L", "10", "-I", "0", "--json");
      expect([bench.code, JSON.parse(bench.out).sent]).toEqual([0, 10]);
    }
    const doctor = await run("doctor", "--profile", "lab", "--json");
    expect([doctor.code, doctor.out.split("\n")[0]!.includes('"versions"')]).toEqual([0, true]);
  }, 120_000);

  test("the command line goes before it, and more of it than the same option", async () => {
    const there = ["-h", "127.0.0.1", "-p", port];
    await add("dead", "-h", "127.0.0.1", "-p", "1", "-P", "alices", "-u", "alice", "-i", "x");
    await add("deadsocket", "--unix", "/nowhere");
    await add("deadtls", "-h", "127.0.0.1", "-p", "1", "--insecure", "--ws");
    const publish = ["-t", "kept", "-m", "new", "--retry-for", "0"];
    expect((await run("pub", "--profile", "dead", ...publish)).err).toContain("127.0.0.1:1: ECONNREFUSED");
    for (const words of [
      ["dead", "-p", port],
      ["dead", "-L", `mqtt://127.0.0.1:${port}`, "-I", "me"],
      ["deadsocket", ...there],
      ["deadtls", "-L", `tcp://127.0.0.1:${port}`, "--no-tls"],
      ["deadtls", "-p", String(broker.server.ports.ws), "--no-tls"],
    ])
      expect(await run("pub", ...publish, "--profile", ...words)).toMatchObject({ code: 0, err: "" });
    expect((await run("doctor", "127.0.0.1", "-p", port, "--profile", "deadsocket", "--json")).code).toBe(0);
  }, 120_000);

  test("it goes before the file with the user's own flags", async () => {
    await add("other", "-h", "127.0.0.1", "-p", port);
    writeFileSync(join(folder, "mqttzoo_pub"), "-h nowhere.invalid\n");
    expect((await run("pub", "--profile", "other", "-t", "a", "-m", "x")).code).toBe(0);
    rmSync(join(folder, "mqttzoo_pub"));
  });

  test("its names are completed", async () => {
    await add("zebra", "-h", "a");
    expect((await run("__complete", "--", "sub", "--profile", "ze")).out).toMatch(/^zebra\t.*\n$/);
    expect((await run("__complete", "--", "profile", "")).out).toMatch(/^add\t.*\nlist\t.*\nshow\t.*\nremove\t.*\n$/);
  });
});

describe("what is wrong is one line", () => {
  test.each([
    [["profile", "add", "../escape", "-h", "a"], /"..\/escape" is no name of a profile/],
    [["profile", "add", "empty"], /a profile needs flags/],
    [["profile", "add", "x", "--profile", "y"], /--profile is none of a profile's flags/],
    [["profile", "add", "x", "-p", "0"], /must be a whole number from 1 to 65535; see mqttzoo profile add --help/],
    [["profile", "add", "x", "--zk", "z:1", "-h", "a"], /--zk does not go with/],
    [["profile", "show", "nobody"], /there is no profile nobody; there/],
    [["sub", "--profile", "nobody", "-t", "a"], /there is no profile nobody; there/],
    [["sub", "--profile", "../../x", "-t", "a"], /is no name of a profile/],
  ] as const)("%j", async (words, said) => {
    expectOneLine(await run(...words), said);
    expect(existsSync(join(folder, "escape.json"))).toBe(false);
  });

  test.each([
    ["{", /is no JSON/],
    ["null", /does not hold flags/],
    ['{"flags": 5}', /does not hold flags/],
    ['{"flags": [["--host"], [5]]}', /does not hold flags/],
    ['{"flags": [["--port", "0"]]}', /the profile bad: option '-p, --port <PORT>' argument '0' is invalid/],
    ['{"flags": [["--new-flag", "x"]]}', /the profile bad: unknown option '--new-flag'/],
    ['{"flags": [["word"]]}', /the profile bad: too many arguments/],
    ['{"flags": [["--help"]]}', /the profile bad: /],
  ])("a file that holds %s", async (text, said) => {
    mkdirSync(profiles, { recursive: true });
    writeFileSync(join(profiles, "bad.json"), text);
    expectOneLine(await run("sub", "--profile", "bad", "-t", "a"), said);
    rmSync(join(profiles, "bad.json"));
  });

  test("a place that cannot be written", async () => {
    const ended = await runExecutable(["profile", "add", "x", "-h", "a"], { env: { XDG_CONFIG_HOME: "/proc/none" } });
    expect([ended.code, ended.out, ended.err.trim().split("\n").length]).toEqual([1, "", 1]);
    expect(ended.err).toMatch(/cannot make \/proc\/none\/mqttzoo\/profiles: /);
  });
});

test("no name leads out of the folder", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 70 }), (name) => {
      try {
        checkProfileName(name);
      } catch {
        return;
      }
      expect(name).toMatch(/^\w[\w.-]*$/);
    }),
  );
  for (const name of ["", ".", "..", "a/b", ".hidden", "a".repeat(65), "a\n"])
    expect(() => checkProfileName(name)).toThrow();
});

test("two that add at once: one of them is told, and nothing is lost", async () => {
  const ended = await Promise.all(["a", "b", "c"].map((host) => add("same", "-h", host)));
  expect(ended.map(({ code }) => code).sort()).toEqual([0, 2, 2]);
  expect(JSON.parse(readFileSync(join(profiles, "same.json"), "utf8")).flags).toHaveLength(1);
  expect(readdirSync(profiles).filter((name) => name.includes(".new"))).toEqual([]);
});
