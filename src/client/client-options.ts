/** The options that an application gives the client, and the states that it is told. */
import type { QoS } from "../mqtt/constants.ts";
import type { TlsOptions } from "../net/transport.ts";
import type { StandardSchema } from "./standard-schema.ts";
import type { Store } from "./store.ts";

export type Payload = string | Uint8Array;

export interface ClientOptions {
  /** Names the session at the broker; made up unless set. */
  readonly clientId?: string;
  /**
   * Milliseconds for which the broker keeps the session after the connection has ended: subscriptions, and messages of
   * QoS 1 and 2 for them. 0 unless set: it ends with the connection. Infinity: for ever. Needs a `clientId`. As all
   * times that the broker is told, it is rounded up to whole seconds.
   */
  readonly sessionExpiryMs?: number;
  /** Begins without what the broker may have kept of the session. */
  readonly clean?: boolean;
  /** Milliseconds after which the broker must have been heard of; 30,000 unless set, 0: never. */
  readonly keepAliveMs?: number;
  readonly username?: string;
  /** A function is asked before each connection: tokens expire. */
  readonly password?: Payload | (() => Payload | Promise<Payload>);
  /** 5 unless set, or 4 where the broker does not speak it: MQTT 3.1.1 has no reasons, no properties and no expiry. */
  readonly version?: 4 | 5;
  /**
   * The password is proved and not sent, and the broker proves that it knows it, too: MQTT 5's enhanced authentication.
   * Needs a user name and a password. Unless it is set, they stand in CONNECT.
   */
  readonly auth?: "SCRAM-SHA-256";
  /** Options for `mqtts://` and `wss://`, in Node and Bun; browsers trust whom they trust. */
  readonly tls?: TlsOptions;
  /** Options for `ws://` and `wss://`, in Node and Bun: the path stands in the URL. */
  readonly webSocket?: WebSocketOptions;
  /** Published by the broker when the connection is lost and not left by `end()`. */
  readonly will?: Will;
  /** Told to the broker in CONNECT. MQTT 5. */
  readonly userProperties?: UserProperties;
  /**
   * Messages of QoS 1 and 2 that the broker sends before they are acknowledged; 65,535 unless set. What comes beyond it
   * waits at the broker: for a session that outlives its connection in its mailbox, for others in a queue that may run
   * over. MQTT 5.
   */
  readonly receiveMaximum?: number;
  /** Largest packet that is taken, in bytes. MQTT 5. */
  readonly packetBytesMax?: number;
  /** Milliseconds until a broker must have answered; 10,000 unless set. */
  readonly connectTimeoutMs?: number;
  /**
   * for ever: `connect` resolves at once with a client that tries until a broker takes it: a device may boot before its
   * network. never (unless set): it rejects when no broker takes us.
   */
  readonly retry?: "for ever" | "never";
  /** false: a connection that is lost is the end. */
  readonly reconnect?: false | ReconnectOptions;
  /**
   * Keeps what is published until it is settled, so that it survives the process: `sqliteStore(path)`, or one of your
   * own. Needs a `clientId`, and a `sessionExpiryMs` for which the broker keeps its half.
   */
  readonly store?: Store;
  /** Publishes while there is no connection. */
  readonly offline?: OfflineOptions;
  /** As `client.on("status", ...)`, from the beginning. What it throws goes to `onLog`, and is the end of nothing. */
  readonly onStatus?: (status: Status) => void;
  /** Told what the client does, for a log; errors are printed unless it is set. */
  readonly onLog?: (entry: LogEntry) => void;
  /** Gives up the first connection. */
  readonly signal?: AbortSignal;
  /** @deprecated Seconds: it is called `sessionExpiryMs`. */
  readonly sessionExpiry?: number;
  /** @deprecated Seconds: it is called `keepAliveMs`. */
  readonly keepAlive?: number;
  /** @deprecated Seconds: it is called `connectTimeoutMs`. */
  readonly connectTimeout?: number;
}

export interface WebSocketOptions {
  /** Headers of the request, for a login of HTTP, say; a function is asked before each connection. */
  readonly headers?: Headers | (() => Headers | Promise<Headers>);
}

type Headers = Readonly<Record<string, string>>;

