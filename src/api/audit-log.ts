/**
 * The audit log: every change that somebody has made, or has tried to, over the API, and who has followed the messages
 * of others; the last ones are remembered.
 */
import { recentChangesMax, rememberedTextMax } from "../base/api-limits.ts";
import type { Clock } from "../base/clock.ts";
import { Ring } from "../base/ring.ts";
import type { Changed } from "./route.ts";
import type { ChangeRow } from "./rows.ts";

/** Keeps the last changes, and hands each on as a line of JSON. */
export class AuditLog {
  readonly #recent = new Ring<ChangeRow>();
  readonly #write: (line: string) => void;
  #number = 0;

  /** `write`: keeps a line, which has no end. */
  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /** Notes a change. */
  note(change: Omit<ChangeRow, "number">): void {
    const cut = (value: unknown): unknown =>
      typeof value === "string" && value.length > rememberedTextMax ? `${value.slice(0, rememberedTextMax)}…` : value;
    const line = JSON.stringify({ number: ++this.#number, ...change }, (_, value) => cut(value));
    this.#recent.push(JSON.parse(line) as ChangeRow);
    if (this.#recent.length > recentChangesMax) this.#recent.shift();
    this.#write(line);
  }

  /** The last changes, the oldest first. */
  get recent(): readonly ChangeRow[] {
    const all: ChangeRow[] = [];
    for (let index = 0; index < this.#recent.length; index++) all.push(this.#recent.at(index)!);
    return all;
  }
}

/**
 * Notes that somebody follows what others send. Returns what notes that he does no more, for how long he has, and how
 * many events he was told. `terms`: what he has asked for, as it is understood.
 */
export function noteFollowing(
  note: (changed: Changed) => void,
  clock: Pick<Clock, "now">,
  terms: object,
): (events: number) => void {
  const begunAt = clock.now();
  const following = { state: "following", ...terms };
  note({ after: following });
  return (events) => {
    const seconds = Math.round((clock.now() - begunAt) / 100) / 10;
    note({ before: following, after: { state: "ended", seconds, events } });
  };
}
