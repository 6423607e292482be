/**
 * The drain: a broker that is about to leave takes no new clients, and sends those that are here to other brokers, one
 * after the other over the drain time, so that the others are not stormed. Sessions, and what is unsettled, are in the
 * store or at other brokers when it leaves the tree.
 */
import { drainLookMs, drainOwedMs, drainSettleMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ConnectionEnd } from "../connect/connection-end.ts";
import type { Connection } from "../delivery/connection.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { BrokerFacts } from "../peers/peer.ts";
import type { Regrouping } from "../publish/regrouping.ts";

export interface DrainParts {
  readonly membership: Membership;
  readonly connectionEnd: ConnectionEnd;
  readonly connections: ReadonlySet<Connection>;
  readonly regrouping: Pick<Regrouping, "waiting">;
}

/** The part of the drain time after which the last clients are sent away; the rest is for settling. */
const sendingPart = 0.8;

/** Sends all clients of this broker to others. */
export class Drain {
  readonly #context: ClusterContext;
  readonly #parts: DrainParts;
  /** When each connection is told to go, in ms by the clock's `now`. */
  readonly #dueAt = new Map<Connection, number>();
  #turn = 0;
  #settleUntil = Infinity;
  #done: () => void = () => {};
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: ClusterContext, parts: DrainParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Begins the drain. Calls `done` when no connection is left and everything is settled; at once if there is no other
   * broker.
   */
  begin(drainTimeMs: number, done: () => void): void {
    if (this.#others().length === 0) return done();
    this.#done = done;
    const { clock, random, log } = this.#context;
    const now = clock.now();
    for (const connection of this.#parts.connections)
      this.#dueAt.set(connection, now + random.next() * sendingPart * drainTimeMs);
    log.info({ clients: this.#dueAt.size, seconds: drainTimeMs / 1000 }, "sending clients to other brokers");
    this.#look(now);
  }

  /** Returns the Server Reference for the next client, in turn: `host:port`; undefined: nowhere in particular. */
  reference(): string | undefined {
    const others = this.#others();
    if (others.length === 0) return undefined;
    return referenceOf(others[this.#turn++ % others.length]!);
  }

  #others(): BrokerFacts[] {
    return this.#parts.membership
      .members()
      .flatMap(({ facts }) => (facts === undefined || facts.draining ? [] : [facts]));
  }

  #look(now: number): void {
    const { timers } = this.#context;
    // Connections that have come in the last moment are told, too.
    for (const connection of this.#parts.connections) {
      const dueAt = this.#dueAt.get(connection) ?? now;
      // The client's publishes are acknowledged first, if that does not take long: otherwise it would publish them
      // again.
      const isOwed = connection.channel.owedCount > 0 && now < dueAt + drainOwedMs;
      if (now >= dueAt && !isOwed) this.#parts.connectionEnd.sendElsewhere(connection, this.reference());
    }
    if (this.#parts.connections.size === 0) {
      this.#settleUntil = Math.min(this.#settleUntil, now + drainSettleMs);
      if (this.#isSettled() || now >= this.#settleUntil) return this.#done();
    }
    timers.set(this.#timer, now + drainLookMs);
  }

  /** Returns true if nothing is on its way into the store, to another broker, or to another member of a group. */
  #isSettled(): boolean {
    const { journal, peers } = this.#context;
    if (this.#parts.regrouping.waiting > 0) return false;
    return journal.pendingUnits === 0 && [...peers.values()].every(({ pending }) => pending.size === 0);
  }
}

function referenceOf({ host, port, serverReference }: BrokerFacts): string | undefined {
  if (serverReference === "none") return undefined;
  return serverReference === "" ? `${host}:${port}` : serverReference;
}
