/** The OpenAPI document (3.1), made of the table of operations that answers requests. */
import { type Operation, queryOf, type Tag } from "./route.ts";
import { problemSchema } from "./rows.ts";
import type { JsonSchema } from "./schema.ts";

/** The statuses of problems that every operation may answer with. */
const problemsOfAll = [400, 401, 403, 414, 429, 503];

/** The groups of operations, by their tags. */
const tagWords: Readonly<Record<Tag, string>> = {
  cluster: "all brokers together",
  broker: "one broker: its state, its last hour, its options; what it is told to do",
  clients: "clients, connected or away, their sessions and mailboxes",
  subscriptions: "who subscribes to what",
  topics: "topics as a tree, and who publishes on them",
  retained: "retained messages",
  refusals: "what was refused lately, and why",
  bank: "the credits that pay for what is stored, and the mail that they pay for",
  events: "what happens to clients, as it happens",
  trace: "all that happens to a client or a message, for a while",
  explain: "why a message has not come",
  messages: "messages as they are published; publishing",
  bans: "who is kept away for a while, or for good",
  users: "who asks, and his tokens",
  "audit log": "who has changed what, and who has followed messages",
};

/** Returns the document. `version`: the broker's. */
export function openApiDocument(operations: readonly Operation[], version: string): JsonSchema {
  const paths: Record<string, Record<string, JsonSchema>> = {};
  const schemas: Record<string, JsonSchema> = { ...problemSchema.parts };
  for (const one of operations) {
    paths[one.path] = { ...paths[one.path], [one.method.toLowerCase()]: describe(one) };
    Object.assign(schemas, one.answer.parts, one.body?.parts);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "MQTTZoo",
      version,
      description:
        "What a broker knows, and what it can be told to do. A viewer may read, an operator may change things as well. " +
        "Lists come in pages: `next` is the `cursor` of the next page, with the same parameters.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/api/v1" }],
    security: [{ basic: [] }, { bearer: [] }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name, description: tagWords[name] })),
    paths,
    components: {
      securitySchemes: {
        basic: { type: "http", scheme: "basic", description: "a user of --http-users" },
        bearer: { type: "http", scheme: "bearer", description: "a token of POST /tokens, or of --http-token-file" },
      },
      schemas,
    },
  };
}

function describe(one: Operation): JsonSchema {
  const { id, tag, summary, description, role, body, answer } = one;
  const problems = new Set([
    ...problemsOfAll,
    ...(body === undefined ? [] : [413, 415]),
    ...(one.problems ?? []),
    ...(one.scope === "asked" ? [] : [404, 504]),
  ]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [description, `For ${role === "viewer" ? "viewers and operators" : "operators"}.`]
      .filter((words) => words !== undefined)
      .join(" "),
    parameters: parametersOf(one),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body.json } } } }),
    responses: {
      200: one.isStream ? eventsOf(answer.json) : jsonOf(answer.json),
      ...Object.fromEntries([...problems].sort().map((status) => [status, problemAnswer])),
    },
  };
}

function jsonOf(schema: JsonSchema): JsonSchema {
  return { description: "done", content: { "application/json": { schema } } };
}

/** Describes events. The body is a text; OpenAPI has a word for what is in it (itemSchema) from 3.2 on only. */
function eventsOf(data: JsonSchema): JsonSchema {
  const schema = { type: "string", description: "Server-Sent Events until one of the two hangs up" };
  return {
    description: "events, each with JSON of the schema x-event-data as its data",
    content: { "text/event-stream": { schema, "x-event-data": data } },
  };
}

const problemAnswer = {
  description: "what is wrong, and what to do",
  content: { "application/problem+json": { schema: problemSchema.json } },
};

function parametersOf(operation: Operation): readonly JsonSchema[] {
  const { path, pathWords = {} } = operation;
  const needed = (operation.needed ?? []) as readonly string[];
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  return [
    ...names.map((name) => ({
      ...{ name, in: "path", required: true, schema: { type: "string" } },
      description: pathWords[name] ?? name.replaceAll("_", " "),
    })),
    ...Object.entries(queryOf(operation)).map(([name, { json }]) => {
      const { description, ...schema } = json;
      return { name, in: "query", required: needed.includes(name), description, schema };
    }),
  ];
}
