/** The operations that read. */
import { quotedBytesMax } from "../base/api-limits.ts";
import { isTopicName, parseFilter } from "../mqtt/topic.ts";
import { type BrokerRow, brokerSchema, type Overview, overviewSchema, sampleSchema } from "./broker-rows.ts";
import { keyBy, keyOf, listOperation } from "./lists.ts";
import type { Candidates } from "./page.ts";
import type { ClientEntry } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import {
  bankSchema,
  type ClientRow,
  certificateSchema,
  clientDetailSchema,
  clientSchema,
  listenerNames,
  optionSchema,
  quoteSchema,
  type RetainedMessageRow,
  refusalKinds,
  refusalSchema,
  retainedMessageSchema,
  retainedSchema,
  subscriptionSchema,
} from "./rows.ts";
import { flag, integer, list, object, text, word } from "./schema.ts";
import { topicLevels } from "./topic-levels.ts";
import { publisherSchema, topicSchema } from "./topic-rows.ts";

const noClient = "there is no session of that client";

const clientSorts = [
  "client_id",
  "connected_at",
  "mailbox",
  "in_flight",
  "queued_bytes",
  "subscriptions",
  "credits",
  "user",
  "messages_in_per_second",
  "messages_out_per_second",
  "bytes_in_per_second",
  "bytes_out_per_second",
] as const;

/** The filters of a list of clients. */
const clientFilters = {
  client_id: text("only the client with this id"),
  search: text("only clients with this in their ids, users or addresses"),
  user: text("only clients of this user"),
  connected: flag("only those that are connected, or that are not"),
  listener: word(listenerNames, "only those that have come this way"),
};

type ClientQuery = {
  readonly client_id?: string;
  readonly search?: string;
  readonly user?: string;
  readonly connected?: boolean;
  readonly listener?: string;
};

/** Looks at what is known without the row: of 100,000 clients a search makes the rows of those alone that are found. */
function isWanted(client: ClientEntry, { client_id, search, user, connected, listener }: ClientQuery): boolean {
  if (client_id !== undefined && client.name !== client_id) return false;
  if (connected !== undefined && client.connected !== connected) return false;
  if (user !== undefined && client.user !== user) return false;
  if (listener !== undefined && client.listener !== listener) return false;
  if (search === undefined || client.name.includes(search)) return true;
  return client.user?.includes(search) === true || client.address?.includes(search) === true;
}

const listClients = listOperation({
  id: "listClients",
  scope: "pages",
  path: "/clients",
  tag: "clients",
  summary: "List clients, connected or not.",
  role: "viewer",
  query: clientFilters,
  row: clientSchema,
  sorts: clientSorts,
  *candidates(reading, { query, sort }) {
    const by = sort as (typeof clientSorts)[number];
    for (const client of reading.clients()) {
      const { name, row } = client;
      if (!isWanted(client, query as ClientQuery)) yield undefined;
      // Most rows need not be made where ids alone decide.
      else if (by === "client_id") yield { key: keyOf(name), row };
      else {
        const made = row();
        yield { key: keyBy(made[by], name), row: () => made };
      }
    }
  },
  complete(reading, rows, done) {
    const away = rows.filter(isAway).map(({ client_id }) => client_id);
    reading.countMail(away, (counts) => done((row) => ({ ...row, mailbox: counts.get(row.client_id) ?? row.mailbox })));
  },
});

function isAway({ connected, mailbox }: ClientRow): boolean {
  return !connected && mailbox !== null;
}

const getClient = operation({
  id: "getClient",
  scope: "first",
  method: "GET",
  path: "/clients/{client_id}",
  tag: "clients",
  summary: "Tell all of one client.",
  role: "viewer",
  answer: clientDetailSchema,
  problems: [404],
  answerCall({ reading, path, done }) {
    const clientId = path.client_id!;
    reading.countMail([clientId], (counts) => {
      const value = reading.client(clientId);
      if (value === undefined) return done(new Problem(404, noClient));
      done({ value: { ...value, mailbox: counts.get(clientId) ?? value.mailbox } });
    });
  },
});

