/** All devices of a simulation: they come, work until the time is over or somebody interrupts, and leave in order. */
import { setAlarm } from "../../src/base/alarm.ts";
import { systemClock } from "../../src/base/clock.ts";
import { Timers } from "../../src/base/timers.ts";
import type { Connection } from "../flags/client-flags.ts";
import { Counts, progressOf, sumOf } from "./counts.ts";
import { Device } from "./device.ts";
import type { Scenario } from "./scenario.ts";

/** How often it is looked whether it is over. */
const lookMs = 50;
const progressMs = 1000;
/** Acknowledgements are waited for so long at the end. */
const drainMsMax = 5000;

export class Fleet {
  readonly #scenario: Scenario;
  readonly #timers = new Timers();
  readonly #devices: Device[] = [];
  readonly counts: readonly Counts[];
  readonly #say: (line: string) => void;
  #startedAt = 0;
  #before: { readonly sum: Counts; readonly at: number } | undefined;

  /** `say` is told each second how it goes. */
  constructor(connection: Connection, scenario: Scenario, say: (line: string) => void) {
    this.#scenario = scenario;
    this.#say = say;
    const { seed } = scenario;
    this.counts = scenario.groups.map(({ name, count }) => new Counts(name, count));
    for (const [at, group] of scenario.groups.entries()) {
      const context = { connection, timers: this.#timers, clock: systemClock, seed, counts: this.counts[at]! };
      for (let number = 1; number <= group.count; number++) this.#devices.push(new Device(group, number, context));
    }
  }

  /** Resolves when all have left, with the seconds that it took. */
  async run(signal: AbortSignal): Promise<number> {
    const { durationMs = Infinity, groups } = this.#scenario;
    this.#startedAt = systemClock.now();
    const alarm = setAlarm(
      { nextDeadline: () => this.#timers.nextDeadline(), tick: () => this.#timers.tick(systemClock.now()) },
      systemClock,
    );
    this.#timers.onSooner = () => alarm.wake();
    let first = 0;
    for (const { count, startMs } of groups) {
      for (let at = 0; at < count; at++) this.#devices[first + at]!.start((startMs * at) / count);
      first += count;
    }
    while (!signal.aborted && this.#elapsed < durationMs) {
      this.#tell();
      await Bun.sleep(Math.max(0, Math.min(lookMs, durationMs - this.#elapsed)));
    }
    const seconds = this.#elapsed / 1000;
    for (const device of this.#devices) device.stop();
    const giveUpAt = systemClock.now() + drainMsMax;
    while (sumOf(this.counts).pending > 0 && systemClock.now() < giveUpAt) await Bun.sleep(lookMs);
    for (const device of this.#devices) device.leave();
    alarm.stop();
    return seconds;
  }

  get #elapsed(): number {
    return systemClock.now() - this.#startedAt;
  }

  #tell(): void {
    const now = systemClock.now();
    this.#before ??= { sum: sumOf(this.counts), at: now };
    if (now - this.#before.at < progressMs) return;
    const sum = sumOf(this.counts);
    const seconds = (now - this.#before.at) / 1000;
    this.#say(progressOf(sum, this.#before.sum, { at: this.#elapsed / 1000, seconds }));
    this.#before = { sum, at: now };
  }
}
