/**
 * How long processes have waited for a processor, by what Linux counts of each thread, and how late this process itself
 * was: on a machine that is busy a client is given up though nobody does anything wrong.
 */
import { readdirSync, readFileSync } from "node:fs";

/** A process that is watched; its id may change, as it is started again. */
export interface Watched {
  readonly name: string;
  readonly pid: () => number | undefined;
}

const lookMs = 500;

/** The longest wait of any thread of a process since it was asked last, in ms within one look. */
export class Starvation {
  readonly #watched: readonly Watched[];
  readonly #before = new Map<string, number>();
  #longest = new Map<string, number>();
  #lookedAt = performance.now();
  readonly #timer: Timer;

  constructor(watched: readonly Watched[]) {
    this.#watched = watched;
    this.#timer = setInterval(() => this.#look(), lookMs);
  }

  /** Says who has waited for longer than `ms` since it was asked last. */
  take(ms: number): string[] {
    const found = [...this.#longest].filter(([, waited]) => waited > ms);
    this.#longest = new Map();
    return found.map(([name, waited]) => `${name} waited ${Math.round(waited)} ms for a processor`);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const late = performance.now() - this.#lookedAt - lookMs;
    this.#lookedAt += lookMs + late;
    this.#note("the nemesis itself", late);
    const seen = new Set<string>();
    for (const { name, pid } of this.#watched) {
      for (const [thread, waited] of waitsOf(pid())) {
        seen.add(thread);
        const before = this.#before.get(thread);
        this.#before.set(thread, waited);
        if (before !== undefined) this.#note(name, waited - before);
      }
    }
    for (const thread of this.#before.keys()) if (!seen.has(thread)) this.#before.delete(thread);
  }

  #note(name: string, ms: number): void {
    this.#longest.set(name, Math.max(ms, this.#longest.get(name) ?? 0));
  }
}

/** How long each thread of a process has waited so far, in ms, by the thread's path. */
function waitsOf(pid: number | undefined): [string, number][] {
  if (pid === undefined) return [];
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => {
      const path = `/proc/${pid}/task/${thread}/schedstat`;
      return [path, Number(readFileSync(path, "utf8").split(" ")[1]) / 1e6];
    });
  } catch {
    // It has ended, or a thread of it has.
    return [];
  }
}
