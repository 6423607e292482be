/** The API's view of this broker: its clients, their subscriptions, what is retained, how it is. */
import { isUtf8 } from "node:buffer";
import type { BrokerRow, LinkRow } from "../api/broker-rows.ts";
import type { Reading } from "../api/ports.ts";
import type {
  BankRow,
  BanRow,
  CertificateRow,
  ClientDetail,
  ClientRow,
  EventRow,
  OptionRow,
  QuoteRow,
  RefusalRow,
  RetainedMessageRow,
  RetainedRow,
  SubscriptionRow,
} from "../api/rows.ts";
import { milli, type Pricing, type Quote, quotesOf } from "../bank/price.ts";
import { decodeUtf8 } from "../base/bytes.ts";
import type { Broker } from "../broker/broker.ts";
import type { LiveEvent } from "../broker/core/live-events.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { RememberedRefusal } from "../broker/core/recent-refusals.ts";
import { version } from "../broker/core/version.ts";
import { memoryOf, nothingCounted, sessionMemoryOf } from "../broker/delivery/client-memory.ts";
import type { LocalSession } from "../broker/delivery/local-session.ts";
import type { Peer } from "../broker/peers/peer.ts";
import { holdersOf } from "../broker/publish/refusals.ts";
import { aheadOfStore } from "../coordinator/store-clock.ts";
import { topicOf } from "../mqtt/publish.ts";
import type { TlsIdentity } from "../net/tls.ts";
import type { DeviceProtocol } from "../net/transport.ts";
import type { RetainedMessage } from "../router/retained.ts";
import { explainOf } from "./api-explain.ts";
import { mailboxesOf } from "./api-mailbox.ts";
import type { StoreWalks } from "./api-store.ts";
import { traceOf } from "./api-trace.ts";
import { troublesOf } from "./api-troubles.ts";
import type { Health } from "./health.ts";
import type { History } from "./history.ts";
import { type WatchDoors, watchTopics } from "./topic-watch.ts";

/** The parts of the process beside the broker that are told of. */
export interface ViewParts {
  readonly broker: Broker;
  readonly health: Health;
  readonly history: History;
  readonly watching: WatchDoors;
  readonly identity: TlsIdentity | undefined;
  /** Returns the certificate that other brokers are shown; undefined: links are without TLS. */
  readonly linkIdentity: () => TlsIdentity | undefined;
  /** The options, and where each came from. */
  readonly options: readonly OptionRow[];
  readonly startedAt: number;
  readonly walks: StoreWalks;
  /** Returns true if a client of MQTT-SN was lost and has not come back. */
  readonly lostProtocol: (clientId: string) => DeviceProtocol | undefined;
}

