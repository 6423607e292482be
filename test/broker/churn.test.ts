/** Devices that come and go at a broker alone: afterwards nothing is left of them, and nothing was done in vain. */
import { expect, test } from "bun:test";
import { startBroker } from "../support/broker.ts";
import { churnLeavesNothing } from "../support/churn.ts";

test("of 600 devices that came and went nothing is left, and the store has refused nothing", async () => {
  const broker = await startBroker();
  await churnLeavesNothing([broker.server], 600);
  // What is removed in vain splits the group of commits that it is in.
  expect(broker.server.broker.context.journal.repairs).toBeLessThan(20);
  await broker.stop();
}, 60_000);
