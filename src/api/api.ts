/**
 * The HTTP API as a machine: a request goes in, an answer comes out, maybe in a later turn. It knows neither sockets
 * nor the broker: what it reads and does it is given by ports.
 */
import { apiRequestsMax, apiTargetMax } from "../base/api-limits.ts";
import type { Clock } from "../base/clock.ts";
import type { Work } from "../base/slices.ts";
import type { AuditLog } from "./audit-log.ts";
import { ClusterQuestions, readQuestion, writeAnswer } from "./cluster.ts";
import { writePage } from "./lists.ts";
import { openApiDocument } from "./openapi.ts";
import type { People } from "./people.ts";
import type { Acting, Others, Reading } from "./ports.ts";
import { Problem } from "./problem.ts";
import {
  type Caller,
  type Changed,
  type Later,
  Listed,
  type Match,
  type Operation,
  type Outcome,
  RouteTable,
  readQuery,
  Streamed,
  Written,
} from "./route.ts";
import { whyNot } from "./schema.ts";

export interface ApiRequest {
  readonly method: string;
  /** The path below /api/v1, as it came; "" or one that begins with "/". */
  readonly path: string;
  /** The query, without its question mark. */
  readonly query: string;
  readonly body: string;
  /** The address from which it has come. */
  readonly address: string;
  /** True if it has come over the broker's own socket. */
  readonly isOwner: boolean;
  /** Returns a header by its name in lower case; null: there is none. */
  readonly header: (name: string) => string | null;
}

export interface ApiAnswer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Server-Sent Events in place of the body. */
  readonly stream?: Streamed;
}

/** The broker, as far as the API needs it. */
export interface Served {
  readonly reading: Reading;
  readonly acting: Acting;
  readonly others: Others;
  /** Has long work done in slices of the event loop. */
  readonly run: (work: Work, done: () => void) => void;
  readonly later: Later;
}

export interface ApiParts {
  readonly operations: readonly Operation[];
  readonly people: People;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly version: string;
}

/** Headers of every answer: nothing of it is a page, and nobody else may show, keep or guess at it. */
const strictHeaders = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

/** The path of the document, which stands for itself. */
const documentPath = "/openapi.json";

type Done = (answer: ApiAnswer) => void;

/** Answers requests. */
export class Api {
  readonly #parts: ApiParts;
  readonly #routes: RouteTable;
  readonly #document: string;
  #served: Served | undefined;
  #requests = 0;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    this.#routes = new RouteTable(parts.operations);
    this.#document = JSON.stringify(openApiDocument(parts.operations, parts.version));
  }

  /** Notes that the broker has started. */
  serve(served: Served): void {
    this.#served = served;
  }

  /** Answers a request; `done` is called once, maybe before this returns. */
  handle(request: ApiRequest, done: Done): void {
    if (this.#requests >= apiRequestsMax)
      return done(answerOf(new Problem(503, "too many requests are being answered", { "retry-after": "1" })));
    this.#requests++;
    const finish = (outcome: Outcome<unknown> | Problem): void => {
      this.#requests--;
      done(answerOf(outcome));
    };
    if (request.path.length + request.query.length > apiTargetMax)
      return finish(new Problem(414, `path and query must have ${apiTargetMax} characters at most`));
    const { address, header, isOwner } = request;
    const sender = {
      authorization: header("authorization"),
      ...{ address, isOwner },
      host: header("host"),
      isPassedOn: header("forwarded") !== null || header("x-forwarded-for") !== null,
    };
    this.#parts.people.identify(sender, (caller) => {
      if (caller instanceof Problem) return finish(caller);
      if (request.path === documentPath && isReading(request.method))
        return finish({ value: new Written(this.#document) });
      this.#route(request, caller, finish);
    });
  }

  #route(request: ApiRequest, caller: Caller, done: (outcome: Outcome<unknown> | Problem) => void): void {
    const match = this.#routes.find(request.path);
    if (match === undefined)
      return done(new Problem(404, `there is no such path; /api/v1${documentPath} describes those that are there`));
    if (match === "malformed") return done(new Problem(400, "a name in the path is not percent-encoded UTF-8"));
    const method = request.method === "HEAD" ? "GET" : request.method;
    const operation = match.operations.find((one) => one.method === method);
    if (operation === undefined) return done(notAllowed(match));
    const read = readRequest(request, operation);
    const why = read instanceof Problem ? read : this.#whyNot(request, operation, caller);
    const note = (outcome: Outcome<unknown> | Problem): void => {
      // What reads says itself when it begins; that it was refused is said here.
      const isNoted = operation.method !== "GET" || (operation.isAudited === true && outcome instanceof Problem);
      if (isNoted) this.#note(operation, { caller, path: match.path, read, outcome });
      done(outcome);
    };
    if (read instanceof Problem || why !== undefined) return note(why ?? (read as Problem));
    this.#perform(operation, { ...read, path: match.path, caller, done: note });
  }

  /** Has the brokers answer that a request concerns: this one, another one, or all. */
  #perform(operation: Operation, { path, query: whole, body, caller, done }: Performed): void {
    const { others, ...served } = this.#served!;
    const cluster = new ClusterQuestions(others, caller);
    const { broker, ...rest } = whole;
    // Who always answers himself knows what is meant by another broker.
    const query = operation.scope === "asked" ? whole : rest;
    const request = { operation: operation.id, path, query, body };
    if (operation.scope !== "asked" && broker !== undefined && broker !== served.reading.id)
      return cluster.askOne(String(broker), request, operation, done);
    const answered = (outcome: Outcome<unknown> | Problem): void => {
      if (outcome instanceof Problem) {
        const isElsewhere = operation.scope === "first" && outcome.status === 404 && broker === undefined;
        return isElsewhere ? cluster.askFirst(request, operation, outcome, done) : done(outcome);
      }
      if (!(outcome.value instanceof Listed)) return done(outcome);
      const { page } = outcome.value;
      if (operation.scope === "pages" && broker === undefined) return cluster.askPages(request, operation, page, done);
      done({ value: new Written(writePage(page, query, { sorts: operation.sorts!, unanswered: [] })) });
    };
    const note = this.#noteOf(operation, { caller, path, read: { query, body } });
    operation.answerCall({ query, body, path, caller, cluster, ...served, note, done: answered });
  }

  /** Answers a question that another broker has passed on: of this broker's own things alone. */
  answerPeer(text: string, done: (answer: string) => void): void {
    const { others, ...served } = this.#served ?? {};
    const question = readQuestion(text, this.#parts.operations);
    if (question instanceof Problem) return done(writeAnswer(question));
    if (others === undefined) return done(writeAnswer(new Problem(503, "it is starting")));
    const [{ path, query, body, caller: sender }, operation] = question;
    const caller = { ...sender, token: undefined };
    const cluster = new ClusterQuestions(others, caller);
    const answered = (outcome: Outcome<unknown> | Problem): void => {
      const read = { query, body };
      if (operation.method !== "GET") this.#note(operation, { caller, path, read, outcome });
      done(writeAnswer(outcome));
    };
    const why = operation.role === "operator" && caller.role !== "operator";
    if (why) return answered(new Problem(403, `${caller.name} may only look`));
    const note = this.#noteOf(operation, { caller, path, read: { query, body } });
    const given = served as Omit<Served, "others">;
    operation.answerCall({ path, query, body, caller, cluster, ...given, note, done: answered });
  }

  #whyNot({ header }: ApiRequest, { method, role }: Operation, caller: Caller): Problem | undefined {
    if (method !== "GET" && isFromElsewhere(header))
      return new Problem(403, "a page of another origin must not change anything here");
    if (role === "operator" && caller.role !== "operator") return new Problem(403, `${caller.name} may only look`);
    if (this.#served === undefined) return new Problem(503, "the broker is starting", { "retry-after": "1" });
    return undefined;
  }

  /** Returns what an operation notes of itself. */
  #noteOf(operation: Operation, asked: Omit<Noted, "outcome">): (changed: Changed) => void {
    return (changed) => this.#note(operation, { ...asked, outcome: { value: undefined, changed } });
  }

  #note(operation: Operation, { caller, path, read, outcome }: Noted): void {
    const isProblem = outcome instanceof Problem;
    const { before = null, after = null }: Changed = isProblem ? {} : (outcome.changed ?? {});
    const { query = {}, body = {} } = read instanceof Problem ? {} : read;
    const on = { ...path, ...query, ...(body as object) };
    this.#parts.audit.note({
      at: new Date(this.#parts.clock.wall()).toISOString(),
      who: caller.name,
      from: caller.from,
      what: operation.id,
      on: Object.fromEntries(Object.entries(on).map(([name, value]) => [name, String(value)])),
      status: isProblem ? outcome.status : 200,
      before,
      after,
    });
  }
}