const listSubscriptions = listOperation({
  id: "listSubscriptions",
  scope: "pages",
  path: "/subscriptions",
  tag: "subscriptions",
  summary: "List the subscriptions of all clients.",
  role: "viewer",
  query: {
    client_id: text("only those of this client"),
    filter: text("only those with exactly this filter"),
    search: text("only those with this in their filters"),
  },
  row: subscriptionSchema,
  sorts: ["filter", "client_id"],
  *candidates(reading, { query, sort }) {
    for (const row of reading.subscriptions(query.client_id)) {
      const { client_id, filter } = row;
      if (query.filter !== undefined && filter !== query.filter) yield undefined;
      else if (query.search !== undefined && !filter.includes(query.search)) yield undefined;
      else if (sort === "filter") yield { key: keyBy(filter, client_id), row: () => row };
      else yield { key: keyBy(client_id, filter), row: () => row };
    }
  },
});

const listPublishers = listOperation({
  id: "listPublishers",
  scope: "pages",
  path: "/publishers",
  tag: "topics",
  summary: "List the topics that clients have lately published on, and at which brokers.",
  role: "viewer",
  query: { search: text("only those with this in their topics") },
  row: publisherSchema,
  sorts: ["topic"],
  *candidates(reading, { query: { search = "" } }) {
    for (const topic of reading.publishedByClients())
      yield topic.includes(search)
        ? { key: keyBy(topic, reading.id), row: () => ({ topic, broker: reading.id }) }
        : undefined;
  },
});

const listRetained = listOperation({
  id: "listRetained",
  path: "/retained",
  tag: "retained",
  summary: "List retained messages, without their payloads.",
  role: "viewer",
  query: { filter: text("only those whose topics match this filter; # where nothing is said", { minLength: 1 }) },
  row: retainedSchema,
  sorts: ["topic"],
  problems: [400],
  candidates(reading, { query: { filter = "#" } }) {
    return parseFilter(filter) ? retainedBy(reading.retained(filter)) : new Problem(400, "filter is no topic filter");
  },
});

function* retainedBy<Row>(entries: Iterable<{ name: string; row: () => Row } | undefined>): Candidates<Row> {
  for (const entry of entries) yield entry && { key: keyOf(entry.name), row: entry.row };
}

const getRetained = operation({
  id: "getRetained",
  method: "GET",
  path: "/retained/{topic}",
  tag: "retained",
  summary: "Tell a retained message with its payload.",
  role: "viewer",
  pathWords: { topic: "the topic, its slashes as %2F" },
  answer: retainedMessageSchema,
  problems: [404],
  answerCall({ reading, cluster, path, done }) {
    const value = reading.retainedMessage(path.topic!);
    if (value === undefined) return done(new Problem(404, "nothing is retained on that topic"));
    const { broker, client_id } = value;
    // Which client it was the broker alone knows at which it was published.
    if (client_id !== null || broker === null || !cluster.others().includes(broker)) return done({ value });
    cluster.askBroker(broker, { operation: "getRetained", path, query: {}, body: undefined }, (answer) => {
      const theirs = typeof answer === "object" && "value" in answer ? (answer.value as RetainedMessageRow) : undefined;
      const isSame = theirs?.retained_at !== undefined && theirs.payload_base64 === value.payload_base64;
      done({ value: isSame ? { ...value, client_id: theirs.client_id } : value });
    });
  },
});

const listTopics = listOperation({
  id: "listTopics",
  path: "/topics",
  tag: "topics",
  summary: "List topics level by level: those with retained messages, and those that were lately published on here.",
  role: "viewer",
  query: { below: text("the topic whose next levels are listed; the first levels where nothing is said") },
  row: topicSchema,
  sorts: ["level"],
  problems: [400],
  candidates(reading, { query: { below }, wanted }) {
    if (below !== undefined && !isTopicName(below)) return new Problem(400, "below is no topic");
    return topicLevels(reading, below, wanted);
  },
});

const listRefusals = listOperation({
  id: "listRefusals",
  scope: "pages",
  path: "/refusals",
  tag: "refusals",
  summary: "List what was refused lately, and why: the last 500 are remembered.",
  role: "viewer",
  query: {
    kind: word(refusalKinds, "only of this kind"),
    client_id: text("only of this client"),
  },
  row: refusalSchema,
  sorts: ["at"],
  *candidates(reading, { query }) {
    for (const row of reading.refusals()) {
      const isAsked =
        (query.kind === undefined || row.kind === query.kind) &&
        (query.client_id === undefined || row.client_id === query.client_id);
      yield isAsked ? { key: keyBy(row.at, `${row.broker} ${row.number}`), row: () => row } : undefined;
    }
  },
});

