/**
 * Outgoing publishes: those that wait for a connection or for room in the broker's window, those under way, and how
 * each ended. Publishes under way when a connection is lost are sent again in the next one.
 */
import { backlogBytesMax } from "../base/client-limits.ts";
import { outputBytesHigh, outputBytesLow } from "../base/limits.ts";
import { Ring } from "../base/ring.ts";
import type { QoS } from "../mqtt/constants.ts";
import { type Publish, topicOf } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { OfflineOptions, Published } from "./client-options.ts";
import { ClientSession, type OnSettled, type Unacknowledged } from "./client-session.ts";
import type { MqttConnection } from "./connection.ts";
import { type ClientClosed, MqttError, publishRefused, QueueFull } from "./errors.ts";
import { packetBytesOf } from "./flight.ts";

const delivered: Published = Object.freeze({ noSubscribers: false });
const unheard: Published = Object.freeze({ noSubscribers: true });
/** One promise for all that have nothing to wait for. */
const handedOver = Promise.resolve(delivered);
const messagesMaxDefault = 1000;
/** Receive Maximum, where the broker names none (3.2.2.3.3). */
const windowDefault = 65_535;

/** Lets an application leave a publish to itself: its rejection does not end the process when nobody awaits it. */
export function mayBeLeft(publishing: Promise<Published>): Promise<Published> {
  publishing.catch(() => {});
  return publishing;
}

/** Returns the promise of a publish that is refused at once: it rejects with `error`. */
export function refused(error: unknown): Promise<Published> {
  return mayBeLeft(Promise.reject(error));
}

class Pending implements Unacknowledged {
  readonly publish: Publish;
  released = false;
  reason: number = Reason.success;
  isSent = false;
  /** True if nobody waits for it any more: if it has not been sent, it is not. */
  isAborted = false;
  readonly settled: Promise<Published>;
  #resolve!: (published: Published) => void;
  #reject!: (error: unknown) => void;
  #signal: AbortSignal | undefined;

  constructor(publish: Publish) {
    this.publish = publish;
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(published: Published): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#resolve(published);
  }

