/**
 * Turns of the event loop as they are on a busy machine. The simulation's clock stands still within a turn, so by
 * itself no slice is ever over in it; and after a sleep everything would come in the order in which it was sent.
 */
import type { Random } from "../../src/base/random.ts";
import type { Slices, Work } from "../../src/base/slices.ts";

/** A broker's turn is over by that chance, whenever it asks, and each step of its work may be the last of a turn. */
const overChance = 0.3;

/** Has a broker's work be left for later turns by chance. */
export function endByChance(slices: Slices, random: Random): void {
  const isOver = (): boolean => random.next() < overChance;
  const run = (work: Work, done: () => void = () => {}): void => {
    while (work.next().done !== true) if (isOver()) return slices.later(() => slices.run(work, done));
    done();
  };
  Object.assign(slices, { isOver, run });
}

/** Something that has come while a broker slept, by the socket or timer that brings it. */
export interface Missed {
  readonly source: unknown;
  readonly run: () => void;
}

/**
 * Returns what a broker has missed in an order in which an event loop may bring it: in order by each source, all of one
 * after all of another.
 */
export function mixed(missed: readonly Missed[], random: Random): Missed[] {
  const places = new Map(missed.map(({ source }) => [source, 0]));
  for (const source of places.keys()) places.set(source, random.next());
  return missed.toSorted((a, b) => places.get(a.source)! - places.get(b.source)!);
}
