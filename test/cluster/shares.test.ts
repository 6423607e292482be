/** The shares of users in a cluster: what other brokers store of a user's messages is his, too. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";

const patienceMs = 30_000;

/** Connects as a user, with a session that lasts. */
function connect(cluster: Cluster, broker: number, username: string): Promise<RawClient> {
  const properties = { sessionExpiryInterval: 600 };
  const login = { username, password: Buffer.from("pw"), clientId: `of-${username}`, clean: false, properties };
  return RawClient.connect(cluster.port(broker), { protocolVersion: 5, ...login });
}

/** Returns what a broker counts for a user, in milli-credits. */
function heldAt({ brokers }: Cluster, broker: number, user: string): number {
  return brokers[broker]!.broker.context.bankAccount.account.shares.heldBy(user);
}

test("what another broker stores of a user's message is the user's there", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-shares-"));
  const passwordFile = join(folder, "users");
  const hash = await hashForScram("pw", { iterations: 1, salt: Buffer.from("salt") });
  writeFileSync(passwordFile, `alice:${hash}\nreader:${hash}\n`);
  const cluster = await startCluster(["a", "b"], { passwordFile });
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
  rmSync(folder, { recursive: true });
});
