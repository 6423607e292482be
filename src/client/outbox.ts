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
import type { ClientSession } from "./client-session.ts";
import type { MqttConnection } from "./connection.ts";
import { type ClientClosed, MqttError, publishRefused, QueueFull } from "./errors.ts";
import { packetBytesOf } from "./flight.ts";
import type { Keeper } from "./keeper.ts";
import { OutboxSession } from "./outbox-session.ts";
import { publishOfStored } from "./outgoing-publish.ts";
import { Pending, refused } from "./pending.ts";
import type { Kept } from "./store.ts";

const delivered: Published = Object.freeze({ noSubscribers: false });
const unheard: Published = Object.freeze({ noSubscribers: true });
/** One promise for all that have nothing to wait for. */
const handedOver = Promise.resolve(delivered);
const messagesMaxDefault = 1000;
const storedMessagesMaxDefault = 100_000;
/** Receive Maximum, where the broker names none (3.2.2.3.3). */
const windowDefault = 65_535;

const nothing = { count: 0, bytes: 0 } as const;

/** The part of a batch that is to be published. */
export interface BatchPart {
  readonly from: number;
  readonly isAlone: boolean;
  readonly signal: AbortSignal | undefined;
}

export class Outbox {
  readonly session: ClientSession;
  readonly #keeper: Keeper | undefined;
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

