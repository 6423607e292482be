/**
 * The nemesis: misfortunes by chance, one or two at a time, on three brokers and three ZooKeeper servers under load,
 * for as long as is wanted. After each round everything must heal, and is judged: what was acknowledged, who was
 * declared dead, the bank, how brokers have ended and what they have said; at the end, whether memory and znodes have
 * stayed what they were.
 *
 *     bun run test:nemesis -- --minutes 60 --seed 7 --only pause
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seeded } from "../simulation/world.ts";
import { eventually } from "../support/broker.ts";
import { compilePreload } from "../support/preload.ts";
import { type ClusterProcesses, startClusterProcesses } from "./cluster-processes.ts";
import { auditOf, describeMail, healMaxMs, Load } from "./load.ts";
import { type Misfortune, misfortunes, type Victim } from "./misfortunes.ts";

/** Memory may grow by this part and this much from the first third of a long run to its last. */
const memoryGrowthMax = 1.25;
const memoryGrowthMegabytes = 60;
/** Znodes at rest, more than after the first round. */
const znodesGrowthMax = 60;

export interface NemesisOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly say: (line: string) => void;
  /** Only this misfortune, by its word in `misfortunes.ts`. */
  readonly only?: string | undefined;
}

/** Measurements at rest, after a round. */
interface Rest {
  /** Resident memory of the brokers, in MB. */
  readonly megabytes: readonly number[];
  readonly znodes: number;
}

/** Returns everything that is wrong; stops after the first round in which something is. */
export async function torment({ seed, minutes, say, only }: NemesisOptions): Promise<string[]> {
  const random = seeded(seed);
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-nemesis-"));
  const skews = join(folder, "skews");
  mkdirSync(skews);
  const library = compilePreload("skewed-clock");
  const cluster = await startClusterProcesses(["a", "b", "c"], {
    ensemble: { canBeParted: true },
    environment: (id) => {
      writeFileSync(join(skews, id), "0");
      return { LD_PRELOAD: library, SKEW_FILE: join(skews, id) };
    },
  });
  const load = new Load(cluster, random);
  const rests: Rest[] = [];
  const wrong: string[] = [];
  try {
    await load.begin();
    const endAt = performance.now() + minutes * 60_000;
    for (let round = 1; performance.now() < endAt && wrong.length === 0; round++) {
      const before = load.history.sent.length;
      await eventually(() => load.history.sent.length > before, "the load goes on", healMaxMs);
      const suffered = await suffer({ cluster, random, skews }, only);
      const names = suffered.map(({ what }) => what);
      const startedAt = performance.now();
      load.pause();
      if (!(await load.heals())) wrong.push(...load.restless(), ...(await describeMail(cluster)));
      wrong.push(
        ...load.wrong(suffered.flatMap(({ cut }) => (cut === undefined ? [] : [cut]))),
        ...cluster.wrong(),
        ...(await auditOf(cluster)),
      );
      const sent = load.history.sent.length - before;
      rests.push(await measure(cluster));
      const { megabytes, znodes } = rests.at(-1)!;
      const healed = Math.round(performance.now() - startedAt);
      say(
        `round ${round}: ${names.join(" and ")}: healed in ${healed} ms; ${sent} sent; ${megabytes.join(" ")} MB; ${znodes} znodes`,
      );
      wrong.splice(
        0,
        wrong.length,
        ...wrong.map((what) => `seed ${seed}, round ${round} (${names.join(" and ")}): ${what}`),
      );
      load.goOn();
    }
    if (wrong.length === 0) wrong.push(...grown(rests));
  } finally {
    load.end();
    await cluster.stop();
    rmSync(folder, { recursive: true, force: true });
    rmSync(library, { force: true });
  }
  return wrong;
}

/** One or two misfortunes, which overlap; resolves with them when all is made good. */
async function suffer(victim: Victim, only: string | undefined): Promise<readonly Misfortune[]> {
  const { random } = victim;
  const words = Object.keys(misfortunes);
  const under: Misfortune[] = [];
  for (let count = random.next() < 0.4 ? 2 : 1; count > 0; count--) {
    await Bun.sleep(300 + random.next() * 1200);
    const word = only ?? words[Math.floor(random.next() * words.length)]!;
    const busy = new Set(under.flatMap(({ holds }) => holds));
    // What would hit the same victim is left out: it cannot be killed twice.
    const misfortune = await misfortunes[word]!({ ...victim, cluster: without(victim.cluster, busy) });
    under.push(misfortune);
  }
  // A moment, longer than the keeper session, or in between.
  await Bun.sleep(random.next() * 7000);
  // All at once: a broker that is started again may need the ZooKeeper that another misfortune keeps away.
  await Promise.all(under.map(({ end }) => end()));
  return under;
}

/** A cluster that only shows what nothing happens to. */
function without(cluster: ClusterProcesses, busy: ReadonlySet<string>): ClusterProcesses {
  const seats = cluster.seats.filter(({ id }) => !busy.has(`broker ${id}`));
  return { ...cluster, seats };
}

async function measure({ ensemble, seats }: ClusterProcesses): Promise<Rest> {
  const megabytes = seats.map(({ pid }) => {
    const path = `/proc/${pid}/status`;
    // A broker that has ended by itself is told of elsewhere.
    const status = existsSync(path) ? readFileSync(path, "utf8") : "";
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  });
  const said = await (await ensemble.leader()).ask("mntr");
  return { megabytes, znodes: Number(/zk_znode_count\s+(\d+)/.exec(said ?? "")?.[1]) };
}

/** Memory and znodes that have grown from the first third of the rounds to the last. */
function grown(rests: readonly Rest[]): string[] {
  const wrong: string[] = [];
  const first = rests[0];
  if (first === undefined) return ["no round was played"];
  const last = rests.at(-1)!;
  if (!(last.znodes <= first.znodes + znodesGrowthMax))
    wrong.push(`${first.znodes} znodes at rest after the first round, ${last.znodes} after the last`);
  if (rests.length < 9) return wrong;
  const third = Math.floor(rests.length / 3);
  const largest = (some: readonly Rest[]): number => Math.max(...some.flatMap(({ megabytes }) => megabytes));
  const [before, after] = [largest(rests.slice(0, third)), largest(rests.slice(-third))];
  if (after > before * memoryGrowthMax + memoryGrowthMegabytes)
    wrong.push(`a broker had ${before} MB at most in the first third of the rounds, ${after} in the last`);
  return wrong;
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
  const at = process.argv.indexOf("--only");
  const only = at === -1 ? undefined : process.argv[at + 1];
  if (at !== -1 && misfortunes[only ?? ""] === undefined) {
    console.error(`test:nemesis: --only needs one of ${Object.keys(misfortunes).join(", ")}`);
    process.exit(1);
  }
  console.log(`seed ${seed}, ${minutes} minutes`);
  const wrong = await torment({ seed, minutes, say: console.log, only });
  for (const what of wrong) console.log(what);
  console.log(wrong.length === 0 ? "nothing is wrong" : `${wrong.length} wrong`);
  process.exit(wrong.length === 0 ? 0 : 1);
}
