/**
 * The broker's counters as metrics: names, units and labels by Prometheus' conventions, whoever asks for them. Values
 * are read when they are asked for; counting itself stays plain numbers.
 */

import type { Bans } from "../access/bans.ts";
import { milli } from "../bank/price.ts";
import type { Histogram } from "../base/histogram.ts";
import type { Broker } from "../broker/broker.ts";
import { version } from "../broker/core/version.ts";
import type { ClusterContext } from "../broker/peers/cluster-context.ts";
import type { Peer } from "../broker/peers/peer.ts";
import { aheadOfStore } from "../coordinator/store-clock.ts";
import { describeReason } from "../mqtt/reason.ts";
import type { Gateway } from "../mqttsn/gateway.ts";
import type { TlsIdentity } from "../net/tls.ts";
import type { ShownCertificates } from "./certificate-watch.ts";
import { openFiles, openFilesMax } from "./process-files.ts";
import { firstToEnd } from "./revocation-watch.ts";

export type Labels = Record<string, string>;

/** One value of a metric. */
export interface Sample {
  readonly value: number;
  readonly labels?: Labels;
  /** The sample's own metric name, if it is not the family's. */
  readonly metricName?: string;
}

/** A metric with its description, and how to read its samples. */
export interface Family {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly samples: () => readonly Sample[];
}

/** Returns a single sample. */
const plain = (value: number): readonly Sample[] => [{ value }];
/** Returns a single sample, or none where the value is not known. */
const some = (value: number | undefined): readonly Sample[] => (value === undefined ? [] : plain(value));
/** Returns a sample for each value, told apart by one label. */
export const labelled = (label: string, values: Record<string, number>): readonly Sample[] =>
  Object.entries(values).map(([name, value]) => ({ value, labels: { [label]: name } }));
const by = labelled;

/** Returns the metrics of a broker. `tls`: the certificates that are shown to clients and to other brokers. */
export function familiesOf(
  { context, bans }: Pick<Broker, "context" | "bans">,
  tls: ShownCertificates,
): readonly Family[] {
  const ofAll = [...trafficOf(context), ...stateOf(context), ...storeOf(context), ...processOf(context)];
  return [...ofAll, ...doorsOf(context, bans, tls)];
}

function counter(name: string, help: string, samples: () => readonly Sample[]): Family {
  return { name, type: "counter", help, samples };
}

function gauge(name: string, help: string, samples: () => readonly Sample[]): Family {
  return { name, type: "gauge", help, samples };
}

/** Returns a histogram. `unit`: the number of our units in one of Prometheus', such as 1000 ms in a second. */
function histogram(name: string, help: string, of: Histogram, unit = 1000): Family {
  return { name, type: "histogram", help, samples: () => samplesOf(name, of, { unit }) };
}

/** Returns a histogram for each of several, told apart by one label. */
function histogramsBy(
  name: string,
  help: string,
  { label, of }: { label: string; of: Record<string, Histogram> },
): Family {
  const samples = () =>
    Object.entries(of).flatMap(([value, one]) => samplesOf(name, one, { unit: 1000, labels: { [label]: value } }));
  return { name, type: "histogram", help, samples };
}

function samplesOf(name: string, of: Histogram, { unit, labels = {} }: { unit: number; labels?: Labels }): Sample[] {
  let below = 0;
  const buckets = of.counts.map((count, at): Sample => {
    below += count;
    const le = at < of.ends.length ? String(of.ends[at]! / unit) : "+Inf";
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: of.sum / unit },
    { metricName: `${name}_count`, labels, value: of.count },
  ];
}

