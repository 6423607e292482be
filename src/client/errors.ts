/**
 * The errors of the client library. Every error of the client's own is an `MqttError`; a call that a signal aborts
 * rejects with the signal's reason, and one that cannot be meant (a topic with a wildcard) throws a `TypeError`.
 */
import { readShortage } from "../bank/shortage.ts";
import { messageOf } from "../base/errors.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";

export class MqttError extends Error {
  override readonly name: string = "MqttError";
}

/** No broker could be reached, or those that were did not let us in. */
export class ConnectFailed extends MqttError {
  override readonly name: string = "ConnectFailed";
  /** MQTT 5's reason code; undefined: no broker has answered. */
  readonly reasonCode: number | undefined;

  /** @internal */
  constructor(message: string, reasonCode: number | undefined) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** The client has ended: by `end()`, or since no broker will have it again; `cause` says why. */
export class ClientClosed extends MqttError {
  override readonly name: string = "ClientClosed";
}

/** The broker has not taken a message over; nobody is sent it. */
export class PublishRefused extends MqttError {
  override readonly name: string = "PublishRefused";
  readonly topic: string;
  /** MQTT 5's reason code. */
  readonly reasonCode: number;

  /** @internal */
  constructor(topic: string, reasonCode: number, text: string | undefined) {
    super(`the broker refused a message on ${topic}: ${describeReason(reasonCode)}${text ? `: ${text}` : ""}`);
    this.topic = topic;
    this.reasonCode = reasonCode;
  }
}

/** The broker could not store a message, should it have to: the bank is empty, or a mailbox is full (0x97). */
export class QuotaExceeded extends PublishRefused {
  override readonly name: string = "QuotaExceeded";
  /** Credits that the message would have cost; undefined, as what follows: it was not for want of credits. */
  readonly price: number | undefined;
  /** Credits that the broker had free. */
  readonly balance: number | undefined;
  /** Milliseconds after which it may be tried again; undefined: it costs more than may ever be paid. */
  readonly retryAfterMs: number | undefined;

  /** @internal */
  constructor(topic: string, text: string | undefined) {
    super(topic, Reason.quotaExceeded, text);
    const shortage = text === undefined ? undefined : readShortage(text);
    this.price = shortage?.price;
    this.balance = shortage?.balance;
    this.retryAfterMs = shortage?.retryAfter === undefined ? undefined : shortage.retryAfter * 1000;
  }

  /** @deprecated Seconds: it is called `retryAfterMs`. */
  get retryAfter(): number | undefined {
    return this.retryAfterMs === undefined ? undefined : this.retryAfterMs / 1000;
  }
}

/** @internal */
export function publishRefused(topic: string, reasonCode: number, text: string | undefined): PublishRefused {
  return reasonCode === Reason.quotaExceeded
    ? new QuotaExceeded(topic, text)
    : new PublishRefused(topic, reasonCode, text);
}

/** The broker has not taken a subscription. */
export class SubscribeRefused extends MqttError {
  override readonly name: string = "SubscribeRefused";
  readonly filter: string;
  readonly reasonCode: number;

  /** @internal */
  constructor(filter: string, reasonCode: number) {
    super(`the broker refused the subscription to ${filter}: ${describeReason(reasonCode)}`);
    this.filter = filter;
    this.reasonCode = reasonCode;
  }
}

/** More messages wait for a connection than may wait: see the option `offline`. */
export class QueueFull extends MqttError {
  override readonly name: string = "QueueFull";
}

/** A message of a batch that was not taken, and why. */
export interface PublishFailure {
  /** The place in the batch, from 0 on. */
  readonly index: number;
  readonly topic: string;
  readonly error: unknown;
}

/** Some messages of a batch were not taken, each for its own reason; the others were. */
export class PublishManyFailed extends MqttError {
  override readonly name: string = "PublishManyFailed";
  readonly failures: readonly PublishFailure[];

  /** @internal */
  constructor(failures: readonly PublishFailure[], count: number) {
    const [{ index, error }] = failures as [PublishFailure];
    super(
      `${failures.length} of ${count} messages were not taken; the first of them is [${index}]: ${messageOf(error)}`,
    );
    this.failures = failures;
  }
}

/** The store does not keep what it is given, or cannot be had: its disk is full, another client uses it. */
export class StoreFailed extends MqttError {
  override readonly name: string = "StoreFailed";
}

/** An answer has not come within its time. */
export class TimedOut extends MqttError {
  override readonly name: string = "TimedOut";
}

/** A request could not be answered: nobody responds on its topic, or the responder has failed. */
export class RequestFailed extends MqttError {
  override readonly name: string = "RequestFailed";
}

/** A value is not what its schema wants. */
export class ValidationFailed extends MqttError {
  override readonly name: string = "ValidationFailed";
  readonly issues: readonly { readonly message: string }[];

  constructor(what: string, issues: readonly { readonly message: string }[]) {
    super(`${what}: ${issues.map(({ message }) => message).join("; ")}`);
    this.issues = issues;
  }
}
