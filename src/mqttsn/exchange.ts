/** The exchanges that a client of MQTT-SN begins: each is a request, what answers it, and perhaps more of the same. */
import type { Answered, Of } from "./client-terms.ts";
import { ReturnCode, type SnType, TopicKind } from "./constants.ts";
import type { SnMessage } from "./message-kinds.ts";
import { shortIdOf } from "./terms.ts";

/** The kinds of messages whose exchanges have no message id: there is one of each at most. */
export const exchangeIds = { connect: -1, ping: -2, disconnect: -3, search: -4 } as const;

/**
 * How an exchange goes on after an answer: with another request, not at all, later once more, as before, or anew after
 * another exchange.
 */
export type Step = SnMessage | "over" | "later" | "no answer" | { readonly first: Exchange };

/** An exchange that is under way, or waits for its turn. */
export interface Exchange {
  /** The message id, or one of `exchangeIds`. */
  readonly id: number;
  /** Returns the first request, when its turn has come; or another exchange that must come before. */
  begin(): SnMessage | { readonly first: Exchange };
  /** Takes what has come under its id. */
  take(message: SnMessage): Step;
  /** Ends it; `answer`: the last one, undefined: the connection was lost before. */
  over(answer: SnMessage | undefined): void;
  /** True: nothing else is under way beside it. */
  readonly isAlone: boolean;
  /** True: it is over when it is sent. */
  readonly isUnanswered: boolean;
}

/** Returns the id of the exchange that a message of the gateway's belongs to; undefined: it belongs to none. */
export function exchangeOf(message: SnMessage): number | undefined {
  switch (message.kind) {
    case "connack":
    case "willtopicreq":
    case "willmsgreq":
      return exchangeIds.connect;
    case "pingresp":
      return exchangeIds.ping;
    case "disconnect":
      return exchangeIds.disconnect;
    case "gwinfo":
      return exchangeIds.search;
    case "regack":
    case "puback":
    case "pubrec":
    case "pubcomp":
    case "suback":
    case "unsuback":
      return message.messageId;
    default:
      return undefined;
  }
}

/** Returns a request as it is sent again: with DUP where there is such a flag. */
export function again(message: SnMessage): SnMessage {
  if (message.kind === "subscribe") return { ...message, dup: true };
  return message.kind === "publish" && message.qos > 0 ? { ...message, dup: true } : message;
}

/** Returns how SUBSCRIBE and UNSUBSCRIBE name a filter. */
export function choiceOf(topic: string): { topicKind: 0 | 2; topic: string } {
  const isShort = shortIdOf(topic) !== undefined && !/[+#]/.test(topic);
  return { topicKind: isShort ? TopicKind.short : TopicKind.name, topic };
}

/** Returns a message type's name as the standard writes it. */
export function nameOf(kind: keyof typeof SnType): string {
  return kind.toUpperCase();
}

/** The answer to what is sent, and not answered. */
export const sentOnly: Of<"puback"> = { kind: "puback", topicId: 0, messageId: 0, code: ReturnCode.accepted };

export function ignore(): void {}

/** Returns the parts of an exchange that most have. */
export function asked<Kind extends SnMessage["kind"]>(id: number, answered: Answered<Kind>) {
  const over = (answer: SnMessage | undefined): void => answered(answer as Of<Kind> | undefined);
  return { id, over, isAlone: false, isUnanswered: false } as const;
}
