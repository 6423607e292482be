/**
 * Clients with habits of their own: one that always begins anew, one that takes back what it has subscribed to, one
 * whose session is short, one that leaves no trace.
 */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions, Message } from "../../src/client/connection-options.ts";
import { Actor, unpadded } from "./actors.ts";
import { driftMax } from "./broker-node.ts";
import type { TimedHistory } from "./groups.ts";

/** The session begins anew with each connection: nothing of an earlier one comes. */
export class FreshActor extends Actor {
  readonly wrong: string[] = [];
  readonly #times: TimedHistory;
  #connectedAt = 0;

  constructor(name: string, options: ConstructorParameters<typeof Actor>[1] & { readonly history: TimedHistory }) {
    super(name, options);
    this.#times = options.history;
  }

  protected override nextConnection(): Partial<ConnectionOptions> {
    this.#connectedAt = this.world.now();
    this.beginsAnew();
    return { clean: true };
  }

  protected override connected({ sessionPresent }: MqttConnection): void {
    if (sessionPresent) this.wrong.push(`${this.name} began anew, and was told of a session`);
  }

  protected override received(message: Message): void {
    const payload = unpadded(decodeUtf8(message.payload));
    const at = this.#times.acknowledgedAt.get(payload);
    if (at !== undefined && at < this.#connectedAt && !message.retain)
      this.wrong.push(`${this.name} began anew at ${this.#connectedAt} and got ${payload}, settled at ${at}`);
    super.received(message);
  }
}

/** Subscribes and unsubscribes: what was settled while it was subscribed comes, sooner or later. */
export class FickleActor extends Actor {
  readonly #filter: string;
  readonly #stays: { readonly from: number; readonly to: number }[] = [];
  #since: number | undefined;
  /** Counts its requests: the answer to an earlier one may come after the last one has been sent. */
  #number = 0;

  constructor(name: string, options: ConstructorParameters<typeof Actor>[1] & { readonly filter: string }) {
    super(name, options);
    this.#filter = options.filter;
  }

  protected override beginsAnew(): void {
    super.beginsAnew();
    // What it has not got of before has ended with its session.
    this.#stays.length = 0;
    this.#since = undefined;
    this.#number++;
  }

  /** Changes its mind, if it is connected. */
  change(): void {
    const { client, world } = this;
    if (!this.up || client === undefined) return;
    const number = ++this.#number;
    if (this.#since !== undefined) {
      this.#stays.push({ from: this.#since, to: world.now() });
      this.#since = undefined;
      client.unsubscribe([this.#filter]).catch(() => {});
      return;
    }
    client
      .subscribe([this.#filter], { qos: 1 })
      .then(([code]) => {
        if (code! < 0x80 && this.#number === number) this.#since = world.now();
      })
      .catch(() => {});
  }

  /** Messages of a publisher that it has missed. */
  missed(history: TimedHistory, publisher: string): string[] {
    const got = new Set(history.receivedBy(this.name));
    const stays = this.#since === undefined ? this.#stays : [...this.#stays, { from: this.#since, to: Infinity }];
    return [...history.acknowledgedAt]
      .filter(([payload, at]) => {
        const sentAt = history.sentAt.get(payload)!;
        const isDue = stays.some(({ from, to }) => sentAt >= from && at <= to - graceMs);
        return isDue && payload.startsWith(`${publisher} `) && !got.has(payload);
      })
      .map(([payload]) => `${this.name} had subscribed and has not got ${payload}`);
  }
}

/** Subscribes to many filters, and publishes on as many topics: what one keeper session cannot own. */
export class ManyActor extends Actor {
  readonly #count: number;

  constructor(name: string, options: ConstructorParameters<typeof Actor>[1] & { readonly count: number }) {
    super(name, { ...options, isBrief: true });
    this.#count = options.count;
  }

  protected override connected(client: MqttConnection): void {
    const names = Array.from({ length: this.#count }, (_, number) => `many/${number}/${"long".repeat(longTimes)}`);
    client.subscribe(names, { qos: 0 }).catch(() => {});
    for (const topic of names) client.publish(topic, "", { qos: 0 }).catch(() => {});
  }
}

const longTimes = 12;

/** Retains a message on a topic of its own, clears it when it is acknowledged, and goes on with the next topic. */
export class TidyActor extends Actor {
  #topics = 0;

  /** Begins with the next topic, if it is connected. */
  tidy(): void {
    const { client } = this;
    if (!this.up || client === undefined) return;
    const topic = `tidy/${this.#topics++}/state`;
    const retained = { qos: 1, retain: true } as const;
    const clear = (): Promise<unknown> => client.publish(topic, "", retained);
    client
      .publish(topic, "here", retained)
      .then(clear)
      .catch(() => {});
  }
}

/** Receives what lives a short time only: nothing is begun to be sent when that is over. */
export class SlumberActor extends Actor {
  readonly wrong: string[] = [];
  readonly #times: TimedHistory;
  readonly #forMs: number;

  constructor(
    name: string,
    options: ConstructorParameters<typeof Actor>[1] & { readonly history: TimedHistory; readonly forMs: number },
  ) {
    super(name, options);
    this.#times = options.history;
    this.#forMs = options.forMs;
  }

  protected override received(message: Message): void {
    const payload = decodeUtf8(message.payload);
    const at = this.#times.acknowledgedAt.get(payload);
    const late = at === undefined ? 0 : this.world.now() - at - this.#forMs;
    // What was sent in time and not acknowledged may be sent again.
    if (late > slackMs + 2 * driftMax * this.world.now() && !message.dup)
      this.wrong.push(`${this.name} got ${payload} ${late} ms after its time`);
    super.received(message);
  }
}

/** The time in which a client that takes back its subscription may do without what has only just been stored for it. */
const graceMs = 1500;
/** The time for which a message may be under way; how far clocks drift apart meanwhile comes on top. */
const slackMs = 1500;
