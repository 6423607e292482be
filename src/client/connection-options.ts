/** The options of a connection and of its calls, and the messages that it hands out. */
import type { IConnectPacket, IPublishPacket, ISubscribePacket } from "mqtt-packet";
import type { ProtocolVersion, QoS } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { TlsOptions } from "../net/transport.ts";
import type { Turn } from "../net/writer.ts";
import type { ClientSession } from "./client-session.ts";

export interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly properties: PublishProperties | undefined;
}

export type PublishProperties = NonNullable<IPublishPacket["properties"]>;
export type ConnectProperties = NonNullable<IConnectPacket["properties"]>;
export type WillProperties = NonNullable<NonNullable<IConnectPacket["will"]>["properties"]>;

/** One exchange of MQTT 5's enhanced authentication (4.12). */
export interface Login {
  readonly method: string;
  /** The first word of the client, which stands in CONNECT. */
  readonly first: Uint8Array;
  /** Answers a question of the broker. Rejects if that is odd. */
  answer(challenge: Uint8Array): Promise<Uint8Array>;
  /** Throws if the last word of the broker, which stands in CONNACK, does not prove who it is. */
  check(proof: Uint8Array | undefined): void;
}

/** The options of a connection; `Connection` is what is handed to `onReady`. */
export interface ConnectionOptions<Connection = unknown> {
  readonly clientId?: string;
  /** Speaks TLS. */
  readonly tls?: TlsOptions;
  /** 5 unless set. */
  readonly version?: ProtocolVersion;
  /** Seconds until the broker must have answered CONNECT; 30 unless set. */
  readonly connectTimeout?: number;
  /** Start without what the broker may hold for this client id; true unless set. */
  readonly clean?: boolean;
  /** Seconds; 60 unless set, 0: none. */
  readonly keepAlive?: number;
  readonly username?: string;
  readonly password?: string | Uint8Array;
  /** Proves who we are, and who the broker is. MQTT 5. */
  readonly login?: Login;
  /** Seconds for which the session outlives the connection (MQTT 5). */
  readonly sessionExpiryInterval?: number;
  /** Properties of CONNECT, besides the session's expiry (MQTT 5). */
  readonly properties?: ConnectProperties;
  readonly will?: {
    readonly topic: string;
    readonly payload: string | Uint8Array;
    readonly qos: QoS;
    readonly retain: boolean;
    readonly properties?: WillProperties;
  };
  /** The state that both sides keep across connections; a new one unless set. */
  readonly session?: ClientSession;
  /** When output is written; at the end of the event loop's turn unless set. */
  readonly turn?: Turn;
  /** Called for each message before it is acknowledged. */
  readonly onMessage?: (message: Message) => void;
  /** Called with SUBACK's codes before anything that has come behind it is looked at. */
  readonly onGranted?: (granted: readonly number[]) => void;
  readonly onClose?: (why: string) => void;
  /** Called with CONNACK, before anything that has come behind it is looked at. */
  readonly onReady?: (connection: Connection) => void;
  /** The transport takes bytes again. */
  readonly onDrained?: () => void;
  /**
   * Called instead of `onMessage`, with a view that is valid until it returns; acknowledging is the callee's business.
   * `isRepeat`: at QoS 2, it has been called with it before.
   */
  readonly onPublish?: (publish: Publish, isRepeat: boolean) => void;
  /** The broker will not send the QoS 2 message of that packet id again. */
  readonly onReleased?: (packetId: number) => void;
}

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: PublishProperties;
}

export interface SubscribeOptions {
  readonly qos?: QoS;
  /** The rest is MQTT 5's. */
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  /** Retained messages: 0 always, 1 for a new subscription, 2 never. */
  readonly retainHandling?: 0 | 1 | 2;
  readonly properties?: ISubscribePacket["properties"];
}
