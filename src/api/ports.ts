/** The ports of the API: what it reads of a broker, and what it has the broker do. */

import type { BrokerRow, SampleRow } from "./broker-rows.ts";
import type { FindingRow } from "./explain-rows.ts";
import type { Problem } from "./problem.ts";
import type {
  BankRow,
  BanRow,
  CertificateRow,
  ClientDetail,
  ClientRow,
  EventRow,
  HolderKind,
  HolderRow,
  OptionRow,
  QuoteRow,
  RefusalRow,
  RetainedMessageRow,
  RetainedRow,
  StoredRow,
  SubscriptionRow,
  WaitingRow,
} from "./rows.ts";

import type { TraceRow } from "./trace-rows.ts";

/** A thing with a name, whose row is made when it is needed. */
export interface Entry<Row> {
  readonly name: string;
  readonly row: () => Row;
}

/** The stored messages that are wanted. */
export interface WantedMessages {
  /** A topic filter; undefined: all topics. */
  readonly filter: string | undefined;
  /** Only what waits for this client. */
  readonly clientId: string | undefined;
  /** Only what comes after this place in the store's order; "": from the beginning. */
  readonly after: string;
}

/** Takes what a walk over the store finds, a page of the store at a time, and is told its end. */
export interface StoreVisitor<Item> {
  /**
   * Calls `goOn` to be told the next, or with false if that is enough. `ahead`: the place in the store's order at which
   * all lies, or behind it, that is still to come; undefined: that is not known.
   */
  readonly found: (items: Iterable<Item>, ahead: string | undefined, goOn: (isWanted: boolean) => void) => void;
  readonly done: (problem: Problem | undefined) => void;
}

/** A stored message, with its place in the store's order. */
export interface FoundMessage {
  readonly place: string;
  readonly row: StoredRow;
}

/** A client, and what is known of it without making its row: most are left out by that alone. */
export interface ClientEntry extends Entry<ClientRow>, Pick<ClientRow, "user" | "address" | "connected" | "listener"> {}

/** A message as it passes by. */
export interface SeenMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
}

/** Looks on as messages are published. `ended` is called once, unless the watcher has ended it himself. */
export interface MessageWatcher {
  readonly seen: (message: SeenMessage) => void;
  readonly ended: (why: string) => void;
}

/** All that is read of one broker. Iterables may be walked over several turns, in which things come and go. */
/** The question why a client does not get messages on a topic. */
export interface AskedDelivery {
  readonly clientId: string;
  readonly topic: string;
  /** How many messages are stored for it, where that was counted; undefined: as far as the broker knows. */
  readonly waiting: number | undefined;
}

export interface Reading {
  /** The broker's id. */
  readonly id: string;
  broker(): BrokerRow;
  clients(): Iterable<ClientEntry>;
  /** Undefined: there is no session of that client here. */
  client(clientId: string): ClientDetail | undefined;
  /** Messages in a client's mailbox, in the order in which they are sent. */
  mailbox(clientId: string, wanted: WantedMail, done: (page: MailPage | Problem) => void): void;
  /**
   * Counts in the store what waits for clients that are away: other brokers store there, too. `done` is told the counts
   * by client ids; those of whom nothing is known, since the store does not answer, are left out.
   */
  countMail(clientIds: readonly string[], done: (counts: ReadonlyMap<string, number>) => void): void;
  /** The subscriptions of one client, or of all. */
  subscriptions(clientId: string | undefined): Iterable<SubscriptionRow>;
  /** Retained messages that match a filter; undefined: a step that has found none. */
  retained(filter: string): Iterable<Entry<RetainedRow> | undefined>;
  retainedMessage(topic: string): RetainedMessageRow | undefined;
  /** Topics below `prefix` that were lately published on here; all, if it is undefined. */
  published(): Iterable<string>;
  /** Topics on which this broker's clients publish, as they are registered: new ones within seconds. */
  publishedByClients(): Iterable<string>;
  /** Samples of the last hour that were taken after a point in time, in ms since 1970. */
  history(after: number): Iterable<SampleRow>;
  refusals(): readonly RefusalRow[];
  /** Has events told as they happen; returns what ends that. */
  watch(told: (event: EventRow) => void): () => void;
  /** Tells what this broker knows of why a client does not get messages on a topic. */
  explainDelivery(asked: AskedDelivery): readonly FindingRow[] | Problem;
  /** Tells what becomes of messages on a topic here; `publisher`: only of this client's. */
  explainMessage(asked: {
    readonly topic: string;
    readonly publisher: string | undefined;
  }): readonly FindingRow[] | Problem;
  /** Has what is wanted told as it happens; returns what ends that. */
  follow(wanted: TraceWanted, told: (row: TraceRow) => void): () => void;
  /** Says why something is not followed; undefined: it can be. */
  whyNotFollowed(wanted: TraceWanted): Problem | undefined;
  /** Does something after a while; returns what cancels that. */
  later(ms: number, go: () => void): () => void;
  /** The present time, as rows have it. */
  now(): string;
  /** Has messages told that match a filter, at whichever broker they are published; returns what ends that. */
  watchMessages(filter: string, watcher: MessageWatcher): () => void;
  bank(): BankRow;
  /** Stored messages, of all brokers. */
  stored(wanted: WantedMessages, visitor: StoreVisitor<FoundMessage>): void;
  /** Tells for how many clients each of some messages waits, by its path. */
  waiting(rows: readonly StoredRow[], done: (waiting: ReadonlyMap<string, number> | Problem) => void): void;
  /** Holders of credits, of all brokers, each once. */
  holders(by: HolderKind, visitor: StoreVisitor<HolderRow>): void;
  /** The prices of a message of so many bytes; `ttl`: its Message Expiry Interval in seconds. */
  quotes(message: {
    readonly bytes: number;
    readonly topic: string;
    readonly ttl: number | undefined;
  }): readonly QuoteRow[];
  options(): readonly OptionRow[];
  certificates(): readonly CertificateRow[];
  bans(): readonly BanRow[];
  logLevel(): string;
}

