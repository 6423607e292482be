/** The form of the API's operations. Their table answers requests, and the OpenAPI document is made of it. */
import type { Role } from "../access/role-file.ts";
import type { Work } from "../base/slices.ts";
import type { Page } from "./page.ts";
import type { Acting, Reading } from "./ports.ts";
import type { Problem, ProblemStatus } from "./problem.ts";
import { type JsonSchema, type Of, type Schema, text, whyNot } from "./schema.ts";

/** The sender of a request, once it is known who that is. */
export interface Caller {
  readonly name: string;
  readonly role: Role;
  /** The address from which he asks. */
  readonly from: string;
  /** The bearer token that he has shown, if it is one that the API has given. */
  readonly token: string | undefined;
}

/** A change, for the audit log: as it was before, and as it is now. */
export interface Changed {
  readonly before?: unknown;
  readonly after?: unknown;
}

/** An answer that is JSON already. */
export class Written {
  readonly json: string;

  constructor(json: string) {
    this.json = json;
  }
}

/** The page of a list. */
export class Listed {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }
}

/**
 * An answer that goes on: Server-Sent Events. `open`: called with what sends a text, and what ends the answer, with
 * the reason in words; returns what is called once it has ended.
 */
export class Streamed {
  readonly open: (send: (text: string) => void, end: (why: string) => void) => () => void;

  /** Bytes that may wait for its reader; undefined: as many as for any. */
  readonly bytesMax: number | undefined;

  constructor(open: Streamed["open"], bytesMax?: number) {
    this.open = open;
    this.bytesMax = bytesMax;
  }
}

/** An answer: a value of the operation's schema, and what has been changed. */
export interface Outcome<Answer> {
  readonly value: Answer | Written | Listed | Streamed;
  readonly changed?: Changed;
}

/** A request as one broker passes it on to another. */
export interface PassedOn {
  readonly operation: string;
  readonly path: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

/** The answer of another broker: a value, or the page of a list; or a problem. */
export type PeerAnswer =
  | { readonly value: unknown }
  | { readonly page: Page }
  | { readonly problem: { readonly status: ProblemStatus; readonly detail: string } };

/** The answers of all other brokers. */
export interface PeerAnswers {
  readonly answers: readonly { readonly broker: string; readonly answer: PeerAnswer }[];
  readonly unanswered: readonly { readonly broker: string; readonly why: string }[];
}

/** Has something called after so many ms; returns what cancels that. */
export type Later = (ms: number, go: () => void) => () => void;

/** Asks other brokers. */
export interface AskCluster {
  /** The ids of the other members. */
  others(): readonly string[];
  /** Asks one; `done` is told why there is no answer, as a text, if there is none. */
  askBroker(broker: string, request: PassedOn, done: (answer: PeerAnswer | string) => void): void;
  askAll(request: PassedOn, done: (answers: PeerAnswers) => void): void;
}

type Fields = Readonly<Record<string, Schema<unknown>>>;
type Values<F extends Fields, Needed extends keyof F> = { readonly [Name in keyof F]?: Of<F[Name]> } & {
  readonly [Name in Needed]: Of<F[Name]>;
};

/** One request for an operation. */
export interface Call<Query extends Fields, Body, Answer, Needed extends keyof Query = never> {
  /** The parts of the path that have names. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: Values<Query, Needed>;
  readonly body: Body;
  readonly caller: Caller;
  readonly reading: Reading;
  readonly acting: Acting;
  readonly cluster: AskCluster;
  /** Has long work done in slices of the event loop. */
  readonly run: (work: Work, done: () => void) => void;
  readonly later: Later;
  /** Goes to the audit log: for an operation that is audited though it reads, when it begins and when it ends. */
  readonly note: (changed: Changed) => void;
  /** Answers; called once. */
  readonly done: (outcome: Outcome<Answer> | Problem) => void;
}

/** The groups of operations in the document. */
export type Tag =
  | ("cluster" | "broker" | "clients" | "subscriptions" | "topics" | "retained" | "refusals" | "bank")
  | ("events" | "trace" | "explain" | "messages" | "bans" | "users" | "audit log");

/** An operation, and how it is carried out. */
export interface OperationOf<Query extends Fields, Body, Answer, Needed extends keyof Query = never> {
  /** The operation's name in the document, and in the audit log. */
  readonly id: string;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** The path below /api/v1, with {names}. */
  readonly path: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  readonly role: Role;
  readonly pathWords?: Readonly<Record<string, string>>;
  readonly query?: Query;
  /** The parameters of the query without which there is no answer. */
  readonly needed?: readonly Needed[];
  readonly body?: Schema<Body>;
  readonly answer: Schema<Answer>;
  /**
   * The brokers that answer, where nobody names one: the one that is asked (undefined); "first", the one that knows
   * whom it is about; "pages", all of them, each its page of a list. "asked": always the one that is asked.
   */
  readonly scope?: "first" | "pages" | "asked" | undefined;
  /** The orders of a list, the first where nobody names one. */
  readonly sorts?: readonly [string, ...string[]];
  /** The answer goes on, as Server-Sent Events, each with data of the answer's schema. */
  readonly isStream?: true;
  /** Has it in the audit log though it changes nothing: it shows for a while what others send. */
  readonly isAudited?: true;
  /** Statuses of problems that are the operation's own. */
  readonly problems?: readonly number[];
  readonly answerCall: (call: Call<Query, Body, Answer, Needed>) => void;
}

/** An operation of any kind. */
export type Operation = OperationOf<Fields, unknown, unknown>;

/** Makes an operation; the compiler holds its parts together. */
export function operation<const Query extends Fields, Body, Answer, Needed extends keyof Query = never>(
  parts: OperationOf<Query, Body, Answer, Needed>,
): Operation {
  return parts as unknown as Operation;
}

/** The operations of a table that stand on a path, and the named parts of that path. */
export interface Match {
  readonly operations: readonly Operation[];
  readonly path: Readonly<Record<string, string>>;
}

/** Finds operations by their paths. */
export class RouteTable {
  readonly operations: readonly Operation[];
  readonly #byLength = new Map<number, Operation[]>();

