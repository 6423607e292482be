/** MQTT-SN, 1.2 and 2.0, over a network that loses, doubles and reorders a fifth of all datagrams, from a seed. */
import { expect, test } from "bun:test";
import { type Client, connect } from "../../src/client/for-bun.ts";
import { eventually, withBroker } from "../support/broker.ts";
import { lossyNetwork } from "../support/lossy.ts";
import { SnDevice } from "../support/sn-device.ts";

const seeds = Number(process.env.MQTTZOO_SN_SEEDS ?? 1);
const share = 20;
/** Retransmissions are soon, and so many that a client is not given up. */
const options = { snPort: 0, snRetry: 60, sn2: true };
const count = 60;
const numbered = (name: string): string[] => Array.from({ length: count }, (_, index) => `${name}-${index}`);

/** Gathers what a client of MQTT is sent. */
async function gather(client: Client, filter: string): Promise<string[]> {
  const got: string[] = [];
  const subscription = await client.subscribe(filter, { qos: 2 });
  void (async () => {
    for await (const { text } of subscription) got.push(text);
  })();
  return got;
}

const cases = Array.from({ length: 2 * seeds }, (_, index) => [(index >> 1) + 1, index % 2 === 0 ? 1 : 2] as const);

for (const [seed, version] of cases) {
  const name = `${version === 1 ? "1.2" : "2.0"}, seed ${seed}`;
  test(`${name}: each message of a device arrives once, and in its order`, async () => {
    await withBroker(options, async (broker) => {
      const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
      const got = await gather(client, "up/#");
      const device = await SnDevice.open(broker.server.sn!.port, "lossy-device", lossyNetwork(seed, share), version);
      await device.connect();
      const topicId = await device.register("up/topic");
      for (const text of numbered("one")) await device.publish(topicId, text, 1);
      for (const text of numbered("two")) await device.publish(topicId, text, 2);
      await eventually(() => got.length >= 2 * count, "all messages");
      expect(got).toEqual([...numbered("one"), ...numbered("two")]);
      device.close();
      await client.end();
    });
  });

  test(`${name}: a device is sent each message once, in their order, also when it sleeps between`, async () => {
    await withBroker(options, async (broker) => {
      const client = await connect(`mqtt://127.0.0.1:${broker.port}`);
      const network = lossyNetwork(seed + 1000, share);
      const device = await SnDevice.open(broker.server.sn!.port, "lossy-device", network, version);
      await device.connect();
      await device.subscribe("down/#", 2);
      await device.sleep(600);
      const sent = [...numbered("one"), ...numbered("two")];
      const published = (async () => {
        for (const [index, text] of sent.entries())
          await client.publish(`down/${index % 3}`, text, { qos: index < count ? 1 : 2 });
      })();
      await eventually(async () => {
        await device.fetch().catch(() => {});
        return device.got.length >= sent.length;
      }, "all messages");
      await published;
      // Each topic has its order, and nothing is between.
      for (const rest of [0, 1, 2]) {
        const on = (_: string, index: number): boolean => index % 3 === rest;
        const numbers = new Set(sent.filter(on));
        expect(device.got.filter((text) => numbers.has(text))).toEqual(sent.filter(on));
      }
      expect(device.got.length).toBe(sent.length);
      device.close();
      await client.end();
    });
  });
}
