/** Seeds of the wide world that have found something. `bun test/simulation/main.ts SEED 1 wide` replays one. */
import { expect, test } from "bun:test";
import { largeMailboxes, runWide } from "./wide.ts";

/** As they were when they found it. */
const asHasty = { areHasty: true, readsAtQoS1: false };

const worldsOfBugs = [518, 10279, 41304];

test("seeds of the wide world that have found something", async () => {
  const wrong: string[] = [];
  for (const seed of worldsOfBugs) {
    // As they were when they found it.
    const outcome = await runWide(seed, { mailboxes: largeMailboxes, areHasty: false, readsAtQoS1: false });
    wrong.push(...outcome.wrong.map((what) => `seed ${seed}: ${what}`));
  }
  expect(wrong).toEqual([]);
}, 300_000);

test("seeds of hasty clients that have found something", async () => {
  // A connection that had gone before it was answered ended the session of the client's next one.
  expect((await runWide(700_049, asHasty)).wrong).toEqual([]);
  // A broker left with a group's message that nobody could pay for yet.
  expect((await runWide(700_198, asHasty)).wrong).toEqual([]);
  // A client was declared dead that had been taken over from a broker which was leaving.
  expect((await runWide(720_394, asHasty)).wrong).toEqual([]);
  // Three brokers took the credits from each other for the parts of a publish, in turn, and none could pay for all.
  expect((await runWide(741_168, asHasty)).wrong).toEqual([]);
  // Some messages were sent back by a broker that then left, and stored behind later ones, which it had not answered.
  expect((await runWide(760_690, asHasty)).wrong).toEqual([]);
  // A client came back to a broker that was reading the tree anew, and its session had ended elsewhere: the broker kept
  // that one's subscriptions, and the new session was sent everything twice.
  expect((await runWide(762_406, asHasty)).wrong).toEqual([]);
  // Hundreds of levels stood empty for a second, paid for by nobody: what stood below them had gone.
  expect((await runWide(741_218, asHasty)).wrong).toEqual([]);
}, 300_000);
