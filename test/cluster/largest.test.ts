/**
 * Messages of 256 MB, MQTT's limit, on ZooKeeper, at the executable: one is stored and fetched, one outlives its time,
 * and a bystander is not held up by either.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchCluster, startBenchCluster } from "../bench/cluster-brokers.ts";
import { type Bystander, startBystander } from "../support/bystander.ts";
import { type Ended, runExecutable } from "../support/process.ts";

/** A packet of MQTT has at most 268,435,455 bytes after its first ones: this leaves room for topic and properties. */
const bytes = 268_435_455 - 1024;
/** A message costs more than the capital that a bank has if nothing else is said. */
const capital = 30_000_000;
/** The expiry of the message that nobody fetches in time, in seconds: several times what it takes to store it. */
let expirySeconds = 10;
/** The longest of ninety-nine waits in a hundred, in ms, by what the machine takes for other work meanwhile. */
const heldUpP99MsMax = 50;

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-largest-"));
const blob = join(folder, "blob");
const flags = ["--max-packet-size", "256M", "--bank-capital", String(capital)];
let cluster: BenchCluster;
let bystander: Bystander;

beforeAll(async () => {
  writeFileSync(blob, new Uint8Array(bytes).fill(0x61));
  cluster = await startBenchCluster(1, 1, flags);
  bystander = await startBystander(cluster.brokers[0]!.port);
}, 120_000);
afterAll(async () => {
  bystander.stop();
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

const port = (): string[] => ["-p", String(cluster.brokers[0]!.port)];
const session = ["sub", "-V", "5", "-i", "away", "-c", "-q", "1", "-t", "largest"];
const done: Ended = { code: 0, out: "", err: "" };

function publish(...more: string[]): Promise<Ended> {
  return runExecutable(["pub", "-V", "5", "-q", "1", "-t", "largest", ...more, ...port()]);
}

/** Asks the tree of what is stored there. */
async function ask(...words: string[]): Promise<string> {
  const ended = await runExecutable([...words, "--zk", `${cluster.ensemble.connect}/bench`]);
  expect(ended).toMatchObject({ code: 0, err: "" });
  return ended.out;
}

async function expectNobodyHeldUp(what: string): Promise<void> {
  const { p99, stretch } = await bystander.waits();
  console.log(`${what}: p99 of a bystander ${p99.toFixed(1)} ms; work took ${stretch.toFixed(1)} times its time`);
  expect(p99 / stretch).toBeLessThan(heldUpP99MsMax);
}

test("a message of 256 MB on ZooKeeper: stored for a session that is away, and fetched whole", async () => {
  expect(await runExecutable([...session, "-E", ...port()])).toEqual(done);
  await bystander.waits();
  const startedAt = performance.now();
  expect(await publish("-f", blob)).toEqual(done);
  expirySeconds = Math.max(expirySeconds, Math.ceil((3 * (performance.now() - startedAt)) / 1000));
  await expectNobodyHeldUp("while it is stored");
  const fetched = await runExecutable([...session, "-C", "1", "-W", "240", "-F", "%t %l", ...port()]);
  expect(fetched).toEqual({ code: 0, out: `largest ${bytes}\n`, err: "" });
  await expectNobodyHeldUp("while it is fetched");
}, 300_000);

test("a message of 256 MB on ZooKeeper whose time is over: nobody gets it, and its credits are free again", async () => {
  expect(await publish("-f", blob, "-D", "publish", "message-expiry-interval", String(expirySeconds))).toEqual(done);
  const isOver = Bun.sleep(expirySeconds * 1000);
  expect(await ask("bank", "mail", "list", "largest")).toContain("largest");
  await isOver;
  await bystander.waits();
  expect(await publish("-m", "later")).toEqual(done);
  const fetched = await runExecutable([...session, "-C", "1", "-W", "240", "-F", "%p", ...port()]);
  expect(fetched).toEqual({ code: 0, out: "later\n", err: "" });
  expect(await ask("bank", "mail", "list", "largest")).not.toContain("largest");
  await ask("bank", "audit");
  await expectNobodyHeldUp("while it is removed");
}, 300_000);
