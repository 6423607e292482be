/**
 * Traces, as Server-Sent Events: all that happens to a client, to clients of a user or an address, or to messages.
 * The broker that is asked has the others follow as well, and asks them for what they have seen a few times a second;
 * one that is not asked any more follows no more. Each broker notes in its audit log who follows what, and for how
 * long he has.
 */
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import {
  traceAskMs,
  traceEventsMax,
  tracePayloadBytesMax,
  traceRateMax,
  traceSecondsMax,
  traceSecondsPlain,
  traceSilenceMs,
  traceStreamBytesMax,
  tracesMax,
  traceWaitingMax,
} from "../base/trace-limits.ts";
import { noteFollowing } from "./audit-log.ts";
import type { Reading, TraceWanted } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type AskCluster, type Call, type Operation, operation, type PeerAnswers, Streamed } from "./route.ts";
import { integer, list, type Of, object, text } from "./schema.ts";
import { type TraceRow, traceSchema } from "./trace-rows.ts";

const selection = {
  client_id: text("only this client"),
  user: text("only clients of this user"),
  address: text("only clients from this address, or range: 10.0.0.0/8"),
  topic: text("only messages on topics that this filter matches"),
  payload_bytes: integer("bytes of each payload that are shown; 0 where nothing is said", {
    minimum: 0,
    maximum: tracePayloadBytesMax,
  }),
};
type Selected = { readonly [Name in keyof typeof selection]?: Of<(typeof selection)[Name]> };

function wantedOf({ client_id: clientId, user, address, topic, payload_bytes: payloadBytes = 0 }: Selected) {
  const wanted: TraceWanted = { clientId, user, address, topic, payloadBytes };
  const isAnything = [clientId, user, address, topic].some((one) => one !== undefined);
  return isAnything ? wanted : new Problem(400, "say what to follow: client_id, user, address or topic");
}

/** Returns the operations of traces. */
export function traceOperations(random: Random, clock: Clock): readonly Operation[] {
  return [followOperation(random, clock), collectOperation(clock)];
}

function followOperation(random: Random, clock: Clock): Operation {
  return operation({
    id: "followTrace",
    scope: "asked",
    method: "GET",
    path: "/trace",
    tag: "trace",
    summary: "Tell for a while all that happens to a client, a user, an address or a topic, at every broker.",
    description:
      `Server-Sent Events, named by their kind. Each broker tells ${traceRateMax} events a second and ` +
      `${traceEventsMax} in all, of ${tracesMax} traces at a time; what is left out is counted. Of a trace that ends an ` +
      "event named `end` says why. While it lasts, brokers handle packets one by one, which takes them more time. " +
      "That it begins and that it has ended goes to the audit log of each broker.",
    role: "operator",
    isAudited: true,
    query: {
      ...selection,
      seconds: integer(`how long; ${traceSecondsPlain} where nothing is said`, {
        minimum: 1,
        maximum: traceSecondsMax,
      }),
    },
    isStream: true,
    answer: traceSchema,
    problems: [503],
    answerCall({ reading, cluster, query: { seconds = traceSecondsPlain, ...selected }, note, done }) {
      const wanted = wantedOf(selected);
      if (wanted instanceof Problem) return done(wanted);
      const why = reading.whyNotFollowed(wanted);
      if (why !== undefined) return done(why);
      const name = random.hex(16);
      const open: Streamed["open"] = (send, end) => {
        let number = 0;
        const terms = { seconds_at_most: seconds, payload_bytes: wanted.payloadBytes };
        const noteEnd = noteFollowing(note, clock, terms);
        const tell = (row: TraceRow): void =>
          send(`id: ${++number}\nevent: ${row.kind}\ndata: ${JSON.stringify(row)}\n\n`);
        const stop = reading.follow(wanted, tell);
        const over = (): void => {
          // What was left out is told before the end.
          stop();
          end(`its ${seconds} s are over`);
        };
        const ends = [
          stop,
          gather({ reading, cluster, query: { ...selected, trace: name }, tell }),
          reading.later(seconds * 1000, over),
        ];
        tell(begunRow(reading, seconds));
        return () => {
          for (const stop of ends) stop();
          noteEnd(number);
        };
      };
      done({ value: new Streamed(open, traceStreamBytesMax) });
    },
  });
}

function begunRow(reading: Reading, seconds: number): TraceRow {
  const words = `followed for ${seconds} s; ${traceRateMax} events a second and ${traceEventsMax} in all are told`;
  return rowOf(reading, "begun", { broker: reading.id, words });
}

