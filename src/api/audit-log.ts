/** The audit log: every change that somebody has made, or has tried to, over the API; the last ones are remembered. */
import { recentChangesMax, rememberedTextMax } from "../base/api-limits.ts";
import { Ring } from "../base/ring.ts";
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
