/** A branch of the bank against a naive ledger: reservations, what is kept, and levels that wait to be swept. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Branch, type Reservation } from "../../src/bank/branch.ts";
import { parentPath } from "../../src/coordinator/paths.ts";

const pathOf = (number: number): string => `/topics/t${number % 4}/=m${number}`;
/** The price of a level that one of those stands below, in milli-credits. */
const levelPrice = 40 * (448 + "/topics/t0".length + "/t0".length);

// A double between 0 and 1 is nearly always next to 0: of all doubles there, half are below 1e-150.
const part = fc.nat(100).map((percent) => percent / 100);
const step = fc.oneof(
  fc.record({ kind: fc.constant("reserve" as const), credits: fc.nat(30_000) }),
  fc.record({ kind: fc.constant("keep" as const), part }),
  fc.record({ kind: fc.constant("apart" as const), part }),
  fc.record({ kind: fc.constant("close" as const) }),
  fc.record({ kind: fc.constant("freed" as const), index: fc.nat(20) }),
  fc.record({ kind: fc.constant("removed" as const), index: fc.nat(20) }),
  fc.record({ kind: fc.constant("swept" as const), index: fc.nat(3), isGone: fc.boolean() }),
);

test("a branch never spends more than its grant, and counts like a naive ledger", () => {
  fc.assert(
    fc.property(fc.nat(200_000), fc.array(step, { maxLength: 200, size: "max" }), (grant, steps) => {
      const branch = new Branch();
      branch.grant = grant;
      const open: { reservation: Reservation; left: number }[] = [];
      const kept = new Map<string, number>();
      const unswept = new Map<string, number>();
      const boundNow = (): number =>
        [...kept.values(), ...unswept.values(), ...open.map(({ left }) => left)].reduce((sum, value) => sum + value, 0);
      let number = 0;
      for (const doing of steps) {
        if (doing.kind === "reserve") {
          const isPaid = boundNow() + doing.credits <= grant;
          const reservation = branch.reserve(doing.credits);
          expect(reservation !== undefined).toBe(isPaid);
          if (reservation !== undefined) open.push({ reservation, left: doing.credits });
        } else if (doing.kind === "keep" && open.length > 0) {
          const last = open.at(-1)!;
          const credits = Math.floor(last.left * doing.part);
          branch.keep(pathOf(++number), { credits, payer: "" }, last.reservation);
          kept.set(pathOf(number), credits);
          last.left -= credits;
        } else if (doing.kind === "apart" && open.length > 0) {
          const last = open.at(-1)!;
          const left = Math.floor(last.left * doing.part);
          last.left -= left;
          open.push({ reservation: last.reservation.apart(left), left });
        } else if (doing.kind === "close") {
          open.pop()?.reservation.close();
        } else if (doing.kind === "freed") {
          branch.freed(pathOf(doing.index));
          kept.delete(pathOf(doing.index));
        } else if (doing.kind === "removed") {
          const path = pathOf(doing.index);
          const level = parentPath(path);
          const credits = Math.min(levelPrice, kept.get(path) ?? grant - boundNow());
          kept.delete(path);
          branch.freedBelow(path, level);
          if (!unswept.has(level)) unswept.set(level, credits);
        } else if (doing.kind === "swept") {
          const level = parentPath(pathOf(doing.index));
          // Whatever stands above, it is paid for once.
          const above = doing.isGone ? parentPath(pathOf(doing.index + 1)) : undefined;
          const credits = unswept.get(level);
          unswept.delete(level);
          if (above !== undefined && credits !== undefined && !unswept.has(above)) unswept.set(above, credits);
          branch.swept(level, above);
        }
        expect(branch.bound).toBe(boundNow());
        expect(branch.unswept).toBe([...unswept.values()].reduce((sum, value) => sum + value, 0));
        expect(branch.bound).toBeLessThanOrEqual(grant);
      }
      expectHolders(branch, kept);
    }),
  );
});

test("some of the messages are taken in turn, each once however many are asked for", () => {
  const branch = new Branch();
  branch.grant = 100;
  for (let number = 0; number < 5; number++) branch.found(pathOf(number), { credits: 1, payer: "" });
  const all = [0, 1, 2, 3, 4].map(pathOf);
  expect(branch.takeSome(200)).toEqual(all);
  expect(branch.takeSome(2)).toEqual(all.slice(0, 2));
  expect(branch.takeSome(4)).toEqual([...all.slice(2), all[0]!]);
});

/** The topics that hold the most are those that do by the ledger. */
function expectHolders(branch: Branch, kept: ReadonlyMap<string, number>): void {
  const byTopic = new Map<string, number>();
  for (const [path, credits] of kept) {
    const topic = path.slice(0, path.lastIndexOf("/"));
    byTopic.set(topic, (byTopic.get(topic) ?? 0) + credits);
  }
  const largest = [...byTopic.values()].filter((credits) => credits > 0).sort((a, b) => b - a);
  const holders = branch.holders(2);
  expect(holders.map(({ credits }) => credits)).toEqual(largest.slice(0, 2));
  for (const { path, credits } of holders) expect(byTopic.get(path)).toBe(credits);
}
