/**
 * Live events, as Server-Sent Events: clients that come and go at the broker that is asked, and what it refuses. Of a
 * reader that is too slow, and in an hour of everybody, the stream ends with an event that says so.
 */
import { apiStreamsMax } from "../base/api-limits.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation, Streamed } from "./route.ts";
import { type EventRow, eventKinds, eventSchema } from "./rows.ts";
import { text, word } from "./schema.ts";

/** A comment: nobody is told of it. */
export const eventBeat = ":\n\n";

/** Returns the event with which a stream ends. */
export function lastEvent(why: string): string {
  return `event: end\ndata: ${JSON.stringify({ reason: why })}\n\n`;
}

/** Returns the operation that tells of events, to so many at once. */
export function eventOperation(): Operation {
  let watchers = 0;
  return operation({
    id: "listenEvents",
    scope: "asked",
    method: "GET",
    path: "/events",
    tag: "events",
    summary: "Tell as it happens which clients come and go at this broker, and what it refuses.",
    description:
      "Server-Sent Events, named by their kind. Of a flood of one refusal the first is told. An event named `end` says " +
      "why there are no more: its reader was too slow, or an hour is over. What happened before is not told.",
    role: "viewer",
    query: { kind: word(eventKinds, "only of this kind"), client_id: text("only of this client") },
    isStream: true,
    answer: eventSchema,
    problems: [503],
    answerCall({ reading, query: { kind, client_id: clientId }, done }) {
      const isWanted = (event: EventRow): boolean =>
        (kind === undefined || event.kind === kind) && (clientId === undefined || event.client_id === clientId);
      if (watchers >= apiStreamsMax)
        return done(new Problem(503, `${apiStreamsMax} watch already`, { "retry-after": "60" }));
      const open = (send: (text: string) => void): (() => void) => {
        watchers++;
        let number = 0;
        const stop = reading.watch((event) => {
          if (isWanted(event)) send(`id: ${++number}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`);
        });
        return () => {
          watchers--;
          stop();
        };
      };
      done({ value: new Streamed(open) });
    },
  });
}
