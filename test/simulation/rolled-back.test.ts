/**
 * The bank where a broker is rolled back to the last commit of format 1, whose brokers and tellers count messages
 * alone: of sessions, and all else that is paid for besides messages, they know nothing.
 */
import { expect, test } from "bun:test";
import { boundBy } from "../../src/audit/audit.ts";
import { takeSnapshot } from "../../src/audit/snapshot.ts";
import { branchCloseMs, sweepMs } from "../../src/base/bank-limits.ts";
import { History } from "../chaos/history.ts";
import { Actor } from "./actors.ts";
import { codeOfFormat1, thisVersion } from "./broker-code.ts";
import type { BrokerNode } from "./broker-node.ts";
import { creditLooksMax, creditsStillLost, leftovers, orphanParts, overdrawn, tooHeavy } from "./checkers.ts";
import { World } from "./world.ts";

const older = await codeOfFormat1();
const payloadBytes = 60_000;
const messages = 20;
/** The teller has looked often enough to see that a broker is gone, and to close its branch. */
const closedMs = branchCloseMs + 3 * sweepMs;
/** The teller has looked through everything. */
const sweptMs = 2 * sweepMs;

/**
 * Messages that `writer` at broker b has stored for a session that is away, and which b pays for; some are retained,
 * too. The writer's session lasts, and its subscription. All brokers are of this version.
 */
async function begin(seed: number) {
  const world = new World(seed, { hasLarge: true, bankCapital: 100_000, older });
  const [a, b] = [world.node("a"), world.node("b")];
  for (const node of [a, b]) await node.startIn(world);
  const history = new History();
  const away = new Actor("away", { world, history, at: ["a"], subscribe: "large/#" });
  const writer = new Actor("writer", { world, history, at: ["b"], subscribe: "never" });
  for (const actor of [away, writer]) actor.live();
  expect(await world.pass(20_000, () => away.isReady && writer.isReady)).toBe(true);
  away.isAway = true;
  away.leave();
  await world.pass(1000);
  let acks = 0;
  for (let at = 0; at < messages; at++) {
    const payload = `${at}`.padEnd(payloadBytes, ".");
    const published = writer.client!.publish(`large/${at % 7}`, payload, { qos: 1, retain: at % 5 === 0 });
    void published.then(() => acks++);
  }
  expect(await world.pass(20_000, () => acks === messages)).toBe(true);
  writer.isAway = true;
  writer.leave();
  await world.pass(1000);
  expect(await wrongIn(world)).toEqual([]);
  return { world, a, b, away, history };
}

async function wrongIn(world: World): Promise<string[]> {
  return [...(await overdrawn(world)), ...(await tooHeavy(world))];
}

/** Ends a broker, and starts it with the other code in its place. */
async function replace(world: World, node: BrokerNode, code: BrokerNode["code"]): Promise<void> {
  node.kill();
  node.code = code;
  await world.pass(2 * world.sessionTimeoutMs);
  await node.startIn(world);
}

/** The nodes above payloads whose parts are all gone. */
function emptied({ tree }: World): string[] {
  return [...tree.nodes]
    .filter(([path, { children }]) => /^\/parts\/[^/]+$/.test(path) && children.size === 0)
    .map(([path]) => path);
}

/** Milli-credits that b pays besides messages and their payloads; and those that its accounts hold. */
async function besides(world: World): Promise<{ places: number; bound: number; granted: number }> {
  const { tree } = world;
  const snapshot = (await takeSnapshot(
    {
      read: (operations, done) =>
        done(
          undefined,
          operations.map((operation) => tree.read(operation)),
        ),
    },
    0,
  ))!;
  const places = snapshot.places.filter(({ branch }) => branch === "b").reduce((sum, { credits }) => sum + credits, 0);
  return { places, bound: boundBy(snapshot).get("b") ?? 0, granted: snapshot.grants.get("b") ?? 0 };
}

