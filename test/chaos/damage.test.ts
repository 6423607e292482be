/**
 * A broker alone, as a process, that finds its files changed after kill -9: bits have flipped, or a file was cut.
 * Everything that was acknowledged is delivered as it was, or the damage is named and nothing is served; `repair` and
 * --accept-damage save the rest.
 */
import { Database } from "bun:sqlite";
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { connect } from "../../src/client/dial.ts";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { seeded } from "../simulation/world.ts";
import { executable, runExecutable, startBrokerProcess } from "../support/process.ts";

const rounds = Number(process.env.MQTTZOO_DAMAGES ?? 8);
const seed = Number(process.env.MQTTZOO_SEED ?? Math.floor(Math.random() * 1e9));
const count = 600;

const root = mkdtempSync(join(tmpdir(), "mqttzoo-damage-"));
/** A folder with acknowledged messages for a session that is away, as kill -9 has left it. */
const original = join(root, "original");
let folders = 0;
/** Where the broker that was started last has said what it said. */
let stderr = "";
let running: Bun.Subprocess | undefined;

const bodyOf = (index: number): string => `message-${1000 + index}-abcdefghijklmnopqrstuvwxyz`;
const session = { host: "127.0.0.1", clientId: "away", clean: false, sessionExpiryInterval: 0xffff_ffff } as const;

beforeAll(async () => {
  const broker = await startBrokerProcess(original);
  const { port } = broker;
  const away = await connect({ ...session, port });
  await away.subscribe(["m/#"], { qos: 1 });
  away.disconnect();
  const publisher = await connect({ host: "127.0.0.1", port });
  // One after the other, so that there are many commits.
  for (let index = 0; index < count; index += 4)
    await Promise.all([0, 1, 2, 3].map((more) => publisher.publish("m/x", bodyOf(index + more), { qos: 1 })));
  await broker.kill("SIGKILL");
  // Sockets cannot be copied.
  for (const socket of ["control.sock", "api.sock"]) rmSync(join(original, socket));
}, 120_000);
afterEach(stop);
afterAll(() => rmSync(root, { recursive: true, force: true }));

function copy(): string {
  const folder = join(root, String(++folders));
  cpSync(original, folder, { recursive: true });
  return folder;
}

function flip(path: string, at: number, bit = 0): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1 << bit;
  writeFileSync(path, bytes);
}

/** As a tool of the operator's does it. */
function checkpoint(folder: string): void {
  const db = new Database(join(folder, "tree.db"));
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close();
}

interface Started {
  readonly port: number;
  /** The reason why it has not started, in its own words. */
  readonly refusal: string | undefined;
}

async function start(folder: string, ...args: string[]): Promise<Started> {
  const port = await freePort();
  stderr = join(root, `stderr-${++folders}`);
  const command = [executable, ...brokerArguments(port, folder), "--id", "test", ...args];
  const child = Bun.spawn(command, { stdout: "ignore", stderr: Bun.file(stderr) });
  running = child;
  const first = await Promise.race([child.exited, untilListening(port).then(() => "listens" as const)]);
  if (first === "listens") return { port, refusal: undefined };
  expect(first).toBe(1);
  return { port, refusal: readFileSync(stderr, "utf8") };
}

async function stop(): Promise<void> {
  running?.kill("SIGKILL");
  await running?.exited;
  running = undefined;
}

/** Fetches a session's mail, until all has come or nothing has come for a while. */
async function fetchMail(port: number, what = "the store"): Promise<Set<string>> {
  return fetchAll(port).catch(async (error) => {
    await Bun.sleep(100);
    const code = running?.exitCode ?? running?.signalCode ?? "runs";
    throw new Error(`${what}: ${error}; the broker (${code}) has said ${readFileSync(stderr, "utf8").slice(-2000)}`);
  });
}

async function fetchAll(port: number): Promise<Set<string>> {
  const received = new Set<string>();
  const onMessage = ({ payload }: { readonly payload: Uint8Array }): void => void received.add(decodeUtf8(payload));
  const client = await connect({ ...session, port, onMessage });
  // Nothing more comes when nothing has come for a while in which the broker has answered.
  for (let quiet = 0; received.size < count && quiet < 4; ) {
    const before = received.size;
    await Bun.sleep(500);
    await client.publish("nobody/hears", "", { qos: 1 });
    quiet = received.size === before ? quiet + 1 : 0;
  }
  client.disconnect();
  return received;
}

const all: ReadonlySet<string> = new Set(Array.from({ length: count }, (_, index) => bodyOf(index)));

/** Nothing but what was published; returns how many are missing. */
function missing(received: ReadonlySet<string>, what: string): number {
  expect(
    [...received].filter((one) => !all.has(one)),
    what,
  ).toEqual([]);
  return [...all].filter((one) => !received.has(one)).length;
}

const mark = "message-1300-a";

