/** Messages that are larger than what a broker takes: refused in words, and those behind them go on. */
import { expect, test } from "bun:test";
import { connect, MqttError, PublishRefused } from "../../src/client/for-bun.ts";
import { withBroker } from "../support/broker.ts";

const options = { maxPacketSize: 65_536 };
const large = new Uint8Array(100_000);
const soon = { minMs: 1, maxMs: 20 } as const;

test("MQTT 3.1.1, whose only answer is to close: it is given up after some tries", async () => {
  await withBroker(options, async ({ port }) => {
    let losses = 0;
    const client = await connect(`mqtt://127.0.0.1:${port}`, {
      version: 4,
      reconnect: soon,
      onStatus: ({ state }) => {
        if (state === "reconnecting") losses++;
      },
    });
    const before = client.publish("a", "before", { qos: 1 });
    const refused = client.publish("a", large, { qos: 1 }).catch((error) => error);
    const later = [1, 2].map((qos) => client.publish("a", `later at ${qos}`, { qos: qos as 1 | 2 }));
    const error = await refused;
    expect(error).toBeInstanceOf(PublishRefused);
    expect(error.message).toContain("the broker closes the connection whenever it comes");
    await Promise.all([before, ...later]);
    expect(client.pending).toBe(0);
    expect(losses).toBeLessThan(6);
    await client.end();
  });
});

test("MQTT 5, whose limit is known: it is not even sent", async () => {
  await withBroker(options, async ({ port }) => {
    let losses = 0;
    const client = await connect(`mqtt://127.0.0.1:${port}`, {
      onStatus: ({ state }) => {
        if (state === "reconnecting") losses++;
      },
    });
    for (const qos of [0, 1, 2] as const) {
      const error = await client.publish("a", large, { qos }).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(MqttError);
      expect(error.message).toMatch(/a message of 100\d\d\d bytes on a; the broker takes 65536/);
    }
    await client.publish("a", "later", { qos: 2 });
    expect(losses).toBe(0);
    await client.end();
  });
});
