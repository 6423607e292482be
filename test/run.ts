/**
 * `bun run test`: one gate. Installs what the tests need and this machine lacks, builds the executable, then
 * types, lint and format, and all tests. Ends with "N passed, N failed".
 */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { nodeWithSqlite } from "./support/node-with-sqlite.ts";
import { spawnGroup } from "./support/process-group.ts";

const root = join(import.meta.dir, "..");

/** Outside programs that the tests use, and the Debian package of each. */
const programs: readonly { readonly name: string; readonly package: string; readonly isThere: () => boolean }[] = [
  { name: "mosquitto", package: "mosquitto", isThere: () => Bun.which("mosquitto", withSbin()) !== null },
  { name: "mosquitto_pub and _sub", package: "mosquitto-clients", isThere: () => Bun.which("mosquitto_sub") !== null },
  {
    name: "paho for Python",
    package: "python3-paho-mqtt",
    isThere: () =>
      existsSync("/usr/bin/python3") && run(["/usr/bin/python3", "-c", "import paho.mqtt.client"], "quiet") === 0,
  },
  {
    name: "Chromium",
    package: "chromium",
    isThere: () => (Bun.which("chromium") ?? Bun.which("chromium-browser")) !== null,
  },
  { name: "HAProxy", package: "haproxy", isThere: () => Bun.which("haproxy", withSbin()) !== null },
  { name: "nginx", package: "nginx", isThere: () => Bun.which("nginx", withSbin()) !== null },
  {
    name: "nginx's module for TCP",
    package: "libnginx-mod-stream",
    isThere: () => existsSync("/usr/lib/nginx/modules/ngx_stream_module.so"),
  },
  { name: "promtool", package: "prometheus", isThere: () => Bun.which("promtool") !== null },
  { name: "zsh", package: "zsh", isThere: () => Bun.which("zsh") !== null },
  { name: "fish", package: "fish", isThere: () => Bun.which("fish") !== null },
  { name: "systemd-analyze", package: "systemd", isThere: () => Bun.which("systemd-analyze") !== null },
  { name: "groff", package: "groff-base", isThere: () => Bun.which("groff") !== null },
  { name: "docker-compose", package: "docker-compose", isThere: () => Bun.which("docker-compose") !== null },
  { name: "rpmbuild", package: "rpm", isThere: () => Bun.which("rpmbuild") !== null },
  // Helm charts are templates of Go, with the functions of Sprig: what renders ours is built of these.
  { name: "Go", package: "golang-go", isThere: () => Bun.which("go") !== null },
  {
    name: "Sprig",
    package: "golang-github-masterminds-sprig-dev",
    isThere: () => existsSync("/usr/share/gocode/src/github.com/Masterminds/sprig"),
  },
  {
    name: "YAML for Go",
    package: "golang-gopkg-yaml.v3-dev",
    isThere: () => existsSync("/usr/share/gocode/src/gopkg.in/yaml.v3"),
  },
  { name: "openssl", package: "openssl", isThere: () => Bun.which("openssl") !== null },
  // Node with npm, a compiler and Python: what the npm package `zookeeper` is built with and runs under.
  { name: "Node.js", package: "nodejs", isThere: () => Bun.which("node") !== null },
  { name: "npm", package: "npm", isThere: () => Bun.which("npm") !== null },
  { name: "make", package: "make", isThere: () => Bun.which("make") !== null },
  { name: "a C++ compiler", package: "g++", isThere: () => Bun.which("g++") !== null },
  { name: "Python", package: "python3", isThere: () => Bun.which("python3") !== null },
  { name: "ZooKeeper", package: "zookeeper", isThere: () => existsSync("/usr/share/java/zookeeper.jar") },
  {
    name: "kazoo for Python",
    package: "python3-kazoo",
    isThere: () => existsSync("/usr/bin/python3") && run(["/usr/bin/python3", "-c", "import kazoo"], "quiet") === 0,
  },
];

