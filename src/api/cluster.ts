/**
 * The API over a whole cluster: any broker answers for all, since it passes requests on to the others over its links.
 * Who cannot be asked, or does not answer in time, is named in the answer.
 */
import { wantedOf, writePage } from "./lists.ts";
import { mergePages, type Page } from "./page.ts";
import type { Others } from "./ports.ts";
import { Problem } from "./problem.ts";
import {
  type AskCluster,
  type Caller,
  Listed,
  type Operation,
  type Outcome,
  type PassedOn,
  type PeerAnswer,
  type PeerAnswers,
  Written,
} from "./route.ts";
import { whyNot } from "./schema.ts";

/** A request as it comes to another broker: with who has sent it, as the asking broker knows him. */
export interface PeerQuestion extends PassedOn {
  readonly caller: Pick<Caller, "name" | "role" | "from">;
}

type Done = (outcome: Outcome<unknown> | Problem) => void;

/** Passes requests on to other brokers. */
export class ClusterQuestions implements AskCluster {
  readonly #others: Others;
  readonly #caller: Caller;

  constructor(others: Others, caller: Caller) {
    this.#others = others;
    this.#caller = caller;
  }

  others(): readonly string[] {
    return this.#others.list().map(({ id }) => id);
  }

  askBroker(broker: string, request: PassedOn, done: (answer: PeerAnswer | string) => void): void {
    const other = this.#others.list().find(({ id }) => id === broker);
    this.#ask({ broker, whyNot: other === undefined ? "it has left the cluster" : other.whyNot }, request, done);
  }

  /** Asks every other broker; `done` is called when the last one has answered, or its time is up. */
  askAll(request: PassedOn, done: (answers: PeerAnswers) => void): void {
    const others = this.#others.list();
    const answers: { broker: string; answer: PeerAnswer }[] = [];
    const unanswered: { broker: string; why: string }[] = [];
    let left = others.length;
    if (left === 0) return done({ answers, unanswered });
    const byBroker = (a: { broker: string }, b: { broker: string }): number => (a.broker < b.broker ? -1 : 1);
    for (const { id: broker, whyNot } of others)
      this.#ask({ broker, whyNot }, request, (answer) => {
        if (typeof answer === "string") unanswered.push({ broker, why: answer });
        else answers.push({ broker, answer });
        left--;
        if (left === 0) done({ answers: answers.sort(byBroker), unanswered: unanswered.sort(byBroker) });
      });
  }

  /** Has one other broker answer. */
  askOne(broker: string, request: PassedOn, operation: Operation, done: Done): void {
    const other = this.#others.list().find(({ id }) => id === broker);
    if (other === undefined) return done(new Problem(404, `there is no broker ${JSON.stringify(broker.slice(0, 80))}`));
    this.#ask({ broker, whyNot: other.whyNot }, request, (answer) => {
      if (typeof answer === "string")
        return done(new Problem(504, `${broker}: ${answer}${doubtOf(operation, answer)}`));
      done(outcomeOf(answer, request.query, operation));
    });
  }

  /** Goes on where this broker has no answer of its own: the first one that knows whom it is about answers. */
  askFirst(request: PassedOn, operation: Operation, own: Problem, done: Done): void {
    this.askAll(request, ({ answers, unanswered }) => {
      const isKnown = ({ answer }: (typeof answers)[number]): boolean =>
        !("problem" in answer) || (answer.problem.status !== 404 && answer.problem.status !== 503);
      const known = answers.find(({ answer }) => !("problem" in answer)) ?? answers.find(isKnown);
      if (known !== undefined) return done(outcomeOf(known.answer, request.query, operation));
      // One that cannot answer just now may be the one that knows.
      const unable = answers.flatMap(({ broker, answer }) =>
        "problem" in answer && answer.problem.status === 503 ? [{ broker, why: answer.problem.detail }] : [],
      );
      const silent = [...unanswered, ...unable];
      if (silent.length === 0) return done(own);
      const named = silent.map(({ broker, why }) => `${broker} (${why}${doubtOf(operation, why)})`).join(", ");
      done(new Problem(504, `${own.detail}, as far as the brokers know that have answered; the others: ${named}`));
    });
  }

  /** Adds the pages of all other brokers to this one's own. */
  askPages(request: PassedOn, operation: Operation, own: Page, done: Done): void {
    const wanted = wantedOf(request.query, operation.sorts!);
    if (wanted instanceof Problem) return done(wanted);
    this.askAll(request, ({ answers, unanswered }) => {
      const pages = answers.flatMap(({ answer }) => ("page" in answer ? [answer.page] : []));
      const odd = answers.flatMap(({ broker, answer }) =>
        "page" in answer ? [] : [{ broker, why: "problem" in answer ? answer.problem.detail : "it has sent no list" }],
      );
      const page = mergePages([own, ...pages], wanted);
      const how = { sorts: operation.sorts!, unanswered: [...unanswered, ...odd] };
      done({ value: new Written(writePage(page, request.query, how)) });
    });
  }

  #ask(
    { broker, whyNot }: { readonly broker: string; readonly whyNot: string | undefined },
    request: PassedOn,
    done: (answer: PeerAnswer | string) => void,
  ): void {
    if (whyNot !== undefined) return done(whyNot);
    const { name, role, from } = this.#caller;
    const question: PeerQuestion = { ...request, caller: { name, role, from } };
    this.#others.ask(broker, JSON.stringify(question), (text) => {
      if (text === undefined) return done(late);
      const answer = readAnswer(text);
      if (answer === undefined) return done("its answer was not understood");
      // An earlier version has no answer to what it does not know, and says so as if that were one.
      const isUnknown = "problem" in answer && answer.problem.detail.startsWith(unknown);
      done(isUnknown ? answer.problem.detail : answer);
    });
  }
}

