/**
 * Live events, as Server-Sent Events: clients that come and go, and what is refused, at all brokers or at one. Of a
 * reader that is too slow, and in an hour of everybody, the stream ends with an event that says so.
 */
import { apiStreamsMax, feedWaitMs } from "../base/api-limits.ts";
import type { Clock } from "../base/clock.ts";
import { ClusterEvents } from "./cluster-events.ts";
import { EventFeed } from "./event-feed.ts";
import { Problem } from "./problem.ts";
import { type AskCluster, type Later, type Operation, operation, Streamed } from "./route.ts";
import { type EventRow, eventKinds, eventSchema } from "./rows.ts";
import { flag, list, object, text, word } from "./schema.ts";

/** A comment: nobody is told of it. */
export const eventBeat = ":\n\n";

/** Returns the event with which a stream ends. */
export function lastEvent(why: string): string {
  return `event: end\ndata: ${JSON.stringify({ reason: why })}\n\n`;
}

/** Returns the operations that tell of events. */
export function eventOperations(clock: Pick<Clock, "wall">): readonly Operation[] {
  return [listenOperation(clock), pollOperation()];
}

interface Sources {
  readonly cluster: AskCluster;
  readonly later: Later;
  readonly wall: () => number;
}

/** Events of other brokers, for all who watch together: each broker is asked once. */
class Elsewhere {
  readonly #watchers = new Set<(event: EventRow) => void>();
  #events: ClusterEvents | undefined;

  /** Has them told; those whose events are missing are told of first. Returns what ends that. */
  watch(sources: Sources, told: (event: EventRow) => void): () => void {
    for (const event of this.#events?.missing ?? []) told(event);
    this.#watchers.add(told);
    const tellAll = (event: EventRow): void => {
      for (const one of this.#watchers) one(event);
    };
    this.#events ??= new ClusterEvents({ ...sources, told: tellAll });
    return () => {
      this.#watchers.delete(told);
      if (this.#watchers.size > 0) return;
      this.#events?.stop();
      this.#events = undefined;
    };
  }
}

/** Returns the operation that tells of events, to so many at once. */
function listenOperation(clock: Pick<Clock, "wall">): Operation {
  let watchers = 0;
  const elsewhere = new Elsewhere();
  return operation({
    id: "listenEvents",
    scope: "asked",
    method: "GET",
    path: "/events",
    tag: "events",
    summary: "Tell as it happens which clients come and go at all brokers, or at one, and what is refused.",
    description:
      "Server-Sent Events, named by their kind. Of a flood of one refusal the first is told. A broker that cannot be " +
      "asked, or has more events than it keeps for others, is told of as `unanswered`, whatever kind is asked for. An " +
      "event named `end` says why there are no more: its reader was too slow, or an hour is over. What happened before " +
      "is not told.",
    role: "viewer",
    query: {
      kind: word(eventKinds, "only of this kind"),
      client_id: text("only of this client"),
      broker: text("only of this broker"),
    },
    isStream: true,
    answer: eventSchema,
    problems: [404, 503],
    answerCall({ reading, cluster, later, query: { kind, client_id: clientId, broker }, done }) {
      const isWanted = (event: EventRow): boolean =>
        (broker === undefined || event.broker === broker) &&
        (event.kind === "unanswered" ||
          event.kind === "answered" ||
          ((kind === undefined || event.kind === kind) && (clientId === undefined || event.client_id === clientId)));
      if (watchers >= apiStreamsMax)
        return done(new Problem(503, `${apiStreamsMax} watch already`, { "retry-after": "60" }));
      if (broker !== undefined && broker !== reading.id && !cluster.others().includes(broker))
        return done(new Problem(404, `there is no broker ${JSON.stringify(broker.slice(0, 80))}`));
      const open = (send: (text: string) => void): (() => void) => {
        watchers++;
        let number = 0;
        const told = (event: EventRow): void => {
          if (isWanted(event)) send(`id: ${++number}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
        };
        const sources = { cluster, later, wall: () => clock.wall() };
        const stops = [
          ...(broker === undefined || broker === reading.id ? [reading.watch(told)] : []),
          ...(broker === reading.id ? [] : [elsewhere.watch(sources, told)]),
        ];
        return () => {
          watchers--;
          for (const stop of stops) stop();
        };
      };
      done({ value: new Streamed(open) });
    },
  });
}

/** Returns the operation by which a broker is asked for its events again and again: other brokers do so. */
function pollOperation(): Operation {
  let feed: EventFeed | undefined;
  return operation({
    id: "pollEvents",
    method: "GET",
    path: "/events/poll",
    tag: "events",
    summary: "Tell the events of one broker behind a place, as soon as there are some.",
    description:
      `It is answered within ${feedWaitMs / 1000} s, if there are none. Without a place the present one is told. A ` +
      "broker keeps 500 events, of 256 KiB together, as long as it is asked every 15 seconds.",
    role: "viewer",
    query: { after: text("the place: next of the answer before") },
    answer: object({
      events: list(eventSchema, "the events, the first one first"),
      next: text("the place behind them"),
      gap: flag("whether others were between them and the place, which are not kept any more"),
    }),
    answerCall({ reading, later, query: { after }, done }) {
      feed ??= new EventFeed(reading, later);
      feed.poll(after, (value) => done({ value }));
    },
  });
}