const getBroker = operation({
  id: "getBroker",
  method: "GET",
  path: "/broker",
  tag: "broker",
  summary: "Tell how this broker is, and what it has counted.",
  role: "viewer",
  answer: brokerSchema,
  answerCall: ({ reading, done }) => done({ value: reading.broker() }),
});

const getHistory = operation({
  id: "getHistory",
  method: "GET",
  path: "/history",
  tag: "broker",
  summary: "Tell how this broker was in the last hour, by a sample each ten seconds.",
  role: "viewer",
  query: { after: text("only samples that were taken later", { format: "date-time" }) },
  answer: object({ broker: text("whose they are"), items: list(sampleSchema, "the oldest first") }),
  problems: [400],
  answerCall({ reading, query: { after }, done }) {
    const at = after === undefined ? 0 : Date.parse(after);
    if (Number.isNaN(at)) return done(new Problem(400, "after is no date with time, as 2026-01-31T12:00:00Z"));
    done({ value: { broker: reading.id, items: [...reading.history(at)] } });
  },
});

const getOverview = operation({
  id: "getOverview",
  scope: "asked",
  method: "GET",
  path: "/overview",
  tag: "cluster",
  summary: "Tell how all brokers of the cluster are, and what they have counted together.",
  role: "viewer",
  answer: overviewSchema,
  answerCall({ reading, cluster, done }) {
    cluster.askAll({ operation: "getBroker", path: {}, query: {}, body: undefined }, ({ answers, unanswered }) => {
      const others = answers.flatMap(({ answer }) => ("value" in answer ? [answer.value as BrokerRow] : []));
      const brokers = [reading.broker(), ...others];
      const sum = (of: keyof Overview["totals"]): number => brokers.reduce((total, row) => total + row[of], 0);
      const totals = {
        ...{ connections: sum("connections"), sessions: sum("sessions"), refused: sum("refused") },
        ...{ messages_received: sum("messages_received"), messages_sent: sum("messages_sent") },
        messages_dropped: sum("messages_dropped"),
      };
      done({ value: { totals, brokers, unanswered } });
    });
  },
});

const getBank = operation({
  id: "getBank",
  method: "GET",
  path: "/bank",
  tag: "bank",
  summary: "Tell the bank's balance as this broker knows it, and its branch.",
  role: "viewer",
  answer: bankSchema,
  answerCall: ({ reading, done }) => done({ value: reading.bank() }),
});

const getQuote = operation({
  id: "getQuote",
  method: "GET",
  path: "/bank/quote",
  tag: "bank",
  summary: "Tell what it costs to store a message for one session, or in a mail drop.",
  role: "viewer",
  query: {
    bytes: integer("topic, properties and payload together; 0 where nothing is said", {
      ...{ minimum: 0, maximum: quotedBytesMax },
    }),
    topic: text("its topic: each of its levels is paid for; one level where nothing is said"),
    ttl: integer("its Message Expiry Interval in seconds", { minimum: 0, maximum: 0xffff_ffff }),
  },
  answer: object({ items: list(quoteSchema, "one where ttl is given; else for a session, and in a mail drop") }),
  answerCall({ reading, query: { bytes = 0, topic = "topic", ttl }, done }) {
    if (!isTopicName(topic)) return done(new Problem(400, "topic is none on which can be published"));
    done({ value: { items: reading.quotes({ bytes, topic, ttl }) } });
  },
});

const getOptions = operation({
  id: "getOptions",
  method: "GET",
  path: "/options",
  tag: "broker",
  summary: "Tell every option of this broker, and where its value came from.",
  role: "operator",
  answer: object({ items: list(optionSchema, "in the order of the help") }),
  answerCall: ({ reading, done }) => done({ value: { items: reading.options() } }),
});

const getCertificates = operation({
  id: "getCertificates",
  method: "GET",
  path: "/certificates",
  tag: "broker",
  summary: "Tell when this broker's certificate, and lists of revoked ones, end.",
  role: "viewer",
  answer: object({ items: list(certificateSchema, "those that are in use") }),
  answerCall: ({ reading, done }) => done({ value: { items: reading.certificates() } }),
});

export const readingOperations: readonly Operation[] = [
  ...[getOverview, getBroker, getHistory, getOptions, getCertificates, listClients, getClient, listSubscriptions],
  ...[listTopics, listPublishers, listRetained, getRetained, listRefusals, getBank, getQuote],
];
