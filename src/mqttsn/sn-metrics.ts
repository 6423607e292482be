/** The counters of MQTT-SN. */

export interface SnMetrics {
  received: number;
  sent: number;
  malformed: number;
  /** Messages for clients that are larger than a datagram may be. */
  tooLarge: number;
  /** QoS 0 messages that were dropped: too many waited for a client, or for the broker to read. */
  dropped: number;
  retransmitted: number;
  /** Messages of clients that had come before, and were answered only. */
  doubled: number;
  /** Requests that were answered with "congestion". */
  congested: number;
  /** Clients that were silent for too long, or have not answered. */
  lost: number;
  /** Messages that waited until an address had proved itself. */
  challenged: number;
  /** Datagrams that were not handled since too many like it came. */
  refused: number;
}

export function newSnMetrics(): SnMetrics {
  return {
    ...{ received: 0, sent: 0, malformed: 0, tooLarge: 0, dropped: 0, retransmitted: 0 },
    ...{ doubled: 0, congested: 0, lost: 0, challenged: 0, refused: 0 },
  };
}