/** Returns the metrics of packets and connections. */
function trafficOf({ metrics, turn }: ClusterContext): readonly Family[] {
  const byQos = (all: number, one: number, two: number) => by("qos", { 0: all - one - two, 1: one, 2: two });
  return [
    counter("mqttzoo_connections_opened_total", "Connections that clients have opened.", () =>
      plain(metrics.connectionsTotal),
    ),
    counter("mqttzoo_messages_received_total", "PUBLISH packets from clients.", () =>
      byQos(metrics.publishesReceived, metrics.receivedQoS1, metrics.receivedQoS2),
    ),
    counter("mqttzoo_messages_sent_total", "PUBLISH packets to clients.", () =>
      byQos(metrics.publishesSent, metrics.sentQoS1, metrics.sentQoS2),
    ),
    counter("mqttzoo_messages_dropped_total", "Deliveries that were given up.", () => by("reason", metrics.droppedBy)),
    counter("mqttzoo_messages_refused_total", "Publishes that were refused and have reached nobody.", () =>
      by("reason", metrics.refusedBy),
    ),
    counter("mqttzoo_wills_refused_total", "Wills that were due and have reached nobody.", () =>
      plain(metrics.willsRefused),
    ),
    counter("mqttzoo_messages_forwarded_total", "Messages handed to other brokers.", () => plain(metrics.forwarded)),
    counter("mqttzoo_messages_arrived_total", "Messages taken from other brokers.", () => plain(metrics.arrived)),
    counter("mqttzoo_received_bytes_total", "Bytes from clients.", () => plain(metrics.bytesReceived)),
    counter("mqttzoo_sent_bytes_total", "Bytes to clients and other brokers.", () => plain(turn.bytesWritten)),
    counter("mqttzoo_protocol_errors_total", "Connections closed for breaking the protocol, or a limit of it.", () =>
      [...metrics.protocolErrors].map(([reason, value]) => ({ value, labels: { reason: describeReason(reason) } })),
    ),
    histogram(
      "mqttzoo_fanout_receivers",
      "Receivers of a PUBLISH: sessions here, and elsewhere brokers or persistent sessions.",
      metrics.fanout,
      1,
    ),
    histogramsBy(
      "mqttzoo_publish_ack_seconds",
      "From a PUBLISH at QoS 1 or 2 to its PUBACK or PUBREC, by what that waited for: nothing or brokers (live), clients of persistent sessions (acknowledged_through), the store (stored).",
      {
        label: "path",
        of: {
          live: metrics.acking.live,
          acknowledged_through: metrics.acking.through,
          stored: metrics.acking.stored,
        },
      },
    ),
  ];
}

/** Returns the metrics of what the broker holds now. */
function stateOf(context: ClusterContext): readonly Family[] {
  const { metrics, localSessions, router, retained, peers, options, self, turns } = context;
  return [
    gauge("mqttzoo_build_info", "Always 1, with the version and the name of the broker.", () => [
      { value: 1, labels: { version, broker: options.id } },
    ]),
    gauge("mqttzoo_connections", "Connections of clients.", () => plain(metrics.connections)),
    gauge("mqttzoo_sessions", "Sessions that this broker keeps, with or without their clients.", () =>
      plain(localSessions.size),
    ),
    gauge("mqttzoo_subscriptions", "Subscriptions that this broker routes by, of the whole cluster.", () =>
      plain(router.subscriptions),
    ),
    gauge("mqttzoo_retained_messages", "Retained messages.", () => plain(retained.size)),
    gauge("mqttzoo_retained_bytes", "Bytes of retained messages, in memory.", () => plain(retained.bytes)),
    gauge("mqttzoo_link_up", "1 if the link to another broker is up.", () =>
      [...peers.values()]
        .filter(({ epoch }) => epoch !== undefined)
        .map(({ id, isLinked }) => ({ value: isLinked ? 1 : 0, labels: { peer: id } })),
    ),
    ...clocksOf(context),
    gauge("mqttzoo_link_unsettled", "Deliveries that another broker has not settled.", () =>
      [...peers.values()].map(({ id, pending }) => ({ value: pending.size, labels: { peer: id } })),
    ),
    gauge("mqttzoo_mailbox_messages", "Messages in the mailboxes of sessions that this broker keeps.", () => {
      let messages = 0;
      for (const { mailbox } of localSessions.values()) messages += mailbox?.count ?? 0;
      return plain(messages);
    }),
    histogram("mqttzoo_turn_seconds", "The processor's time of each turn of the event loop.", turns.times),
    gauge("mqttzoo_mailboxes_nearly_full", "Mailboxes filled to 80 % of --max-queued, as far as known here.", () =>
      plain(metrics.mailboxesHigh),
    ),
    counter("mqttzoo_sessions_ended_total", "Sessions of this broker that were ended for their full mailboxes.", () =>
      plain(metrics.sessionsEnded),
    ),
    counter("mqttzoo_sessions_expired_total", "Sessions of this broker whose clients did not come back in time.", () =>
      plain(metrics.sessionsExpired),
    ),
    histogram("mqttzoo_event_loop_lag_seconds", "How late the event loop was, twice a second.", metrics.lag),
    gauge("mqttzoo_draining", "1 while clients are sent to other brokers.", () => plain(self.isDraining ? 1 : 0)),
  ];
}