function withSbin(): { PATH: string } {
  return { PATH: `${process.env.PATH}:/usr/sbin` };
}

function run(command: readonly string[], output: "loud" | "quiet" = "loud", env: Record<string, string> = {}): number {
  const how = output === "loud" ? "inherit" : "ignore";
  return Bun.spawnSync([...command], {
    cwd: root,
    stdin: "ignore",
    stdout: how,
    stderr: how,
    env: { ...process.env, ...withSbin(), ...env },
  }).exitCode;
}

function install(): void {
  const missing = programs.filter(({ isThere }) => !isThere());
  if (missing.length === 0) return;
  const packages = missing.map((program) => program.package);
  console.log(`The tests need ${missing.map(({ name }) => name).join(", ")}: installing ${packages.join(" ")} ...`);
  const noQuestions = { DEBIAN_FRONTEND: "noninteractive" };
  const sudo = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  run([...sudo, "apt-get", "update", "-qq"], "quiet", noQuestions);
  // Debian starts some of them as services where it can; the tests start their own, on ports of their own.
  run([...sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages], "quiet", noQuestions);
  const still = missing.filter(({ isThere }) => !isThere());
  if (still.length === 0) return;
  console.error(
    `cannot install ${still.map((program) => program.package).join(" ")}; install them by hand (Debian's names), then run the tests again`,
  );
  console.log("0 passed, 1 failed");
  process.exit(1);
}

/** Bun installs packages without running their scripts; this one is C++ that must be built for the Node at hand. */
function buildAddon(): void {
  if (existsSync(join(root, "node_modules/zookeeper/build/Release/zookeeper.node"))) return;
  console.log("Building the npm package zookeeper, the reference that our ZooKeeper client is compared with ...");
  // Without the headers that Node was installed with, node-gyp would fetch them: a machine may not reach that far.
  const prefix = nodePrefix();
  const headers = existsSync(join(prefix, "include/node/node.h")) ? { npm_config_nodedir: prefix } : {};
  run(["npm", "rebuild", "zookeeper", "--foreground-scripts"], "quiet", headers);
}

