/** The broker's counters. They are plain numbers, for counting must cost nothing on the fast path. */

import { fanoutEnds, Histogram, timeEnds } from "../../base/histogram.ts";

/** Counters of one broker since its start, and a few gauges. Prometheus, `$SYS` and the log read them. */
export class Metrics {
  /** Network connections that are open now, the most there were at once, and all since the start. */
  connections = 0;
  connectionsMaximum = 0;
  connectionsTotal = 0;
  bytesReceived = 0;
  /** CONNECT packets received, and packets of any type; the bytes of payloads in PUBLISH packets. */
  connectsReceived = 0;
  packetsReceived = 0;
  payloadBytesReceived = 0;
  /** The bytes of payloads in PUBLISH packets that were sent to clients. */
  payloadBytesSent = 0;
  /** PUBLISH packets received from clients: at any QoS, and of them those at QoS 1 and QoS 2. */
  publishesReceived = 0;
  receivedQoS1 = 0;
  receivedQoS2 = 0;
  /** PUBLISH packets sent to clients: at any QoS, and of them those at QoS 1 and QoS 2. */
  publishesSent = 0;
  sentQoS1 = 0;
  sentQoS2 = 0;
  /**
   * Time from a QoS 1 or 2 publish that was taken to its PUBACK or PUBREC, in ms, by what that waited for
   * (`mail/settlement.ts`).
   */
  readonly acking = {
    live: new Histogram(timeEnds),
    through: new Histogram(timeEnds),
    stored: new Histogram(timeEnds),
  };
  /** Delay of the event loop, in ms. */
  readonly lag = new Histogram(timeEnds);
  /** Receivers of each publish: sessions of this broker, and elsewhere brokers or persistent sessions. */
  readonly fanout = new Histogram(fanoutEnds);
  /** QoS 0 messages dropped for subscribers whose output was full. */
  droppedOutput = 0;
  /** QoS 1 and 2 messages dropped for sessions that end with their connections and whose queue was full. */
  droppedQueue = 0;
  /** QoS 1 and 2 messages dropped for sessions that were being ended, since their mailboxes were full. */
  droppedMailbox = 0;
  /** Sessions of this broker that were ended, since their mailboxes were full. */
  sessionsEnded = 0;
  /** Sessions of this broker whose clients did not come back in time. */
  sessionsExpired = 0;
  /** Mailboxes, as far as known here, that are filled to `mailboxHighPartMin` of their maximum. */
  mailboxesHigh = 0;
  /** QoS 0 messages dropped for other brokers whose link was down or full. */
  droppedLink = 0;
  /** Messages sent to other brokers, and messages received from them. */
  forwarded = 0;
  arrived = 0;
  /** Messages dropped since they were larger than the client's Maximum Packet Size [MQTT-3.1.2-25]. */
  droppedSize = 0;
  /** Messages that expired before they could be delivered. */
  droppedExpired = 0;
  /**
   * Publishes refused, since the bank could not pay or a limit was reached (`RefusalCause`); also deliveries to
   * persistent sessions that could not be paid.
   */
  refused = 0;
  /** Publishes and deliveries of `refused` that the bank could not pay. */
  refusedByBank = 0;
  /** Publishes and deliveries of `refused` whose users may not have more of the bank. */
  refusedByShare = 0;
  /** Connections closed for breaking the protocol or a limit, by reason code. */
  readonly protocolErrors = new Map<number, number>();
  /**
   * Connections turned away, by the limit that was reached. `deadline`: they had not sent CONNECT in time; `proxy`:
   * they came from an address whose PROXY header is not believed; `fenced`, `disk`, `bank`: CONNECT needed the
   * store, which this broker could not reach, whose disk was full, or which could not be paid for; `client_id`: the
   * client id is not the user's; `memory`: the user, or the address, takes too much of it.
   */
  readonly turnedAway = {
    ...{ connections: 0, address: 0, connect_rate: 0, banned: 0 },
    ...{ deadline: 0, proxy: 0, fenced: 0, disk: 0, bank: 0, client_id: 0, memory: 0 },
  };
  /** Logins refused for a wrong or missing password, token or certificate. */
  loginsFailed = 0;
  /**
   * Publishes, subscriptions, deliveries and wills that the access list has forbidden; also publishes on topics of the
   * broker's own.
   */
  readonly forbidden = { publish: 0, subscribe: 0, receive: 0, will: 0 };
  /** Wills that were due and have reached nobody, since they could not be paid for, or a limit was reached. */
  willsRefused = 0;
  /** How often a client was not read for a while, since it had sent more than it may. */
  slowedDown = 0;
  /**
   * Subscriptions and retained messages refused at their limits; also those, publishes and wills refused for the levels
   * of their topics, and subscriptions for the length or the wildcards of their filters (`mqtt/filter-shape.ts`).
   * `memory`: clients that were disconnected, and subscriptions refused, for the memory that they would take.
   */
  readonly beyondLimit = { subscriptions: 0, retained: 0, levels: 0, wildcards: 0, memory: 0 };
  /**
   * Memory, in bytes: what is counted for all clients, and for the spender who takes most; what the process had when it
   * was last asked, and what it may have (0: no limit). Spenders that are refused now; collections of garbage that were
   * asked for.
   */
  readonly memory = { clients: 0, largest: 0, resident: 0, limit: 0, refused: 0, collections: 0 };
  /** Bytes that wait in memory now, for sessions that end with their connections. */
  queuedBytes = 0;

  /** Messages that were dropped, by reason. */
  get droppedBy(): Readonly<Record<string, number>> {
    return {
      output_full: this.droppedOutput,
      queue_full: this.droppedQueue,
      mailbox_full: this.droppedMailbox,
      link_down_or_full: this.droppedLink,
      too_large: this.droppedSize,
      expired: this.droppedExpired,
    };
  }

  /** Publishes and deliveries that were refused, by what refused them. */
  get refusedBy(): Readonly<Record<string, number>> {
    const { refused, refusedByBank: bank, refusedByShare: share } = this;
    return { bank, share, other: refused - bank - share };
  }

  /** Counts a publish or delivery that is refused, by what refuses it: the bank, the user's share of it, or a limit. */
  countRefused(by: "bank" | "share" | "limit"): void {
    this.refused++;
    if (by === "bank") this.refusedByBank++;
    if (by === "share") this.refusedByShare++;
  }
}
