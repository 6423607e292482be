/** The exports of the package `mqttzoo` on every runtime, besides `connect`. */
export type { BankDesk, Quote, QuoteOptions } from "./bank-desk.ts";
export type { Client, EndOptions } from "./client.ts";
export type {
  BatchMessage,
  BatchOptions,
  ClientOptions,
  LogEntry,
  LogLevel,
  OfflineOptions,
  Payload,
  Published,
  PublishOptions,
  ReconnectOptions,
  SchemaOption,
  Statistics,
  Status,
  UserProperties,
  WaitOptions,
  WebSocketOptions,
  Will,
} from "./client-options.ts";
export {
  ClientClosed,
  ConnectFailed,
  MqttError,
  type PublishFailure,
  PublishManyFailed,
  PublishRefused,
  QueueFull,
  QuotaExceeded,
  RequestFailed,
  StoreFailed,
  SubscribeRefused,
  TimedOut,
  ValidationFailed,
} from "./errors.ts";
export type { Message } from "./message.ts";
export type { Answer, RequestOptions, Responder, RespondOptions } from "./requests.ts";
export type { State, StateOptions } from "./retained-state.ts";
export type { SchemaResult, StandardSchema } from "./standard-schema.ts";
export type { Kept, KeptMessage, Store, StoreChange, StoredMessage } from "./store.ts";
export type { Subscription, SubscriptionOptions } from "./subscription.ts";
export type { Params } from "./topic-pattern.ts";
