/** The rows of the API's answers: what a broker tells of itself, its clients and its messages. */
import {
  flag,
  integer,
  list,
  named,
  nullable,
  number,
  type Of,
  object,
  partial,
  raw,
  table,
  text,
  time,
  word,
} from "./schema.ts";

/** The ways in, as their options are called; "other": a way that no listener names. */
export const listenerNames = ["tcp", "tls", "ws", "wss", "unix", "sn", "other"] as const;
/** The states of a client of MQTT-SN, as its standard has them (6.14). */
export const deviceStates = ["active", "asleep", "awake", "lost"] as const;
export type ListenerName = (typeof listenerNames)[number];

/** The kinds of what is refused. */
export const refusalKinds = ["connect", "publish", "subscribe", "will", "protocol"] as const;

export const refusalSchema = named(
  "Refusal",
  object({
    broker: text("the broker that has refused"),
    number: integer("refusals are numbered since the broker's start"),
    at: time("when, the last time"),
    times: integer("how often in a row", { minimum: 1 }),
    kind: word(refusalKinds, "what was refused; protocol: a packet that breaks it"),
    cause: text("the limit, rule or reason code, in a word: as in the metrics"),
    reason: text("why, in words"),
    client_id: nullable(text("the client; null: it had not said who it is")),
    address: nullable(text("from where it came; null: from nowhere, as a will")),
  }),
);
export type RefusalRow = Of<typeof refusalSchema>;

/** The kinds of events that are told as they happen. */
export const eventKinds = ["connected", "disconnected", "refused", "unanswered", "answered"] as const;

export const eventSchema = named(
  "Event",
  object({
    kind: word(eventKinds, "what has happened; unanswered: events of the broker are missing; answered: not any more"),
    broker: text("at which broker"),
    at: time("when"),
    client_id: nullable(text("the client; null: it had not said who it is")),
    user: nullable(text("the user as whom it has logged in; null: nobody, or it was refused")),
    address: nullable(text("from where it came; null: from nowhere, as a will")),
    reason: nullable(text("why, in words; null: it has connected, or answered")),
  }),
);
export type EventRow = Of<typeof eventSchema>;

const rateWords = "on average of the last look, every 5 seconds; null: it is not connected";

const clientFields = {
  broker: text("the broker that keeps its session"),
  client_id: text("the client identifier"),
  user: nullable(text("the user as whom it has logged in; null: nobody")),
  connected: flag("whether it is connected now"),
  address: nullable(text("address and port from which it is connected")),
  listener: nullable(word(listenerNames, "the way in by which it has come")),
  protocol: word(["MQTT 3.1", "MQTT 3.1.1", "MQTT 5.0", "MQTT-SN 1.2", "MQTT-SN 2.0"], "the version that it speaks"),
  state: nullable(word(deviceStates, "of a device of MQTT-SN; lost: it was silent for too long; null: it is none")),
  keep_alive: nullable(integer("its Keep Alive in seconds, as it counts here; 0: none")),
  connected_at: nullable(time("since when it is connected")),
  session_expiry: nullable(integer("Session Expiry Interval in seconds, 0: with the connection; null: never")),
  session_ends_at: nullable(time("when its session ends if it stays away; null: it is connected, or for ever")),
  subscriptions: integer("how many there are"),
  in_flight: integer("messages of QoS 1 and 2 that were sent to it and are not acknowledged"),
  queued_bytes: integer("what waits for it in memory, in bytes, about"),
  mailbox: nullable(
    integer("messages in its mailbox in the store; sorted by as far as its broker knows; null: it has no mailbox"),
  ),
  credits: number("credits bound at this broker by what is its; where users have shares, by what is its user's"),
  messages_in_per_second: nullable(number(`PUBLISH packets from it, ${rateWords}`)),
  messages_out_per_second: nullable(number("PUBLISH packets to it, likewise")),
  bytes_in_per_second: nullable(number("bytes from it, likewise")),
  bytes_out_per_second: nullable(number("bytes to it, likewise")),
  last_refusal: nullable(object({ at: time("when"), kind: word(refusalKinds, "of what"), reason: text("why") })),
};
export const clientSchema = named("Client", object(clientFields));
export type ClientRow = Of<typeof clientSchema>;

