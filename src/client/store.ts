/**
 * The port to what outlives the process: publishes that wait or are under way, and what QoS 2 needs to be known of both
 * directions. `sqlite-store.ts` is one implementation, `indexed-db-store.ts` another; an application may have its own.
 */
import type { QoS } from "../mqtt/constants.ts";

export interface StoredMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** When it expires, in milliseconds since 1970; undefined: never. */
  readonly expiresAt: number | undefined;
  /** MQTT 5's properties as they go over the wire; empty: none. */
  readonly properties: Uint8Array;
}

/** A message that is not settled. */
export interface KeptMessage {
  /** Messages are sent in the order of their keys. */
  readonly key: number;
  /** The packet id under which the broker may have seen it; undefined: it has not been sent. */
  readonly packetId: number | undefined;
  /** The broker has taken it over (PUBREC): only PUBREL is sent again. */
  readonly isReleased: boolean;
  readonly message: StoredMessage;
}

export interface Kept {
  /** In the order of their keys. */
  readonly messages: readonly KeptMessage[];
  /** Packet ids of QoS 2 messages that have come, been acknowledged, and are not released. */
  readonly received: readonly number[];
}

export type StoreChange =
  | { readonly kind: "add"; readonly key: number; readonly message: StoredMessage }
  /** A message goes out under that packet id; undefined: it is to be sent anew. */
  | { readonly kind: "sent"; readonly key: number; readonly packetId: number | undefined }
  | { readonly kind: "released"; readonly key: number }
  | { readonly kind: "removed"; readonly key: number }
  | { readonly kind: "received"; readonly packetId: number }
  | { readonly kind: "forgotten"; readonly packetId: number }
  /** No packet id is known as received any more. */
  | { readonly kind: "all forgotten" };

/**
 * A place for changes. A change survives the death of the process as soon as `write` has returned, or its promise has
 * resolved; with `isDurable` a power cut as well, together with everything that was written before.
 */
export interface Store {
  /** Begins, for the one client that has this id; rejects if the store is in use, or another client's. */
  open(clientId: string): Kept | Promise<Kept>;
  /** Makes all changes, in their order, or none. A later call may come before an earlier one has resolved. */
  write(changes: readonly StoreChange[], options: { readonly isDurable: boolean }): void | Promise<void>;
  close(): void | Promise<void>;
}
