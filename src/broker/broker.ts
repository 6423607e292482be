/**
 * The broker: one switch through which every event goes. It does no IO of its own: connections, store, clock and chance
 * are given to it, so that a test or a simulation can give it others.
 */

import type { Bans } from "../access/bans.ts";
import { unreachable } from "../base/assert.ts";
import { formats } from "../base/formats.ts";
import { connectDeadlineMs } from "../base/limits.ts";
import { watchSilence } from "../base/silence.ts";
import { subjectOf } from "../base/turn-watch.ts";
import { newestHandshake } from "../link/handshake.ts";
import { type Assembly, assemble } from "./assembly.ts";
import type { Publishers } from "./cluster/publishers.ts";
import type { TraceEvent, TraceSelection } from "./core/trace.ts";
import { version } from "./core/version.ts";
import type { Connection } from "./delivery/connection.ts";
import type { Doors } from "./doors.ts";
import type { BrokerEvent } from "./events.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";
import { joinTree } from "./peers/membership.ts";
import type { BrokerFacts } from "./peers/peer.ts";
import type { Questions } from "./peers/questions.ts";
import { refuseCluster } from "./peers/tree-format.ts";

/** Turns that no connection has brought about. */
const others = subjectOf("what was due, or the operator wanted");

/** A broker that has joined the tree. It is driven by `handle`, and by ticks at `nextDeadline`. */
export class Broker {
  readonly context: ClusterContext;
  readonly #connections = new Set<Connection>();
  readonly #parts: Assembly;

  private constructor(doors: Doors, epoch: number, facts: BrokerFacts) {
    this.#parts = assemble(doors, { epoch, facts }, this.#connections);
    this.context = this.#parts.context;
  }

  /**
   * Joins the tree and recovers what an earlier life has left. Rejects with `OperatingError`, also if the tree is
   * written in a newer format.
   */
  static async start(doors: Doors): Promise<Broker> {
    const { advertise, port, linkPort, linkTls, id, mailDrop: mailDrops, serverReference, mailboxFull } = doors.options;
    const startedAt = new Date(doors.clock.wall()).toISOString();
    const facts = {
      version,
      startedAt,
      host: advertise,
      port,
      linkHost: advertise,
      linkPort,
      mailDrops,
      serverReference,
      draining: false,
      formats,
      endsSessions: mailboxFull === "end",
      knowsPayers: true,
      knowsNames: true,
      answersQuestions: doors.answerQuestion !== undefined,
      handshake: newestHandshake,
      linkTls,
    };
    await refuseCluster(doors.coordinator);
    const epoch = await joinTree(doors.coordinator, id, facts);
    const broker = new Broker(doors, epoch, facts);
    await broker.#parts.start();
    return broker;
  }

  /** The addresses that are banned after failed logins. */
  get bans(): Bans {
    return this.#parts.bans;
  }

  /** The register of topics on which clients publish here. */
  get publishers(): Publishers {
    return this.#parts.publishers;
  }

  /** Asks other brokers what operators want to know. */
  get questions(): Questions {
    return this.#parts.questions;
  }

  /** Has all that happens to clients and messages told that are selected; returns what ends that. */
  follow(selection: TraceSelection, tell: (event: TraceEvent) => void): () => void {
    const end = this.context.trace.follow(selection, tell);
    this.#parts.inbound.tap(this.context.localSessions.values());
    return end;
  }

  /** Tells the other brokers at which port clients reach this one. */
  listening(port: number): void {
    this.#parts.cluster.changeFacts({ port });
  }

  /** Handles one event to its end: a turn of the event loop. */
  handle(event: BrokerEvent): void {
    const { turns, clock } = this.context;
    turns.begin("connection" in event ? event.connection : others);
    try {
      this.#parts.cluster.checkLease(clock.now());
      this.#handle(event);
    } finally {
      turns.end();
    }
  }