export const subscriptionSchema = named(
  "Subscription",
  object({
    broker: text("the broker that keeps the session"),
    client_id: text("who subscribes"),
    filter: text("the topic filter, $share/GROUP/ included"),
    qos: integer("the highest QoS", { minimum: 0, maximum: 2 }),
    no_local: flag("MQTT 5's No Local"),
    retain_as_published: flag("MQTT 5's Retain As Published"),
    retain_handling: integer("MQTT 5's Retain Handling", { minimum: 0, maximum: 2 }),
    identifier: nullable(integer("the Subscription Identifier", { minimum: 1 })),
  }),
);
export type SubscriptionRow = Of<typeof subscriptionSchema>;

export const clientDetailSchema = named(
  "ClientDetail",
  object({
    ...clientFields,
    memory_bytes: integer("the memory that it takes, in bytes, about"),
    will_topic: nullable(text("the topic of its will; null: it has none")),
    certificate_expires_at: nullable(time("when the certificate ends that it has shown; null: none, or not known")),
    receive_paused: flag("whether it is not read just now: for its rate, the store, or slow subscribers"),
    refusals: list(refusalSchema, "the last refusals of it that are remembered, newest first; 20 at most"),
  }),
);
export type ClientDetail = Of<typeof clientDetailSchema>;

const retainedFields = {
  topic: text("the topic"),
  qos: integer("its QoS", { minimum: 0, maximum: 2 }),
  payload_bytes: integer("how long its payload is"),
  expires_at: nullable(time("when it expires; null: never")),
  user: nullable(text("the user who has published it; null: a client without a user name, or an operator")),
  client_id: nullable(
    text("the client that has published it; null: only its broker knows, until that restarts, or it was an operator"),
  ),
  broker: nullable(text("the broker at which it was published, and which pays for it; null: the broker's own")),
  retained_at: nullable(time("when it was published; null: not known, since a broker alone has been restarted")),
};
export const retainedSchema = named("Retained", object(retainedFields));
export type RetainedRow = Of<typeof retainedSchema>;

export const retainedMessageSchema = named(
  "RetainedMessage",
  object({
    ...retainedFields,
    payload: nullable(text("the payload as text; null: it is no UTF-8")),
    payload_base64: text("the payload in base64", { contentEncoding: "base64" }),
  }),
);
export type RetainedMessageRow = Of<typeof retainedMessageSchema>;

export const waitingSchema = named(
  "WaitingMessage",
  object({
    name: text("its number in the mailbox"),
    state: word(
      ["waiting", "sent", "released"],
      "sent: at QoS 2, unacknowledged; released: only its packet id is left",
    ),
    topic: text("the topic"),
    qos: integer("at which it is sent", { minimum: 0, maximum: 2 }),
    retain: flag("whether it is sent as retained"),
    kept_until: nullable(time("until when it is kept; null: as long as it is needed")),
    payload_bytes: nullable(integer("how long its payload is; null: that was not read")),
    payload: nullable(text("the beginning of the payload as text; null: it is no UTF-8, or was not read")),
    payload_base64: nullable(text("the same in base64", { contentEncoding: "base64" })),
  }),
);
export type WaitingRow = Of<typeof waitingSchema>;

export const watchedSchema = named(
  "WatchedMessage",
  object({
    at: time("when it came here"),
    topic: text("the topic"),
    payload: nullable(text("the beginning of the payload as text; null: it is no UTF-8")),
    payload_base64: text("the same in base64", { contentEncoding: "base64" }),
    payload_bytes: integer("how long the payload is"),
    skipped: integer("messages before it that were not told, since there were too many"),
  }),
);
export type WatchedRow = Of<typeof watchedSchema>;

export const unansweredSchema = named(
  "Unanswered",
  object({ broker: text("a broker that has not answered"), why: text("why") }),
);
export type Unanswered = Of<typeof unansweredSchema>;

