/**
 * Messages as they are published, for whoever looks on: those that match a filter, from whichever broker, as
 * Server-Sent Events. Of a flood so many a second are told; how many were not is told with the next one.
 */
import { isUtf8 } from "node:buffer";
import { apiStreamsMax, shownPayloadBytesMax, watchedPerSecondMax } from "../base/api-limits.ts";
import { Bucket } from "../base/bucket.ts";
import { decodeUtf8, withoutCutCharacter } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { noteFollowing } from "./audit-log.ts";
import { lastEvent } from "./events.ts";
import type { SeenMessage } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation, Streamed } from "./route.ts";
import { type WatchedRow, watchedSchema } from "./rows.ts";
import { text } from "./schema.ts";

/** Returns the operation that tells of messages, to so many at once. */
export function watchOperation(clock: Clock): Operation {
  let watchers = 0;
  return operation({
    id: "watchTopics",
    scope: "asked",
    method: "GET",
    path: "/watch",
    tag: "messages",
    summary: "Tell as they are published which messages match a filter, at whichever broker.",
    description:
      `Server-Sent Events named \`message\`, ${watchedPerSecondMax} a second at most: \`skipped\` says how many were not ` +
      "told. While somebody watches, the filter is subscribed to at QoS 0 by a client of this broker's own, which the " +
      "list of clients shows; the access list does not hold for it. Retained messages are not told. An event named " +
      "`end` says why there are no more. That it begins and that it has ended goes to the audit log.",
    role: "viewer",
    isAudited: true,
    query: { filter: text("the topic filter", { minLength: 1 }) },
    needed: ["filter"],
    isStream: true,
    answer: watchedSchema,
    problems: [503],
    answerCall({ reading, query: { filter }, note, done }) {
      if (parseFilter(filter) === undefined || filter.startsWith("$share/"))
        return done(new Problem(400, "filter is no topic filter"));
      if (watchers >= apiStreamsMax)
        return done(new Problem(503, `${apiStreamsMax} watch already`, { "retry-after": "60" }));
      const open = (send: (text: string) => void): (() => void) => {
        watchers++;
        const teller = new Teller(clock, send);
        const noteEnd = noteFollowing(note, clock, { payload_bytes: shownPayloadBytesMax });
        const stop = reading.watchMessages(filter, {
          seen: (message) => teller.tell(message),
          ended: (why) => send(lastEvent(why)),
        });
        return () => {
          watchers--;
          stop();
          noteEnd(teller.told);
        };
      };
      done({ value: new Streamed(open) });
    },
  });
}

/** Tells of messages, some a second, and counts the others. */
class Teller {
  readonly #clock: Clock;
  readonly #send: (text: string) => void;
  readonly #bucket: Bucket;
  /** Messages that have been told. */
  told = 0;
  #skipped = 0;

  constructor(clock: Clock, send: (text: string) => void) {
    this.#clock = clock;
    this.#send = send;
    this.#bucket = new Bucket(watchedPerSecondMax, clock.now());
  }

  tell({ topic, payload }: SeenMessage): void {
    if (!this.#bucket.takeIfThere(this.#clock.now())) {
      this.#skipped++;
      return;
    }
    const isCut = payload.length > shownPayloadBytesMax;
    const shown = isCut ? withoutCutCharacter(payload.subarray(0, shownPayloadBytesMax)) : payload;
    const row: WatchedRow = {
      at: new Date(this.#clock.wall()).toISOString(),
      topic,
      payload: isUtf8(shown) ? decodeUtf8(shown, 0, shown.length) : null,
      payload_base64: Buffer.from(shown).toString("base64"),
      payload_bytes: payload.length,
      skipped: this.#skipped,
    };
    this.#skipped = 0;
    this.told++;
    this.#send(`event: message\ndata: ${JSON.stringify(row)}\n\n`);
  }
}
