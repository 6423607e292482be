/**
 * The messaging that requests, states and the bank's quotes are made of: the part of the client that they use, so that
 * they need not know the whole of it.
 */
import type { Payload, Published, PublishOptions, SchemaOption } from "./client-options.ts";
import type { Subscription, SubscriptionOptions } from "./subscription.ts";
import type { Params } from "./topic-pattern.ts";

/** The part of the client that requests, states and the quotes of the bank are made of. */
export interface Messaging {
  /** The protocol that is spoken: 5 is MQTT 5, 4 is MQTT 3.1.1; undefined while there is no connection. */
  readonly version: 4 | 5 | undefined;
  /** The text that the broker wants response topics to begin with; undefined: it has said nothing. */
  readonly responseInformation: string | undefined;

  /** Resolves when the message is settled; rejects with `PublishRefused`, `QueueFull` or `ClientClosed`. */
  publish(topic: string, payload: Payload, options?: PublishOptions): Promise<Published>;
  publish<Input>(topic: string, value: Input, options: PublishOptions & SchemaOption<Input>): Promise<Published>;

  /** Subscribes, and hands out the messages. Throws `ClientClosed`. */
  messages<const Pattern extends string, Data = undefined>(
    pattern: Pattern | readonly Pattern[],
    options?: SubscriptionOptions<Data>,
  ): Subscription<Params<Pattern>, Data>;

  /** Resolves when the broker has answered everything that was sent before. */
  flush(options?: { signal?: AbortSignal }): Promise<void>;

  /**
   * Calls a callback of the application's: what it throws goes into the log.
   * @internal
   */
  callBack(name: string, run: () => unknown): void;
}
