/** The figures of a client over all its connections. */
import type { Statistics } from "./client-options.ts";
import type { MqttConnection } from "./connection.ts";
import type { Inbox } from "./inbox.ts";
import type { Outbox } from "./outbox.ts";

export class Tally {
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  #connections = 0;
  /** Bytes of the connections before the one that there is. */
  #sentBefore = 0;
  #receivedBefore = 0;
  #connection: MqttConnection | undefined;

  constructor(inbox: Inbox, outbox: Outbox) {
    this.#inbox = inbox;
    this.#outbox = outbox;
  }

  connected(connection: MqttConnection): void {
    this.#connections++;
    this.#connection = connection;
  }

  disconnected(): void {
    this.#sentBefore += this.#connection?.bytesSent ?? 0;
    this.#receivedBefore += this.#connection?.bytesReceived ?? 0;
    this.#connection = undefined;
  }

  get now(): Statistics {
    const connection = this.#connection;
    const { published, refused, pending } = this.#outbox;
    return {
      connections: this.#connections,
      bytesSent: this.#sentBefore + (connection?.bytesSent ?? 0),
      bytesReceived: this.#receivedBefore + (connection?.bytesReceived ?? 0),
      published,
      refused,
      received: this.#inbox.received,
      pending,
      roundTripMs: connection?.roundTripMs,
    };
  }
}