const late = "it has not answered in time";
/** The beginning of what every version says to a question that it does not know, or not all of it. */
const unknown = "its version does not know ";

/** Returns what is to be said besides of a change for which a broker has been asked, if it may come all the same. */
function doubtOf({ method }: Operation, why: string): string {
  return method !== "GET" && why === late ? "; what it was asked for may be done all the same, now or later" : "";
}

/** Reads the question of another broker; returns why it cannot be answered, if it is none, or of another version. */
export function readQuestion(
  text: string,
  operations: readonly Operation[],
): readonly [PeerQuestion, Operation] | Problem {
  let asked: Partial<PeerQuestion>;
  try {
    asked = JSON.parse(text) as Partial<PeerQuestion>;
  } catch {
    return new Problem(503, "the question is not JSON");
  }
  const { path = {}, query = {}, body, caller } = asked;
  const operation = operations.find(({ id, scope }) => id === asked.operation && scope !== "asked");
  if (operation === undefined) return new Problem(503, `${unknown}this operation`);
  if (typeof caller?.name !== "string" || (caller.role !== "viewer" && caller.role !== "operator"))
    return new Problem(503, "the question does not say who asks");
  const isNamed = [...operation.path.matchAll(/\{(\w+)\}/g)].every(([, name]) => typeof path[name!] === "string");
  const why =
    Object.entries(query)
      .map(([name, value]) => {
        const isKnown = Object.hasOwn(operation.query ?? {}, name);
        return isKnown ? whyNot(operation.query![name]!.json, value, name) : `${unknown}${name}`;
      })
      .find((words) => words !== undefined) ??
    whatIsMissing(operation, query) ??
    (operation.body && whyNot(operation.body.json, body));
  if (!isNamed || why !== undefined) return new Problem(503, why ?? "the question names nobody");
  return [{ operation: operation.id, path, query, body, caller: { ...caller, from: String(caller.from) } }, operation];
}

function whatIsMissing({ needed = [] }: Operation, query: object): string | undefined {
  const missing = (needed as readonly string[]).find((name) => !Object.hasOwn(query, name));
  return missing === undefined ? undefined : `the question does not say ${missing}`;
}

/** Writes an outcome for another broker that has asked. */
export function writeAnswer(outcome: Outcome<unknown> | Problem): string {
  if (outcome instanceof Problem)
    return JSON.stringify({ problem: { status: outcome.status, detail: outcome.detail } } satisfies PeerAnswer);
  const { value } = outcome;
  if (value instanceof Listed) return JSON.stringify({ page: value.page } satisfies PeerAnswer);
  if (value instanceof Written) return `{"value":${value.json}}`;
  return JSON.stringify({ value } satisfies PeerAnswer);
}

/** Reads what another broker has answered; undefined if it is no answer. It is of the same cluster, and believed. */
function readAnswer(text: string): PeerAnswer | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== "object" || answer === null) return undefined;
    return "value" in answer || "page" in answer || "problem" in answer ? (answer as PeerAnswer) : undefined;
  } catch {
    return undefined;
  }
}

function outcomeOf(answer: PeerAnswer, query: PassedOn["query"], { sorts }: Operation): Outcome<unknown> | Problem {
  if ("problem" in answer) return new Problem(answer.problem.status, answer.problem.detail);
  if ("page" in answer) return { value: new Written(writePage(answer.page, query, { sorts: sorts!, unanswered: [] })) };
  return { value: answer.value };
}