  #handle(event: BrokerEvent): void {
    switch (event.kind) {
      case "opened":
        return this.#open(event.connection);
      case "received":
        this.#parts.memory.received(event.bytes.length);
        return this.#parts.inbound.receive(event.connection, event.bytes);
      case "drained":
        return this.#drain(event.connection);
      case "closed":
        return this.#close(event.connection, event.why);
      case "linkOpened":
        return this.#parts.links.opened(event.connection);
      case "linkReceived":
        return this.#parts.links.received(event.connection, event.bytes);
      case "linkDrained":
        return this.#parts.links.drained(event.connection);
      case "linkClosed":
        return this.#parts.links.closed(event.connection, event.why);
      case "tick":
        return this.#tick();
      case "accessChanged":
        return this.#parts.admission.reloaded();
      case "publish":
        return this.#parts.operatorPublisher.publish(event.publish, event.done);
      case "endSession":
        return this.#parts.sessionEnd.end(event.session, event.done);
      case "sweep":
        return event.done(this.#parts.sweeper.begin());
      case "drain":
        return this.#drainAway(event.done);
      case "shutdown":
        return this.#shutDown(event.done);
      default:
        return unreachable(event);
    }
  }

  /** Ends a client's connection; an MQTT 5 client is told the reason code. */
  disconnect(connection: Connection, reason: number, why: string): void {
    this.#parts.connectionEnd.disconnect(connection, reason, why);
  }

  /** Returns when a `tick` event must be handled next, in ms by the clock's `now`. */
  nextDeadline(): number {
    return this.context.timers.nextDeadline();
  }

  /** Has `wake` called whenever the next deadline has become sooner. */
  onSooner(wake: () => void): void {
    this.context.timers.onSooner = wake;
  }

  #open(connection: Connection): void {
    const { metrics, timers, clock } = this.context;
    this.#connections.add(connection);
    metrics.connections++;
    metrics.connectionsTotal++;
    metrics.connectionsMaximum = Math.max(metrics.connectionsMaximum, metrics.connections);
    const openedAt = clock.now();
    connection.lastReceivedAt = openedAt;
    connection.openedAt = clock.wall();
    connection.traffic.begin(openedAt);
    const over = (): void => {
      const { phase } = connection.channel;
      // A client that sends no CONNECT in time is closed (3.1.4).
      if (phase !== "new" && phase !== "authenticating") return;
      metrics.turnedAway.deadline++;
      this.#parts.connectionEnd.lose(connection, "no CONNECT in time");
    };
    connection.timer = watchSilence({ timers, clock }, { since: () => openedAt, limitMs: connectDeadlineMs, over });
    if (this.#parts.admission.arrived(connection)) return;
    this.#parts.connectionEnd.lose(connection, "turned away");
    connection.transport.abort();
  }

  #drain(connection: Connection): void {
    connection.writer.drained();
    this.#parts.backPressure.drained(connection);
    connection.client?.pump();
  }

  #close(connection: Connection, why: string | undefined): void {
    this.#connections.delete(connection);
    this.#parts.admission.left(connection);
    if (this.#mustGoOn(connection)) {
      connection.ended = true;
      connection.writer.close();
      this.context.metrics.connections--;
      return;
    }
    this.#parts.storeBackPressure.forget(connection);
    this.#parts.connectionEnd.lose(connection, why ?? "closed by the client");
  }

  /**
   * Returns true if packets that a client sent before it closed must still be handled: DISCONNECT may be among them.
   */
  #mustGoOn(connection: Connection): boolean {
    const { phase } = connection.channel;
    if (!connection.isHeld || !connection.framer.pending) return false;
    // If the store has not been asked yet, nobody waits for the answer to this CONNECT any more.
    return phase === "open" || (phase === "connecting" && !this.#parts.storeBackPressure.isWaiting(connection));
  }

  /** Fires what is due, for a slice of time: what is left has its turn after what others have sent meanwhile. */
  #tick(): void {
    const { timers, clock, slices } = this.context;
    const startedAt = clock.now();
    timers.tick(startedAt, () => slices.isOver(startedAt));
  }

  #drainAway(done: () => void): void {
    const { self, options } = this.context;
    if (options.drainTime === 0) return done();
    self.isDraining = true;
    this.#parts.cluster.changeFacts({ draining: true });
    this.#parts.drain.begin(options.drainTime * 1000, done);
  }

  /** Closes every client's connection and leaves the tree; sessions and wills stay in the store. */
  #shutDown(done: () => void): void {
    this.#parts.wills.retire();
    for (const connection of this.#connections) {
      this.#parts.connectionEnd.close(connection, "the broker is shutting down");
    }
    this.#parts.links.retire();
    this.#parts.cluster.leave(done);
  }
}
