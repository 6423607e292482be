/**
 * Devices of MQTT-SN in the simulated world, twenty seeds (MQTTZOO_SN_SIM_SEEDS sets another number,
 * MQTTZOO_SN_SIM_SEED the first): nothing acknowledged is lost, QoS 2 arrives once, mail comes in order, nobody is
 * sent more than he has sent.
 */
import { expect, test } from "bun:test";
import { expectRight, seedsOf, simulationLog } from "./seeds.ts";
import { runSn } from "./sn-world.ts";

const seeds = seedsOf("SN_SIM_", 20);

test(`${seeds.count} seeds`, async () => {
  let [messages, wakings, datagrams] = [0, 0, 0];
  const count = await expectRight(seeds, async (seed) => {
    const outcome = await runSn(seed, simulationLog);
    messages += outcome.sent;
    wakings += outcome.wakings;
    datagrams += outcome.datagrams;
    return outcome.wrong;
  });
  console.log(`${count} seeds, ${messages} messages, ${wakings} wakings, ${datagrams} datagrams`);
  expect(Math.min(messages / 100, wakings / 10)).toBeGreaterThan(count);
}, 900_000);

test("a seed replays exactly", async () => {
  const [first, second] = [await runSn(3), await runSn(3)];
  expect(first).toEqual(second);
});
