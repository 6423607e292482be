/** Devices that come and go at the brokers of a cluster: its tree is afterwards as it was. */
import { test } from "bun:test";
import { churnLeavesNothing } from "../support/churn.ts";
import { startCluster } from "../support/cluster.ts";

test("of 300 devices that came and went at two brokers nothing is left", async () => {
  const cluster = await startCluster(["a", "b"]);
  await churnLeavesNothing(cluster.brokers, 300);
  await cluster.stop();
}, 120_000);
