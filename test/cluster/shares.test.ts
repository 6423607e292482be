/** The shares of users in a cluster: what other brokers store of a user's messages is his, too. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { audit } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { milli } from "../../src/bank/price.ts";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { fill } from "../support/credits.ts";
import { RawClient } from "../support/raw-client.ts";

const patienceMs = 30_000;
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-shares-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Connects as a user, with a session that lasts. */
function connect(cluster: Cluster, broker: number, username: string, clientId = `of-${username}`): Promise<RawClient> {
  const properties = { sessionExpiryInterval: 600 };
  const login = { username, password: Buffer.from("pw"), clientId, clean: false, properties };
  return RawClient.connect(cluster.port(broker), { protocolVersion: 5, ...login });
}

/** Returns what a broker counts for a user, in milli-credits. */
function heldAt({ brokers }: Cluster, broker: number, user: string): number {
  return brokers[broker]!.broker.context.bankAccount.account.shares.heldBy(user);
}

/** Starts a cluster that knows these users. */
async function start(ids: readonly string[], options: Partial<BrokerOptions> = {}): Promise<Cluster> {
  const passwordFile = join(folder, "users");
  const hash = await hashForScram("pw", { iterations: 1, salt: Buffer.from("salt") });
  writeFileSync(passwordFile, `${["alice", "bob", "reader"].map((user) => `${user}:${hash}\n`).join("")}`);
  return startCluster(ids, { passwordFile, ...options });
}

test("what another broker stores of a user's message is the user's there", async () => {
  const cluster = await start(["a", "b"]);
  const reader = await connect(cluster, 1, "reader");
  await reader.subscribe("mail/#", { qos: 1 });
  const alice = await connect(cluster, 0, "alice");
  const ownOf = heldAt(cluster, 0, "alice");
  expect([ownOf > 0, heldAt(cluster, 1, "alice")]).toEqual([true, 0]);
  // The reader is connected at b and does not acknowledge: b stores the message, and its branch pays.
  alice.publish("mail/x", "x", { qos: 1, messageId: 1 });
  await alice.take("puback");
  expect(heldAt(cluster, 1, "alice")).toBeGreaterThan(0);
  await eventually(() => heldAt(cluster, 0, "alice") === ownOf, "a has set nothing aside any more", patienceMs);
  const { messageId } = await reader.take("publish");
  reader.send({ cmd: "puback", messageId });
  await eventually(() => heldAt(cluster, 1, "alice") === 0, "what is read is the user's again", patienceMs);
  await cluster.stop();
});

test("at all brokers together a user holds no more than his share, and may use it at any of them", async () => {
  const bankCapital = 40_000;
  const share = 0.25 * bankCapital * milli;
  const cluster = await start(["a", "b", "c"], { bankCapital });
  const heldAtAll = (): number => [0, 1, 2].reduce((sum, broker) => sum + heldAt(cluster, broker, "alice"), 0);
  const clients = await Promise.all([0, 1, 2].map((broker) => connect(cluster, broker, "alice", `at-${broker}`)));
  const filled = await Promise.all(clients.map((client, broker) => fill(client, `from-${broker}`)));
  for (const { why } of filled) expect(why).toContain('the share of "alice" is used up');
  expect(heldAtAll()).toBeLessThanOrEqual(share);
  // Each broker keeps a little for him, and claims what he needs: little is left over.
  expect(heldAtAll()).toBeGreaterThan(0.8 * share);
  const { coordinator, clock } = cluster.brokers[0]!.broker.context;
  const graceMs = 60_000;
  const found = async (): Promise<string[]> =>
    audit((await takeWeighed(coordinator, clock.wall()))!, { graceMs, sharePercent: 25 });
  await eventually(async () => (await found()).length === 0, "the audit finds nothing", patienceMs);
  expect((await fill(await connect(cluster, 1, "reader"), "others")).taken).toBeGreaterThan(50);
  // What he clears at two brokers is his at the third.
  for (const broker of [0, 1])
    for (let number = 1; number <= filled[broker]!.taken; number++) {
      clients[broker]!.publish(`from-${broker}/${number}`, "", { qos: 1, messageId: number, retain: true });
      await clients[broker]!.take("puback");
    }
  let more = 0;
  const isMost = async (): Promise<boolean> => {
    more += (await fill(clients[2]!, `again-${more}`)).taken;
    return heldAt(cluster, 2, "alice") > 0.85 * share;
  };
  await eventually(isMost, "most of the share is used at one broker", patienceMs);
  expect(heldAtAll()).toBeLessThanOrEqual(share);
  await cluster.stop();
}, 120_000);

