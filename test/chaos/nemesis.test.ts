/**
 * A minute of the nemesis, and less on a broker alone, from a seed that is printed (MQTTZOO_NEMESIS_SEED plays another
 * one, MQTTZOO_NEMESIS_MINUTES for longer); an hour of it on demand: `bun run test:nemesis -- --minutes 60`.
 */
import { expect, test } from "bun:test";
import { torment, tormentAlone } from "./nemesis.ts";
import { grown, type Rest } from "./rounds.ts";

/** How long it lasts, and how long on a broker alone. */
const minutes = Number(process.env.MQTTZOO_NEMESIS_MINUTES ?? 1);
const seed = Number(process.env.MQTTZOO_NEMESIS_SEED ?? Math.floor(Math.random() * 1_000_000) + 1);

test(
  "a minute of misfortunes by chance: nothing acknowledged is lost, nobody is declared dead, no broker ends",
  async () => {
    console.log(`seed ${seed}`);
    expect(await torment({ seed, minutes, say: console.log })).toEqual([]);
  },
  180_000 + 120_000 * minutes,
);

test(
  "... and of a broker alone: its log and its store do not grow either",
  async () => {
    console.log(`seed ${seed}`);
    expect(await tormentAlone({ seed, minutes: minutes / 2, say: console.log })).toEqual([]);
  },
  180_000 + 120_000 * minutes,
);

test("what grows is seen: memory in a long run, and what the store holds in any", () => {
  const rest = (megabytes: number, value: number): Rest => ({
    megabytes: [80, megabytes],
    figures: [{ name: "znodes", value, growthMax: 60, most: 500 }],
  });
  const rests = (count: number, each: (round: number) => Rest): Rest[] =>
    Array.from({ length: count }, (_, at) => each(at));
  expect(grown([])).toEqual(["no round was played"]);
  expect(grown(rests(30, (round) => rest(100 + (round % 7) * 20, 200 + (round % 5) * 10)))).toEqual([]);
  // A backlog may lie anywhere in a run, but must not stay.
  expect(grown(rests(30, (round) => rest(round === 15 ? 900 : 100, 200)))).toEqual([]);
  expect(grown(rests(30, (round) => rest(100 + round * 6, 200)))).toHaveLength(1);
  expect(grown(rests(8, (round) => rest(100 + round * 30, 200)))).toEqual([]);
  expect(grown(rests(2, (round) => rest(100, 200 + round * 61)))).toHaveLength(1);
  expect(grown(rests(2, (round) => rest(100, round === 1 ? Number.NaN : 200)))).toHaveLength(2);
  expect(grown(rests(3, (round) => rest(100, round === 1 ? 501 : 200)))).toHaveLength(1);
});
