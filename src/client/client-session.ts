/** The state that a client keeps across connections so that QoS 1 and 2 keep their word (4.1, 4.4). */
import type { Publish } from "../mqtt/publish.ts";
import { PacketTable } from "./packet-table.ts";
import { Suspicion } from "./suspicion.ts";

/** A publish that the broker has not taken over yet. */
export interface Unacknowledged {
  readonly publish: Publish;
  /** PUBREC has come: only PUBREL is sent again. */
  released: boolean;
  /** The reason code of PUBREC. */
  reason: number;
  /** True if a broker may have seen it: it is sent again with DUP. */
  isSent?: boolean;
}

/** Told how a publish ended: the reason code, and the broker's words if it has any. */
export type OnSettled = (unacknowledged: Unacknowledged, reason: number, text: string | undefined) => void;

export class ClientSession {
  /** Publishes under way, by packet id, in the order of their first sending. */
  readonly outgoing = new PacketTable<Unacknowledged>();
  /** QoS 2 messages received and not released. */
  readonly incoming = new Set<number>();
  /** Packet ids of SUBSCRIBE and UNSUBSCRIBE that are not answered, in the connection that there is. */
  readonly asking = new Set<number>();
  /** Finds a message on which the broker closes each connection; undefined: none is given up. */
  readonly suspicion: Suspicion<Unacknowledged> | undefined;
  readonly #onSettled: OnSettled;
  #lastId = 0;

  /** `onSettled` is told of every publish that the broker has taken over, or refused, in whichever connection. */
  constructor(onSettled: OnSettled = () => {}, { givesUp = false }: { readonly givesUp?: boolean } = {}) {
    this.#onSettled = onSettled;
    this.suspicion = givesUp ? new Suspicion() : undefined;
  }

  /** A packet id that nothing bears [MQTT-2.2.1-3]. */
  takeId(): number {
    do this.#lastId = (this.#lastId % 65_535) + 1;
    while (this.outgoing.has(this.#lastId) || this.asking.has(this.#lastId));
    return this.#lastId;
  }

  add(unacknowledged: Unacknowledged): number {
    const id = this.takeId();
    this.outgoing.set(id, unacknowledged);
    return id;
  }

  settle(id: number, reason: number, text: string | undefined): void {
    const unacknowledged = this.outgoing.get(id);
    if (unacknowledged === undefined) return;
    this.outgoing.delete(id);
    this.#onSettled(unacknowledged, reason, text);
  }

  /** The broker has taken a message over (PUBREC): `next` runs when that is kept. */
  released(_packetId: number, next: () => void): void {
    next();
  }

  /** A message of QoS 2 has been taken, and is to be acknowledged: `next` runs when that is kept. */
  received(_packetId: number, next: () => void): void {
    next();
  }

  /** The broker has released a message (PUBREL): `next` runs when its packet id is kept no more. */
  forgotten(packetId: number, next: () => void): void {
    this.incoming.delete(packetId);
    next();
  }

  /** The broker has no session: what it had half received it has forgotten; what we had too. */
  brokerForgot(): void {
    this.incoming.clear();
    for (const unacknowledged of this.outgoing.values()) unacknowledged.released = false;
  }
}
