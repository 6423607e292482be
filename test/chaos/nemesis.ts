/**
 * The nemesis: misfortunes by chance, one or two at a time, under load, for as long as is wanted; on three brokers and
 * three ZooKeeper servers, or on one broker with a store of its own. After each round everything must heal, and is
 * judged: what was acknowledged, who was declared dead, the bank, how brokers have ended and what they have said; at
 * the end, whether memory, the store and its log have stayed what they were.
 *
 *     bun run test:nemesis -- --minutes 60 --seed 7 --only pause
 *     bun run test:nemesis -- --alone
 */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Random } from "../../src/base/random.ts";
import { logPagesMax, storeUnitBytesMax } from "../../src/base/store-limits.ts";
import { storePath, walPath } from "../../src/embedded/assess.ts";
import { brokerArguments, freePort } from "../bench/brokers.ts";
import { seeded } from "../simulation/world.ts";
import { compilePreload } from "../support/preload.ts";
import { executable, runExecutable } from "../support/process.ts";
import { makeBrokerProcess } from "./broker-process.ts";
import { type ClusterProcesses, startClusterProcesses } from "./cluster-processes.ts";
import { auditOf, describeMail } from "./load.ts";
import { ensembleName, type Misfortune, misfortunes, ofProcess, serverWords, type Victim } from "./misfortunes.ts";
import { type Figure, type NemesisOptions, play, type Stage } from "./rounds.ts";
import { Starvation } from "./starvation.ts";

/** Znodes at rest, more than after the first round. */
const znodesGrowthMax = 60;
/** A page in SQLite's log, which is written into the database from `logPagesMax` on, or a little later. */
const logPageBytes = 4096 + 24;
const logBytesMax = logPagesMax * logPageBytes + 2 * storeUnitBytesMax;
/** The database may grow by this: messages come and go, but it does not become smaller by itself. */
const storeGrowthBytesMax = 64 * 1024 * 1024;
/** Payloads of this length fill the log again and again. */
const payloadBytesAlone = 8 * 1024;
const logLookMs = 100;

/** The folder of the files that say how wrong the clocks are, and the library that makes them wrong. */
interface Clocks {
  readonly skews: string;
  readonly environment: (id: string) => Record<string, string>;
  readonly end: () => void;
}

function wrongClocks(): Clocks {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-nemesis-"));
  const skews = join(folder, "skews");
  mkdirSync(skews);
  const library = compilePreload("skewed-clock");
  return {
    skews,
    environment: (id) => {
      writeFileSync(join(skews, id), "0");
      return { LD_PRELOAD: library, SKEW_FILE: join(skews, id) };
    },
    end: () => {
      rmSync(folder, { recursive: true, force: true });
      rmSync(library, { force: true });
    },
  };
}

/** Three brokers on three ZooKeeper servers. */
export async function torment(options: NemesisOptions): Promise<string[]> {
  const random = seeded(options.seed);
  const clocks = wrongClocks();
  const { environment, skews } = clocks;
  const cluster = await startClusterProcesses(["a", "b", "c"], { ensemble: { canBeParted: true }, environment });
  const { seats, ensemble } = cluster;
  const servers = ensemble.servers.map((server, at) => ({ name: `ZooKeeper server ${at + 1}`, pid: () => server.pid }));
  const brokers = seats.map((seat) => ({ name: `broker ${seat.id}`, pid: () => seat.pid }));
  const stage: Stage = {
    seats,
    starvation: new Starvation([...servers, ...brokers]),
    suffer: () =>
      suffer(random, async (busy) => {
        const word = options.only ?? pick(random, Object.keys(misfortunes));
        // A majority stays: without one there is nothing to be seen but waiting.
        if (busy.has(ensembleName) && serverWords.includes(word)) return undefined;
        return misfortunes[word]!({ cluster: without(cluster, busy), random, skews });
      }),
    audit: () => auditOf(cluster),
    describeMail: () => describeMail(cluster),
    wrong: () => cluster.wrong(),
    async measure() {
      const said = await (await ensemble.leader()).ask("mntr");
      const znodes = Number(/zk_znode_count\s+(\d+)/.exec(said ?? "")?.[1]);
      return [{ name: "znodes", value: znodes, growthMax: znodesGrowthMax }];
    },
    async stop() {
      await cluster.stop();
      clocks.end();
    },
  };
  return play(stage, random, options);
}

