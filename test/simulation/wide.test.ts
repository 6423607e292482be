/**
 * Seeds of the wide world: an ensemble with servers that lag, crash and are cut off, clients of all kinds, and faults
 * of which two may happen at once (MQTTZOO_SEEDS sets how many seeds). `bun test/simulation/main.ts SEED 1 wide`
 * replays one.
 */
import { expect, test } from "bun:test";
import { expectRight, fractionOf, seedsOf } from "./seeds.ts";
import { runWide } from "./wide.ts";

const seeds = seedsOf("", 100);
const clocks = fractionOf(seeds, 12);

test(`${seeds.count} seeds of the wide world`, async () => {
  let messages = 0;
  const count = await expectRight(seeds, async (seed) => {
    const { wrong, sent, played } = await runWide(seed);
    messages += sent;
    return wrong.length === 0 ? [] : [...wrong, ...played];
  });
  console.log(`${count} seeds, ${messages} messages`);
  expect(messages).toBeGreaterThan(count * 30);
}, 900_000);

test(
  `${clocks.count} seeds whose clocks differ by minutes, and drift apart`,
  () => expectRight(clocks, async (seed) => (await runWide(seed, { skewMs: 300_000 })).wrong),
  900_000,
);

test("a seed of the wide world replays exactly", async () => {
  const [first, second] = [await runWide(5), await runWide(5)];
  expect(first).toEqual(second);
});
