/** Large wills that wait for their delay while their clients are away: they take the store's room, and no memory. */
import { expect, test } from "bun:test";
import { eventually, withBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const count = 60;
/** No payload of a will may be longer than 65,535 bytes. */
const bytes = 60_000;

const comes = (number: number, more: AnyPacket = {}): AnyPacket => ({
  clientId: `c-${number}`,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 1000 },
  ...more,
});

const withWill = (number: number): AnyPacket => ({
  clean: false,
  will: {
    topic: `will/${number}`,
    payload: `${number}`.padEnd(bytes, "w"),
    qos: 1,
    retain: false,
    properties: { willDelayInterval: 900 },
  },
});

/** Bytes of memory that JavaScript's buffers take, as whose a will's payload is kept. */
function bufferBytes(): number {
  Bun.gc(true);
  return process.memoryUsage().arrayBuffers;
}

test("they count for nobody and take no memory, and come whole, once each, when their sessions end", async () => {
  await withBroker({}, async ({ port, server }) => {
    const { localSessions, metrics, bankAccount } = server.broker.context;
    const watcher = await RawClient.connect(port, { protocolVersion: 5 });
    await watcher.subscribe("will/+", { qos: 1 });
    const before = bufferBytes();
    for (let number = 0; number < count; number++) {
      const client = await RawClient.connect(port, comes(number, withWill(number)));
      client.abort();
      await client.untilClosed();
    }
    const areAway = (): boolean =>
      [...localSessions.values()].filter(({ isWillStored, will }) => isWillStored && will === undefined).length ===
      count;
    await eventually(areAway, "only the store has the wills");
    expect(bankAccount.account.bound).toBeGreaterThan(40 * count * bytes);
    metrics.memory.clients = 0;
    await eventually(() => metrics.memory.clients > 0, "memory was looked at");
    expect(metrics.memory.clients).toBeLessThan((count * bytes) / 4);
    await eventually(() => bufferBytes() - before < (count * bytes) / 4, "what they took is free again");
    // Their clients begin anew, so the earlier sessions end, and with them the delay.
    for (let number = 0; number < count; number++) {
      const client = await RawClient.connect(port, comes(number, { clean: true }));
      const [{ topic, payload, messageId }] = await watcher.takeMany("publish", 1);
      expect([topic, payload.toString() === `${number}`.padEnd(bytes, "w")]).toEqual([`will/${number}`, true]);
      watcher.send({ cmd: "puback", messageId });
      client.disconnect();
      await client.untilClosed();
    }
    await watcher.ping();
    expect(watcher.packets.filter(({ cmd }) => cmd === "publish")).toEqual([]);
    expect(metrics.willsRefused).toBe(0);
  });
});