test("where all of the bank may be one user's, one client leaves the last sixteenth to others, in a cluster, too", async () => {
  for (const ids of [["alone"], ["a", "b"]]) {
    const bankCapital = 20_000;
    const scarce = (bankCapital * milli) / 16;
    const cluster = await startCluster(ids, { bankCapital });
    const accounts = cluster.brokers.map(({ broker }) => broker.context.bankAccount.account);
    const hoarder = await RawClient.connect(cluster.port(0), { protocolVersion: 5, clientId: "hoarder" });
    const { taken, why } = await fill(hoarder, "hoard");
    expect(why).toContain(`it is nearly empty, and client "hoarder" holds more than is left`);
    const { held } = accounts[0]!.shares.of("", "hoarder");
    // What is idle at other brokers is not left for nobody.
    expect(held).toBeGreaterThan(0.9 * (bankCapital * milli - scarce));
    for (const at of ids.keys()) {
      const honest = await RawClient.connect(cluster.port(at), { protocolVersion: 5, clientId: `honest-${at}` });
      honest.publish(`state/${at}`, "on", { qos: 1, messageId: 1, retain: true });
      expect((await honest.take("puback")).reasonCode).toBeLessThan(0x80);
    }
    expect(taken).toBeGreaterThan(100);
    await cluster.stop();
  }
}, 120_000);

test("when the bank is nearly empty the largest holders are refused first, once idle brokers were asked", async () => {
  const bankCapital = 100_000;
  const scarce = (bankCapital * milli) / 16;
  // A share that nobody uses up here.
  const cluster = await start(["a", "b"], { bankCapital, bankShare: 98 });
  const heldBy = (user: string): number => heldAt(cluster, 0, user) + heldAt(cluster, 1, user);
  const accounts = cluster.brokers.map(({ broker }) => broker.context.bankAccount.account);
  const boundAtAll = (): number => accounts.reduce((sum, { bound }) => sum + bound, 0);
  const left = (): number => bankCapital * milli - boundAtAll();
  // b is idle, and keeps a reserve.
  await eventually(() => accounts[1]!.free > 0.9 * scarce, "b has credits that it does not need", patienceMs);
  const [reader, alice, bob] = await Promise.all(["reader", "alice", "bob"].map((user) => connect(cluster, 0, user)));
  const hoarded = await fill(reader!, "reader");
  expect(hoarded.why).toContain(`it is nearly empty, and "reader" holds more than is left`);
  const price = heldBy("reader") / hoarded.taken;
  // The largest holder has left a sixteenth, and no more: what was idle at the other broker was asked for.
  expect(left()).toBeLessThan(scarce + 3 * price);
  // What brokers announce is paid for, too: that he publishes on so many topics.
  expect(left()).toBeGreaterThan(0.6 * scarce);
  // At the other broker he holds nothing, and gets no more than what each broker may bind without asking.
  await fill(await connect(cluster, 1, "reader", "reader-at-b"), "elsewhere");
  expect(heldAt(cluster, 1, "reader")).toBeLessThan(0.3 * scarce);
  // Who holds less than is left is served, here or at the other broker, until he does.
  const second = await fill(alice!, "alice");
  expect(second.why).toContain(`it is nearly empty, and "alice" holds more than is left`);
  expect(heldBy("alice")).toBeGreaterThan(0.3 * scarce);
  const third = await fill(await connect(cluster, 1, "bob", "bob-at-b"), "bob");
  expect(third.why).toContain(`it is nearly empty, and "bob" holds more than is left`);
  expect(heldBy("bob")).toBeGreaterThan(0.1 * scarce);
  await fill(bob!, "more");
  expect(heldAt(cluster, 0, "bob")).toBeLessThan(0.3 * scarce);
  for (const [client, name] of [
    [reader, "reader"],
    [alice, "alice"],
  ] as const)
    expect((await fill(client!, `${name}-again`)).taken).toBe(0);
  const { coordinator, clock } = cluster.brokers[0]!.broker.context;
  expect(audit((await takeWeighed(coordinator, clock.wall()))!, { graceMs: 60_000 })).toEqual([]);
  await cluster.stop();
}, 120_000);
