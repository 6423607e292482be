/** The promise from end to end: kill -9 of the broker, again and again, between two applications. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/for-bun.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { startBrokerProcess } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-kill-"));
afterAll(() => rmSync(folder, { recursive: true }));

const kills = 5;
const messagesBetween = 500;

test.each([1, 2] as const)(
  "QoS %i: every message that was published arrives, in order, through five deaths",
  async (qos) => {
    const port = await freePort();
    const data = join(folder, `${qos}`);
    let broker = await startBrokerProcess(data, { port });
    const url = `mqtt://127.0.0.1:${port}`;
    const options = {
      sessionExpiryMs: 3_600_000,
      reconnect: { minMs: 10, maxMs: 50 },
      offline: { messagesMax: 100_000 },
    };
    const [publisher, subscriber] = await Promise.all([
      connect(url, { ...options, clientId: "publisher" }),
      connect(url, { ...options, clientId: "subscriber" }),
    ]);
    const messages = await subscriber.subscribe("load", { qos });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { text } of messages) seen.push(Number(text));
    })();
    const published: Promise<unknown>[] = [];
    for (let death = 0; death < kills; death++) {
      const before = seen.length;
      for (let index = 0; index < messagesBetween; index++)
        published.push(publisher.publish("load", String(published.length), { qos }));
      // In the middle of it.
      await eventually(() => seen.length > before, "some to come");
      await broker.kill("SIGKILL");
      broker = await startBrokerProcess(data, { port });
    }
    await Promise.all(published);
    await eventually(() => new Set(seen).size === published.length, "all to come", 60_000);
    // What comes for the first time comes in order; at QoS 2 nothing comes twice.
    const first = [...new Set(seen)];
    expect(first).toEqual(first.toSorted((a, b) => a - b));
    if (qos === 2) expect(seen.length).toBe(published.length);
    await publisher.end();
    await subscriber.end();
    await reading;
    await broker.kill("SIGTERM");
  },
  120_000,
);
