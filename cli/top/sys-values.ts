/** The values that brokers tell below `$SYS`, each by names of its own, in the terms of one view. */

/** A time at which values came, with all values as they were then. */
interface Batch {
  readonly at: number;
  readonly values: ReadonlyMap<string, string>;
}

/** Values that come so soon one after the other belong together, in ms. */
const batchMs = 500;
/** Topics that are remembered, at most; a broker has some hundreds. */
const topicsMax = 20_000;

/**
 * The values, and the topics under which mosquitto and this broker, EMQX and VerneMQ tell them. `+` stands for a
 * node of a cluster: the values of all of them are added up.
 */
const names = {
  version: ["broker/version", "brokers/+/version"],
  uptime: ["broker/uptime", "brokers/+/uptime"],
  clients: ["broker/clients/connected", "brokers/+/stats/live_connections/count", "brokers/+/stats/connections/count"],
  sessions: ["broker/clients/total", "brokers/+/stats/sessions/count"],
  subscriptions: ["broker/subscriptions/count", "brokers/+/stats/subscriptions/count", "+/router/subscriptions"],
  retained: ["broker/retained messages/count", "brokers/+/stats/retained/count", "+/retain/messages"],
  received: [
    ...["broker/publish/messages/received", "brokers/+/metrics/messages/received", "+/mqtt/publish/received"],
    "broker/messages/received",
  ],
  sent: [
    ...["broker/publish/messages/sent", "brokers/+/metrics/messages/sent", "+/mqtt/publish/sent"],
    "broker/messages/sent",
  ],
  dropped: ["broker/publish/messages/dropped", "brokers/+/metrics/messages/dropped", "+/queue/message/drop"],
  refused: ["broker/publish/messages/refused"],
  bytesReceived: ["broker/bytes/received", "brokers/+/metrics/bytes/received", "+/bytes/received"],
  bytesSent: ["broker/bytes/sent", "brokers/+/metrics/bytes/sent", "+/bytes/sent"],
  memory: ["broker/memory/resident", "broker/heap/current"],
} as const satisfies Record<string, readonly string[]>;

export type SysName = keyof typeof names;

/** The values of `$SYS`, as they come. */
export class SysValues {
  readonly #values = new Map<string, string>();
  #before: Batch | undefined;
  #lastAt = -Infinity;
  #batchAt = 0;
  #previousAt = 0;

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  /** Takes the payload of a topic below `$SYS/`, at a time in ms. */
  take(topic: string, payload: string, now: number): void {
    if (now - this.#lastAt > batchMs) {
      this.#before = { at: this.#batchAt, values: new Map(this.#values) };
      this.#previousAt = this.#batchAt;
      this.#batchAt = now;
    }
    this.#lastAt = now;
    const name = topic.slice("$SYS/".length);
    if (this.#values.size < topicsMax || this.#values.has(name)) this.#values.set(name, payload);
  }

  /** Returns a text; undefined: the broker does not tell it. */
  text(name: SysName): string | undefined {
    return this.#found(name, this.#values)[0];
  }

  /** Returns a number; undefined: the broker does not tell it. */
  number(name: SysName): number | undefined {
    return sumOf(this.#found(name, this.#values));
  }

  /** Returns how much a counter grew a second between the last two times at which values came; undefined: not known. */
  rate(name: SysName): number | undefined {
    const now = this.number(name);
    const before = this.#before && this.#previousAt > 0 ? sumOf(this.#found(name, this.#before.values)) : undefined;
    if (now === undefined || before === undefined) return undefined;
    const seconds = (this.#batchAt - this.#previousAt) / 1000;
    // A broker that was started anew counts from 0.
    return seconds > 0 ? (now >= before ? now - before : now) / seconds : undefined;
  }

  #found(name: SysName, values: ReadonlyMap<string, string>): string[] {
    for (const pattern of names[name]) {
      if (!pattern.includes("+")) {
        const value = values.get(pattern);
        if (value !== undefined) return [value];
        continue;
      }
      const [before = "", after = ""] = pattern.split("+");
      const found = [...values].filter(
        ([topic]) =>
          topic.startsWith(before) &&
          topic.endsWith(after) &&
          topic.length > before.length + after.length &&
          !topic.slice(before.length, topic.length - after.length).includes("/"),
      );
      if (found.length > 0) return found.map(([, value]) => value);
    }
    return [];
  }
}

/** The numbers at the beginning of texts, added up; undefined: there is none. */
function sumOf(texts: readonly string[]): number | undefined {
  const numbers = texts.map((text) => Number.parseFloat(text)).filter(Number.isFinite);
  return numbers.length === 0 ? undefined : numbers.reduce((sum, one) => sum + one, 0);
}
