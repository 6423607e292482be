/** What the broker counts. Plain numbers: counting must cost nothing on the fast path. */

import { fanoutEnds, Histogram, timeEnds } from "../../base/histogram.ts";

export class Metrics {
  connections = 0;
  connectionsMaximum = 0;
  connectionsTotal = 0;
  bytesReceived = 0;
  /** At all QoS; and those at QoS 1 and 2. */
  publishesReceived = 0;
  receivedQoS1 = 0;
  receivedQoS2 = 0;
  publishesSent = 0;
  sentQoS1 = 0;
  sentQoS2 = 0;
  /** From a promised publish to its acknowledgement, where that had to wait. */
  readonly settling = new Histogram(timeEnds);
  /** How late the event loop was. */
  readonly lag = new Histogram(timeEnds);
  /** Receivers of each publish: sessions here, and elsewhere brokers or persistent sessions. */
  readonly fanout = new Histogram(fanoutEnds);
  /** QoS 0, for a subscriber whose output was full. */
  droppedOutput = 0;
  /** QoS 1 and 2, for a session without persistence whose queue was full. */
  droppedQueue = 0;
  /** QoS 0, for another broker whose link was down or full. */
  droppedLink = 0;
  /** Messages handed to other brokers, and taken from them. */
  forwarded = 0;
  arrived = 0;
  /** Larger than the client's Maximum Packet Size. */
  droppedSize = 0;
  /** Expired before it could be delivered. */
  droppedExpired = 0;
  /** Publishes refused: the bank could not pay, a mailbox was full, or the store takes nothing so large. */
  refused = 0;
  /** ... because the bank could not pay. */
  refusedByBank = 0;
  /** Connections that were closed for breaking the protocol or a limit, by reason code. */
  readonly protocolErrors = new Map<number, number>();
  /** Connections that were turned away, by limit; deadline: they had not said CONNECT in time. */
  readonly turnedAway = { connections: 0, address: 0, connect_rate: 0, banned: 0, deadline: 0 };
  loginsFailed = 0;
  /** What a client was not allowed to do. */
  readonly forbidden = { publish: 0, subscribe: 0, receive: 0, will: 0 };
  /** Times that a client was not read for a while, since it sent more than it may. */
  slowedDown = 0;
  /** Subscriptions and retained messages beyond their limits. */
  readonly beyondLimit = { subscriptions: 0, retained: 0 };
  /** Bytes that wait in memory for sessions that end with their connections. */
  queuedBytes = 0;
  /** Messages committed to mailboxes. */
  stored = 0;
}