  reject(error: unknown): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    // Here, since nearly all are taken over: a reaction for each of them costs a publisher some percent of its time.
    void mayBeLeft(this.settled);
    this.#reject(error);
  }

  watch(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => {
    this.isAborted = true;
    this.reject(this.#signal!.reason);
  };
}

class OutboxSession extends ClientSession {
  readonly #onForgotten: () => void;

  constructor(onSettled: OnSettled, onForgotten: () => void) {
    super(onSettled, { givesUp: true });
    this.#onForgotten = onForgotten;
  }

  override brokerForgot(): void {
    this.incoming.clear();
    this.#onForgotten();
  }
}

export class Outbox {
  readonly session: ClientSession = new OutboxSession(
    (pending, reason, text) => this.#settled(pending as Pending, reason, text),
    () => this.#beginAnew(),
  );
  /** Messages that were settled, and those that were refused. */
  published = 0;
  refused = 0;
  readonly #queue = new Ring<Pending>();
  readonly #offline: OfflineOptions;
  #queuedBytes = 0;
  #connection: MqttConnection | undefined;
  /** Publishes of QoS 1 and 2 that the broker takes unacknowledged. */
  #window = windowDefault;
  #packetBytesMax = Infinity;
  #qosMax: QoS = 2;
  /** The broker retains messages. */
  #retains = true;
  /** Publishers at QoS 0 who wait until the kernel has taken what was written. */
  #blocked: (() => void)[] = [];
  /** Callbacks that wait for everything to be settled. */
  #idle: (() => void)[] = [];
  #why: unknown;

  constructor(offline: OfflineOptions = {}) {
    this.#offline = offline;
  }

  /** Messages that have not been sent, or not been acknowledged. */
  get pending(): number {
    return this.#queue.length + this.session.outgoing.size;
  }

  /**
   * Resolves when the message is settled: at QoS 0 when it is written, at 1 and 2 when the broker has taken it over.
   * Its bytes must not change until then. Rejects with `PublishRefused`, `QueueFull`, `ClientClosed` or the signal's
   * reason.
   */
  publish(publish: Publish, signal: AbortSignal | undefined): Promise<Published> {
    const connection = this.#connection;
    if (this.#why !== undefined) return refused(this.#why);
    if (connection !== undefined && publish.qos === 0) return this.#writeUnpromised(publish, connection);
    if (connection === undefined && !this.#makeRoom())
      return refused(new QueueFull("too many messages wait for a connection"));
    if (this.#queuedBytes + publish.size > backlogBytesMax)
      return refused(new QueueFull("too many bytes wait to be sent"));
    const pending = new Pending(publish);
    if (signal !== undefined) pending.watch(signal);
    if (connection !== undefined && this.#queue.length === 0 && this.session.outgoing.size < this.#window) {
      this.#send(pending, connection);
    } else {
      this.#queue.push(pending);
      this.#queuedBytes += publish.size;
    }
    return pending.settled;
  }

  connected(connection: MqttConnection): void {
    const { receiveMaximum, maximumPacketSize, maximumQoS, retainAvailable } = connection.granted;
    this.#connection = connection;
    this.#window = receiveMaximum ?? windowDefault;
    this.#packetBytesMax = maximumPacketSize ?? Infinity;
    this.#qosMax = (maximumQoS ?? 2) as QoS;
    this.#retains = retainAvailable !== false;
    this.#pump();
  }

  disconnected(): void {
    this.#connection = undefined;
    this.#release();
  }

  /** The kernel takes bytes again. */
  drained(): void {
    if (this.#blocked.length > 0 && (this.#connection?.unsent ?? 0) <= outputBytesLow) this.#release();
  }

  /** Resolves when nothing is pending. */
  idle(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Ends: nothing goes out any more, and what is pending rejects with `error`. */
  close(error: ClientClosed): void {
    this.#why = error;
    this.#connection = undefined;
    for (const pending of this.#queue.drain()) pending.reject(error);
    for (const pending of this.session.outgoing.values()) (pending as Pending).reject(error);
    this.session.outgoing.clear();
    this.#release();
    this.#wakeIdle();
  }

  #writeUnpromised(publish: Publish, connection: MqttConnection): Promise<Published> {
    const problem = this.#problemOf(publish);
    if (problem !== undefined) return refused(problem);
    connection.write(publish, 0, false);
    this.published++;
    if (connection.unsent < outputBytesHigh) return handedOver;
    return new Promise((resolve) => this.#blocked.push(() => resolve(delivered)));
  }

  #send(pending: Pending, connection: MqttConnection): void {
    const problem = this.#problemOf(pending.publish);
    if (problem !== undefined) return pending.reject(problem);
    if (pending.publish.qos === 0) {
      connection.write(pending.publish, 0, false);
      this.published++;
      return pending.resolve(delivered);
    }
    connection.deliver(pending);
  }

  /** The error for a message that the broker has said it would not take; undefined: it takes it. */
  #problemOf(publish: Publish): MqttError | undefined {
    if (publish.qos > this.#qosMax)
      return new MqttError(`the broker takes no more than QoS ${this.#qosMax} (${topicOf(publish)})`);
    // [MQTT-3.2.2-14]
    if (publish.retain && !this.#retains) return new MqttError(`the broker retains no messages (${topicOf(publish)})`);
    const bytes = packetBytesOf(publish, this.#packetBytesMax);
    return bytes > this.#packetBytesMax
      ? new MqttError(`a message of ${bytes} bytes on ${topicOf(publish)}; the broker takes ${this.#packetBytesMax}`)
      : undefined;
  }

  /** False: too many wait, and none of them goes for a new one. */
  #makeRoom(): boolean {
    const { messagesMax = messagesMaxDefault, whenFull = "reject" } = this.#offline;
    if (this.#queue.length < messagesMax) return true;
    const oldest = whenFull === "drop-oldest" ? this.#queue.shift() : undefined;
    if (oldest === undefined) return false;
    this.#queuedBytes -= oldest.publish.size;
    oldest.reject(new QueueFull("newer messages have taken its place"));
    return true;
  }

  /** The broker has no session any more: what was under way is sent as new, except what it had taken over. */
  #beginAnew(): void {
    const { outgoing } = this.session;
    const again: Pending[] = [];
    for (const unacknowledged of outgoing.values()) {
      const pending = unacknowledged as Pending;
      if (pending.released) {
        this.published++;
        pending.resolve(delivered);
      } else if (!pending.isAborted) again.push(pending);
      pending.isSent = false;
    }
    outgoing.clear();
    for (const pending of again.reverse()) {
      this.#queue.unshift(pending);
      this.#queuedBytes += pending.publish.size;
    }
  }

  #pump(): void {
    const connection = this.#connection;
    while (connection !== undefined && this.session.outgoing.size < this.#window) {
      const pending = this.#queue.shift();
      if (pending === undefined) break;
      this.#queuedBytes -= pending.publish.size;
      if (!pending.isAborted) this.#send(pending, connection);
    }
    if (this.#idle.length > 0 && this.pending === 0) this.#wakeIdle();
  }

  #settled(pending: Pending, reason: number, text: string | undefined): void {
    if (reason < Reason.unspecifiedError) {
      this.published++;
      pending.resolve(reason === Reason.noMatchingSubscribers ? unheard : delivered);
    } else {
      this.refused++;
      pending.reject(publishRefused(topicOf(pending.publish), reason, text));
    }
    if (this.#queue.length > 0 || this.#idle.length > 0) this.#pump();
  }

  #release(): void {
    const blocked = this.#blocked;
    this.#blocked = [];
    for (const resume of blocked) resume();
  }

  #wakeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
