/**
 * The history of a load (what was published, acknowledged and received) and the judges of it: no acknowledged message
 * lost, QoS 2 exactly once, first deliveries in order, retained is the last acknowledged or newer. It is judged as it
 * is written: to go through a long one again and again would keep the clients of this process from their work.
 */
import type { QoS } from "../../src/mqtt/constants.ts";

export interface Sent {
  readonly publisher: string;
  readonly topic: string;
  readonly sequence: number;
  readonly qos: QoS;
}

/** The part of a history that concerns one subscriber to all topics. */
class Receipts {
  readonly payloads: string[] = [];
  readonly counts = new Map<string, number>();
  /** Acknowledged messages that it has not received. */
  readonly missing = new Set<string>();
  /** Messages at QoS 2 that it has received more than once. */
  readonly doubled = new Set<string>();
  /** Messages that nobody has sent, and first deliveries after later ones, in words. */
  readonly strange: string[] = [];
  readonly misordered: string[] = [];
  readonly #last = new Map<string, number>();
  /** True for one that has subscribed at QoS 1: a message may come again, at whichever QoS it was published. */
  mayRepeat = false;
  /** Messages before this one, in the order of sending, are not owed to it: its session has ended since. */
  #owedFrom = 0;

  /** Notes that its session has ended: it is owed what is sent from number `at` on, by the next one. */
  beginsAnew(at: number): void {
    this.#owedFrom = at;
    this.missing.clear();
  }

  /** Notes that the message with that number is acknowledged. */
  acknowledge(payload: string, number: number): void {
    if (number >= this.#owedFrom && !this.counts.has(payload)) this.missing.add(payload);
  }

  receive(payload: string, sent: Sent | undefined, number: number): void {
    this.payloads.push(payload);
    const count = (this.counts.get(payload) ?? 0) + 1;
    this.counts.set(payload, count);
    this.missing.delete(payload);
    if (count > 1) {
      if (this.#isOnce(sent)) this.doubled.add(payload);
      return;
    }
    if (sent === undefined) this.strange.push(`never sent ${payload}`);
    // It may have come in order, and been lost with the session before: at QoS 1 it may then come once more.
    if (number < this.#owedFrom && sent !== undefined && !this.#isOnce(sent)) return;
    const [publisher, sequence] = payload.split(" ") as [string, string];
    const last = this.#last.get(publisher) ?? -1;
    if (last > Number(sequence)) this.misordered.push(`${payload} after ${last}`);
    else this.#last.set(publisher, Number(sequence));
  }

  #isOnce(sent: Sent | undefined): boolean {
    return sent?.qos === 2 && !this.mayRepeat;
  }
}

export class History {
  readonly sent: Sent[] = [];
  /**
   * False where publishes are refused: a refusal that is lost with its connection lets the client send it again, later.
   */
  isOrdered = true;
  /** The acknowledged messages, each with the number of messages that had been sent by then. */
  readonly #acknowledged = new Map<string, number>();
  readonly #sent = new Map<string, Sent>();
  /** The numbers of messages, in the order of sending. */
  readonly #numbers = new Map<string, number>();
  readonly #received = new Map<string, Receipts>();
  readonly #retained = new Map<string, readonly string[]>();

  static payload({ publisher, sequence }: Sent): string {
    return `${publisher} ${sequence}`;
  }

  send(message: Sent): string {
    const payload = History.payload(message);
    this.#numbers.set(payload, this.sent.length);
    this.sent.push(message);
    this.#sent.set(payload, message);
    return payload;
  }

  acknowledge(payload: string): void {
    if (!this.#acknowledged.has(payload)) this.#acknowledged.set(payload, this.sent.length);
    const number = this.#numbers.get(payload);
    if (number === undefined) return;
    for (const receipts of this.#received.values()) receipts.acknowledge(payload, number);
  }

  /** Notes a message that is to be retained. */
  retain(topic: string, payload: string): void {
    const list = this.#retained.get(topic) ?? [];
    this.#retained.set(topic, [...list, payload]);
  }

  /**
   * The messages that may be the retained one of each topic: the last one acknowledged, or one that was sent after it;
   * undefined, none, only where none was acknowledged. Where publishes are refused and sent again, the order in which
   * they were first sent does not count: then it may be one that was under way at the same time as that one.
   */
  retainable(): Map<string, readonly (string | undefined)[]> {
    return new Map(
      [...this.#retained].map(([topic, payloads]) => {
        const last = payloads.findLastIndex((payload) => this.#acknowledged.has(payload));
        if (last === -1) return [topic, [undefined, ...payloads]];
        if (this.isOrdered) return [topic, payloads.slice(last)];
        const sentAt = this.#numbers.get(payloads[last]!)!;
        const together = payloads.slice(0, last).filter((payload) => (this.#acknowledged.get(payload) ?? -1) > sentAt);
        return [topic, [...payloads.slice(last), ...together]];
      }),
    );
  }

  /** Notes that a subscriber has subscribed at QoS 1. */
  readsAtQoS1(subscriber: string): void {
    this.#receiptsOf(subscriber).mayRepeat = true;
  }

  receive(subscriber: string, payload: string): void {
    this.#receiptsOf(subscriber).receive(payload, this.#sent.get(payload), this.#numbers.get(payload) ?? 0);
  }

  /** Notes that a persistent subscriber has been told that its session has ended: it is owed nothing for now. */
  ends(subscriber: string): void {
    this.#receiptsOf(subscriber).beginsAnew(Infinity);
  }

  /** Notes that it has subscribed again: it is owed nothing that was sent before. */
  beginsAnew(subscriber: string): void {
    this.#receiptsOf(subscriber).beginsAnew(this.sent.length);
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
    return this.#received.get(subscriber)?.payloads ?? [];
  }

  /** How many acknowledged messages a persistent subscriber to all topics has not received. */
  missingCount(subscriber: string): number {
    return this.#receiptsOf(subscriber).missing.size;
  }

  /** Everything that is wrong with what a persistent subscriber to all topics got; empty if nothing is. */
  judge(subscriber: string): string[] {
    const { missing, doubled, counts, strange, misordered } = this.#receiptsOf(subscriber);
    const wrong = [
      ...[...missing].map((payload) => `lost QoS ${this.#sent.get(payload)!.qos} ${payload}`),
      ...[...doubled].map((payload) => `${counts.get(payload)} times QoS 2 ${payload}`),
      ...strange,
      ...(this.isOrdered ? misordered : []),
    ];
    return wrong.map((what) => `${subscriber}: ${what}`);
  }

  /** First deliveries after later ones, in words. */
  misordered(subscriber: string): readonly string[] {
    return this.#receiptsOf(subscriber).misordered;
  }

  #receiptsOf(subscriber: string): Receipts {
    let receipts = this.#received.get(subscriber);
    if (receipts === undefined) {
      receipts = new Receipts();
      this.#received.set(subscriber, receipts);
      for (const payload of this.#acknowledged.keys()) if (this.#sent.has(payload)) receipts.missing.add(payload);
    }
    return receipts;
  }
}