test("a broker that is rolled back counts the payloads that its branch pays for, and gives nothing of that away", async () => {
  const { world, b, away, history } = await begin(1);
  await replace(world, b, older);
  for (let look = 0; look < 10; look++) {
    expect(await overdrawn(world)).toEqual([]);
    await world.pass(sweepMs / 2);
  }
  // It hands them out, and removes their parts alone: the nodes above, which name who pays, stay until they are swept.
  const reader = new Actor("reader", { world, history, at: ["b"], isBrief: true });
  reader.live();
  expect(await world.pass(20_000, () => reader.isReady)).toBe(true);
  await replace(world, world.node("a"), older);
  away.isAway = false;
  expect(await world.pass(60_000, () => leftovers(world).length === 0)).toBe(true);
  await world.pass(5000);
  expect(emptied(world).length).toBeGreaterThan(10);
  expect(await overdrawn(world)).toEqual([]);
  for (const id of ["a", "b"]) await replace(world, world.node(id), thisVersion);
  await world.pass(5000);
  expect(emptied(world).length).toBeGreaterThan(10);
  expect([...(await wrongIn(world)), ...(await creditsStillLost(world, creditLooksMax))]).toEqual([]);
  await world.pass(closedMs);
  expect([...emptied(world), ...orphanParts(world), ...(await creditsStillLost(world, creditLooksMax))]).toEqual([]);
}, 300_000);

test("a branch has its credits back for payloads whose parts a broker of format 1 has removed", async () => {
  const { world, a, b, away } = await begin(4);
  const { account } = b.broker!.context.bankAccount;
  const before = account.bound;
  await replace(world, a, older);
  away.isAway = false;
  expect(await world.pass(60_000, () => leftovers(world).length === 0)).toBe(true);
  await world.pass(5000);
  expect(emptied(world).length).toBeGreaterThan(10);
  expect(account.bound).toBe((await besides(world)).bound);
  expect(account.bound).toBeLessThan(before / 2);
}, 300_000);

test("what a teller of format 1 has left of a dead broker's branch is made up for by one of this version", async () => {
  const { world, a, b } = await begin(2);
  await replace(world, a, older);
  b.kill();
  await world.pass(closedMs);
  expect(world.tree.nodes.has("/bank/branches/=b")).toBe(true);
  // It has kept what messages bind, with their payloads; of the writer's subscription it knows nothing.
  const left = await besides(world);
  expect(left.places).toBeGreaterThan(0);
  expect(left.bound - left.granted).toBe(left.places);
  await replace(world, a, thisVersion);
  await world.pass(sweptMs);
  const now = await besides(world);
  expect(now.places).toBeGreaterThan(0);
  expect(now.granted).toBe(now.bound);
  expect([...(await wrongIn(world)), ...(await creditsStillLost(world, creditLooksMax))]).toEqual([]);
}, 300_000);

test("... also where it has left no account, and whoever comes back", async () => {
  for (const comes of ["a", "b"]) {
    const world = new World(3, { bankCapital: 100_000, older });
    const [a, b] = [world.node("a"), world.node("b")];
    for (const node of [a, b]) await node.startIn(world);
    const guest = new Actor("guest", { world, history: new History(), at: ["b"], subscribe: "x/#" });
    guest.live();
    expect(await world.pass(20_000, () => guest.isReady)).toBe(true);
    guest.isAway = true;
    guest.leave();
    await world.pass(1000);
    await replace(world, a, older);
    b.kill();
    await world.pass(closedMs);
    const { places } = await besides(world);
    const missing = `audit: what b pays for binds ${places}, and it has no branch`;
    expect(await overdrawn(world)).toEqual([missing]);
    // Whoever returns is the only one here.
    if (comes === "a") await replace(world, a, thisVersion);
    else {
      a.kill();
      await replace(world, b, thisVersion);
      expect(await overdrawn(world)).toEqual([]);
    }
    await world.pass(sweptMs);
    expect(await overdrawn(world)).toEqual([]);
    expect((await besides(world)).granted).toBeGreaterThanOrEqual(places);
    expect(await creditsStillLost(world, creditLooksMax)).toEqual([]);
  }
}, 300_000);