/** Fetches a newer Node where the machine's has no SQLite: a test's time is not for that. */
function fetchNode(): void {
  try {
    nodeWithSqlite();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}: the tests that need it will fail`);
  }
}

/** The folder below which Node.js was installed: its executable lies in `bin`, its headers in `include`. */
function nodePrefix(): string {
  const node = Bun.which("node");
  return node === null ? "/usr" : dirname(dirname(realpathSync(node)));
}

interface Count {
  passed: number;
  failed: number;
}

/** The output of what failed, repeated at the end: a reader of a long log has its tail first, or nothing else. */
const toRepeat: string[] = [];

function gate(name: string, command: readonly string[], count: Count): void {
  console.log(`\n=== ${name}`);
  if (run(command) === 0) {
    count.passed++;
    return;
  }
  count.failed++;
  toRepeat.push(`${name}: see above`);
}

/**
 * Tests that run beside the others, which wait most of their time: about half of all by the time that they take. Those
 * that judge how soon something happens are among the others, and so are all that stop, cut off and kill.
 */
const besideOthers = ["simulation", "dashboard", "cli", "sdk", "foreign", "fuzz", "unit"].map((name) => `test/${name}`);

/**
 * Runs the tests: those that are named on the command line, or all, in two processes. What those beside the others say
 * is shown when they are over.
 */
async function tests(count: Count): Promise<void> {
  const named = process.argv.slice(2);
  if (named.length > 0) return add(await testsIn("tests", named, "now"), count);
  const beside = testsIn(besideOthers.join(" "), besideOthers, "later");
  const but = besideOthers.flatMap((path) => ["--path-ignore-patterns", `${path}/**`]);
  add(await testsIn("all others", but, "now"), count);
  console.log(`\n=== tests: ${besideOthers.join(" ")}, whose output follows`);
  const ended = await beside;
  console.log(ended.told);
  add(ended, count);
}

/** How tests ended that ran in a process of their own. */
interface Ended extends Count {
  /** All that the process wrote. */
  readonly told: string;
}

function add({ passed, failed, told }: Ended, count: Count): void {
  count.passed += passed;
  count.failed += failed;
  if (failed > 0) toRepeat.push(...failuresIn(told));
}

/** Lines of a failure that are repeated at the end. */
const repeatedLines = 60;

/**
 * Returns of each "(fail)" or "(skip)" its file, and the last lines back to how the test before ended; without any, the
 * last lines.
 */
function failuresIn(told: string): string[] {
  const found: string[] = [];
  let file = "";
  let said: string[] = [];
  for (const line of told.split("\n")) {
    // Bun lists what has failed once more when it has run more than a few tests.
    if (/^\d+ tests? failed:$/.test(line)) break;
    said.push(line);
    if (/^\((?:fail|skip)\)/.test(line)) found.push([file, ...said.slice(-repeatedLines)].join("\n"));
    if (/^test\/\S+\.ts:$/.test(line)) file = line;
    else if (!/^\((?:pass|fail|skip|todo)\)/.test(line)) continue;
    said = [];
  }
  return found.length > 0 ? found : [said.slice(-repeatedLines).join("\n")];
}

/** Runs tests in a process of their own. `shown`: whether what it writes is shown while it runs. */
async function testsIn(what: string, which: readonly string[], shown: "now" | "later"): Promise<Ended> {
  console.log(`\n=== tests: ${what}`);
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-run-"));
  const report = join(folder, "report.xml");
  const child = spawnGroup(
    [
      process.execPath,
      "test",
      // A test that hangs fails, one that a busy machine holds up does not; the long ones set longer limits themselves.
      ...["--timeout", "120000", "--reporter=junit", `--reporter-outfile=${report}`],
      ...which,
    ],
    { cwd: root, stdin: "ignore", stdout: "pipe", stderr: "pipe", env: { ...process.env, ...withSbin() } },
  );
  const told: string[] = [];
  const reading = Promise.all([child.stdout, child.stderr].map((stream) => readLines(stream, told, shown)));
  const code = await child.exited;
  // Its last words come at once; a program that a test has left behind may hold the pipe open for ever.
  await Promise.race([reading, Bun.sleep(5000)]);
  const text = existsSync(report) ? readFileSync(report, "utf8") : "";
  rmSync(folder, { recursive: true, force: true });
  const totals = /<testsuites [^>]*tests="(\d+)"[^>]*failures="(\d+)"(?:[^>]*skipped="(\d+)")?/.exec(text);
  const [all, failures, skipped] = (totals?.slice(1) ?? ["1", "1", "0"]).map((value) => Number(value ?? 0)) as [
    number,
    number,
    number,
  ];
  // A skipped test is a failed one, and so is a run that failed without saying which test did.
  const failed = failures + skipped + (code !== 0 && failures + skipped === 0 ? 1 : 0);
  return { passed: all - failures - skipped, failed, told: told.join("") };
}

async function readLines(stream: ReadableStream<Uint8Array>, told: string[], shown: "now" | "later"): Promise<void> {
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    told.push(decoder.decode(bytes, { stream: true }));
    if (shown === "now") process.stdout.write(bytes);
  }
}

const count: Count = { passed: 0, failed: 0 };
install();
buildAddon();
fetchNode();
gate("types", [process.execPath, "x", "tsc", "--noEmit"], count);
gate("types of the dashboard", [process.execPath, "x", "tsc", "--noEmit", "-p", "src/dashboard"], count);
gate("lint and format", [process.execPath, "x", "biome", "check", "--error-on-warnings", "."], count);
gate("build", [process.execPath, "test/tools/build.ts"], count);
await tests(count);
if (toRepeat.length > 0) console.log(`\n=== what failed, once more\n\n${toRepeat.join("\n\n")}`);
console.log(`\n${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed === 0 ? 0 : 1);