/** Pairs, where a name stands more than once. */
export type UserProperties = Readonly<Record<string, string>> | readonly (readonly [string, string])[];

/** Properties of a message that its subscribers are told, besides its payload. MQTT 5. */
export interface MessageProperties {
  readonly contentType?: string;
  /** Tells subscribers that the payload is UTF-8. */
  readonly isText?: boolean;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  readonly userProperties?: UserProperties;
}

export interface Will extends MessageProperties {
  readonly topic: string;
  readonly payload: Payload;
  readonly qos?: QoS;
  readonly retain?: boolean;
  /** Milliseconds until it is published, should the client not come back. This and `expiryMs` are MQTT 5's. */
  readonly delayMs?: number;
  /** Milliseconds after which nobody wants it any more, from when it is published. */
  readonly expiryMs?: number;
  /** @deprecated Seconds: it is called `delayMs`. */
  readonly delay?: number;
  /** @deprecated Seconds: it is called `expiryMs`. */
  readonly expiry?: number;
}

/** All but `qos`, `retain` and `signal` are MQTT 5's. */
export interface PublishOptions extends MessageProperties {
  /** 0 (unless set): at most once; 1: at least once; 2: exactly once. */
  readonly qos?: QoS;
  /** The broker keeps it for later subscribers, in place of the one before; an empty payload removes that. */
  readonly retain?: boolean;
  /** Milliseconds after which nobody wants it any more. */
  readonly expiryMs?: number;
  /** @deprecated Seconds: it is called `expiryMs`. */
  readonly expiry?: number;
  /** Stops waiting; what has been sent cannot be taken back. */
  readonly signal?: AbortSignal;
}

export interface SchemaOption<Input> {
  /** The shape that a published value must have; it leaves as JSON. */
  readonly schema: StandardSchema<Input, unknown>;
}

/** A message of a batch, with its own options. */
export interface BatchMessage extends Omit<PublishOptions, "signal"> {
  readonly topic: string;
  readonly payload: Payload;
}

export interface BatchOptions {
  /** Stops waiting for all of them: what has been sent cannot be taken back. */
  readonly signal?: AbortSignal;
}

/** How a publish ended well. */
export interface Published {
  /** The broker has told us that nobody is subscribed (MQTT 5, QoS 1 and 2; brokers need not tell). */
  readonly noSubscribers: boolean;
}

export interface OfflineOptions {
  /** Messages that may wait while there is no connection; 1,000 unless set, 100,000 with a store; 0: none. */
  readonly messagesMax?: number;
  /** The message that is refused with `QueueFull` when there is one too many: the new one, or the oldest. */
  readonly whenFull?: "reject" | "drop-oldest";
}

export interface ReconnectOptions {
  /** Waits are drawn between 0 and this many milliseconds, doubled with each attempt in vain; 250 unless set. */
  readonly minMs?: number;
  /** The largest that this doubled bound becomes; 30,000 unless set. */
  readonly maxMs?: number;
}

export type Status =
  /** `broker`: the one that is dialled. */
  | { readonly state: "connecting"; readonly broker?: string }
  | { readonly state: "connected"; readonly broker: string; readonly sessionPresent: boolean }
  /** No connection, and a wait before the next attempt. */
  | { readonly state: "reconnecting"; readonly why: string; readonly inMs: number }
  | { readonly state: "closed"; readonly why: string };

export type LogLevel = "debug" | "info" | "warn" | "error";

/** A line for a log. */
export interface LogEntry {
  readonly level: LogLevel;
  readonly message: string;
  readonly clientId: string;
  /** The error that the line is about, where there is one. */
  readonly error?: unknown;
}

/** The figures of a client since it began. */
export interface Statistics {
  /** Connections that brokers have taken. */
  readonly connections: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Messages that have been settled: written at QoS 0, taken over by the broker at QoS 1 and 2. */
  readonly published: number;
  /** Messages that the broker has refused. */
  readonly refused: number;
  /** Messages that have come. */
  readonly received: number;
  /** Messages published and not settled. */
  readonly pending: number;
  /** Milliseconds from the last ping to its answer; undefined: there was none. */
  readonly roundTripMs: number | undefined;
}

/** The patience of who waits. */
export interface WaitOptions {
  /** Infinity unless set. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}
