/**
 * Request and response over MQTT 5 (4.10): a question, the topic on which its answer is awaited, and the data that
 * joins the two.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Payload, PublishOptions } from "./client-options.ts";
import { type Deferred, defer, within } from "./deadlines.ts";
import { RequestFailed, TimedOut } from "./errors.ts";
import type { Message } from "./message.ts";
import type { Messaging } from "./messaging.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";

/** `qos`: 1 unless set. */
export interface RequestOptions extends Omit<PublishOptions, "responseTopic" | "correlationData" | "retain"> {
  /** Milliseconds until the answer must have come; 30,000 unless set. */
  readonly timeoutMs?: number;
}

export interface RespondOptions {
  readonly qos?: QoS;
  /** Requests that are worked on at the same time; 16 unless set. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  /** Told of answers that could not be given. */
  readonly onError?: (error: unknown, request: Message) => void;
}

/** The answer of a responder. */
export type Answer = Payload | { readonly payload: Payload; readonly options?: PublishOptions };

type Answering<Params> = (request: Message<Params>) => Answer | Promise<Answer>;

/** A user property of an answer that says why there is none. */
const failureProperty = "error";
const timeoutMsDefault = 30_000;
const concurrencyDefault = 16;

/** @internal */
export class Requests {
  readonly #client: Messaging;
  readonly #waiting = new Map<string, Deferred<Message>>();
  #answers: Promise<string> | undefined;
  #sequence = 0;

  constructor(client: Messaging) {
    this.#client = client;
  }

  /** Rejects with `RequestFailed`, `TimedOut`, what `publish` rejects with, or the signal's reason. */
  async request(topic: string, payload: Payload, options: RequestOptions): Promise<Message> {
    const { timeoutMs = timeoutMsDefault, signal, ...rest } = options;
    const id = (++this.#sequence).toString(36);
    const answer = defer<Message>();
    answer.promise.catch(() => {});
    this.#waiting.set(id, answer);
    const late = (): Error => new TimedOut(`no answer on ${topic} within ${timeoutMs} ms`);
    try {
      // At QoS 1 the broker says at once if there is nobody to answer.
      const asked = this.#ask(topic, payload, { qos: 1, ...rest, correlationData: encodeUtf8(id) });
      return await within(
        asked.then(() => answer.promise),
        { ms: timeoutMs, signal, late },
      );
    } finally {
      this.#waiting.delete(id);
    }
  }

  async #ask(topic: string, payload: Payload, options: PublishOptions): Promise<void> {
    if (this.#client.version === 4) throw new RequestFailed("requests need MQTT 5, which this broker does not speak");
    this.#answers ??= this.#listen();
    const responseTopic = await this.#answers;
    const { noSubscribers } = await this.#client.publish(topic, payload, { ...options, responseTopic });
    if (noSubscribers) throw new RequestFailed(`nobody responds on ${topic}`);
  }

  /** One topic for all answers of this client. */
  async #listen(): Promise<string> {
    const topic = `${this.#client.responseInformation ?? "response/"}${systemRandom.hex(12)}`;
    const subscription = this.#client.messages(topic, { qos: 1 });
    try {
      await subscription.ready;
    } catch (error) {
      this.#answers = undefined;
      throw error;
    }
    void this.#receiveAnswers(subscription);
    return topic;
  }

  async #receiveAnswers(answers: Subscription): Promise<void> {
    try {
      for await (const answer of answers) this.#settle(answer);
    } catch (error) {
      for (const waiting of this.#waiting.values()) waiting.reject(error);
    }
    this.#answers = undefined;
  }

  #settle(answer: Message): void {
    const { correlationData } = answer;
    if (correlationData === undefined) return;
    const waiting = this.#waiting.get(new TextDecoder().decode(correlationData));
    const failure = answer.userProperties.find(([name]) => name === failureProperty);
    if (failure === undefined) waiting?.resolve(answer);
    else waiting?.reject(new RequestFailed(failure[1]));
  }
}

/** Answers requests until it is ended; resolves with the end. */
export class Responder<Params> implements AsyncDisposable {
  readonly #client: Messaging;
  readonly #subscription: Subscription<Params>;
  readonly #answer: Answering<Params>;
  readonly #options: RespondOptions;
  readonly #working = new Set<Promise<void>>();

  /** @internal */
  constructor(
    client: Messaging,
    subscription: Subscription<Params>,
    { answer, options }: { answer: Answering<Params>; options: RespondOptions },
  ) {
    this.#client = client;
    this.#subscription = subscription;
    this.#answer = answer;
    this.#options = options;
    void this.#run();
  }

  /** Resolves when requests reach it. Rejects with `SubscribeRefused`. */
  get ready(): Promise<unknown> {
    return this.#subscription.ready;
  }

  /** Takes no more requests; those that are being worked on are answered. */
  async end(): Promise<void> {
    await this.#subscription.unsubscribe();
    await Promise.all(this.#working);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  /** @internal */
  static subscription(options: RespondOptions): SubscriptionOptions {
    return {
      qos: options.qos ?? 1,
      ack: "manual",
      // What is stored on the topic is no question of now.
      retained: "never",
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
  }

  async #run(): Promise<void> {
    try {
      for await (const request of this.#subscription) {
        const work = this.#respond(request).finally(() => this.#working.delete(work));
        this.#working.add(work);
        if (this.#working.size >= (this.#options.concurrency ?? concurrencyDefault)) await Promise.race(this.#working);
      }
    } catch {
      // The subscription was refused, or the client has ended: `ready` and the client say so.
    }
  }

  async #respond(request: Message<Params>): Promise<void> {
    try {
      const { responseTopic, correlationData } = request;
      const { payload, options } = await this.#answerOf(request);
      if (responseTopic !== undefined)
        await this.#client.publish(responseTopic, payload, {
          qos: request.qos,
          ...options,
          ...(correlationData && { correlationData }),
        });
      // A request is done with when it is answered: should this process die before, another one may answer it.
      request.ack();
    } catch (error) {
      this.#failed(error, request);
    }
  }

  #failed(error: unknown, request: Message<Params>): void {
    const { onError } = this.#options;
    if (onError !== undefined) this.#client.callBack("onError", () => onError(error, request as unknown as Message));
  }

  async #answerOf(request: Message<Params>): Promise<{ payload: Payload; options?: PublishOptions }> {
    try {
      const answer = await this.#answer(request);
      return typeof answer === "string" || answer instanceof Uint8Array ? { payload: answer } : answer;
    } catch (error) {
      this.#failed(error, request);
      return { payload: "", options: { userProperties: { [failureProperty]: messageOf(error) } } };
    }
  }
}
