/** One broker judges the answers of others: of earlier versions, of those that start, of those that say nothing. */
import { expect, test } from "bun:test";
import { ClusterQuestions } from "../../src/api/cluster.ts";
import { Problem } from "../../src/api/problem.ts";
import { type Operation, type Outcome, operation } from "../../src/api/route.ts";
import { object, text } from "../../src/api/schema.ts";

type Said = Outcome<unknown> | Problem;

const answer = object({ text: text("a text") });
const parts = { path: "/x/{id}", tag: "cluster", summary: "Asks.", scope: "first", answer, answerCall() {} } as const;
const reads: Operation = operation({ ...parts, id: "read", method: "GET", role: "viewer" });
const changes: Operation = operation({ ...parts, id: "change", method: "POST", role: "operator" });
const request = { operation: "x", path: { id: "1" }, query: {}, body: undefined };
const own = new Problem(404, "nobody here");
const unknown = { problem: { status: 503, detail: "its version does not know this operation" } };
const nobody = { problem: { status: 404, detail: "nobody here" } };
const starting = { problem: { status: 503, detail: "it is starting" } };
const refused = { problem: { status: 409, detail: "it is full" } };
const known = { value: { text: "it is here" } };

/** Asks brokers that answer so, by their ids; undefined: nothing comes. */
function brokers(answers: Readonly<Record<string, object | undefined>>): ClusterQuestions {
  const others = {
    list: () => Object.keys(answers).map((id) => ({ id, whyNot: undefined })),
    ask: (id: string, _: string, done: (text: string | undefined) => void) =>
      done(answers[id] && JSON.stringify(answers[id])),
  };
  return new ClusterQuestions(others, { name: "ann", role: "operator", from: "::1", token: undefined });
}

function first(answers: Parameters<typeof brokers>[0], one = reads): Said {
  let said: Said | undefined;
  brokers(answers).askFirst(request, one, own, (outcome) => {
    said = outcome;
  });
  return said!;
}

test("an answer counts before whoever does not know the question, or cannot answer just now", () => {
  for (const other of [unknown, starting, nobody, undefined])
    expect(first({ a: other, b: known })).toEqual({ value: { text: "it is here" } });
  expect(first({ a: starting, b: refused })).toMatchObject({ status: 409, detail: "it is full" });
  expect(first({ a: nobody, b: nobody })).toBe(own);
});

test("whoever may know it, and has not said, is named with the reason", () => {
  const { status, detail } = first({ a: unknown, b: nobody, c: starting, d: undefined }) as Problem;
  expect(status).toBe(504);
  for (const words of ["a (its version does not know this operation)", "c (it is starting)", "d (it has not answered"])
    expect(detail).toContain(words);
  expect(detail).not.toContain("b (");
  expect(detail).not.toContain("may be done");
});

test("of a change that was asked for, and not answered, it is said that it may be done", () => {
  expect((first({ a: undefined, b: unknown }, changes) as Problem).detail).toContain(
    "a (it has not answered in time; what it was asked for may be done all the same, now or later), b (its version does",
  );
  for (const [one, isDoubted] of [
    [reads, false],
    [changes, true],
  ] as const) {
    let said: Said | undefined;
    brokers({ a: undefined }).askOne("a", request, one, (outcome) => {
      said = outcome;
    });
    expect((said as Problem).status).toBe(504);
    expect((said as Problem).detail.includes("may be done all the same")).toBe(isDoubted);
  }
});

test("an earlier version is missing in a list of all, and is no answer of its own", () => {
  let unanswered: unknown;
  brokers({ a: unknown, b: known }).askAll(request, (answers) => {
    unanswered = answers;
  });
  expect(unanswered).toEqual({
    answers: [{ broker: "b", answer: known }],
    unanswered: [{ broker: "a", why: "its version does not know this operation" }],
  });
});
