/** The ports of the API: what it reads of a broker, and what it has the broker do. */
import type {
  BankRow,
  BanRow,
  BrokerRow,
  CertificateRow,
  ClientDetail,
  ClientRow,
  OptionRow,
  RefusalRow,
  RetainedMessageRow,
  RetainedRow,
  SubscriptionRow,
} from "./rows.ts";

/** A thing with a name, whose row is made when it is needed. */
export interface Entry<Row> {
  readonly name: string;
  readonly row: () => Row;
}

/** All that is read of one broker. Iterables may be walked over several turns, in which things come and go. */
export interface Reading {
  /** The broker's id. */
  readonly id: string;
  broker(): BrokerRow;
  clients(): Iterable<Entry<ClientRow>>;
  /** Undefined: there is no session of that client here. */
  client(clientId: string): ClientDetail | undefined;
  /** The subscriptions of one client, or of all. */
  subscriptions(clientId: string | undefined): Iterable<SubscriptionRow>;
  /** Retained messages that match a filter; undefined: a step that has found none. */
  retained(filter: string): Iterable<Entry<RetainedRow> | undefined>;
  retainedMessage(topic: string): RetainedMessageRow | undefined;
  /** Topics below `prefix` that were lately published on here; all, if it is undefined. */
  published(): Iterable<string>;
  refusals(): readonly RefusalRow[];
  bank(): BankRow;
  options(): readonly OptionRow[];
  certificates(): readonly CertificateRow[];
  bans(): readonly BanRow[];
  logLevel(): string;
}

/** All that one broker is asked to do. */
export interface Acting {
  /** Ends the connection of a client. Returns false if it is not connected here. */
  disconnect(clientId: string): boolean;
  /** Sets what is logged. */
  setLogLevel(level: string): void;
}
