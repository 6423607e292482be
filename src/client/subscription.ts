/** One subscription of the application's: the messages that have come for it, in their order, until it takes them. */
import { Ring } from "../base/ring.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Filter } from "../mqtt/topic.ts";
import { Copies } from "./copies.ts";
import { type Deferred, defer } from "./deadlines.ts";
import { ClientClosed, ValidationFailed } from "./errors.ts";
import { type Arrival, Message } from "./message.ts";
import { type StandardSchema, validate } from "./standard-schema.ts";
import type { AnyParams, TopicPattern } from "./topic-pattern.ts";

export interface SubscriptionOptions<Data = undefined> {
  /** The best that messages are delivered with; 0 unless set. */
  readonly qos?: QoS;
  /**
   * When a message of QoS 1 or 2 is acknowledged. auto: when the next one is asked for, that is, when the body of the
   * loop is through with it. manual: by `message.ack()`. Until then the broker counts it against `receiveMaximum`.
   */
  readonly ack?: "auto" | "manual";
  /**
   * Payloads are JSON of this shape, in `message.data`; others are not delivered, but acknowledged and told to
   * `onInvalid`.
   */
  readonly schema?: StandardSchema<unknown, Data>;
  readonly onInvalid?: (message: Message<never, undefined>, error: ValidationFailed) => void;
  /** Retained messages: send them (unless set), only if the filter was not subscribed to before, or never. MQTT 5. */
  readonly retained?: "send" | "new" | "never";
  /** Messages of this client's own are not wanted. MQTT 5. */
  readonly noLocal?: boolean;
  /**
   * Messages of QoS 0 that wait to be taken; beyond it the oldest are dropped, and counted in `dropped`. 65,536 unless
   * set.
   */
  readonly bufferMax?: number;
  /** Ends the subscription. */
  readonly signal?: AbortSignal;
}

/**
 * The inbox as a subscription sees it.
 * @internal
 */
export interface SubscriptionHome {
  leave(subscription: Subscription<never, never>): Promise<void>;
  callBack(name: string, run: () => unknown): void;
}

const bufferMaxDefault = 65_536;