interface Read {
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: unknown;
}

interface Performed extends Read {
  readonly path: Match["path"];
  readonly caller: Caller;
  readonly done: (outcome: Outcome<unknown> | Problem) => void;
}

interface Noted {
  readonly caller: Caller;
  readonly path: Match["path"];
  readonly read: Read | Problem;
  readonly outcome: Outcome<unknown> | Problem;
}

function isReading(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** Reads query and body of a request for an operation. */
function readRequest({ query, body, header }: ApiRequest, operation: Operation): Read | Problem {
  const values = readQuery(query, operation);
  if (typeof values === "string") return new Problem(400, values);
  if (operation.body === undefined)
    return body === "" ? { query: values, body: undefined } : new Problem(400, "this operation takes no body");
  const type = header("content-type") ?? "";
  // Pages of other origins can send forms without being asked, but no JSON.
  if (!/^application\/json\s*(;|$)/i.test(type)) return new Problem(415, "the body must be application/json");
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return new Problem(400, "the body is not JSON");
  }
  const why = whyNot(operation.body.json, value);
  return why === undefined ? { query: values, body: value } : new Problem(400, why);
}

/** Returns true for a request that a page of another origin has brought a browser to send. */
function isFromElsewhere(header: ApiRequest["header"]): boolean {
  const site = header("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") return true;
  const origin = header("origin");
  if (origin === null) return false;
  return !URL.canParse(origin) || new URL(origin).host !== header("host")?.toLowerCase();
}

function notAllowed({ operations }: Match): Problem {
  const methods = operations.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  return new Problem(405, `there is ${methods.join(", ")}`, { allow: methods.join(", ") });
}

function answerOf(outcome: Outcome<unknown> | Problem): ApiAnswer {
  if (outcome instanceof Problem) {
    const { status, title, detail, headers } = outcome;
    const body = `${JSON.stringify({ type: "about:blank", title, status, detail })}\n`;
    return { status, type: "application/problem+json", body, headers: { ...strictHeaders, ...headers } };
  }
  const { value } = outcome;
  if (value instanceof Streamed)
    return { status: 200, type: "text/event-stream", body: "", headers: strictHeaders, stream: value };
  const body = value instanceof Written ? value.json : JSON.stringify(value);
  return { status: 200, type: "application/json", body: `${body}\n`, headers: strictHeaders };
}
