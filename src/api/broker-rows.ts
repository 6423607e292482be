/** The rows that tell of brokers: how each is, its links, what is not well, and its last hour. */
import { unansweredSchema } from "./rows.ts";
import { flag, integer, list, named, nullable, number, type Of, object, table, text, time, word } from "./schema.ts";

const checkSchema = object({ name: text("what"), ok: flag("whether it is well"), why: text("in words") });

/** By how much one machine's clock is ahead of another. */
const clockFields = (whose: string, of: string) => ({
  clock_ahead_ms: nullable(number(`by how many ms ${whose} is ahead of ${of}, below 0: behind; null: not measured`)),
  clock_within_ms: nullable(number("that is right within so many ms; null: not measured")),
});

export const linkSchema = named(
  "Link",
  object({
    broker: text("the other broker"),
    version: nullable(text("its version")),
    member: flag("whether it is in the cluster now"),
    up: flag("whether the link to it is up"),
    draining: flag("whether it is about to leave"),
    unsettled: integer("deliveries to it that it has not settled"),
    down_since: nullable(time("since when it is down; null: it is up, or the other broker is not in the cluster")),
    why_down: nullable(text("why, as far as this broker knows")),
    ...clockFields("the clock of the other broker's machine", "this one's"),
  }),
);
export type LinkRow = Of<typeof linkSchema>;

/** The kinds of troubles. */
export const troubleNames = [
  ...["broker", "link", "clock", "certificate", "disk", "store", "tree", "bank", "share", "mailbox", "memory", "files"],
  ...["client id", "dropped", "refused"],
] as const;

const troubleSchema = named(
  "Trouble",
  object({
    name: text(`what it is about: ${troubleNames.join(", ")}, or one that a later version knows`),
    text: text("what is wrong, and what helps, in words"),
  }),
);
export type TroubleRow = Of<typeof troubleSchema>;

export const brokerSchema = named(
  "Broker",
  object({
    broker: text("its id"),
    version: text("its version"),
    started_at: time("when it started"),
    host: text("where clients reach it"),
    port: integer("at which port", { minimum: -1 }),
    link_port: integer("at which port other brokers reach it", { minimum: -1 }),
    epoch: integer("larger for each life of it in its cluster"),
    draining: flag("whether it is about to leave"),
    ready: flag("what /readyz answers"),
    checks: list(checkSchema, "the checks of /readyz"),
    store: word(["embedded", "zookeeper"], "what it stores in"),
    connections: integer("network connections that are open"),
    sessions: integer("sessions that it keeps, with or without their clients"),
    subscriptions: integer("subscriptions in its routing table: its clients', and other brokers'"),
    retained: integer("retained messages of clients"),
    messages_received: integer("PUBLISH packets from clients since the start"),
    messages_sent: integer("PUBLISH packets to clients since the start"),
    messages_dropped: integer("messages dropped for slow, full or narrow clients since the start"),
    refused: integer("publishes that were refused since the start"),
    dropped_by: table(integer("how many"), "messages dropped since the start, by reason"),
    refused_by: table(integer("how many"), "publishes refused since the start, by what refused them"),
    forbidden: table(integer("how many"), "what the access list has not allowed since the start, by action"),
    limits_reached: table(integer("how many"), "what was refused for its number or shape since the start, by limit"),
    turned_away: table(integer("how many"), "connections turned away since the start, by cause"),
    logins_failed: integer("logins that have failed since the start"),
    memory_bytes: integer("resident memory of the process"),
    log_level: text("what is logged"),
    ...clockFields("its machine's clock", "ZooKeeper's"),
    troubles: list(troubleSchema, "what is not well, or ends soon, though it may be ready"),
    links: list(linkSchema, "the links to other brokers"),
  }),
);
export type BrokerRow = Of<typeof brokerSchema>;

export const sampleSchema = named(
  "Sample",
  object({
    at: time("when it was taken; rates are since the sample before"),
    connections: integer("network connections that were open"),
    received: number("PUBLISH packets from clients, per second"),
    sent: number("PUBLISH packets to clients, per second"),
    dropped: number("messages dropped, per second"),
    refused: number("publishes refused, per second"),
    turned_away: number("connections turned away, per second"),
    settle_p50_ms: nullable(number("half of the PUBACKs and PUBRECs came within so many ms; null: there were none")),
    settle_p99_ms: nullable(number("99 of 100 of them came within so many ms")),
    bound: number("credits that the broker's messages bound"),
    granted: number("credits that its branch had been granted"),
    vault: number("credits that nobody needed"),
    capital: number("the bank's capital"),
  }),
);
export type SampleRow = Of<typeof sampleSchema>;

const totalsSchema = object({
  connections: integer("of all brokers that have answered"),
  sessions: integer("of all"),
  messages_received: integer("of all"),
  messages_sent: integer("of all"),
  messages_dropped: integer("of all"),
  refused: integer("of all"),
});

export const overviewSchema = named(
  "Overview",
  object({
    totals: totalsSchema,
    brokers: list(brokerSchema, "the brokers that have answered, this one first"),
    unanswered: list(unansweredSchema, "those that have not"),
  }),
);
export type Overview = Of<typeof overviewSchema>;
