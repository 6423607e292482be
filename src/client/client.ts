/**
 * The client that applications use: it outlives its connections. What goes out and what comes in are machines of their
 * own (`outbox.ts`, `inbox.ts`); `reconnector.ts` gives both a connection, and another one when it is lost.
 */
import { messageOf } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import { Turn } from "../net/writer.ts";
import { parseTarget, type Target } from "./address.ts";
import { Announcer } from "./announcer.ts";
import { BankDesk } from "./bank-desk.ts";
import { type CurrentOptions, checkedOptions } from "./check-options.ts";
import type {
  BatchMessage,
  BatchOptions,
  ClientOptions,
  Payload,
  Published,
  PublishOptions,
  SchemaOption,
  Statistics,
  Status,
  WaitOptions,
} from "./client-options.ts";
import { connectOptionsOf } from "./connect-options.ts";
import type { MqttConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { within } from "./deadlines.ts";
import { dialerOf } from "./dialer.ts";
import { ClientClosed, MqttError, TimedOut } from "./errors.ts";
import { Inbox } from "./inbox.ts";
import { Keeper } from "./keeper.ts";
import type { Message } from "./message.ts";
import type { Messaging } from "./messaging.ts";
import { Outbox } from "./outbox.ts";
import { toPublish } from "./outgoing-publish.ts";
import { mayBeLeft, refused } from "./pending.ts";
import { publishMany } from "./publish-many.ts";
import { Reconnector } from "./reconnector.ts";
import { type Answer, type RequestOptions, Requests, Responder, type RespondOptions } from "./requests.ts";
import { State, type StateOptions } from "./retained-state.ts";
import type { Runtime } from "./runtime.ts";
import { validate } from "./standard-schema.ts";
import { Tally } from "./statistics.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";
import type { Params } from "./topic-pattern.ts";

export interface EndOptions {
  /** Milliseconds that messages under way are waited for; 5,000 unless set. */
  readonly timeoutMs?: number;
  /** Leaves at once. */
  readonly signal?: AbortSignal;
}

const connectTimeoutMsDefault = 10_000;
const endTimeoutMsDefault = 5000;

/**
 * Resolves with a client that is connected. Rejects with `ConnectFailed`. Throws a `TypeError` for what cannot be
 * meant.
 * @internal
 */
export async function connectOn(
  runtime: Runtime,
  urls: string | readonly string[],
  options: ClientOptions,
): Promise<Client> {
  const client = new Client(runtime, parseTarget(urls), options);
  await client.start();
  return client;
}

export class Client implements Messaging, AsyncDisposable {
  /** Quotes: how much it costs to have a message stored. */
  readonly bank = new BankDesk(this, (...names) => this.#announcer.oldName(...names));
  readonly #options: CurrentOptions;
  readonly #announcer: Announcer;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #tally: Tally;
  readonly #keeper: Keeper | undefined;
  readonly #requests = new Requests(this);
  readonly #reconnector: Reconnector;
  readonly #clientId: string;
  #connection: MqttConnection | undefined;
  #isFirst = true;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(runtime: Runtime, target: Target, given: ClientOptions) {
    const oldNames: [string, string][] = [];
    const options = checkedOptions(given, (...names) => oldNames.push(names));
    this.#options = options;
    // Before MQTT 5 no broker has to make up a client id.
    this.#clientId = options.clientId ?? `mqttzoo-${systemRandom.hex(8)}`;
    this.#announcer = new Announcer(options, this.#clientId);
    for (const names of oldNames) this.#announcer.oldName(...names);
    const { store } = options;
    if (store !== undefined)
      this.#keeper = new Keeper({
        store,
        nextTurn: runtime.nextTurn,
        onFailed: (error) => this.#announcer.log("error", "the store fails", error),
      });
    this.#outbox = new Outbox(options.offline, this.#keeper);
    this.#inbox = new Inbox((name, run) => this.callBack(name, run));
    this.#tally = new Tally(this.#inbox, this.#outbox);
    const turn = new Turn(runtime.nextTurn);
    const { reconnect = {} } = options;
    const { connectTimeoutMs = connectTimeoutMsDefault } = options;
    this.#reconnector = new Reconnector({
      addresses: target.addresses,
      dialer: dialerOf(runtime, options, connectTimeoutMs),
      connection: async () => ({ ...(await this.#connectionOptions(target)), turn }),
      connectTimeoutMs,
      reconnect: reconnect === false ? undefined : reconnect,
      random: systemRandom,
      onConnected: (connection) => this.#connected(connection),
      onDisconnected: () => this.#disconnected(),
      isPatient: options.retry === "for ever",
      onStatus: (status) => this.#announcer.announce(status),
      log: (level, message) => this.#announcer.log(level, message),
      onEnded: (error) => this.#ended(error),
    });
  }

  /** @internal */
  async start(): Promise<void> {
    if (this.#keeper !== undefined) {
      const left = (topic: string, error: unknown): void => {
        if (!(error instanceof ClientClosed))
          this.#announcer.log("warn", `a stored message on ${topic} is gone`, error);
      };
      this.#outbox.restore(await this.#keeper.open(this.#clientId), left);
    }
    await this.#reconnector.start(this.#options.signal);
  }

  get status(): Status {
    return this.#reconnector.status;
  }

  /**
   * Has a listener told of each change of the status, besides others; the function that is returned removes it. What a
   * listener throws goes to `onLog`.
   */
  on(event: "status", listener: (status: Status) => void): () => void {
    return this.#announcer.on(event, listener);
  }

  /**
   * Iterates the status that there is, and those that follow, until the client has ended. A slow reader gets the newest
   * 64 of them.
   */
  statuses({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<Status, undefined> {
    return this.#announcer.statuses(signal);
  }

  /**
   * Resolves when there is a connection: with `retry: "for ever"`, `connect` does not wait for it. Rejects with
   * `ClientClosed` if there will be none, with `TimedOut`, or the signal's reason.
   */
  connected(options: WaitOptions = {}): Promise<void> {
    return this.#announcer.connected(options, () => this.#reconnector.error);
  }

  /** Resolves with the milliseconds in which the broker answers a ping. Rejects with `MqttError`: no connection. */
  async roundTrip({ timeoutMs = Infinity, signal }: WaitOptions = {}): Promise<number> {
    const connection = this.#connection;
    if (connection === undefined) throw new MqttError("there is no connection");
    const late = (): Error => new TimedOut(`the broker has not answered within ${timeoutMs} ms`);
    const pinged = connection.ping().catch((error) => {
      throw new MqttError(messageOf(error));
    });
    await within(pinged, { ms: timeoutMs, signal, late });
    return connection.roundTripMs!;
  }

  /** The figures since the client began. */
  get statistics(): Statistics {
    return this.#tally.now;
  }

  /**
   * Calls a callback of the application's: what it throws goes into the log.
   * @internal
   */
  callBack(name: string, run: () => unknown): void {
    this.#announcer.callBack(name, run);
  }

  /** The name of the session: as given, or made up. */
  get clientId(): string {
    return this.#clientId;
  }

  /**
   * The protocol that is spoken with the broker: 5 is MQTT 5, 4 is MQTT 3.1.1; undefined while there is no connection.
   */
  get version(): 4 | 5 | undefined {
    return this.#connection?.version as 4 | 5 | undefined;
  }

  /**
   * Resolves when everything that was published so far would survive a power cut; at once without a store, which keeps
   * nothing. Rejects with `StoreFailed`.
   */
  async stored(): Promise<void> {
    await this.#keeper?.settled();
  }

  /** Messages published and not settled. */
  get pending(): number {
    return this.#outbox.pending;
  }

  /**
   * Messages that the broker has kept for a subscription from before this process, and nobody has asked for: they wait
   * for `messages`.
   */
  get unclaimed(): number {
    return this.#inbox.unclaimed;
  }

  /** The text that the broker wants response topics to begin with; undefined: it has said nothing. */
  get responseInformation(): string | undefined {
    return this.#connection?.granted.responseInformation;
  }

  /**
   * Resolves when the message is settled: at QoS 0 when it is written, at 1 and 2 when the broker has taken it over,
   * also in a later connection. Rejects with `PublishRefused` (`QuotaExceeded`: the bank cannot pay), `QueueFull`,
   * `ClientClosed`. A publish that nobody awaits may fail unheard: it never ends the process. The payload's bytes must
   * not change until then.
   */
  publish(topic: string, payload: Payload, options?: PublishOptions): Promise<Published>;
  publish<Input>(topic: string, value: Input, options: PublishOptions & SchemaOption<Input>): Promise<Published>;
  publish(
    topic: string,
    value: unknown,
    options: PublishOptions & Partial<SchemaOption<unknown>> = noOptions,
  ): Promise<Published> {
    const { signal, schema } = options;
    if (signal?.aborted === true) return refused(signal.reason);
    if (options.expiry !== undefined) this.#announcer.oldName("expiry", "expiryMs");
    if (schema !== undefined) return mayBeLeft(this.#publishValid(topic, value, { ...options, schema }));
    try {
      return this.#outbox.publish(toPublish(topic, value as Payload, options), signal);
    } catch (error) {
      return refused(error);
    }
  }

  /**
   * Publishes a batch, in its order, and resolves when all are settled, with how each ended, in the same order. Rejects
   * with `PublishManyFailed`, which names those that were not taken by their places; all others were. A store keeps a
   * batch at once. Rejects with a `TypeError` before anything leaves if one of them cannot be published.
   */
  publishMany(messages: readonly BatchMessage[], options: BatchOptions = {}): Promise<readonly Published[]> {
    if (Array.isArray(messages) && messages.some((message) => message?.expiry !== undefined))
      this.#announcer.oldName("expiry", "expiryMs");
    return publishMany(this.#outbox, messages, options);
  }

  /**
   * Subscribes, and hands out the messages: `for await (const message of client.messages("room/{id}/temp"))`. Messages
   * of QoS 1 and 2 are acknowledged as they are taken, so the broker sends no faster than that (`receiveMaximum`).
   * Several patterns are one subscription: they are asked for at once, and a message comes once though several match.
   */
  messages<const Pattern extends string, Data = undefined>(
    pattern: Pattern | readonly Pattern[],
    options: SubscriptionOptions<Data> = {},
  ): Subscription<Params<Pattern>, Data> {
    this.#throwIfEnded();
    return this.#inbox.subscribe<Params<Pattern>, Data>(pattern, options);
  }

  /**
   * Subscribes as `messages` does, and resolves when the broker has taken the subscription. Rejects with
   * `SubscribeRefused`.
   */
  async subscribe<const Pattern extends string, Data = undefined>(
    pattern: Pattern | readonly Pattern[],
    options: SubscriptionOptions<Data> = {},
  ): Promise<Subscription<Params<Pattern>, Data>> {
    const subscription = this.messages(pattern, options);
    await subscription.ready;
    return subscription;
  }

  /**
   * Publishes a question and resolves with the answer (MQTT 5). Rejects with `RequestFailed`, `TimedOut`, or as
   * `publish` does.
   */
  request(topic: string, payload: Payload, options: RequestOptions = {}): Promise<Message> {
    return this.#requests.request(topic, payload, options);
  }

  /**
   * Answers what is asked on topics, until it is ended (MQTT 5). What the function throws, the one who asked is told.
   */
  respond<const Pattern extends string>(
    pattern: Pattern | readonly Pattern[],
    answer: (request: Message<Params<Pattern>>) => Answer | Promise<Answer>,
    options: RespondOptions = {},
  ): Responder<Params<Pattern>> {
    const subscription = this.messages(pattern, Responder.subscription(options));
    return new Responder(this, subscription, { answer, options });
  }

  /** The retained message of a topic as a value. */
  state<Value = string>(topic: string, options: StateOptions<Value> = {}): State<Value> {
    return new State<Value>(this, topic, options);
  }

  /**
   * Resolves when the broker has read, and answered, everything that was sent before; at once if there is no
   * connection.
   */
  async flush({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#connection !== undefined)
      await within(
        this.#connection.ping().catch(() => {}),
        { signal },
      );
  }

  /**
   * Waits for what is under way, and leaves: no will is published. A session that outlives its connection stays at the
   * broker.
   */
  async end({ timeoutMs = endTimeoutMsDefault, signal }: EndOptions = {}): Promise<void> {
    if (this.status.state === "closed") return;
    if (this.#connection !== undefined) {
      const late = (): Error => new Error("late");
      await within(this.#outbox.idle(), { ms: timeoutMs, late, signal }).catch(() => {});
    }
    this.#connection?.disconnect();
    this.#reconnector.end(new ClientClosed("the client was ended"));
    await this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  async #publishValid(
    topic: string,
    value: unknown,
    { schema, ...options }: PublishOptions & SchemaOption<unknown>,
  ): Promise<Published> {
    await validate(schema, value, `the value for ${topic}`);
    options.signal?.throwIfAborted();
    const publish = toPublish(topic, JSON.stringify(value), { contentType: "application/json", ...options });
    return this.#outbox.publish(publish, options.signal);
  }

  async #connectionOptions(target: Target): Promise<ConnectionOptions> {
    const facts = { clientId: this.#clientId, isFirst: this.#isFirst, target };
    return {
      ...(await connectOptionsOf(this.#options, facts)),
      session: this.#outbox.session,
      onPublish: (publish, isRepeat) => this.#inbox.receive(publish, isRepeat),
      onReleased: (packetId) => this.#inbox.released(packetId),
      onDrained: () => this.#outbox.drained(),
    };
  }

  #connected(connection: MqttConnection): void {
    this.#isFirst = false;
    this.#tally.connected(connection);
    this.#connection = connection;
    this.#inbox.connected(connection);
    this.#outbox.connected(connection);
  }

  #disconnected(): void {
    this.#tally.disconnected();
    this.#connection = undefined;
    this.#inbox.disconnected();
    this.#outbox.disconnected();
  }

  #ended(error: ClientClosed): void {
    this.#tally.disconnected();
    this.#connection = undefined;
    this.#outbox.close(error);
    this.#closing = this.#keeper?.close().catch((failure) => this.#announcer.log("error", "the store fails", failure));
    // Who has ended the client has ended its subscriptions.
    this.#inbox.close(error.cause === undefined && error.message === "the client was ended" ? undefined : error);
  }

  #throwIfEnded(): void {
    if (this.status.state === "closed") throw new ClientClosed(this.status.why);
  }
}

const noOptions: PublishOptions = {};
