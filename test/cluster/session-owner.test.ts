/** A session belongs to its user at every broker of a cluster, whether its client is connected or away. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { startCluster } from "../support/cluster.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";

test("at another broker a session is not taken over by another user, and is by its own", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-owners-"));
  const passwordFile = join(folder, "users");
  const hash = await hashForScram("pw", { iterations: 1, salt: Buffer.from("salt") });
  writeFileSync(passwordFile, `alice:${hash}\neve:${hash}\n`);
  const cluster = await startCluster(["a", "b"], { passwordFile });
  const connect = async (broker: number, username: string, clean: boolean) => {
    const client = await RawClient.dial(cluster.port(broker), 5);
    const properties = { sessionExpiryInterval: 600 };
    const login = { username, password: Buffer.from("pw"), clientId: "phone", clean, properties };
    client.send(connectPacket({ protocolVersion: 5, ...login }));
    const { reasonCode, sessionPresent } = await client.take("connack");
    return { client, reasonCode, sessionPresent };
  };
  const alice = await connect(0, "alice", false);
  for (const clean of [true, false]) expect((await connect(1, "eve", clean)).reasonCode).toBe(0x85);
  await alice.client.ping();
  alice.client.disconnect();
  await alice.client.untilClosed();
  for (const broker of [0, 1])
    for (const clean of [true, false]) expect((await connect(broker, "eve", clean)).reasonCode).toBe(0x85);
  expect(await connect(1, "alice", false)).toMatchObject({ reasonCode: 0, sessionPresent: true });
  await cluster.stop();
  rmSync(folder, { recursive: true });
});