/** One broker with a store of its own. */
export async function tormentAlone(options: NemesisOptions): Promise<string[]> {
  const random = seeded(options.seed);
  const clocks = wrongClocks();
  const { skews } = clocks;
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-alone-"));
  const data = join(folder, "data");
  const [id, port] = ["alone", await freePort()];
  const command = [...brokerArguments(port, data), "--id", id];
  const process = { id, port, folder, program: executable, environment: clocks.environment(id) };
  const broker = makeBrokerProcess({ ...process, arguments_: () => command });
  await broker.start();
  const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  let logBytes = 0;
  const looks = setInterval(() => {
    logBytes = Math.max(logBytes, sizeOf(walPath(data)));
  }, logLookMs);
  const stage: Stage = {
    seats: [broker],
    payloadBytes: payloadBytesAlone,
    starvation: new Starvation([{ name: "the broker", pid: () => broker.pid }]),
    suffer: () =>
      suffer(random, async (busy) => {
        if (busy.size > 0) return undefined;
        const word = options.only ?? pick(random, Object.keys(ofProcess));
        return { ...(await ofProcess[word]!(broker, { random, skews })), holds: ["broker"] };
      }),
    async audit() {
      const { code, out, err } = await runExecutable(["bank", "audit", "--data", data]);
      return code === 0 ? [] : [`the audit ends with ${code}: ${out}${err}`];
    },
    describeMail: async () => [],
    wrong: () => broker.wrong(),
    async measure(): Promise<readonly Figure[]> {
      return [
        { name: "bytes of log at most", value: logBytes, growthMax: Infinity, most: logBytesMax },
        { name: "bytes of store", value: sizeOf(storePath(data)), growthMax: storeGrowthBytesMax },
      ];
    },
    async stop() {
      clearInterval(looks);
      await broker.end("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
      clocks.end();
    },
  };
  return play(stage, random, options);
}

function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[Math.floor(random.next() * items.length)]!;
}

/** One or two misfortunes, which overlap; resolves with them when all is made good. */
async function suffer(
  random: Random,
  begin: (busy: ReadonlySet<string>) => Promise<Misfortune | undefined>,
): Promise<readonly Misfortune[]> {
  const under: Misfortune[] = [];
  for (let count = random.next() < 0.4 ? 2 : 1; count > 0; count--) {
    await Bun.sleep(300 + random.next() * 1200);
    // What would hit the same victim is left out: it cannot be killed twice.
    const misfortune = await begin(new Set(under.flatMap(({ holds }) => holds)));
    if (misfortune !== undefined) under.push(misfortune);
  }
  // A moment, longer than the keeper session, or in between.
  await Bun.sleep(random.next() * 7000);
  // A broker that is started again needs the ZooKeeper that another misfortune may keep away.
  for (const { holds, end } of under) if (holds.includes(ensembleName)) await end();
  for (const { holds, end } of under) if (!holds.includes(ensembleName)) await end();
  return under;
}

/** A cluster that only shows what nothing happens to. */
function without(cluster: ClusterProcesses, busy: ReadonlySet<string>): Victim["cluster"] {
  const seats = cluster.seats.filter(({ id }) => !busy.has(`broker ${id}`));
  return { ...cluster, seats };
}

function numberAfter(flag: string, otherwise: number): number {
  const at = process.argv.indexOf(flag);
  const value = at === -1 ? otherwise : Number(process.argv[at + 1]);
  if (Number.isFinite(value) && value > 0) return value;
  console.error(`test:nemesis: ${flag} needs a number above 0, as in ${flag} ${otherwise}`);
  process.exit(1);
}

if (import.meta.main) {
  const seed = numberAfter("--seed", Math.floor(Math.random() * 1_000_000) + 1);
  const minutes = numberAfter("--minutes", 60);
  const isAlone = process.argv.includes("--alone");
  const known = isAlone ? ofProcess : misfortunes;
  const at = process.argv.indexOf("--only");
  const only = at === -1 ? undefined : process.argv[at + 1];
  if (at !== -1 && known[only ?? ""] === undefined) {
    console.error(`test:nemesis: --only needs one of ${Object.keys(known).join(", ")}`);
    process.exit(1);
  }
  console.log(`seed ${seed}, ${minutes} minutes`);
  const wrong = await (isAlone ? tormentAlone : torment)({ seed, minutes, say: console.log, only });
  for (const what of wrong) console.log(what);
  console.log(wrong.length === 0 ? "nothing is wrong" : `${wrong.length} wrong`);
  process.exit(wrong.length === 0 ? 0 : 1);
}
