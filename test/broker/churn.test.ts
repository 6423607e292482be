/** Devices that come and go: afterwards nothing is left of them, in memory or in the store, and nothing was done in vain. */
import { expect, test } from "bun:test";
import { churn } from "../bench/churn-load.ts";
import { eventually, startBroker } from "../support/broker.ts";

test("of 600 devices that came and went nothing is left, and the store has refused nothing", async () => {
  const broker = await startBroker();
  const { context } = broker.server.broker;
  const { journal, metrics, clients, router } = context;
  const result = await churn({ port: broker.port, concurrent: 50, devicesMax: 600 });
  expect(result).toMatchObject({ devices: 600, failed: 0 });
  await eventually(() => metrics.connections === 0, "all connections are gone", 5000);
  // Sessions of three seconds.
  await eventually(() => clients.size === 0 && journal.pendingUnits === 0, "nothing is pending", 15_000);
  expect(router.subscriptions).toBe(0);
  // What is removed in vain splits the group of commits that it is in.
  expect(journal.repairs).toBeLessThan(20);
  await broker.stop();
}, 60_000);
