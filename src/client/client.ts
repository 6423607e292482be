/**
 * The client that applications use: it outlives its connections. What goes out and what comes in are machines of their
 * own (`outbox.ts`, `inbox.ts`); `reconnector.ts` gives both a connection, and another one when it is lost.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { systemRandom } from "../base/random.ts";
import { sessionNeverExpires } from "../mqtt/constants.ts";
import type { TlsOptions, TransportEvents } from "../net/transport.ts";
import { dialWebSocket } from "../net/web-socket-client.ts";
import { Turn } from "../net/writer.ts";
import { type Address, parseTarget, type Target, webSocketUrl } from "./address.ts";
import { BankDesk } from "./bank-desk.ts";
import { checkOptions } from "./check-options.ts";
import type {
  ClientOptions,
  Payload,
  Published,
  PublishOptions,
  SchemaOption,
  Status,
  Will,
} from "./client-options.ts";
import type { MqttConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { within } from "./deadlines.ts";
import { ClientClosed } from "./errors.ts";
import { Inbox } from "./inbox.ts";
import type { Message } from "./message.ts";
import type { Messaging } from "./messaging.ts";
import { mayBeLeft, Outbox, refused } from "./outbox.ts";
import { toPublish } from "./outgoing-publish.ts";
import { type Dialer, Reconnector } from "./reconnector.ts";
import { type Answer, type RequestOptions, Requests, Responder, type RespondOptions } from "./requests.ts";
import { State, type StateOptions } from "./retained-state.ts";
import { validate } from "./standard-schema.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";
import type { Params } from "./topic-pattern.ts";

/**
 * The doors to the outside, which differ between runtimes.
 * @internal
 */
export interface Runtime {
  /** Opens a TCP connection; `tls`: with TLS over it. */
  readonly dialSocket: (
    address: Address,
    events: TransportEvents<MqttConnection>,
    tls: TlsOptions | undefined,
  ) => Promise<unknown>;
  /** Runs something at the end of the event loop's turn. */
  readonly nextTurn: (run: () => void) => void;
}

export interface EndOptions {
  /** Milliseconds that messages under way are waited for; 5,000 unless set. */
  readonly timeoutMs?: number;
  /** Leaves at once. */
  readonly signal?: AbortSignal;
}