function rowOf(
  reading: Pick<Reading, "now">,
  kind: TraceRow["kind"],
  { broker, words }: { readonly broker: string; readonly words: string },
): TraceRow {
  const nothing = { client_id: null, user: null, address: null, topic: null, reason_code: null, payload_base64: null };
  return { at: reading.now(), broker, kind, ...nothing, text: words };
}

/** The question to the other brokers, and the one who is told what they answer. */
interface Gathering {
  readonly reading: Reading;
  readonly cluster: AskCluster;
  readonly query: Readonly<Record<string, unknown>>;
  readonly tell: (row: TraceRow) => void;
}

/** Asks the other brokers, again and again, for what they have seen; returns what ends that. */
function gather({ reading, cluster, query, tell }: Gathering): () => void {
  const silent = new Set<string>();
  let isOver = false;
  let stop = (): void => {};
  const note = (broker: string, why: string): void => {
    if (!silent.has(broker)) tell(rowOf(reading, "unanswered", { broker, words: `it tells nothing: ${why}` }));
    silent.add(broker);
  };
  const answered = ({ answers, unanswered }: PeerAnswers): void => {
    if (isOver) return;
    for (const { broker, answer } of answers) {
      if (!("value" in answer)) note(broker, "problem" in answer ? answer.problem.detail : "it has answered otherwise");
      else {
        silent.delete(broker);
        for (const row of (answer.value as { readonly items: readonly TraceRow[] }).items) tell(row);
      }
    }
    for (const { broker, why } of unanswered) note(broker, why);
    stop = reading.later(traceAskMs, ask);
  };
  const ask = (): void => cluster.askAll({ operation: "collectTrace", path: {}, query, body: undefined }, answered);
  ask();
  return () => {
    isOver = true;
    stop();
  };
}

/** A trace that is followed for another broker: its events wait until that asks. */
interface Collected {
  rows: TraceRow[];
  lost: number;
  told: number;
  readonly end: () => void;
  /** Ends it when nobody has asked for a while. */
  forget: () => void;
}

/** The broker that is read, and its audit log. */
type Follower = Pick<Call<Record<string, never>, unknown, unknown>, "reading" | "note">;

function collectOperation(clock: Clock): Operation {
  const collected = new Map<string, Collected>();
  const begin = (name: string, wanted: TraceWanted, { reading, note }: Follower): Collected => {
    const noteEnd = noteFollowing(note, clock, { payload_bytes: wanted.payloadBytes });
    const one: Collected = {
      rows: [],
      lost: 0,
      told: 0,
      end: () => {
        stop();
        noteEnd(one.told);
      },
      forget: () => {},
    };
    const stop = reading.follow(wanted, (row) => {
      if (one.rows.length < traceWaitingMax) one.rows.push(row);
      else one.lost++;
    });
    collected.set(name, one);
    return one;
  };
  return operation({
    id: "collectTrace",
    method: "GET",
    path: "/trace/events",
    tag: "trace",
    summary: "Tell what one broker has seen of a trace since it was asked last: brokers ask each other for it.",
    description:
      `It follows from the first time it is asked on, until ${traceSilenceMs / 1000} s after the last; ` +
      `${traceWaitingMax} events wait at most.`,
    role: "operator",
    isAudited: true,
    query: { ...selection, trace: text("a name for the trace, the same each time", { minLength: 1, maxLength: 64 }) },
    needed: ["trace"],
    answer: object({ items: list(traceSchema, "what happened, in its order") }),
    problems: [503],
    answerCall({ reading, query: { trace: name, ...selected }, note, done }) {
      const wanted = wantedOf(selected);
      if (wanted instanceof Problem) return done(wanted);
      const why = collected.has(name) ? undefined : reading.whyNotFollowed(wanted);
      if (why !== undefined) return done(why);
      const one = collected.get(name) ?? begin(name, wanted, { reading, note });
      one.forget();
      one.forget = reading.later(traceSilenceMs, () => {
        collected.delete(name);
        one.end();
      });
      const items = one.rows;
      const words = `${one.lost} events are left out: more than ${traceWaitingMax} have waited`;
      if (one.lost > 0) items.push(rowOf(reading, "skipped", { broker: reading.id, words }));
      one.told += items.length;
      one.rows = [];
      one.lost = 0;
      done({ value: { items } });
    },
  });
}
