/** The memory of devices that sleep: what is kept of each, counted, in a broker with two thousand of them. */
import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { encodeMessage } from "../../src/mqttsn/messages.ts";
import { eventually, withBroker } from "../support/broker.ts";

const count = 2_000;
const warm = 300;

/** True in a process of its own: elsewhere the heap holds what other tests have left. */
const isAlone = process.env.MQTTZOO_SLEEPERS_ALONE !== undefined;

test("a sleeper is some objects, and hardly a function or table of its own", async () => {
  if (!isAlone) {
    const child = Bun.spawn([process.execPath, "test", "--timeout", "120000", import.meta.path], {
      env: { ...process.env, MQTTZOO_SLEEPERS_ALONE: "1" },
      stdout: "inherit",
      stderr: "inherit",
    });
    expect(await child.exited).toBe(0);
    return;
  }
  await withBroker({ snPort: 0 }, async ({ server }) => {
    const { gateway } = server.sn!;
    const { localSessions, router } = server.broker.context;
    const tell = (index: number, message: SnMessage): void =>
      gateway.receive(encodeMessage(message), { address: "10.0.0.1", port: index + 1 });
    const putToSleep = async (from: number, to: number): Promise<void> => {
      const all = Array.from({ length: to - from }, (_, index) => from + index);
      const connect = { kind: "connect", will: false, clean: false, protocolId: 1, duration: 600 } as const;
      for (const index of all) tell(index, { ...connect, clientId: `device-${index}` });
      await eventually(() => localSessions.size === to, "all are let in", 30_000);
      const subscribe = { kind: "subscribe", dup: false, qos: 1, messageId: 1, topicKind: 0 } as const;
      // One that is let in may not have been told yet.
      await eventually(
        () => {
          for (const index of all) tell(index, { ...subscribe, topic: `mail/${index}` });
          return router.subscriptions === to;
        },
        "all have subscribed",
        30_000,
      );
      for (const index of all) tell(index, { kind: "disconnect", duration: 3600 });
      await eventually(() => gateway.sleeping === to, "all sleep", 30_000);
      Bun.gc(true);
    };
    await putToSleep(0, warm);
    const before = heapStats();
    await putToSleep(warm, warm + count);
    const perSleeper = (): Record<string, number> => {
      Bun.gc(true);
      const after = heapStats();
      const made = (type: string): number =>
        ((after.objectTypeCounts[type] ?? 0) - (before.objectTypeCounts[type] ?? 0)) / count;
      const bytes = (after.heapSize + after.extraMemorySize - before.heapSize - before.extraMemorySize) / count;
      const [functions, tables, accessors] = [made("Function"), made("Map") + made("Set"), made("GetterSetter")];
      return { functions, tables, accessors, bytes };
    };
    const most = { functions: 9, tables: 8, accessors: 0.5, bytes: 13_000 };
    let found = perSleeper();
    const isLean = (): boolean => {
      found = perSleeper();
      return Object.entries(most).every(([what, bound]) => found[what]! < bound);
    };
    // What the last of them have to do with the store is over a little later.
    await eventually(isLean, "each takes little", 20_000).catch(() => expect(found).toEqual(most));
  });
}, 120_000);