/** Returns by how much clocks of other machines differ from this one's. */
function clocksOf({ peers, coordinator, machineClock }: ClusterContext): readonly Family[] {
  const ofLinks = (value: (difference: NonNullable<Peer["clockDifference"]>) => number): readonly Sample[] =>
    [...peers.values()].flatMap(({ id, clockDifference }) =>
      clockDifference === undefined ? [] : [{ value: value(clockDifference) / 1000, labels: { peer: id } }],
    );
  return [
    gauge(
      "mqttzoo_link_clock_ahead_seconds",
      "By how much the clock of another broker's machine is ahead of this one's; below 0: behind.",
      () => ofLinks(({ aheadMs }) => aheadMs),
    ),
    gauge("mqttzoo_link_clock_uncertainty_seconds", "The most by which that measurement may be wrong.", () =>
      ofLinks(({ withinMs }) => withinMs),
    ),
    gauge("mqttzoo_store_clock_ahead_seconds", "By how much this machine's clock is ahead of ZooKeeper's.", () => {
      const ahead = aheadOfStore(machineClock, coordinator.storeTime);
      return ahead === undefined ? [] : plain(ahead.aheadMs / 1000);
    }),
  ];
}

/** Returns the metrics of clients that are kept out or slowed down. */
function doorsOf(
  { metrics, turn }: ClusterContext,
  bans: Bans,
  { tls, linkTls }: ShownCertificates,
): readonly Family[] {
  return [
    counter("mqttzoo_connections_refused_total", "Connections turned away, by the limit that they met.", () =>
      by("limit", metrics.turnedAway),
    ),
    counter("mqttzoo_logins_failed_total", "Logins refused.", () => plain(metrics.loginsFailed)),
    counter("mqttzoo_bans_total", "Addresses and users banned for failed logins.", () => plain(bans.total)),
    counter("mqttzoo_forbidden_total", "What the access list has not allowed.", () => by("action", metrics.forbidden)),
    counter(
      "mqttzoo_slowed_down_total",
      "Times that a client sent more than it may, and was not read for a while.",
      () => plain(metrics.slowedDown),
    ),
    counter("mqttzoo_limit_reached_total", "Subscriptions and retained messages refused for their number.", () =>
      by("limit", metrics.beyondLimit),
    ),
    gauge("mqttzoo_memory_bytes", "Memory, as counted: of all clients, and of the user, or address, with most.", () =>
      by("of", { clients: metrics.memory.clients, largest: metrics.memory.largest }),
    ),
    gauge("mqttzoo_memory_limit_bytes", "Memory that the process may have; 0: no limit.", () =>
      plain(metrics.memory.limit),
    ),
    gauge("mqttzoo_memory_refused", "Users and addresses that are refused now, since memory is short.", () =>
      plain(metrics.memory.refused),
    ),
    counter("mqttzoo_memory_collections_total", "Collections of garbage, since memory was short.", () =>
      plain(metrics.memory.collections),
    ),
    gauge("mqttzoo_queue_bytes", "Bytes that wait in memory for clients.", () =>
      by("where", { queue: metrics.queuedBytes, output: turn.unsent }),
    ),
    ...(linkTls === undefined
      ? []
      : [
          gauge(
            "mqttzoo_link_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that other brokers are shown ends.",
            () => plain(linkTls.expiresAt / 1000),
          ),
        ]),
    ...(tls === undefined
      ? []
      : [
          gauge("mqttzoo_tls_certificate_expiry_timestamp_seconds", "When the broker's certificate ends.", () =>
            plain(tls.expiresAt / 1000),
          ),
          ...crlOf(tls),
          counter("mqttzoo_tls_handshakes_failed_total", "TLS handshakes that have failed.", () => plain(tls.failures)),
        ]),
  ];
}

/** Returns the metric of lists of revoked certificates, where there are any that end. */
function crlOf({ revocations }: TlsIdentity): readonly Family[] {
  if (revocations === undefined) return [];
  const first = (): number => firstToEnd(revocations.lists)?.endsAt ?? Infinity;
  const help = "When the first of the lists of revoked certificates ends.";
  return [gauge("mqttzoo_tls_crl_expiry_timestamp_seconds", help, () => plain(first() / 1000))];
}

