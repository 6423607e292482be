/**
 * A broker that is stopped for more than a minute in the middle of its commits. When it goes on every timeout is over.
 */
import { expect, test } from "bun:test";
import { seeded } from "../simulation/world.ts";
import { eventually } from "../support/broker.ts";
import { startClusterProcesses } from "./cluster-processes.ts";
import { auditOf, describeMail, healMaxMs, Load } from "./load.ts";

/** Longer than a minute: its branch is closed, its sessions are adopted, and nobody waits for it any more. */
const pauseMs = 75_000;
/** In credits: ten times the default. Where publishes are refused, on a slow machine, their order cannot be judged. */
const capital = "100000000";

test("SIGSTOP for more than a minute in mid-commit: nothing acknowledged is lost, nobody is declared dead", async () => {
  const seed = Number(process.env.MQTTZOO_NEMESIS_SEED ?? Math.floor(Math.random() * 1_000_000) + 1);
  console.log(`seed ${seed}`);
  const cluster = await startClusterProcesses(["a", "b", "c"], { arguments: ["--bank-capital", capital] });
  const load = new Load(cluster, seeded(seed));
  try {
    await load.begin();
    // Some commit is always under way.
    await eventually(() => load.history.acknowledgedCount > 200, "messages are acknowledged", healMaxMs);
    cluster.seats[0]!.signal("SIGSTOP");
    const before = load.history.acknowledgedCount;
    await Bun.sleep(pauseMs);
    expect(load.history.acknowledgedCount).toBeGreaterThan(before + 200);
    cluster.seats[0]!.signal("SIGCONT");
    load.pause();
    if (!(await load.heals())) expect([...load.restless(), ...(await describeMail(cluster))]).toEqual([]);
    expect([...load.wrong(), ...cluster.wrong(), ...(await auditOf(cluster))]).toEqual([]);
    expect(cluster.seats.filter((seat) => seat.hasRefused()).map(({ id }) => id)).toEqual([]);
  } finally {
    load.end();
    await cluster.stop();
  }
}, 240_000);
