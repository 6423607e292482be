/**
 * Explanations: why a client did not get what was published on a topic, and what became of a message. Every broker
 * tells what it knows, from its state and from what it remembers of the last refusals and drops.
 */

import { type Explanation, explanationSchema, type FindingRow } from "./explain-rows.ts";
import { Problem } from "./problem.ts";
import { type AskCluster, type Operation, operation } from "./route.ts";
import { flag, text } from "./schema.ts";

const weights = ["certain", "possible", "fact"] as const;
const here = flag("only what the broker that is asked knows by itself");

const byWeight = (a: FindingRow, b: FindingRow): number => weights.indexOf(a.weight) - weights.indexOf(b.weight);

/** Puts together what this broker knows, and the others. */
function gather(
  own: readonly FindingRow[],
  {
    cluster,
    asked,
    done,
  }: { cluster: AskCluster; asked: Parameters<AskCluster["askAll"]>[0]; done: (answer: Explanation) => void },
): void {
  if (asked.query.here === true) return done({ findings: own, unanswered: [] });
  cluster.askAll({ ...asked, query: { ...asked.query, here: true } }, ({ answers, unanswered }) => {
    const others = answers.flatMap(({ answer }) => ("value" in answer ? (answer.value as Explanation).findings : []));
    const unable = answers.flatMap(({ broker, answer }) =>
      "problem" in answer ? [{ broker, why: answer.problem.detail }] : [],
    );
    done({ findings: [...own, ...others].sort(byWeight), unanswered: [...unanswered, ...unable] });
  });
}

const explainDelivery = operation({
  id: "explainDelivery",
  method: "GET",
  path: "/explain",
  tag: "explain",
  summary: "Tell why a client did not get what was published on a topic.",
  description:
    "From the session, its subscriptions and rights as they are now, and from what brokers remember of the last " +
    "refusals and drops: the last 500, and 500 clients.",
  role: "viewer",
  query: { client_id: text("the client", { minLength: 1 }), topic: text("the topic", { minLength: 1 }), here },
  needed: ["client_id", "topic"],
  answer: explanationSchema,
  answerCall({ reading, cluster, query, done }) {
    const { client_id: clientId, topic } = query;
    const asked = { operation: "explainDelivery", path: {}, query, body: undefined };
    reading.countMail([clientId], (counts) => {
      const own = reading.explainDelivery({ clientId, topic, waiting: counts.get(clientId) });
      if (own instanceof Problem) return done(own);
      gather(own, {
        cluster,
        asked,
        done: (answer) => done({ value: query.here ? answer : concluded(answer, { id: reading.id, clientId, topic }) }),
      });
    });
  },
});

/** Adds what only follows from all answers together. */
function concluded(
  { findings, unanswered }: Explanation,
  { id, clientId, topic }: { readonly id: string; readonly clientId: string; readonly topic: string },
): Explanation {
  const session = findings.find(({ cause }) => cause === "away" || cause === "session elsewhere");
  const add: FindingRow[] = [];
  // A broker tells `no session` where it keeps none: it is so only if no other one does.
  const isUnknown = findings.some(({ cause, weight }) => cause === "store" && weight === "certain");
  const isNowhere = session === undefined && unanswered.length === 0 && !isUnknown;
  // Where there is no session, that it was not let in is the reason.
  const rest = findings
    .filter(({ cause }) => cause !== "no session")
    .map((one) => (isNowhere && one.cause === "connect refused" ? { ...one, weight: "certain" as const } : one));
  if (isNowhere)
    add.push({
      ...{ broker: id, cause: "no session", weight: "certain" },
      text: `no broker knows a session of ${clientId}: it is not connected, and no session of its outlives a connection`,
    });
  const told = rest.filter(({ cause, broker }) => cause !== "session elsewhere" || broker !== id);
  if (unanswered.length === 0 && !rest.some(({ cause }) => cause === "published"))
    add.push({
      ...{ broker: id, cause: "no publisher", weight: "possible" },
      text: `no broker remembers that anything was published on ${topic}`,
    });
  if (session !== undefined && !rest.some(({ weight }) => weight === "certain"))
    add.push({
      ...{ broker: id, cause: "should get", weight: "fact" },
      text: `nothing that is known keeps messages on ${topic} from ${clientId}: follow the next one with mqttzoo trace`,
    });
  return { findings: [...add, ...told].sort(byWeight), unanswered };
}

const explainMessage = operation({
  id: "explainMessage",
  method: "GET",
  path: "/explain/message",
  tag: "explain",
  summary: "Tell what becomes of messages on a topic, and what became of the last ones.",
  description:
    "To whom they go by the subscriptions as they are now, and for whom they were refused or dropped, as brokers " +
    "remember it. GET /trace tells of the next one as it happens.",
  role: "viewer",
  query: { topic: text("the topic", { minLength: 1 }), client_id: text("only this publisher's"), here },
  needed: ["topic"],
  answer: explanationSchema,
  answerCall({ reading, cluster, query, done }) {
    const { client_id: publisher, topic } = query;
    const own = reading.explainMessage({ publisher, topic });
    if (own instanceof Problem) return done(own);
    const asked = { operation: "explainMessage", path: {}, query, body: undefined };
    gather(own, { cluster, asked, done: (value) => done({ value }) });
  },
});

export const explainOperations: readonly Operation[] = [explainDelivery, explainMessage];
