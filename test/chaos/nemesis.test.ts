/**
 * A minute of the nemesis, from a seed that is printed (MQTTZOO_NEMESIS_SEED plays another one); an hour of it on
 * demand: `bun run test:nemesis -- --minutes 60`.
 */
import { expect, test } from "bun:test";
import { torment } from "./nemesis.ts";

test("a minute of misfortunes by chance: nothing acknowledged is lost, nobody is declared dead, no broker ends", async () => {
  const seed = Number(process.env.MQTTZOO_NEMESIS_SEED ?? Math.floor(Math.random() * 1_000_000) + 1);
  console.log(`seed ${seed}`);
  expect(await torment({ seed, minutes: 1, say: console.log })).toEqual([]);
}, 240_000);
