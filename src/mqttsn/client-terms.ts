/** The terms on which a client of MQTT-SN is made, and the world around it. */
import type { Received } from "./inward.ts";
import type { SnMessage } from "./message-kinds.ts";
import type { SnWill } from "./mqtt-packets.ts";

/** The message of a kind. */
export type Of<Kind extends SnMessage["kind"]> = Extract<SnMessage, { kind: Kind }>;
/** Told of the end of a request, with its answer; undefined: the connection was lost before. */
export type Answered<Kind extends SnMessage["kind"]> = (answer: Of<Kind> | undefined) => void;

export interface SnClientOptions {
  readonly clientId: string;
  readonly clean: boolean;
  /** Keep Alive in seconds; 0: the longest there is. */
  readonly keepAlive: number;
  readonly will: SnWill | undefined;
  /** The pause before a request is sent again; each further one is half as much longer. */
  readonly retryMs: number;
  /** Requests that may be under way at once: 1 by the standard. */
  readonly window: number;
  /** The first message id; they go on from there. */
  readonly firstId: number;
}

/** The world around a client. */
export interface SnClientDoors {
  readonly clock: { now(): number };
  send(bytes: Uint8Array): void;
  received(message: Received): void;
  /** The gateway has ended the connection, or does not answer; nothing is under way any more. */
  lost(why: string): void;
}

export interface Publication {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}
