/** MQTT-SN 1.2's messages as data (5.4). */
import type { SnQoS, TopicKind } from "./constants.ts";

/** A topic as SUBSCRIBE and UNSUBSCRIBE name it: by a name or filter, a predefined id, or a name of two characters. */
export type TopicChoice =
  | { readonly topicKind: 0 | 2; readonly topic: string }
  | { readonly topicKind: 1; readonly topicId: number };

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
  };
  readonly connack: { readonly code: number };
  readonly willtopicreq: object;
  readonly willtopic: WillTopic;
  readonly willmsgreq: object;
  readonly willmsg: { readonly data: Uint8Array };
  readonly register: { readonly topicId: number; readonly messageId: number; readonly topic: string };
  readonly regack: { readonly topicId: number; readonly messageId: number; readonly code: number };
  readonly puback: { readonly topicId: number; readonly messageId: number; readonly code: number };
  readonly pubcomp: { readonly messageId: number };
  readonly pubrec: { readonly messageId: number };
  readonly pubrel: { readonly messageId: number };
  readonly subscribe: { readonly dup: boolean; readonly qos: SnQoS; readonly messageId: number } & TopicChoice;
  readonly suback: {
    readonly qos: SnQoS;
    readonly topicId: number;
    readonly messageId: number;
    readonly code: number;
  };
  readonly unsubscribe: { readonly messageId: number } & TopicChoice;
  readonly unsuback: { readonly messageId: number };
  readonly pingreq: { readonly clientId: string };
  readonly pingresp: object;
  /** Duration in seconds; undefined: the client leaves for good, 0 is the same with the field. */
  readonly disconnect: { readonly duration: number | undefined };
  readonly willtopicupd: WillTopic;
  readonly willtopicresp: { readonly code: number };
  readonly willmsgupd: { readonly data: Uint8Array };
  readonly willmsgresp: { readonly code: number };
  readonly encapsulated: { readonly radius: number; readonly node: Uint8Array; readonly inner: Uint8Array };
};

type OfKind<Kind extends keyof Kinds> = Kind extends keyof Kinds ? { readonly kind: Kind } & Kinds[Kind] : never;
export type SnMessage = OfKind<keyof Kinds> | SnPublish;
/** The reason why a datagram is no message. */
export interface Malformed {
  readonly kind: "malformed";
  readonly why: string;
}
