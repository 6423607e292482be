/** A topic's retained message as a value that is shared by all who know the topic. */
import type { PublishOptions, SchemaOption } from "./client-options.ts";
import { within } from "./deadlines.ts";
import { ValidationFailed } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Messaging } from "./messaging.ts";
import { type StandardSchema, validate } from "./standard-schema.ts";
import type { Subscription } from "./subscription.ts";

export interface StateOptions<Value> {
  /** 1 unless set. */
  readonly qos?: 0 | 1 | 2;
  /** Values are JSON of this shape; without it, they are the payload as text. */
  readonly schema?: StandardSchema<unknown, Value>;
  /** Told of values that are not of that shape, which are passed over. */
  readonly onInvalid?: (error: ValidationFailed) => void;
  readonly signal?: AbortSignal;
}

/** Follows the topic from its first use on, until it is ended. */
export class State<Value> implements AsyncIterable<Awaited<Value> | undefined>, AsyncDisposable {
  readonly topic: string;
  readonly #client: Messaging;
  readonly #options: StateOptions<Value>;
  #following: Promise<void> | undefined;
  #subscription: Subscription | undefined;
  #value: Value | undefined;
  /** Counts the values that have been seen. */
  #version = 0;
  #error: unknown;
  #isEnded = false;
  #watchers: (() => void)[] = [];

  /** @internal */
  constructor(client: Messaging, topic: string, options: StateOptions<Value>) {
    this.#client = client;
    this.topic = topic;
    this.#options = options;
  }

  /** The newest value that has come; undefined: none is stored. Rejects with `SubscribeRefused`. */
  async get({ signal }: { signal?: AbortSignal } = {}): Promise<Value | undefined> {
    this.#following ??= this.#follow();
    await within(this.#following, { signal: signal ?? this.#options.signal });
    if (this.#error !== undefined) throw this.#error;
    return this.#value;
  }

  /** Resolves when the broker has stored it. Rejects with a `TypeError` if it is no text, and there is no schema. */
  async set(value: Value, options: Omit<PublishOptions, "retain"> = {}): Promise<void> {
    const { schema, qos = 1 } = this.#options;
    const all = { qos, ...options, retain: true };
    if (schema === undefined) await this.#client.publish(this.topic, textOf(value), all);
    else await this.#client.publish(this.topic, value, { ...all, schema } as PublishOptions & SchemaOption<unknown>);
  }

  /** Resolves when the broker has removed it. */
  async clear(options: Omit<PublishOptions, "retain"> = {}): Promise<void> {
    await this.#client.publish(this.topic, "", { qos: this.#options.qos ?? 1, ...options, retain: true });
  }

  /**
   * The value, and each that comes after it; of several that come while nobody looks, the newest. Rejects as `get`
   * does, or with the error that ended the subscription.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Awaited<Value> | undefined, void> {
    let value = await this.get();
    for (;;) {
      const version = this.#version;
      yield value;
      while (this.#version === version && !this.#isEnded)
        await new Promise<void>((resolve) => this.#watchers.push(resolve));
      if (this.#error !== undefined) throw this.#error;
      if (this.#version === version) return;
      value = await this.#value;
    }
  }

  async end(): Promise<void> {
    await this.#subscription?.unsubscribe();
    this.#finish(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  async #follow(): Promise<void> {
    const { qos = 1, signal } = this.#options;
    const subscription = this.#client.messages(this.topic, { qos, ...(signal && { signal }) });
    this.#subscription = subscription;
    void this.#receive(subscription);
    await subscription.ready;
    // Most brokers send what is stored right behind SUBACK, so what they answer after that comes after the value; some
    // look it up meanwhile, and have it when they are asked once more. MQTT has no word for "there is none".
    await this.#client.flush();
    if (this.#version === 0) await this.#client.flush();
  }

  async #receive(subscription: Subscription): Promise<void> {
    try {
      for await (const message of subscription) await this.#take(message);
      this.#finish(undefined);
    } catch (error) {
      this.#finish(error);
    }
  }

  async #take(message: Message): Promise<void> {
    try {
      this.#value = await this.#valueOf(message);
    } catch (error) {
      if (!(error instanceof ValidationFailed)) throw error;
      const { onInvalid } = this.#options;
      if (onInvalid !== undefined) this.#client.callBack("onInvalid", () => onInvalid(error));
      return;
    }
    this.#version++;
    this.#wake();
  }

  /** The value of a message; undefined: the topic was cleared. */
  #valueOf(message: Message): Value | undefined | Promise<Value> {
    const { schema } = this.#options;
    if (message.payload.length === 0) return undefined;
    if (schema === undefined) return message.text as Value;
    return validate(schema, message.json(), `the state of ${message.topic}`);
  }

  #finish(error: unknown): void {
    this.#error = error;
    this.#isEnded = true;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#watchers.splice(0)) resolve();
  }
}

/** Returns a value that needs no schema as its text: others would be stored as "[object Object]". */
function textOf(value: unknown): string {
  if (["string", "number", "boolean", "bigint"].includes(typeof value)) return String(value);
  throw new TypeError("without a schema a state is a text, a number or a boolean: give state() a schema for JSON");
}