export const bankSchema = named(
  "Bank",
  object({
    broker: text("whose branch is told"),
    capital: number("the bank's capital in credits, as far as the broker knows"),
    vault: number("what nobody needs now"),
    open: flag("whether the branch is open: only then anything can be stored"),
    granted: number("what the branch has been granted"),
    bound: number("what its messages bind"),
    messages: integer("messages that it pays for"),
    share_percent: number("the part of the capital that one user may bind"),
    holders: list(object({ topic: text("the topic"), credits: number("credits") }), "who binds most, 10 at most"),
  }),
);
export type BankRow = Of<typeof bankSchema>;

export const storedSchema = named(
  "StoredMessage",
  object({
    path: text("its znode"),
    topic: text("the topic"),
    retained: flag("whether it is a retained message"),
    user: nullable(text("the user whose it is; null: an anonymous client's")),
    branch: text("the broker whose branch pays for it"),
    bytes: integer("the bytes of its record, without a payload in pieces"),
    credits: number("the credits that it binds"),
    expires_at: nullable(time("when its time is over; null: never")),
    recipients: integer("for how many clients it was stored; 0: it lies in a mail drop, or is retained"),
    waiting: integer("for how many clients it still waits"),
  }),
);
export type StoredRow = Of<typeof storedSchema>;

/** The things that a statement adds credits up by. */
export const holderKinds = ["topic", "client", "user", "branch", "age"] as const;
export type HolderKind = (typeof holderKinds)[number];

export const holderSchema = named(
  "Holder",
  object({
    holder: nullable(text("who, or what; by user: empty for anonymous clients, null for what brokers announce")),
    credits: number("the credits that are bound"),
    percent: number("the part of the bank's capital"),
    messages: integer("messages that bind them; by client, each as often as it waits for him"),
    others: integer("by user, other znodes that bind them: sessions, subscriptions, wills"),
  }),
);
export type HolderRow = Of<typeof holderSchema>;

export const quoteSchema = named(
  "Quote",
  object({
    kept: nullable(word(["mailbox", "drop"], "for a session, or in a mail drop; null: wherever it is")),
    ttl_min: integer("the shortest time that it is kept, in seconds"),
    ttl_max: integer("the longest"),
    least: number("credits for the shortest"),
    most: number("credits for the longest"),
  }),
);
export type QuoteRow = Of<typeof quoteSchema>;

export const optionSchema = named(
  "Option",
  object({
    name: text("the long name"),
    value: raw<string | number | boolean | readonly string[]>({
      description: "the value",
      type: ["string", "number", "boolean", "array"],
      items: { type: "string" },
    }),
    source: word(["flag", "environment", "file", "default", "unknown"], "where it came from"),
  }),
);
export type OptionRow = Of<typeof optionSchema>;

export const certificateSchema = named(
  "Certificate",
  object({
    what: text("whose it is, or which list of revoked ones"),
    expires_at: nullable(time("when it ends; null: never")),
    days_left: nullable(integer("in how many days", {})),
  }),
);
export type CertificateRow = Of<typeof certificateSchema>;

export const banKinds = ["address", "user", "client"] as const;
export const banSchema = named(
  "Ban",
  object({
    kind: word(banKinds, "what is banned"),
    name: text("who"),
    seconds: nullable(integer("for how many more seconds; null: for good")),
  }),
);
export type BanRow = Of<typeof banSchema>;

export const changeSchema = named(
  "Change",
  object({
    number: integer("changes are numbered since the broker's start"),
    at: time("when"),
    who: text("the user; (token): by --http-token-file; (this machine): where there are no users"),
    from: text("the address"),
    what: text(
      "the operation, as the document calls it; what follows messages has a line when it begins, and one when it ends",
    ),
    on: table(text("a value"), "its parameters"),
    status: integer("how it was answered"),
    before: raw<unknown>({ description: "what it was before; null: there is nothing to say" }),
    after: raw<unknown>({ description: "what it is now; null: there is nothing to say" }),
  }),
);
export type ChangeRow = Of<typeof changeSchema>;

export const problemSchema = named(
  "Problem",
  partial(
    {
      type: text("always about:blank: the status says what kind of problem it is"),
      title: text("the status in words"),
      status: integer("the status"),
      detail: text("what is wrong, and what to do"),
    },
    ["type", "title", "status", "detail"],
  ),
);