const cases: readonly { readonly what: string; readonly harm: (folder: string) => void; readonly lost: number }[] = [
  {
    what: "a bit in the middle of the log",
    harm: (folder) => flip(join(folder, "tree.db-wal"), Math.floor(walSize(folder) / 2)),
    lost: 4,
  },
  {
    what: "a bit in a message in the database",
    harm: (folder) => {
      checkpoint(folder);
      const path = join(folder, "tree.db");
      // Pages keep remains of what they held before.
      const bytes = readFileSync(path);
      for (let at = bytes.indexOf(mark); at !== -1; at = bytes.indexOf(mark, at + 1)) flip(path, at + mark.length);
    },
    lost: 1,
  },
  {
    what: "a log that was cut",
    harm: (folder) => truncateSync(join(folder, "tree.db-wal"), Math.floor(walSize(folder) / 2)),
    lost: 0.7 * count,
  },
  {
    what: "a database that was cut",
    harm: (folder) => {
      checkpoint(folder);
      truncateSync(join(folder, "tree.db"), Math.floor(statSync(join(folder, "tree.db")).size / 2));
    },
    lost: count,
  },
];

function walSize(folder: string): number {
  return statSync(join(folder, "tree.db-wal")).size;
}

test.each(cases)(
  "$what is named, and repair saves the rest",
  async ({ what, harm, lost }) => {
    const folder = copy();
    harm(folder);
    const { refusal } = await start(folder);
    expect(refusal).toMatch(/^mqttzoo: the store in .* is damaged: .*; it is not served/);
    expect(refusal!.trim().split("\n").length).toBe(1);
    for (const words of [["audit"], ["balance"], ["mail", "list"]]) {
      const { code, err } = await runExecutable(["bank", ...words, "--data", folder]);
      expect(err).toMatch(/^mqttzoo: the store in .* is damaged: [^\n]*\n$/);
      expect(code).toBe(1);
    }
    const looked = await runExecutable(["repair", "--dry-run", "--data", folder]);
    expect(looked.out).toMatch(/^damaged: /m);
    expect(looked.code).toBe(1);
    const repaired = await runExecutable(["repair", "--data", folder]);
    expect(repaired.code).toBe(0);
    expect(repaired.out).toMatch(/\d+ records are kept; the damaged files are in .*damaged-/);
    if (lost === 1) expect(repaired.out).toContain('lost: a message on topic "m/x" for client "away"');
    const { port, refusal: again } = await start(folder);
    expect(again).toBeUndefined();
    const gone = missing(await fetchMail(port), what);
    expect(gone).toBeLessThanOrEqual(lost);
    console.log(`${what}: ${count - gone} of ${count} saved`);
  },
  120_000,
);

test(`${rounds} random damages, seed ${seed}: all is delivered as it was, or the damage is named`, async () => {
  console.log(`MQTTZOO_SEED=${seed}`);
  const random = seeded(seed);
  const pick = (below: number): number => Math.floor(random.next() * below);
  const outcomes: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const folder = copy();
    if (pick(2) === 0) checkpoint(folder);
    const names = ["tree.db", "tree.db-wal"].filter(
      (name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size,
    );
    const path = join(folder, names[pick(names.length)]!);
    const { size } = statSync(path);
    const isCut = pick(4) === 0;
    const place = pick(size);
    const harm = isCut ? `cut at ${place}` : `a bit at ${place}`;
    if (isCut) truncateSync(path, place);
    else flip(path, place, pick(8));
    const { port, refusal } = await start(folder);
    const at = `${path} of ${size} bytes, ${harm}`;
    if (refusal === undefined) expect(missing(await fetchMail(port, at), at)).toBe(0);
    else {
      expect(refusal).toMatch(/damaged|format/);
      const accepted = await start(folder, "--accept-damage");
      expect(accepted.refusal).toBeUndefined();
      // What is served may be less, but nothing else.
      missing(await fetchMail(accepted.port, at), at);
    }
    outcomes.push(refusal === undefined ? "served" : "refused");
    await stop();
  }
  console.log(outcomes.join(" "));
}, 240_000);

test("a message that goes bad while the broker runs is not delivered; --accept-damage goes on with the others", async () => {
  for (const accept of [false, true]) {
    const folder = copy();
    const http = await freePort();
    const { port } = await start(folder, "--http-port", String(http), ...(accept ? ["--accept-damage"] : []));
    const db = new Database(join(folder, "tree.db"));
    const change =
      "UPDATE node SET data = CAST(replace(CAST(data AS TEXT), 'message-1300-a', 'message-1300-b') AS BLOB)";
    db.exec(`${change} WHERE instr(data, CAST('message-1300-a' AS BLOB)) > 0`);
    db.close();
    const received = await fetchMail(port);
    expect(missing(received, "bad message")).toBeGreaterThan(0);
    if (accept) expect(missing(received, "bad message")).toBe(1);
    const ready = await fetch(`http://127.0.0.1:${http}/readyz`);
    expect(await ready.text()).toMatch(
      accept ? /1 damaged records are not served/ : /a record is damaged and is not served/,
    );
    expect(ready.status).toBe(accept ? 200 : 503);
    expect(readFileSync(stderr, "utf8")).toContain("a record is damaged and is not served: a message on topic");
    await stop();
  }
}, 120_000);
