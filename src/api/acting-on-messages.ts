/** The operations that publish, retain and clear. */
import { clearedAtOnceMax, clearedNamesMax } from "../base/api-limits.ts";
import { isTopicName, parseFilter } from "../mqtt/topic.ts";
import type { Acting, Reading } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import { flag, integer, list, object, partial, text } from "./schema.ts";

const doneSchema = object({ done: flag("always true") });

const payloadFields = {
  payload: text("the payload as text"),
  payload_base64: text("or in base64", { contentEncoding: "base64", pattern: "^[A-Za-z0-9+/]*={0,2}$" }),
  qos: integer("its QoS; 0 where nothing is said", { minimum: 0, maximum: 2 }),
};

interface PayloadBody {
  readonly payload?: string;
  readonly payload_base64?: string;
  readonly qos?: number;
}

/** Returns a body's payload, or what is wrong with it. */
function payloadOf({ payload, payload_base64: base64 }: PayloadBody): Uint8Array | Problem {
  if (payload !== undefined && base64 !== undefined)
    return new Problem(400, "give payload or payload_base64, and not both");
  if (payload !== undefined && !payload.isWellFormed()) return new Problem(400, "the payload is no text");
  return Buffer.from(payload ?? base64 ?? "", payload === undefined ? "base64" : "utf8");
}

function qosOf({ qos = 0 }: PayloadBody): 0 | 1 | 2 {
  return qos as 0 | 1 | 2;
}

const noTopic = "the topic must be one on which can be published: not empty, no wildcards, not too deep";

const publish = operation({
  id: "publish",
  method: "POST",
  path: "/publish",
  tag: "messages",
  summary: "Publish a message; it is answered when the message is settled.",
  description: "It is paid for as an anonymous client's. The access list does not hold for it.",
  role: "operator",
  body: partial({ topic: text("where"), ...payloadFields, retain: flag("whether it is retained") }, ["topic"]),
  answer: doneSchema,
  problems: [409, 504],
  answerCall({ body, acting, done }) {
    const { topic, retain = false } = body;
    const payload = payloadOf(body);
    if (payload instanceof Problem) return done(payload);
    if (!isTopicName(topic) || !topic.isWellFormed()) return done(new Problem(400, noTopic));
    acting.publish({ topic, payload, qos: qosOf(body), retain }, (problem) =>
      done(problem ?? { value: { done: true } }),
    );
  },
});

const setRetained = operation({
  id: "setRetained",
  method: "PUT",
  path: "/retained/{topic}",
  tag: "retained",
  summary: "Retain a message on a topic; subscribers are sent it, too.",
  role: "operator",
  pathWords: { topic: "the topic, its slashes as %2F" },
  body: partial(payloadFields, []),
  answer: doneSchema,
  problems: [409, 504],
  answerCall({ path, body, reading, acting, done }) {
    const topic = path.topic!;
    const payload = payloadOf(body);
    if (payload instanceof Problem) return done(payload);
    if (payload.length === 0) return done(new Problem(400, "an empty payload clears: that is what DELETE is for"));
    if (!isTopicName(topic)) return done(new Problem(400, noTopic));
    const before = sizeOf(reading, topic);
    acting.publish({ topic, payload, qos: qosOf(body), retain: true }, (problem) =>
      done(problem ?? { value: { done: true }, changed: { before, after: `${payload.length} bytes` } }),
    );
  },
});

const clearRetained = operation({
  id: "clearRetained",
  method: "DELETE",
  path: "/retained/{topic}",
  tag: "retained",
  summary: "Clear the retained message of a topic.",
  description: "Subscribers are sent the empty message that clears it, as when a client does.",
  role: "operator",
  pathWords: { topic: "the topic, its slashes as %2F" },
  answer: doneSchema,
  problems: [404, 409, 504],
  answerCall({ path, reading, acting, done }) {
    const topic = path.topic!;
    const before = sizeOf(reading, topic);
    if (before === undefined) return done(new Problem(404, "nothing is retained on that topic"));
    clear(acting, topic, (problem) =>
      done(problem ?? { value: { done: true }, changed: { before, after: "cleared" } }),
    );
  },
});

const clearManyRetained = operation({
  id: "clearManyRetained",
  method: "DELETE",
  path: "/retained",
  tag: "retained",
  summary: "Clear all retained messages whose topics match a filter; unless dry_run is false, only tell which.",
  description: `One request clears ${clearedAtOnceMax} at most: ask again as long as \`remaining\` is not 0.`,
  role: "operator",
  query: {
    filter: text("the topic filter", { minLength: 1 }),
    dry_run: flag("true, and where nothing is said: clear nothing"),
  },
  needed: ["filter"],
  answer: object({
    dry_run: flag("whether nothing was cleared"),
    matched: integer("how many match"),
    cleared: integer("how many were cleared"),
    remaining: integer("how many match and are left, since one request clears no more, or since they were refused"),
    topics: list(text("a topic"), `the first ${clearedNamesMax} of those that match, in no order`),
    refused: list(text("a topic, and why"), "the first that were refused"),
  }),
  problems: [503],
  answerCall({ query: { filter, dry_run = true }, reading, acting, run, done }) {
    if (parseFilter(filter) === undefined || filter.startsWith("$share/"))
      return done(new Problem(400, "filter is no topic filter"));
    const topics: string[] = [];
    let matched = 0;
    const walk = function* (): Generator<void, void, void> {
      for (const entry of reading.retained(filter)) {
        if (entry !== undefined) matched++;
        if (entry !== undefined && topics.length < clearedAtOnceMax) topics.push(entry.name);
        yield;
      }
    };
    run(walk(), () => {
      const told = { matched, topics: topics.slice(0, clearedNamesMax) };
      if (dry_run) return done({ value: { dry_run, ...told, cleared: 0, remaining: matched, refused: [] } });
      clearAll(acting, topics, (refused) => {
        const cleared = topics.length - refused.length;
        const value = { dry_run, ...told, cleared, remaining: matched - cleared };
        done({
          value: { ...value, refused: refused.slice(0, clearedNamesMax) },
          changed: { before: `${matched} retained`, after: `${cleared} cleared` },
        });
      });
    });
  },
});

/** Clears topics; `done` is told which could not be, and why. */
function clearAll(acting: Acting, topics: readonly string[], done: (refused: readonly string[]) => void): void {
  const refused: string[] = [];
  let left = topics.length;
  if (left === 0) return done(refused);
  for (const topic of topics)
    clear(acting, topic, (problem) => {
      if (problem !== undefined) refused.push(`${topic}: ${problem.detail}`);
      left--;
      if (left === 0) done(refused);
    });
}

function clear(acting: Acting, topic: string, told: (problem: Problem | undefined) => void): void {
  acting.publish({ topic, payload: new Uint8Array(0), qos: 1, retain: true }, told);
}

function sizeOf(reading: Reading, topic: string): string | undefined {
  const message = reading.retainedMessage(topic);
  return message && `${message.payload_bytes} bytes`;
}

export const messageOperations: readonly Operation[] = [publish, setRetained, clearRetained, clearManyRetained];