  constructor(operations: readonly Operation[]) {
    this.operations = operations;
    for (const one of operations) {
      const { length } = one.path.split("/");
      this.#byLength.set(length, [...(this.#byLength.get(length) ?? []), one]);
    }
  }

  /** Returns what stands on a path; "malformed" if a name in it is not percent-encoded UTF-8; undefined: nothing. */
  find(path: string): Match | "malformed" | undefined {
    const levels = path.split("/");
    const fits = (this.#byLength.get(levels.length) ?? []).filter(({ path: pattern }) =>
      pattern.split("/").every((level, index) => level.startsWith("{") || level === levels[index]),
    );
    // What is spelled out goes before what has a name.
    const named = (one: Operation): number => one.path.split("{").length;
    const least = Math.min(...fits.map(named));
    const operations = fits.filter((one) => named(one) === least);
    if (operations[0] === undefined) return undefined;
    try {
      const names = operations[0].path.split("/").flatMap((level, index) => {
        return level.startsWith("{") ? [[level.slice(1, -1), decodeURIComponent(levels[index]!)] as const] : [];
      });
      return { operations, path: Object.fromEntries(names) };
    } catch {
      return "malformed";
    }
  }
}

/** The parameter of operations that another broker can be asked to carry out. */
const brokerParameter = { broker: text("the broker that answers; where none is named, all that it concerns") };

/** Returns the parameters of an operation's query. */
export function queryOf({ query = {}, scope }: Operation): Fields {
  return scope === "asked" ? query : { ...query, ...brokerParameter };
}

/** Reads a query by the schemas of its parameters. Returns why it is wrong, as a text, if it is. */
export function readQuery(query: string, operation: Operation): Readonly<Record<string, unknown>> | string {
  const schemas = queryOf(operation);
  const values: Record<string, unknown> = {};
  for (const [name, word] of new URLSearchParams(query)) {
    const schema = Object.hasOwn(schemas, name) ? schemas[name]!.json : undefined;
    if (schema === undefined) {
      const known = Object.keys(schemas).join(", ");
      return `there is no parameter ${JSON.stringify(name.slice(0, 40))}${known === "" ? "" : `; there are ${known}`}`;
    }
    if (Object.hasOwn(values, name)) return `${name} is given twice`;
    const value = parameterOf(word, schema);
    const why = whyNot(schema, value, name);
    if (why !== undefined) return why;
    values[name] = value;
  }
  const missing = ((operation.needed ?? []) as readonly string[]).find((name) => !Object.hasOwn(values, name));
  return missing === undefined ? values : `${missing} must be given: ${schemas[missing]!.json.description}`;
}

function parameterOf(word: string, { type }: JsonSchema): unknown {
  if (type === "boolean") return word === "true" ? true : word === "false" ? false : word;
  if (type === "integer") return /^-?\d{1,15}$/.test(word) ? Number(word) : word;
  return word;
}
