/**
 * The last messages that were not delivered to a client, with the cause of each, for whoever asks why. It costs nothing
 * but where something is dropped, and of a flood only now and then the topic is looked at.
 */
import { dropLookMs, droppedClientsMax, droppedTopicsMax, rememberedTextMax } from "../../base/api-limits.ts";
import type { Clock } from "../../base/clock.ts";
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import type { Trace, TraceSubject } from "./trace.ts";

/**
 * The cause for which a message was dropped for one client. output: it reads too slowly, at QoS 0; queue: too much
 * waits in memory for it; mailbox: its session was being ended for a full mailbox; size: the packet is larger than it
 * takes; expired: its time was over; forbidden: it may not read the topic.
 */
export type DropCause = "output" | "queue" | "mailbox" | "size" | "expired" | "forbidden";

/** The messages that were dropped for one client, for one cause. */
export interface RememberedDrop {
  readonly cause: DropCause;
  /** When something was dropped last, in ms since 1970, and how many messages were. */
  at: number;
  times: number;
  /** Topics of some of them, the last one last, and when. */
  readonly topics: Map<string, number>;
}

/** Remembers what was dropped, for some hundred clients. */
export class RecentDrops {
  readonly #clock: Pick<Clock, "wall">;
  readonly #trace: Trace;
  /** By client id; who was dropped for last stands last. */
  readonly #clients = new Map<string, Map<DropCause, RememberedDrop>>();

  constructor(clock: Pick<Clock, "wall">, trace: Trace) {
    this.#clock = clock;
    this.#trace = trace;
  }

  /** Notes that a message was not delivered to a client. */
  note(cause: DropCause, publish: Publish, subject: TraceSubject): void {
    if (this.#trace.isOn) this.#trace.message("dropped", publish, subject, () => describeDrop(cause));
    const drop = this.#dropOf(cause, subject.clientId ?? "");
    if (this.#count(drop, 1)) this.#remember(drop, topicOf(publish));
  }

  /** Notes that so many messages on one topic were not; "": on several. */
  noteRun(cause: DropCause, topic: string, run: { readonly count: number; readonly clientId: string }): void {
    const drop = this.#dropOf(cause, run.clientId);
    if (this.#count(drop, run.count) && topic !== "") this.#remember(drop, topic);
  }

  /** All that is remembered of a client. */
  of(clientId: string): readonly RememberedDrop[] {
    return [...(this.#clients.get(clientId)?.values() ?? [])];
  }

  /** Clients for which something on this topic was dropped, and what. */
  *on(topic: string): Generator<{ readonly clientId: string; readonly drop: RememberedDrop }> {
    for (const [clientId, drops] of this.#clients)
      for (const drop of drops.values()) if (drop.topics.has(topic)) yield { clientId, drop };
  }

  /** The last clients for which something was dropped since a point in time, in ms since 1970: `most` at most. */
  *since(at: number, most: number): Generator<{ readonly clientId: string; readonly drop: RememberedDrop }> {
    const recent = [...this.#clients].flatMap(([clientId, drops]) =>
      [...drops.values()].filter((drop) => drop.at >= at).map((drop) => ({ clientId, drop })),
    );
    yield* recent.sort((a, b) => b.drop.at - a.drop.at).slice(0, most);
  }

  #dropOf(cause: DropCause, clientId: string): RememberedDrop {
    let drops = this.#clients.get(clientId);
    if (drops === undefined) {
      if (this.#clients.size >= droppedClientsMax) this.#clients.delete(this.#clients.keys().next().value!);
      drops = new Map();
      this.#clients.set(clientId, drops);
    }
    let drop = drops.get(cause);
    if (drop === undefined) {
      drop = { cause, at: -Infinity, times: 0, topics: new Map() };
      drops.set(cause, drop);
    }
    return drop;
  }

  /** Counts messages; returns true if the topic is to be looked at. */
  #count(drop: RememberedDrop, count: number): boolean {
    const now = this.#clock.wall();
    const isQuiet = now - drop.at >= dropLookMs || drop.times < droppedTopicsMax;
    drop.times += count;
    if (isQuiet) drop.at = now;
    return isQuiet;
  }

  #remember({ topics, at }: RememberedDrop, topic: string): void {
    const short = topic.slice(0, rememberedTextMax);
    topics.delete(short);
    if (topics.size >= droppedTopicsMax) topics.delete(topics.keys().next().value!);
    topics.set(short, at);
  }
}

/** Returns a cause in words. */
export function describeDrop(cause: DropCause): string {
  switch (cause) {
    case "output":
      return "the client reads too slowly: its output was full, and messages at QoS 0 are dropped then";
    case "queue":
      return "too much waits in memory for the client (--max-queued, --max-queue-memory)";
    case "mailbox":
      return "its mailbox was full, so its session has ended, with all that waited (--max-queued, --mailbox-full)";
    case "size":
      return "the packet would be larger than the client's Maximum Packet Size";
    case "expired":
      return "its Message Expiry Interval was over before it was sent";
    case "forbidden":
      return "the access list does not let the client read the topic";
  }
}