const protocols = { 3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5.0" } as const;
/** Refusals that are told with one client. */
const refusalsOfClientMax = 20;
/** Holders of credits that are told. */
const holdersMax = 10;
const dayMs = 86_400_000;

/** Returns the view of a broker. */
export function viewOf(parts: ViewParts): Reading {
  const { broker, walks, lostProtocol } = parts;
  const { context } = broker;
  const { localSessions, retained, router, log } = context;
  return {
    id: context.options.id,
    broker: () => brokerRow(parts),
    *clients() {
      const refusals = lastRefusals(broker);
      for (const [name, client] of localSessions)
        yield { name, ...outlineOf(client), row: () => clientRow(client, refusals.get(name), lostProtocol) };
    },
    client(clientId) {
      const client = localSessions.get(clientId);
      return client && clientDetail(client, broker, lostProtocol);
    },
    ...mailboxesOf(broker),
    *subscriptions(clientId) {
      const only = clientId === undefined ? undefined : localSessions.get(clientId);
      const sessions = clientId === undefined ? localSessions.values() : only === undefined ? [] : [only];
      for (const client of sessions) yield* subscriptionRows(client);
    },
    *retained(filter) {
      for (const entry of retained.search(filter.split("/")))
        yield entry && { name: entry.topic, row: () => retainedRow(entry) };
    },
    retainedMessage(topic) {
      const entry = retained.get(topic);
      return entry && messageRow(entry);
    },
    published: () => router.topics(),
    publishedByClients: () => broker.publishers.topics(),
    history: (after) => parts.history.after(after),
    refusals: () => [...context.refused.all()].map((refusal) => refusalRow(refusal, context.options.id)),
    ...traceOf(broker),
    ...explainOf(broker),
    watch: (told) => context.events.watch((event) => told(eventRow(event, broker))),
    watchMessages: (filter, watcher) => watchTopics(parts.watching, filter, watcher),
    bank: () => bankRow(broker),
    stored: (wanted, visitor) => walks.stored(wanted, visitor),
    waiting: (rows, done) => walks.waiting(rows, done),
    holders: (by, visitor) => walks.holders(by, visitor),
    quotes: ({ bytes, ...how }) => quotesOf(bytes, how, pricingOf(context.options)).map(quoteRow),
    options: () => parts.options,
    certificates: () => certificatesOf(parts),
    bans: () => banRows(broker),
    logLevel: () => log.level,
  };
}

function certificatesOf({ broker, identity, linkIdentity }: ViewParts): CertificateRow[] {
  const now = broker.context.clock.wall();
  const ofLinks = linkIdentity();
  const shown = ofLinks && certificateRow("the certificate that other brokers are shown", ofLinks.expiresAt, now);
  return [...certificateRows(identity, now), ...(shown === undefined ? [] : [shown])];
}

function brokerRow(parts: ViewParts): BrokerRow {
  const { broker, health, startedAt } = parts;
  const { context } = broker;
  const { metrics, options, self, peers, localSessions, router, retained, log } = context;
  const checks = health.ready;
  const dropped = metrics.droppedBy;
  return {
    ...{ broker: options.id, version, started_at: timeOf(startedAt), host: options.advertise, port: options.port },
    ...{ link_port: options.zk === "" ? -1 : options.linkPort, epoch: self.epoch },
    ...{ draining: self.isDraining, ready: checks.every(({ ok }) => ok), checks },
    store: options.zk === "" ? "embedded" : "zookeeper",
    ...{ connections: metrics.connections, sessions: localSessions.size, subscriptions: router.subscriptions },
    ...{ retained: retained.clientsSize, messages_received: metrics.publishesReceived },
    messages_sent: metrics.publishesSent,
    messages_dropped: Object.values(dropped).reduce((sum, count) => sum + count, 0),
    ...{ dropped_by: dropped, refused_by: metrics.refusedBy, forbidden: { ...metrics.forbidden } },
    limits_reached: { ...metrics.beyondLimit },
    ...{ refused: metrics.refused, turned_away: { ...metrics.turnedAway }, logins_failed: metrics.loginsFailed },
    ...{ memory_bytes: process.memoryUsage.rss(), log_level: log.level },
    ...clockOf(aheadOfStore(context.machineClock, context.coordinator.storeTime)),
    troubles: [...troublesOf(broker, certificatesOf(parts))],
    links: [...peers.values()].map(linkRow),
  };
}

function linkRow({ id, facts, epoch, connection, pending, clockDifference, downSince, whyDown }: Peer): LinkRow {
  const isMember = epoch !== undefined;
  return {
    ...{ broker: id, version: facts?.version ?? null, member: isMember, up: connection !== undefined },
    ...{ draining: facts?.draining === true, unsettled: pending.size },
    ...{ down_since: downSince === undefined ? null : timeOf(downSince), why_down: whyDown ?? null },
    ...clockOf(clockDifference),
  };
}

function clockOf(of: Peer["clockDifference"]): Pick<LinkRow, "clock_ahead_ms" | "clock_within_ms"> {
  if (of === undefined) return { clock_ahead_ms: null, clock_within_ms: null };
  const rounded = (ms: number): number => Math.round(10 * ms) / 10;
  return { clock_ahead_ms: rounded(of.aheadMs), clock_within_ms: rounded(of.withinMs) };
}

/** Returns the last refusal of each client that is remembered. */
function lastRefusals({ context }: Broker): ReadonlyMap<string, RememberedRefusal> {
  const last = new Map<string, RememberedRefusal>();
  for (const refusal of context.refused.all()) if (refusal.clientId !== undefined) last.set(refusal.clientId, refusal);
  return last;
}

function outlineOf({ connection, user }: LocalSession): Pick<ClientRow, "user" | "connected" | "address" | "listener"> {
  return {
    user: user === "" ? null : user,
    connected: connection !== undefined,
    address: connection?.transport.remote ?? null,
    listener: connection === undefined ? null : connection.listener === "" ? "other" : connection.listener,
  };
}

function clientRow(
  client: LocalSession,
  refusal: RememberedRefusal | undefined,
  lostProtocol: ViewParts["lostProtocol"],
): ClientRow {
  const { session, connection, user, context, mailbox } = client;
  const { version: spoken, expiryInterval, neverExpires } = session;
  const state = stateOf(client, lostProtocol);
  return {
    ...{ broker: context.options.id, client_id: session.clientId, ...outlineOf(client) },
    protocol: connection?.transport.deviceProtocol ?? (state && lostProtocol(session.clientId)) ?? protocols[spoken],
    state,
    keep_alive: connection === undefined ? null : connection.channel.silenceMs / 1500,
    connected_at: connection === undefined ? null : timeOf(connection.openedAt),
    session_expiry: neverExpires ? null : expiryInterval,
    session_ends_at: endOf(client),
    ...{ subscriptions: session.subscriptions.size, in_flight: client.inflightCount },
    queued_bytes: client.queueMemoryBytes,
    mailbox: mailbox === undefined ? null : Math.max(0, mailbox.count),
    credits: context.bankAccount.account.shares.heldByClient(user, session.clientId) / milli,
    ...ratesOf(client),
    last_refusal: refusal === undefined ? null : lastOf(refusal),
  };
}

function endOf({ endsAt, connection, context: { clock } }: LocalSession): string | null {
  return connection !== undefined || endsAt === Infinity ? null : timeOf(clock.wall() + endsAt - clock.now());
}

function ratesOf({
  connection,
  context,
}: LocalSession): Pick<ClientRow, `${"messages" | "bytes"}_${"in" | "out"}_per_second`> {
  const rates = connection?.traffic.rates(context.clock.now(), connection.writer.taken);
  const rounded = (rate: number | undefined): number | null => (rate === undefined ? null : Math.round(10 * rate) / 10);
  return {
    messages_in_per_second: rounded(rates?.messagesIn),
    messages_out_per_second: rounded(rates?.messagesOut),
    bytes_in_per_second: rounded(rates?.bytesIn),
    bytes_out_per_second: rounded(rates?.bytesOut),
  };
}

/** Returns the state of a device of MQTT-SN; null: it is none, or has left. */
function stateOf({ session, connection }: LocalSession, lostProtocol: ViewParts["lostProtocol"]): ClientRow["state"] {
  if (connection !== undefined) return connection.transport.deviceState ?? null;
  return lostProtocol(session.clientId) ? "lost" : null;
}

function lastOf({ at, kind, reason }: RememberedRefusal): ClientRow["last_refusal"] {
  return { at: timeOf(at), kind, reason };
}

function clientDetail(client: LocalSession, broker: Broker, lostProtocol: ViewParts["lostProtocol"]): ClientDetail {
  const { session, connection, will, context } = client;
  const refusals = [...context.refused.all()].filter(({ clientId }) => clientId === session.clientId).reverse();
  const ends = connection?.transport.certificate?.expiresAt ?? Infinity;
  return {
    ...clientRow(client, refusals[0], lostProtocol),
    memory_bytes: Math.round(
      connection === undefined ? sessionMemoryOf(client) : memoryOf(connection, nothingCounted()),
    ),
    will_topic: will === undefined ? null : topicOf(will.publish),
    certificate_expires_at: ends === Infinity ? null : timeOf(ends),
    receive_paused: connection?.isHeld === true,
    refusals: refusals.slice(0, refusalsOfClientMax).map((one) => refusalRow(one, broker.context.options.id)),
  };
}

function* subscriptionRows({ session, context }: LocalSession): Generator<SubscriptionRow> {
  for (const { filter, qos, noLocal, retainAsPublished, retainHandling, id } of session.subscriptions.values())
    yield {
      ...{ broker: context.options.id, client_id: session.clientId, filter: filter.text, qos, no_local: noLocal },
      ...{ retain_as_published: retainAsPublished, retain_handling: retainHandling, identifier: id === 0 ? null : id },
    };
}

function retainedRow({ topic, publish, origin }: RetainedMessage): RetainedRow {
  const { qos, payloadLength, expiresAt, payer } = publish;
  return {
    ...{ topic, qos, payload_bytes: payloadLength, expires_at: expiresAt === Infinity ? null : timeOf(expiresAt) },
    ...{ user: payer === "" ? null : payer, client_id: origin?.clientId ?? null, broker: origin?.broker ?? null },
    retained_at: origin?.at === undefined ? null : timeOf(origin.at),
  };
}

function messageRow(entry: RetainedMessage): RetainedMessageRow {
  const { payloadBytes, payloadStart, payloadEnd } = entry.publish;
  const payload = payloadBytes.subarray(payloadStart, payloadEnd);
  return {
    ...retainedRow(entry),
    payload: textOf(payload),
    payload_base64: Buffer.from(payload).toString("base64"),
  };
}

/** Returns a payload as text; null if it is no UTF-8. */
function textOf(payload: Uint8Array): string | null {
  return isUtf8(payload) ? decodeUtf8(payload, 0, payload.length) : null;
}

function refusalRow(refusal: RememberedRefusal, broker: string): RefusalRow {
  const { number, at, times, kind, cause, reason, clientId, remote } = refusal;
  const whose = { client_id: clientId ?? null, address: remote ?? null };
  return { broker, number, at: timeOf(at), times, kind, cause, reason, ...whose };
}

function eventRow(event: LiveEvent, { context }: Broker): EventRow {
  const { kind } = event;
  const broker = context.options.id;
  if (kind === "refused") {
    const { at, reason, client_id, address } = refusalRow(event.refusal, broker);
    return { kind, broker, at, client_id, user: null, address, reason };
  }
  const { clientId, user, remote, reason } = event;
  const at = timeOf(context.clock.wall());
  const whose = { client_id: clientId, user: user === "" ? null : user, address: remote };
  return { kind, broker, at, ...whose, reason: reason === "" ? null : reason };
}

function pricingOf({ bankTtlMin, bankTtlMax, bankTtl }: BrokerOptions): Pricing {
  return { ttlMinMs: bankTtlMin * 1000, ttlMaxMs: bankTtlMax * 1000, ttl: bankTtl };
}

function quoteRow({ keeping, ttlMin, ttlMax, least, most }: Quote): QuoteRow {
  return { kept: keeping ?? null, ttl_min: ttlMin, ttl_max: ttlMax, least: least / milli, most: most / milli };
}

function bankRow({ context }: Broker): BankRow {
  const { bankAccount, options } = context;
  const { account, capital, vault } = bankAccount;
  return {
    ...{ broker: options.id, capital: capital / milli, vault: vault / milli, open: account.isOpen },
    ...{ granted: account.grant / milli, bound: account.bound / milli, messages: account.messages },
    share_percent: account.shares.percent,
    holders: holdersOf(context, holdersMax),
  };
}

function certificateRows(identity: TlsIdentity | undefined, now: number): CertificateRow[] {
  if (identity === undefined) return [];
  const lists = identity.revocations?.lists ?? [];
  return [
    certificateRow("the broker's certificate", identity.expiresAt, now),
    ...lists.map(({ endsAt }, index) => certificateRow(`list ${index + 1} of revoked certificates`, endsAt, now)),
  ];
}

function certificateRow(what: string, at: number, now: number): CertificateRow {
  if (at === Infinity) return { what, expires_at: null, days_left: null };
  return { what, expires_at: timeOf(at), days_left: Math.floor((at - now) / dayMs) };
}

function banRows({ bans, context }: Broker): BanRow[] {
  const passing = [...bans.list(context.clock.now())].map(({ kind, name, ms }) => ({
    ...{ kind, name, seconds: Math.ceil(ms / 1000) },
  }));
  return [...passing, ...bans.lasting.entries.map(({ kind, name }) => ({ kind, name, seconds: null }))];
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