  constructor(offline: OfflineOptions = {}, keeper?: Keeper) {
    this.#offline = offline;
    this.#keeper = keeper;
    this.session = new OutboxSession((pending, reason, text) => this.#settled(pending as Pending, reason, text), {
      onForgotten: () => this.#beginAnew(),
      keeper,
      cut: () => this.#cut(),
    });
  }

  /** Goes on with what an earlier process has left. `onLeft` is told how each of its messages ends badly. */
  restore({ messages, received }: Kept, onLeft: (topic: string, error: unknown) => void): void {
    for (const packetId of received) this.session.incoming.add(packetId);
    for (const { key, packetId, isReleased, message } of messages) {
      const pending = new Pending(publishOfStored(message));
      pending.key = key;
      pending.settled.catch((error) => onLeft(message.topic, error));
      if (packetId === undefined) this.#enqueue(pending);
      else {
        Object.assign(pending, { released: isReleased, isSent: true });
        this.session.outgoing.set(packetId, pending);
      }
    }
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
    const full = this.#fullFor(publish, nothing);
    if (full !== undefined) return refused(full);
    const pending = new Pending(publish);
    if (signal !== undefined) pending.watch(signal);
    if (this.#keeper !== undefined) {
      this.#publishKept([pending], this.#keeper);
      return pending.settled;
    }
    if (connection !== undefined && this.#queue.length === 0 && this.session.outgoing.size < this.#window) {
      this.#send(pending, connection);
    } else {
      this.#enqueue(pending);
    }
    return pending.settled;
  }

  /**
   * Publishes those of a batch, from the one at `from` on, for which there is room while there is a connection; what
   * there is no connection for is refused where it does not fit. `isAlone`: nothing of the batch is under way that
   * would leave room, so one goes in any case. Those that are kept are kept together. The promises are those of
   * `publish`.
   */
  publishSome(publishes: readonly Publish[], { from, isAlone, signal }: BatchPart): Promise<Published>[] {
    const outcomes: Promise<Published>[] = [];
    const together: Pending[] = [];
    const room = { count: 0, bytes: 0 };
    for (let at = from; at < publishes.length; at++) {
      const publish = publishes[at]!;
      if (!(isAlone && outcomes.length === 0) && this.#isBusy(publish, room.bytes)) break;
      const isKept = this.#keeper !== undefined && !(publish.qos === 0 && this.#connection !== undefined);
      const full = isKept && this.#why === undefined ? this.#fullFor(publish, room) : undefined;
      if (!isKept || this.#why !== undefined) outcomes.push(this.publish(publish, signal));
      else if (full !== undefined) outcomes.push(refused(full));
      else {
        const pending = new Pending(publish);
        if (signal !== undefined) pending.watch(signal);
        together.push(pending);
        outcomes.push(pending.settled);
        room.count++;
        room.bytes += publish.size;
      }
    }
    if (together.length > 0) this.#publishKept(together, this.#keeper!);
    return outcomes;
  }

  /** True if whoever publishes in a batch is to wait. */
  #isBusy(publish: Publish, bytes: number): boolean {
    if (this.#connection === undefined) return false;
    return publish.qos === 0
      ? this.#connection.unsent >= outputBytesHigh
      : this.#queuedBytes + bytes + publish.size > backlogBytesMax;
  }

  /** The error for a message that does not fit beside what waits, and what else is to; undefined: it fits. */
  #fullFor(publish: Publish, { count, bytes }: { readonly count: number; readonly bytes: number }) {
    if (this.#connection === undefined && !this.#makeRoom(count))
      return new QueueFull("too many messages wait for a connection");
    return this.#queuedBytes + bytes + publish.size > backlogBytesMax
      ? new QueueFull("too many bytes wait to be sent")
      : undefined;
  }

  /** Gives messages to the store, all or none, and lets them go out when they are there. */
  #publishKept(together: readonly Pending[], keeper: Keeper): void {
    try {
      const { keys, kept } = keeper.add(together.map(({ publish }) => publish));
      for (const [at, pending] of together.entries()) {
        pending.key = keys[at]!;
        pending.isKept = kept === undefined;
        pending.onAborted = () => {
          if (!pending.isSent) this.#remove(pending);
        };
        this.#enqueue(pending);
      }
      if (kept === undefined) return this.#pump();
      const failed = (error: unknown): void => {
        for (const pending of together) {
          pending.isAborted = true;
          pending.reject(error);
        }
      };
      kept.catch(failed).finally(() => {
        for (const pending of together) pending.isKept = true;
        this.#pump();
      });
    } catch (error) {
      for (const pending of together) pending.reject(error);
    }
  }

  #enqueue(pending: Pending): void {
    this.#queue.push(pending);
    this.#queuedBytes += pending.publish.size;
  }

  /** The store need not keep it any more. */
  #remove({ key }: Pending): void {
    if (key > 0) this.#keeper?.later({ kind: "removed", key });
  }

  #cut(): void {
    this.#connection?.abort("the store does not keep what is to be sent");
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
    if (problem !== undefined) {
      this.#remove(pending);
      return pending.reject(problem);
    }
    if (pending.key > 0) return this.#sendKept(pending, connection);
    if (pending.publish.qos > 0) return connection.deliver(pending);
    connection.write(pending.publish, 0, false);
    this.published++;
    pending.resolve(delivered);
  }

  /** Sends a message when the store knows that, and under which packet id. */
  #sendKept(pending: Pending, connection: MqttConnection): void {
    const { key, publish } = pending;
    const isThere = (): boolean => this.#connection === connection && connection.whyClosed === undefined;
    if (publish.qos > 0) {
      const packetId = this.session.add(pending);
      const send = (): void => {
        if (isThere() && this.session.outgoing.get(packetId) === pending) connection.send(packetId, pending);
      };
      return this.#keeper!.keep({ kind: "sent", key, packetId }, send, () => this.#cut());
    }
    // At most once: what is written is not in the store any more.
    const write = (): void => {
      if (isThere()) connection.write(publish, 0, false);
      this.published++;
      pending.resolve(delivered);
    };
    this.#keeper!.keep({ kind: "removed", key }, write, () => this.#cut());
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

  /** False: too many wait, `more` counted in, and none of them goes for a new one. */
  #makeRoom(more: number): boolean {
    const isStored = this.#keeper !== undefined;
    const { messagesMax = isStored ? storedMessagesMaxDefault : messagesMaxDefault, whenFull = "reject" } =
      this.#offline;
    if (this.#queue.length + more < messagesMax) return true;
    const oldest = whenFull === "drop-oldest" ? this.#queue.shift() : undefined;
    if (oldest === undefined) return false;
    this.#queuedBytes -= oldest.publish.size;
    this.#remove(oldest);
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
        this.#remove(pending);
        pending.resolve(delivered);
      } else if (!pending.isAborted) {
        again.push(pending);
        if (pending.key > 0) this.#keeper?.later({ kind: "sent", key: pending.key, packetId: undefined });
      } else this.#remove(pending);
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
      if (this.#queue.peek()?.isKept === false) break;
      const pending = this.#queue.shift();
      if (pending === undefined) break;
      this.#queuedBytes -= pending.publish.size;
      if (!pending.isAborted) this.#send(pending, connection);
    }
    if (this.#idle.length > 0 && this.pending === 0) this.#wakeIdle();
  }

  #settled(pending: Pending, reason: number, text: string | undefined): void {
    this.#remove(pending);
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
