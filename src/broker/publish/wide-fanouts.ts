/**
 * Fan-outs to so many receivers that they take several turns of the event loop. Order is kept per publisher, topic and
 * receiver: while one is under way, whatever else comes for its topic waits, from whomever and over whichever way.
 */
import { fanoutAtOnceMax, fanoutStepMax } from "../../base/limits.ts";
import type { Slices, Work } from "../../base/slices.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";

/** The fan-outs under way, and what waits for each. */
export class WideFanouts {
  readonly #slices: Slices;
  /** The calls that wait until a topic's fan-out is over, in the order in which they came. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(slices: Slices) {
    this.#slices = slices;
  }

  /** Returns true while a fan-out to the receivers of that topic is under way. */
  isUnderWay({ topic }: ClusterRoute): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(topic);
  }

  /**
   * Does the work of a fan-out, of a topic on which none is under way. Calls `done` at its end, before this returns if
   * a slice of the event loop is enough.
   */
  run({ topic }: ClusterRoute, work: Work, done: () => void = () => {}): void {
    const waiting: (() => void)[] = [];
    this.#waiting.set(topic, waiting);
    this.#slices.run(work, () => {
      this.#waiting.delete(topic);
      try {
        done();
      } finally {
        this.#goOn(topic, waiting);
      }
    });
  }

  /** Does the work of a fan-out, like `run`, as soon as none of that topic is under way. */
  runNext(route: ClusterRoute, work: Work, done: () => void): void {
    if (!this.isUnderWay(route)) this.run(route, work, done);
    else this.whenOver(route, () => this.run(route, work, done));
  }

  /** Calls back when the fan-out of that topic that is under way is over, and no other one has begun before. */
  whenOver({ topic }: ClusterRoute, go: () => void): void {
    this.#waiting.get(topic)!.push(go);
  }

  #goOn(topic: string, waiting: (() => void)[]): void {
    while (waiting.length > 0) {
      const next = this.#waiting.get(topic);
      // One of them has begun another fan-out: it was first, so the others stand before what came after it.
      if (next !== undefined) return void next.unshift(...waiting);
      waiting.shift()!();
    }
  }
}

/** Does something with each item, a few in each step. */
export function* eachInSteps<Item>(items: readonly Item[], go: (item: Item) => void): Work {
  for (let at = 0; at < items.length; at++) {
    if (at > 0 && at % fanoutStepMax === 0) yield;
    go(items[at]!);
  }
}

/** Returns true if a message on the route is delivered to its receivers here in steps. */
export function isWide({ targets }: ClusterRoute): boolean {
  return targets.length > fanoutAtOnceMax;
}

/**
 * Returns whether a receiver may still read a topic: which it might when its route was worked out, just now. For all
 * that is done in later turns.
 */
export function mayStillReceive(
  router: ClusterContext["router"],
  route: ClusterRoute,
): (receiver: LocalSession) => boolean {
  const { generation, topic } = route;
  return (receiver) => {
    const isFresh = route.generation === generation && router.isFresh(route);
    return isFresh || receiver.permissions?.mayReceive(topic) !== false;
  };
}
