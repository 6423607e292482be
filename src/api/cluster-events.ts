/**
 * The events of other brokers: each is asked for them again and again, as long as somebody watches. One that cannot be
 * asked, does not answer, or has left out some is named, as an event of its own.
 */
import { feedRetryMs } from "../base/api-limits.ts";
import type { FedEvents } from "./event-feed.ts";
import type { AskCluster, Later } from "./route.ts";
import type { EventRow } from "./rows.ts";

export interface ClusterEventsParts {
  readonly cluster: AskCluster;
  readonly later: Later;
  /** Returns the present time, in ms since 1970. */
  readonly wall: () => number;
  /** Told each event. */
  readonly told: (event: EventRow) => void;
}

/** One other broker that is asked. */
interface Asked {
  /** The place behind its events that were told; undefined: none was. */
  place: string | undefined;
  /** The reason why its events are missing; "": they are not; undefined: nothing is known of it yet. */
  missing: string | undefined;
}

/** Tells the events of all other brokers, until it is stopped. */
export class ClusterEvents {
  readonly #parts: ClusterEventsParts;
  readonly #asked = new Map<string, Asked>();
  #isOver = false;
  #cancel = (): void => {};

  constructor(parts: ClusterEventsParts) {
    this.#parts = parts;
    this.#look();
  }

  /** Asks nobody any more. */
  stop(): void {
    this.#isOver = true;
    this.#cancel();
  }

  /** Returns why events of brokers are missing now, as events. */
  get missing(): readonly EventRow[] {
    return [...this.#asked].flatMap(([id, { missing = "" }]) =>
      missing === "" ? [] : [this.#event(id, "unanswered", missing)],
    );
  }

  /** Begins to ask who has joined; whoever has left is told of. */
  #look(): void {
    const present = new Set(this.#parts.cluster.others());
    for (const id of this.#asked.keys()) {
      if (present.has(id)) continue;
      this.#asked.delete(id);
      this.#parts.told(this.#event(id, "unanswered", "it has left the cluster"));
    }
    for (const id of present) {
      if (this.#asked.has(id)) continue;
      const asked: Asked = { place: undefined, missing: undefined };
      this.#asked.set(id, asked);
      this.#ask(id, asked);
    }
    this.#cancel = this.#parts.later(feedRetryMs, () => this.#look());
  }

  #ask(id: string, asked: Asked): void {
    if (this.#isOver || this.#asked.get(id) !== asked) return;
    const query = asked.place === undefined ? {} : { after: asked.place };
    this.#parts.cluster.askBroker(id, { operation: "pollEvents", path: {}, query, body: undefined }, (answer) => {
      if (this.#isOver || this.#asked.get(id) !== asked) return;
      const why = typeof answer === "string" ? answer : "problem" in answer ? answer.problem.detail : "";
      if (typeof answer === "string" || !("value" in answer)) {
        if (asked.missing !== why) this.#parts.told(this.#event(id, "unanswered", why));
        asked.missing = why;
        // Whoever has been quiet may have begun anew: what was before is another place.
        this.#parts.later(feedRetryMs, () => this.#ask(id, asked));
        return;
      }
      const { events, next, gap } = answer.value as FedEvents;
      if (gap) this.#parts.told(this.#event(id, "unanswered", "more has happened there than it has kept"));
      if (gap || (asked.missing ?? "") !== "") this.#parts.told(this.#event(id, "answered", null));
      asked.missing = "";
      asked.place = next;
      for (const event of events) this.#parts.told(event);
      this.#ask(id, asked);
    });
  }

  #event(broker: string, kind: "answered" | "unanswered", reason: string | null): EventRow {
    const at = new Date(this.#parts.wall()).toISOString();
    return { kind, broker, at, client_id: null, user: null, address: null, reason };
  }
}
