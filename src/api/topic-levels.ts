/**
 * The tree of topics, a level at a time, put together of what is retained and what was lately published on. Of a level
 * with very many names only those are counted that may be on the page.
 */
import { keyOf } from "./lists.ts";
import { type Candidates, shortName, type Wanted } from "./page.ts";
import type { Reading } from "./ports.ts";
import type { TopicRow } from "./topic-rows.ts";

interface Counted {
  readonly level: string;
  retained: number;
  published: number;
}

/** Names are sorted out when there are so many times more than the page holds. */
const spareFactor = 4;

/** Returns the levels that follow a topic; the first ones if it is undefined. */
export function* topicLevels(reading: Reading, below: string | undefined, wanted: Wanted): Candidates<TopicRow> {
  const levels = new Levels(below, wanted);
  for (const entry of reading.retained(below === undefined ? "#" : `${below}/#`)) {
    if (entry !== undefined) levels.count(entry.name, "retained");
    yield undefined;
  }
  for (const topic of reading.published()) {
    levels.count(topic, "published");
    yield undefined;
  }
  for (const { level, retained, published } of levels.counted) {
    const topic = below === undefined ? level : `${below}/${level}`;
    yield { key: keyOf(level), row: () => ({ level, topic, retained, published }) };
  }
}

class Levels {
  readonly #prefix: string;
  readonly #wanted: Wanted;
  #counted = new Map<string, Counted>();
  /** The last level that may be on the page; undefined: nothing was left out. */
  #last: string | undefined;

  constructor(below: string | undefined, wanted: Wanted) {
    this.#prefix = below === undefined ? "" : `${below}/`;
    this.#wanted = wanted;
  }

  get counted(): Iterable<Counted> {
    return this.#counted.values();
  }

  count(topic: string, what: "retained" | "published"): void {
    if (!topic.startsWith(this.#prefix) || (this.#prefix === "" && topic.startsWith("$"))) return;
    const level = topic.slice(this.#prefix.length).split("/", 1)[0]!;
    const name = shortName(level);
    const { after } = this.#wanted;
    if (after !== undefined && !this.#isBehind(name, after.name)) return;
    if (this.#last !== undefined && this.#isBehind(name, this.#last)) return;
    const counted = this.#counted.get(name) ?? { level, retained: 0, published: 0 };
    counted[what]++;
    this.#counted.set(name, counted);
    if (this.#counted.size > spareFactor * (this.#wanted.limit + 2)) this.#sortOut();
  }

  #sortOut(): void {
    const names = [...this.#counted.keys()].sort((a, b) => (this.#isBehind(a, b) ? 1 : -1));
    const kept = names.slice(0, this.#wanted.limit + 2);
    this.#last = kept.at(-1)!;
    this.#counted = new Map(kept.map((name) => [name, this.#counted.get(name)!]));
  }

  #isBehind(name: string, other: string): boolean {
    return this.#wanted.isDescending ? name < other : name > other;
  }
}
