/** MQTT-SN's messages as data: 1.2's (5.4), and what those of 2.0 have besides. */
import type { SnQoS, TopicKind } from "./constants.ts";
import type { SnWill } from "./mqtt-packets.ts";

/** A topic as SUBSCRIBE and UNSUBSCRIBE name it: by a name or filter, a predefined id, or a name of two characters. */
export type TopicChoice =
  | { readonly topicKind: 0 | 2; readonly topic: string }
  | { readonly topicKind: 1; readonly topicId: number }
  /** 2.0: a Session Topic Alias. */
  | { readonly topicKind: 3; readonly topicId: number };

/** The fields of CONNECT that 2.0 has besides (3.1). */
export interface ConnectOf2 {
  readonly messageId: number;
  /** A will; one on a predefined topic has no name. */
  readonly will: (Omit<SnWill, "topic"> & ({ readonly topic: string } | { readonly topicId: number })) | undefined;
  /** Session Expiry Interval in seconds. */
  readonly expiry: number;
  /** The largest packet that the client takes; 0: any. */
  readonly packetBytesMax: number;
  /** True: it may be known by its client id when its address has changed (Connection Encapsulation). */
  readonly allowsMoves: boolean;
  /** The authentication method; undefined: none. */
  readonly method: string | undefined;
  /** Messages that it takes each time that it wakes; 0: as many as there are. */
  readonly awakeMax: number;
  /** The id that the gateway has given a client without one. */
  readonly assignedId?: string;
}

/** Subscription options of 2.0 (3.7.2), as MQTT 5 has them. */
export interface OptionsOf2 {
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** A topic and QoS of a will. An empty topic deletes the will, and has neither QoS nor retain. */
interface WillTopic {
  readonly topic: string;
  readonly qos: SnQoS;
  readonly retain: boolean;
}

/** PUBLISH. A short name's two characters are its topic id. */
export interface SnPublish {
  readonly kind: "publish";
  readonly dup: boolean;
  readonly qos: SnQoS;
  readonly retain: boolean;
  readonly topicKind: TopicKind;
  readonly topicId: number;
  readonly messageId: number;
  readonly data: Uint8Array;
  /** 2.0: the topic's name, instead of an id. */
  readonly topic?: string;
}

type Kinds = {
  readonly advertise: { readonly gatewayId: number; readonly duration: number };
  readonly searchgw: { readonly radius: number };
  readonly gwinfo: { readonly gatewayId: number; readonly address: Uint8Array };
  readonly connect: {
    readonly will: boolean;
    readonly clean: boolean;
    readonly protocolId: number;
    readonly duration: number;
    readonly clientId: string;
    readonly of2?: ConnectOf2;
  };
  /** 2.0 has a reason of its own where `code` says too little, and may give the client its id. */
  readonly connack: {
    readonly code: number;
    readonly messageId?: number;
    readonly reason?: number;
    readonly sessionPresent?: boolean;
    readonly assignedId?: string;
  };
  readonly willtopicreq: object;
  readonly willtopic: WillTopic;
  readonly willmsgreq: object;
  readonly willmsg: { readonly data: Uint8Array };
  readonly register: { readonly topicId: number; readonly messageId: number; readonly topic: string };
  readonly regack: {
    readonly topicId: number;
    readonly messageId: number;
    readonly code: number;
    /** 2.0: the topic has a predefined id already. */
    readonly isPredefined?: boolean;
  };
  readonly puback: { readonly topicId: number; readonly messageId: number; readonly code: number };
  readonly pubcomp: { readonly messageId: number };
  readonly pubrec: { readonly messageId: number };
  readonly pubrel: { readonly messageId: number };
  readonly subscribe: {
    readonly dup: boolean;
    readonly qos: SnQoS;
    readonly messageId: number;
    readonly of2?: OptionsOf2;
  } & TopicChoice;
  readonly suback: {
    readonly qos: SnQoS;
    readonly topicId: number;
    readonly messageId: number;
    readonly code: number;
    /** 2.0: the id is a predefined one. */
    readonly isPredefined?: boolean;
  };
  readonly unsubscribe: { readonly messageId: number } & TopicChoice;
  readonly unsuback: { readonly messageId: number };
  readonly pingreq: { readonly clientId: string; readonly messageId?: number };
  /** 2.0 says whether more waits. */
  readonly pingresp: { readonly messageId?: number; readonly hasMore?: boolean };
  /** Duration in seconds; undefined: the client leaves for good, 0 is the same with the field. 2.0 has a reason. */
  readonly disconnect: {
    readonly duration: number | undefined;
    readonly reason?: number;
    readonly expiry?: number;
  };
  /** 2.0: the client sleeps, and may have its Session Topic Aliases kept. */
  readonly sleepreq: { readonly messageId: number; readonly duration: number; readonly keepsTopics: boolean };
  readonly sleepresp: { readonly messageId: number; readonly code: number };
  readonly auth: { readonly messageId: number; readonly reason: number; readonly method: string };
  readonly willtopicupd: WillTopic;
  readonly willtopicresp: { readonly code: number };
  readonly willmsgupd: { readonly data: Uint8Array };
  readonly willmsgresp: { readonly code: number };
  readonly encapsulated: { readonly radius: number; readonly node: Uint8Array; readonly inner: Uint8Array };
  /** 2.0: a message of a client whose address has changed. */
  readonly identified: { readonly clientId: string; readonly inner: Uint8Array };
};

type OfKind<Kind extends keyof Kinds> = Kind extends keyof Kinds ? { readonly kind: Kind } & Kinds[Kind] : never;
export type SnMessage = OfKind<keyof Kinds> | SnPublish;
/** The reason why a datagram is no message. */
export interface Malformed {
  readonly kind: "malformed";
  readonly why: string;
}