/** A subscription's messages, taken with `for await`, or `next()`. Leaving the loop unsubscribes. */
export class Subscription<Params = AnyParams, Data = undefined>
  implements AsyncIterableIterator<Message<Params, Data>>, AsyncDisposable
{
  /** @internal */
  readonly patterns: readonly TopicPattern[];
  readonly options: SubscriptionOptions<Data>;
  /** Messages of QoS 0 that were dropped, since they were not taken in time. */
  dropped = 0;
  /** Messages that were not what the schema wants. */
  invalid = 0;
  readonly #home: SubscriptionHome;
  /** Filters that the broker has not granted yet, and the least QoS of those that it has. */
  readonly #ungranted: Set<string>;
  #qos: QoS = 2;
  readonly #copies: Copies;
  readonly #ready = defer<QoS>();
  readonly #ring = new Ring<Message<Params, Data>>();
  /** Number of messages of QoS 0 in the ring. */
  #unpromised = 0;
  #taken: Message<Params, Data> | undefined;
  readonly #waiting: Deferred<IteratorResult<Message<Params, Data>, undefined>>[] = [];
  #end: { readonly error: unknown } | undefined;

  /** @internal */
  constructor(home: SubscriptionHome, patterns: readonly TopicPattern[], options: SubscriptionOptions<Data>) {
    this.#home = home;
    this.patterns = patterns;
    this.options = options;
    this.#copies = new Copies(patterns);
    this.#ungranted = new Set(patterns.map(({ text }) => text));
    this.#ready.promise.catch(() => {});
    options.signal?.addEventListener("abort", this.#abort);
    if (options.signal?.aborted === true) queueMicrotask(this.#abort);
  }

  readonly #abort = (): void => void this.#leave(this.options.signal!.reason);

  /**
   * Resolves with the granted QoS, of several patterns with the least, when the broker has taken all. Rejects with
   * `SubscribeRefused`.
   */
  get ready(): Promise<QoS> {
    return this.#ready.promise;
  }

  /** Messages that have come and wait to be taken. */
  get waiting(): number {
    return this.#ring.length;
  }

  /**
   * The next message; when the subscription has ended, `done`. Rejects with what has ended it, if that was an error.
   */
  next(): Promise<IteratorResult<Message<Params, Data>, undefined>> {
    this.#finish();
    if (this.options.schema !== undefined) return this.#nextValid(this.options.schema);
    const message = this.#take();
    return message === undefined ? this.#wait() : Promise.resolve({ value: message, done: false });
  }

  /** Called when a loop is left. */
  async return(): Promise<IteratorResult<Message<Params, Data>, undefined>> {
    await this.unsubscribe();
    return { value: undefined, done: true };
  }

  /** Ends the subscription. What waits to be taken is nobody's any more. */
  unsubscribe(): Promise<void> {
    return this.#leave(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unsubscribe();
  }

  /**
   * The broker has taken the subscription to a filter.
   * @internal
   */
  granted(filter: string, qos: QoS): void {
    if (!this.#ungranted.delete(filter)) return;
    this.#qos = Math.min(this.#qos, qos) as QoS;
    if (this.#ungranted.size === 0) this.#ready.resolve(this.#qos);
  }

  /**
   * A broker is asked for it: what is stored will come.
   * @internal
   */
  asked(): void {
    this.#copies.asked();
  }

  /**
   * Ends the subscription: in order (`undefined`), or with an error. Messages not taken stay unacknowledged. @internal
   */
  fail(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.options.signal?.removeEventListener("abort", this.#abort);
    this.#ready.reject(error ?? new ClientClosed("unsubscribed"));
    this.#ring.clear();
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ value: undefined, done: true });
      else waiting.reject(error);
    }
  }

  /**
   * The broker sends again what was not acknowledged: what is here of it and was not taken would come twice.
   * @internal
   */
  retract(): void {
    for (const message of this.#ring.drain()) if (message.qos !== 1) this.#ring.push(message);
    this.#copies.retract();
  }

  /**
   * A message has come for the filters `came`, as the broker says.
   * @internal
   */
  push(arrival: Arrival, came: readonly { readonly filter: Filter }[]): void {
    const pattern = this.#copies.patternOf(arrival, came);
    if (pattern === undefined) return arrival.receipt?.done();
    const message = new Message<Params, Data>(arrival, pattern);
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.#taken = message;
      return waiting.resolve({ value: message, done: false });
    }
    if (arrival.qos === 0) {
      if (this.#unpromised >= (this.options.bufferMax ?? bufferMaxDefault)) {
        this.dropped++;
        // What is promised is not dropped: then it is the new one that goes.
        if (this.#ring.peek()?.qos !== 0) return;
        this.#ring.shift();
      } else this.#unpromised++;
    }
    this.#ring.push(message);
  }

  #take(): Message<Params, Data> | undefined {
    const message = this.#ring.shift();
    if (message === undefined) return undefined;
    if (message.qos === 0) this.#unpromised--;
    this.#taken = message;
    return message;
  }

  #wait(): Promise<IteratorResult<Message<Params, Data>, undefined>> {
    if (this.#end !== undefined)
      return this.#end.error === undefined
        ? Promise.resolve({ value: undefined, done: true })
        : Promise.reject(this.#end.error);
    const waiting = defer<IteratorResult<Message<Params, Data>, undefined>>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  async #nextValid(schema: StandardSchema<unknown, Data>): Promise<IteratorResult<Message<Params, Data>, undefined>> {
    for (;;) {
      const message = this.#take();
      const result = message === undefined ? await this.#wait() : { value: message, done: false as const };
      if (result.done === true) return result;
      const { value } = result;
      try {
        const data = await validate(schema, value.json(), `the message on ${value.topic}`);
        (value as { data: Data }).data = data;
        return result;
      } catch (error) {
        if (!(error instanceof ValidationFailed)) throw error;
        this.invalid++;
        value.ack();
        this.#taken = undefined;
        const { onInvalid } = this.options;
        if (onInvalid !== undefined)
          this.#home.callBack("onInvalid", () => onInvalid(value as unknown as Message<never, undefined>, error));
      }
    }
  }

  #leave(why: unknown): Promise<void> {
    this.#finish();
    // What is not acknowledged of a shared one goes to another member of the group.
    for (const message of this.#ring.drain()) if (!message.isShared) message.ack();
    this.fail(why);
    return this.#home.leave(this as unknown as Subscription<never, never>);
  }

  #finish(): void {
    if (this.options.ack !== "manual") this.#taken?.ack();
    this.#taken = undefined;
  }
}