const keepAliveDefault = 30;
const connectTimeoutDefault = 10;
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
  readonly bank = new BankDesk(this);
  readonly #options: ClientOptions;
  readonly #inbox = new Inbox();
  readonly #outbox: Outbox;
  readonly #requests = new Requests(this);
  readonly #reconnector: Reconnector;
  readonly #clientId: string;
  #connection: MqttConnection | undefined;
  #isFirst = true;

  /** @internal */
  constructor(runtime: Runtime, target: Target, options: ClientOptions) {
    checkOptions(options);
    this.#options = options;
    this.#outbox = new Outbox(options.offline);
    // Before MQTT 5 no broker has to make up a client id.
    this.#clientId = options.clientId ?? `mqttzoo-${systemRandom.hex(8)}`;
    const turn = new Turn(runtime.nextTurn);
    const { reconnect = {} } = options;
    this.#reconnector = new Reconnector({
      addresses: target.addresses,
      dialer: dialerOf(runtime, options),
      connection: async () => ({ ...(await this.#connectionOptions(target)), turn }),
      connectTimeoutMs: (options.connectTimeout ?? connectTimeoutDefault) * 1000,
      reconnect: reconnect === false ? undefined : reconnect,
      random: systemRandom,
      onConnected: (connection) => this.#connected(connection),
      onDisconnected: () => this.#disconnected(),
      onStatus: (status) => this.#report(status),
      onEnded: (error) => this.#ended(error),
    });
  }

  /** @internal */
  start(): Promise<void> {
    return this.#reconnector.start(this.#options.signal);
  }

  get status(): Status {
    return this.#reconnector.status;
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
    if (schema !== undefined) return mayBeLeft(this.#publishValid(topic, value, { ...options, schema }));
    try {
      return this.#outbox.publish(toPublish(topic, value as Payload, options), signal);
    } catch (error) {
      return refused(error);
    }
  }

  /**
   * Subscribes, and hands out the messages: `for await (const message of client.messages("room/{id}/temp"))`. Messages
   * of QoS 1 and 2 are acknowledged as they are taken, so the broker sends no faster than that (`receiveMaximum`).
   */
  messages<const Pattern extends string, Data = undefined>(
    pattern: Pattern,
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
    pattern: Pattern,
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
    pattern: Pattern,
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
    const publish = toPublish(topic, JSON.stringify(value), { contentType: "application/json", ...options });
    return this.#outbox.publish(publish, options.signal);
  }

  async #connectionOptions(target: Target): Promise<ConnectionOptions> {
    const { version, will, sessionExpiry = 0, clean = false, keepAlive = keepAliveDefault } = this.#options;
    const given = this.#options.password;
    const password = typeof given === "function" ? await given() : (given ?? target.password);
    const username = this.#options.username ?? target.username;
    const isClean = sessionExpiry === 0 || (clean && this.#isFirst);
    return {
      ...(version === undefined ? {} : { version }),
      clientId: this.#clientId,
      clean: isClean,
      keepAlive,
      session: this.#outbox.session,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(will === undefined ? {} : { will: toWill(will) }),
      ...(sessionExpiry > 0 ? { sessionExpiryInterval: Math.min(sessionExpiry, sessionNeverExpires) } : {}),
      properties: {
        ...(this.#options.receiveMaximum === undefined ? {} : { receiveMaximum: this.#options.receiveMaximum }),
        requestResponseInformation: true,
        ...(this.#options.packetBytesMax === undefined ? {} : { maximumPacketSize: this.#options.packetBytesMax }),
      },
      onPublish: (publish, isRepeat) => this.#inbox.receive(publish, isRepeat),
      onReleased: (packetId) => this.#inbox.released(packetId),
      onDrained: () => this.#outbox.drained(),
    };
  }

  #connected(connection: MqttConnection): void {
    this.#isFirst = false;
    this.#connection = connection;
    this.#inbox.connected(connection);
    this.#outbox.connected(connection);
  }

  #disconnected(): void {
    this.#connection = undefined;
    this.#inbox.disconnected();
    this.#outbox.disconnected();
  }

  #ended(error: ClientClosed): void {
    this.#connection = undefined;
    this.#outbox.close(error);
    // Who has ended the client has ended its subscriptions.
    this.#inbox.close(error.cause === undefined && error.message === "the client was ended" ? undefined : error);
  }

  /**
   * Tells the application of a status. An error there is the application's: it must not look like a broken connection,
   * nor end the process.
   */
  #report(status: Status): void {
    try {
      this.#options.onStatus?.(status);
    } catch (error) {
      console.error("mqttzoo: onStatus has thrown", error);
    }
  }

  #throwIfEnded(): void {
    if (this.status.state === "closed") throw new ClientClosed(this.status.why);
  }
}

const noOptions: PublishOptions = {};

function dialerOf({ dialSocket }: Runtime, { tls = {} }: ClientOptions): Dialer {
  return (address, events) => {
    if (address.scheme.startsWith("ws")) return dialWebSocket(webSocketUrl(address), events);
    return dialSocket(address, events, address.scheme === "mqtts" ? tls : undefined);
  };
}

function toWill({ topic, payload, qos = 0, retain = false, delay }: Will): NonNullable<ConnectionOptions["will"]> {
  const bytes = typeof payload === "string" ? encodeUtf8(payload) : payload;
  return {
    topic,
    payload: bytes,
    qos,
    retain,
    ...(delay === undefined ? {} : { properties: { willDelayInterval: delay } }),
  };
}