/** Returns the metrics of the store and the bank. */
function storeOf({ journal, mail, coordinator, bankAccount, self, strangers }: ClusterContext): readonly Family[] {
  const { account } = bankAccount;
  return [
    gauge("mqttzoo_store_connected", "1 if there is contact with the store: ZooKeeper, or the embedded one.", () =>
      plain(coordinator.state === "CONNECTED" ? 1 : 0),
    ),
    gauge("mqttzoo_store_fenced", "1 if contact was lost for so long that persistent sessions are not served.", () =>
      plain(self.isFenced ? 1 : 0),
    ),
    counter("mqttzoo_store_damaged_records_total", "Records found damaged since the start, and not served.", () =>
      plain(coordinator.damagedRecords ?? 0),
    ),
    gauge("mqttzoo_store_strangers", "Znodes that are not ours, or newer than what this broker reads.", () =>
      plain(strangers.count),
    ),
    gauge("mqttzoo_store_pending_commits", "Units that wait to be committed.", () => plain(journal.pendingUnits)),
    counter("mqttzoo_store_repairs_total", "Units that the store refused as they were, and that were tried anew.", () =>
      plain(journal.repairs),
    ),
    histogram("mqttzoo_store_commit_seconds", "From a unit's submission to its commit.", journal.latency),
    counter("mqttzoo_messages_stored_total", "Messages committed to mailboxes and mail drops.", () =>
      plain(mail.stored),
    ),
    gauge("mqttzoo_bank_capital_credits", "The bank's capital, as far as this broker knows.", () =>
      plain(bankAccount.capital / milli),
    ),
    gauge("mqttzoo_bank_vault_credits", "What nobody needs now.", () => plain(bankAccount.vault / milli)),
    gauge("mqttzoo_bank_granted_credits", "What this broker's branch has been granted.", () =>
      plain(account.grant / milli),
    ),
    gauge("mqttzoo_bank_bound_credits", "What its messages bind.", () => plain(account.bound / milli)),
    gauge("mqttzoo_bank_messages", "Messages that it pays for.", () => plain(account.messages)),
    gauge("mqttzoo_bank_share_ratio", "The part of the capital that one user may bind, from 0 to 1.", () =>
      plain(account.shares.percent / 100),
    ),
    gauge("mqttzoo_bank_users_at_share", "Users whose share is used up here.", () =>
      plain(account.shares.countSpent()),
    ),
    gauge("mqttzoo_bank_largest_user_credits", "What things of the user bind here who holds the most.", () =>
      plain(account.shares.largest() / milli),
    ),
  ];
}

/** Returns what every process tells, by the names that Prometheus has for it. */
function processOf({ clock }: ClusterContext): readonly Family[] {
  const startedAt = clock.wall() - process.uptime() * 1000;
  return [
    gauge("process_start_time_seconds", "When the process was started, in seconds since 1970.", () =>
      plain(startedAt / 1000),
    ),
    gauge("process_open_fds", "Open files and connections.", () => some(openFiles())),
    gauge("process_max_fds", "Files and connections that may be open at once.", () => some(openFilesMax())),
    gauge("process_resident_memory_bytes", "Resident memory.", () => plain(process.memoryUsage.rss())),
    counter("process_cpu_seconds_total", "CPU time, user and system.", () => {
      const { user, system } = process.cpuUsage();
      return plain((user + system) / 1e6);
    }),
  ];
}

/** Returns the metrics of MQTT-SN. */
export function gatewayFamilies(gateway: Gateway<unknown>): readonly Family[] {
  const { metrics } = gateway;
  return [
    gauge("mqttzoo_sn_clients", "Clients of MQTT-SN, by whether they sleep.", () => {
      const { clients, sleeping } = gateway;
      return by("state", { awake: clients - sleeping, asleep: sleeping });
    }),
    counter("mqttzoo_sn_datagrams_total", "Datagrams of MQTT-SN.", () =>
      by("way", { received: metrics.received, sent: metrics.sent }),
    ),
    counter("mqttzoo_sn_dropped_total", "What was not handled of MQTT-SN: datagrams, messages, clients.", () =>
      by("why", {
        malformed: metrics.malformed,
        too_large: metrics.tooLarge,
        queue_full: metrics.dropped,
        doubled: metrics.doubled,
        congestion: metrics.congested,
        refused: metrics.refused,
        client_lost: metrics.lost,
      }),
    ),
    counter("mqttzoo_sn_retransmissions_total", "Messages of MQTT-SN that were sent again, or after a challenge.", () =>
      by("why", { unanswered: metrics.retransmitted, unproven: metrics.challenged }),
    ),
  ];
}
