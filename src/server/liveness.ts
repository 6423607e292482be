/**
 * Whether a broker can go on by itself. What waits for the store, or for another server, is no reason to start it
 * again; but a broker that has contact and in which the same thing stands still for minutes, only another life can
 * help.
 *
 * It is looked at in beats, and beats are counted, not time: a process that has slept is not to blame for that.
 */

import type { Clock } from "../base/clock.ts";
import { livenessBeatMs, livenessBeatsMax, startBeatsMax } from "../base/limits.ts";
import type { ClusterContext } from "../broker/peers/cluster-context.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { brokersPath } from "../coordinator/paths.ts";

/** One line of what a probe is told. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What it means, or what is wrong. */
  readonly why: string;
}

interface Symptom {
  readonly name: string;
  readonly well: string;
  readonly ill: string;
  /** Beats that it may stand still. */
  readonly beatsMax: number;
  /** What stands still, if it is still the same at the next beat; undefined: nothing. */
  readonly sign: () => number | undefined;
}

export class Liveness {
  readonly #coordinator: Pick<Coordinator, "state" | "read">;
  readonly #clock: Pick<Clock, "now">;
  #beatAt: number;
  #beats = 0;
  /** The beat at which the store was asked something that it has not answered. */
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
  /** Of each symptom: its last sign, and for how many beats it has been the same. */
  readonly #seen: { sign: number | undefined; beats: number }[];

  constructor(coordinator: Pick<Coordinator, "state" | "read">, clock: Pick<Clock, "now">) {
    this.#coordinator = coordinator;
    this.#clock = clock;
    this.#beatAt = clock.now() + livenessBeatMs;
    this.#seen = this.#symptoms.map(() => ({ sign: undefined, beats: 0 }));
  }

  /** The start has ended. */
  started(context: Pick<ClusterContext, "journal" | "self">): void {
    this.#context = context;
  }

  nextDeadline(): number {
    return this.#beatAt;
  }

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
