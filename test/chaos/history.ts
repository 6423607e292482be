/**
 * The history of a load (what was published, acknowledged and received) and the judges of it: no acknowledged message
 * lost, QoS 2 exactly once, first deliveries in order, retained is the last acknowledged or newer.
 */
import type { QoS } from "../../src/mqtt/constants.ts";

export interface Sent {
  readonly publisher: string;
  readonly topic: string;
  readonly sequence: number;
  readonly qos: QoS;
}

export class History {
  readonly sent: Sent[] = [];
  /**
   * False where publishes are refused: a refusal that is lost with its connection lets the client send it again, later.
   */
  isOrdered = true;
  readonly #acknowledged = new Set<string>();
  readonly #received = new Map<string, string[]>();
  readonly #retained = new Map<string, readonly string[]>();

  static payload({ publisher, sequence }: Sent): string {
    return `${publisher} ${sequence}`;
  }

  send(message: Sent): string {
    this.sent.push(message);
    return History.payload(message);
  }

  acknowledge(payload: string): void {
    this.#acknowledged.add(payload);
  }

  /** Notes a message that is to be retained. */
  retain(topic: string, payload: string): void {
    const list = this.#retained.get(topic) ?? [];
    this.#retained.set(topic, [...list, payload]);
  }

  /**
   * The messages that may be the retained one of each topic: the last one acknowledged, or one that was sent after it;
   * undefined, none, only where none was acknowledged.
   */
  retainable(): Map<string, readonly (string | undefined)[]> {
    return new Map(
      [...this.#retained].map(([topic, payloads]) => {
        const last = payloads.findLastIndex((payload) => this.#acknowledged.has(payload));
        return [topic, last === -1 ? [undefined, ...payloads] : payloads.slice(last)];
      }),
    );
  }

  receive(subscriber: string, payload: string): void {
    const list = this.#received.get(subscriber) ?? [];
    this.#received.set(subscriber, list);
    list.push(payload);
  }

  isAcknowledged(payload: string): boolean {
    return this.#acknowledged.has(payload);
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  receivedCount(subscriber: string): number {
    return this.receivedBy(subscriber).length;
  }

  receivedBy(subscriber: string): readonly string[] {
    return this.#received.get(subscriber) ?? [];
  }

  /** Everything that is wrong with what a persistent subscriber to all topics got; empty if nothing is. */
  judge(subscriber: string): string[] {
    const received = this.#received.get(subscriber) ?? [];
    const counts = new Map<string, number>();
    for (const payload of received) counts.set(payload, (counts.get(payload) ?? 0) + 1);
    const wrong: string[] = [];
    const known = new Set<string>();
    for (const message of this.sent) {
      const payload = History.payload(message);
      known.add(payload);
      const count = counts.get(payload) ?? 0;
      if (count === 0 && this.#acknowledged.has(payload))
        wrong.push(`${subscriber}: lost QoS ${message.qos} ${payload}`);
      if (count > 1 && message.qos === 2) wrong.push(`${subscriber}: ${count} times QoS 2 ${payload}`);
    }
    for (const payload of counts.keys()) if (!known.has(payload)) wrong.push(`${subscriber}: never sent ${payload}`);
    return this.isOrdered ? [...wrong, ...this.#misordered(subscriber, received)] : wrong;
  }

  #misordered(subscriber: string, received: readonly string[]): string[] {
    const last = new Map<string, number>();
    const seen = new Set<string>();
    const wrong: string[] = [];
    for (const payload of received) {
      if (seen.has(payload)) continue;
      seen.add(payload);
      const [publisher, sequence] = payload.split(" ") as [string, string];
      if ((last.get(publisher) ?? -1) > Number(sequence))
        wrong.push(`${subscriber}: ${payload} after ${last.get(publisher)}`);
      else last.set(publisher, Number(sequence));
    }
    return wrong;
  }
}