/** The clients and messages that are to be followed: those to which all of this applies. */
export interface TraceWanted {
  readonly clientId: string | undefined;
  readonly user: string | undefined;
  /** An address, or a range of them. */
  readonly address: string | undefined;
  /** A topic filter. */
  readonly topic: string | undefined;
  readonly payloadBytes: number;
}

/** The messages that are wanted of a mailbox: so many, after the one of that name. */
export interface WantedMail {
  readonly after: string;
  readonly limit: number;
}

export interface MailPage {
  readonly items: readonly WaitingRow[];
  /** The name after which the next page begins; null: this is the last one. */
  readonly next: string | null;
  /** How many there are in the mailbox. */
  readonly total: number;
}

/** Numbers of messages: dropped of a mailbox; kept, since its client may hold them (QoS 2); not looked at. */
export interface Dropped {
  readonly dropped: number;
  readonly kept: number;
  readonly remaining: number;
}

/** The stored messages that are to be dropped, and whether they are only counted. */
export interface UnwantedMail extends Pick<WantedMessages, "filter" | "clientId"> {
  readonly isDryRun: boolean;
}

export interface DroppedMessages {
  /** How many there are. */
  readonly matched: number;
  readonly dropped: number;
  /** The paths of the first. */
  readonly paths: readonly string[];
}

/** A message that the operator publishes. */
export interface OperatorMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

/** Told the end of something: a problem if it was not done. */
export type Told = (problem: Problem | undefined) => void;

/** All that one broker is asked to do. */
export interface Acting {
  /** Ends the connection of a client. Returns false if it is not connected here. */
  disconnect(clientId: string): boolean;
  endSession(clientId: string, told: Told): void;
  /** Drops what waits in the mailbox of a client that is away. */
  dropMailbox(clientId: string, done: (dropped: Dropped | Problem) => void): void;
  /** Drops stored messages, so many at once. */
  dropStored(unwanted: UnwantedMail, done: (dropped: DroppedMessages | Problem) => void): void;
  publish(message: OperatorMessage, told: Told): void;
  /** Raises the bank's capital by credits, or lowers it; `done` is told the capital, in credits. */
  changeCapital(credits: number, done: (capital: number | Problem) => void): void;
  /** Begins to remove what has outlived its time. */
  sweep(): Problem | undefined;
  /** Begins to send clients to other brokers. */
  drain(): Problem | undefined;
  /** Bans somebody for good, or lifts a ban of any kind. */
  ban(kind: BanRow["kind"], name: string): Problem | undefined;
  liftBan(kind: BanRow["kind"], name: string): Problem | undefined;
  /** Sets what is logged. */
  setLogLevel(level: string): void;
}

/** The other brokers of the cluster. */
export interface Others {
  /** Each, and why it cannot be asked now; undefined: it can. */
  list(): readonly { readonly id: string; readonly whyNot: string | undefined }[];
  /** Asks one; `done` is called once, with undefined if no answer comes in time. */
  ask(id: string, question: string, done: (answer: string | undefined) => void): void;
}
