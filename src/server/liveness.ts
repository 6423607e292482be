/**
 * The check of whether a broker makes progress. Waiting for the store, or for another server, is no reason to restart
 * it; but if it has contact and the same thing stands still for minutes, only a restart can help.
 *
 * Time is counted in beats, not by the clock: a process that was suspended is not to blame for the time.
 */

import type { Clock } from "../base/clock.ts";
import { livenessBeatMs, livenessBeatsMax, startBeatsMax } from "../base/limits.ts";
import type { ClusterContext } from "../broker/peers/cluster-context.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { brokersPath } from "../coordinator/paths.ts";

/** One line of a probe's answer. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** The meaning of a check that is well, or what is wrong. */
  readonly why: string;
}

/** A sign of standing still, with its words for people. */
interface Symptom {
  readonly name: string;
  readonly well: string;
  readonly ill: string;
  /** The number of beats that it may stand still. */
  readonly beatsMax: number;
  /** Returns what stands still if it is the same at the next beat; undefined: nothing does. */
  readonly sign: () => number | undefined;
}

/** Looks for symptoms at every beat (`livenessBeatMs`) while there is contact with the store. */
export class Liveness {
  readonly #coordinator: Pick<Coordinator, "state" | "read">;
  readonly #clock: Pick<Clock, "now">;
  #beatAt: number;
  #beats = 0;
  /** The beat of a question that the store has not answered; undefined: there is none. */
  #askedAt: number | undefined;
  #context: Pick<ClusterContext, "journal" | "self"> | undefined;
  readonly #symptoms: readonly Symptom[] = [
    {
      name: "start",
      well: "it comes forward",
      ill: "the store answers, and the start does not end",
      beatsMax: startBeatsMax,
      sign: () => (this.#context === undefined ? 0 : undefined),
    },
    {
      name: "store",
      well: "it answers, or there is no contact",
      ill: "there is contact, and it does not answer",
      beatsMax: livenessBeatsMax,
      sign: () => this.#askedAt,
    },
    {
      name: "commits",
      well: "they come forward, or there is no contact",
      ill: "there is contact, and one is never done",
      beatsMax: livenessBeatsMax,
      sign: () => this.#context?.journal.oldestPending,
    },
    {
      name: "sessions",
      well: "they are served, or there is no contact",
      ill: "there is contact, and they are not served",
      beatsMax: livenessBeatsMax,
      sign: () => (this.#context?.self.isFenced === true ? 0 : undefined),
    },
  ];
  /** The last sign of each symptom, and for how many beats it has been the same. */
  readonly #seen: { sign: number | undefined; beats: number }[];

  constructor(coordinator: Pick<Coordinator, "state" | "read">, clock: Pick<Clock, "now">) {
    this.#coordinator = coordinator;
    this.#clock = clock;
    this.#beatAt = clock.now() + livenessBeatMs;
    this.#seen = this.#symptoms.map(() => ({ sign: undefined, beats: 0 }));
  }

  /** Notes that the broker has started. */
  started(context: Pick<ClusterContext, "journal" | "self">): void {
    this.#context = context;
  }

  /** Returns when `tick` must be called next, in ms by the clock's `now`. */
  nextDeadline(): number {
    return this.#beatAt;
  }

  /** Looks at all symptoms, if a beat is over. */
  tick(): void {
    const now = this.#clock.now();
    if (now < this.#beatAt) return;
    this.#beatAt = now + livenessBeatMs;
    this.#beats++;
    const isConnected = this.#coordinator.state === "CONNECTED";
    this.#symptoms.forEach(({ sign: look }, index) => {
      const seen = this.#seen[index]!;
      const sign = isConnected ? look() : undefined;
      seen.beats = sign !== undefined && sign === seen.sign ? seen.beats + 1 : 0;
      seen.sign = sign;
    });
    if (this.#askedAt === undefined) this.#ask();
  }

  /** The checks for `/livez`, one for each symptom. */
  get checks(): Check[] {
    return this.#symptoms.map(({ name, well, ill, beatsMax }, index) => {
      const ok = this.#seen[index]!.beats < beatsMax;
      return { name, ok, why: ok ? well : ill };
    });
  }

  #ask(): void {
    this.#askedAt = this.#beats;
    this.#coordinator.read([{ kind: "exists", path: brokersPath }], () => {
      this.#askedAt = undefined;
    });
  }
}
