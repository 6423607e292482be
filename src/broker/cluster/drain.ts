/**
 * Leaving in order: no new clients, and those that are here are sent to other brokers, one after the other over the drain
 * time, so that the others are not stormed. Sessions, and what is unsettled, are in the store or with the others when the
 * broker leaves the tree.
 */
import { drainLookMs, drainOwedMs, drainSettleMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ConnectionEnd } from "../connect/connection-end.ts";
import type { Connection } from "../delivery/connection.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { BrokerFacts } from "../peers/peer.ts";

export interface DrainParts {
  readonly membership: Membership;
  readonly connectionEnd: ConnectionEnd;
  readonly connections: ReadonlySet<Connection>;
}

/** The last clients are sent away when this part of the drain time is over: what is left is for what follows. */
const sendingPart = 0.8;

export class Drain {
  readonly #context: ClusterContext;
  readonly #parts: DrainParts;
  /** When each connection is told, by the clock; and until when it may wait for its acknowledgements. */
  readonly #dueAt = new Map<Connection, number>();
  #turn = 0;
  #settleUntil = Infinity;
  #done: () => void = () => {};
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: ClusterContext, parts: DrainParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Calls back when nobody is here any more and everything is settled; at once, if there is nobody to send clients to. */
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

  /** Where a client may go instead, in turn: `host:port`; undefined: nowhere in particular. */
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
      // What it has published is acknowledged first, if that does not take long: or it would publish it again.
      const isOwed = connection.channel.owedCount > 0 && now < dueAt + drainOwedMs;
      if (now >= dueAt && !isOwed) this.#parts.connectionEnd.sendElsewhere(connection, this.reference());
    }
    if (this.#parts.connections.size === 0) {
      this.#settleUntil = Math.min(this.#settleUntil, now + drainSettleMs);
      if (this.#isSettled() || now >= this.#settleUntil) return this.#done();
    }
    timers.set(this.#timer, now + drainLookMs);
  }

  /** Nothing is on its way into the store, or to another broker. */
  #isSettled(): boolean {
    const { journal, peers } = this.#context;
    return journal.pendingUnits === 0 && [...peers.values()].every(({ pending }) => pending.size === 0);
  }
}

function referenceOf({ host, port, serverReference }: BrokerFacts): string | undefined {
  if (serverReference === "none") return undefined;
  return serverReference === "" ? `${host}:${port}` : serverReference;
}
