/** Asks a broker's API, and holds each answer against the document that the broker serves. */
import { expect } from "bun:test";
import Ajv2020 from "ajv/dist/2020.js";

/** The OpenAPI document, as far as tests look into it. */
export interface ApiDocument {
  readonly tags: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

interface DocumentedOperation {
  readonly operationId: string;
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, DocumentedContent>> }>>;
}

interface DocumentedContent {
  readonly schema: object;
  /** The schema of each event's data. */
  readonly "x-event-data"?: object;
}

export interface ApiReply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers whose schema has just been checked.
  readonly body: any;
}

export interface ApiQuestion {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** A client of the API that believes the document. */
export class ApiClient {
  readonly document: ApiDocument;
  /** The operations that have been asked, by their ids. */
  readonly asked = new Set<string>();
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });

  readonly #validators = new Map<string, ReturnType<Ajv2020["compile"]>>();

  private constructor(base: string, headers: Readonly<Record<string, string>>, document: ApiDocument) {
    this.#base = base;
    this.#headers = headers;
    this.document = document;
  }

  /** Reads the document. */
  static async open(port: number, headers: Readonly<Record<string, string>> = {}): Promise<ApiClient> {
    const base = `http://127.0.0.1:${port}/api/v1`;
    const response = await fetch(`${base}/openapi.json`, { headers });
    expect(response.status).toBe(200);
    return new ApiClient(base, headers, (await response.json()) as ApiDocument);
  }

  /** Asks for what goes on for ever, and hangs up at once. Returns the status. */
  async peek(path: string): Promise<number> {
    const { response, leave } = await this.#open(path);
    leave();
    return response.status;
  }

  /** Asks, and fails unless the answer is as the document has it. `path`: with its query. */
  async ask(path: string, { method = "GET", headers = {}, body }: ApiQuestion = {}): Promise<ApiReply> {
    const json = body === undefined ? {} : { "content-type": "application/json" };
    const response = await fetch(this.#base + path, {
      method,
      headers: { ...this.#headers, ...json, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const value: unknown = await response.json();
    const reply = { status: response.status, headers: response.headers, body: value };
    const operation = this.#operationOf(method, path.split("?", 1)[0]!);
    if (operation === undefined) expect([404, 405, 400]).toContain(reply.status);
    else this.#check(operation, reply);
    return reply;
  }

  /** Asks for something that must be there. */
  async get(path: string): Promise<ApiReply["body"]> {
    const { status, body } = await this.ask(path);
    expect([path, status, status === 200 ? "" : body]).toEqual([path, 200, ""]);
    return body;
  }

  /** Asks for all pages of a list. */
  async all(path: string): Promise<ApiReply["body"][]> {
    const items: ApiReply["body"][] = [];
    let cursor = "";
    do {
      const page = await this.get(`${path}${path.includes("?") ? "&" : "?"}${cursor}`);
      items.push(...page.items);
      cursor = page.next === null ? "" : `cursor=${page.next}`;
    } while (cursor !== "");
    return items;
  }

  /** Asks for Server-Sent Events, each of which must be as the document has it. */
  async listen(path: string, headers: Readonly<Record<string, string>> = {}): Promise<EventReader> {
    const { response, leave } = await this.#open(path, headers);
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    const operation = this.#operationOf("GET", path.split("?", 1)[0]!)!;
    const check = (body: unknown): void => this.#check(operation, { status: 200, headers: response.headers, body });
    return new EventReader(response.body!, { check, leave });
  }

  /** Asks for what goes on until `leave` is called. */
  async #open(path: string, more: Readonly<Record<string, string>> = {}) {
    const leaving = new AbortController();
    const headers = { ...this.#headers, ...more };
    const response = await fetch(this.#base + path, { headers, signal: leaving.signal });
    return { response, leave: () => leaving.abort() };
  }

  #operationOf(method: string, path: string): DocumentedOperation | undefined {
    const levels = path.split("/");
    const patterns = Object.keys(this.document.paths)
      .filter((pattern) => {
        const parts = pattern.split("/");
        return parts.length === levels.length && parts.every((part, at) => part.startsWith("{") || part === levels[at]);
      })
      .sort((a, b) => a.split("{").length - b.split("{").length);
    return patterns[0] === undefined ? undefined : this.document.paths[patterns[0]]![method.toLowerCase()];
  }

  #check({ operationId, responses }: DocumentedOperation, { status, headers, body }: ApiReply): void {
    this.asked.add(operationId);
    expect(Object.keys(responses), `${operationId} has a status that is not in the document`).toContain(String(status));
    const type = headers.get("content-type")!;
    const described = responses[status]!.content[type];
    expect(described, `${operationId} ${status} ${type}`).toBeDefined();
    const key = `${operationId} ${status}`;
    const validate =
      this.#validators.get(key) ??
      this.#ajv.compile({ ...(described!["x-event-data"] ?? described!.schema), components: this.document.components });
    this.#validators.set(key, validate);
    const isValid = validate(body);
    expect([operationId, isValid, validate.errors]).toEqual([operationId, true, null]);
  }
}

export interface HeardEvent {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events whose schema has just been checked.
  readonly data: any;
}

/** Reads Server-Sent Events one by one. */
export class EventReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #how: { readonly check: (data: unknown) => void; readonly leave: () => void };
  #unread = "";

  constructor(body: ReadableStream<Uint8Array>, how: { check: (data: unknown) => void; leave: () => void }) {
    this.#chunks = body[Symbol.asyncIterator]();
    this.#how = how;
  }

  /** Waits for the next event; undefined: there are no more. */
  async next(): Promise<HeardEvent | undefined> {
    for (;;) {
      const end = this.#unread.indexOf("\n\n");
      if (end === -1) {
        const { done = false, value } = await this.#chunks.next();
        if (done) return undefined;
        this.#unread += Buffer.from(value).toString("utf8");
        continue;
      }
      const lines = this.#unread.slice(0, end).split("\n");
      this.#unread = this.#unread.slice(end + 2);
      const field = (name: string): string | undefined =>
        lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field("data");
      if (data === undefined) continue;
      const event = { name: field("event")!, data: JSON.parse(data) };
      if (event.name !== "end") this.#how.check(event.data);
      return event;
    }
  }

  leave(): void {
    this.#how.leave();
  }
}
