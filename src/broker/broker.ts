/**
 * The broker: one switch through which every input goes. It does no IO of its own: connections, coordinator,
 * clock and chance are given to it, so that a test or a simulation can give it others.
 */
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { connectDeadlineMs, settleAfterMs } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Timer, Timers } from "../base/timers.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { Journal } from "../mail/journal.ts";
import { Mail } from "../mail/mail.ts";
import { Settlements } from "../mail/settlement.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Turn } from "../net/writer.ts";
import { RetainedMessages } from "../router/retained.ts";
import { Router } from "../router/router.ts";
import { Connecting } from "./connecting.ts";
import { type Connection, Hold } from "./connection.ts";
import type { Context } from "./context.ts";
import { Fanout } from "./fanout.ts";
import { Inbound } from "./inbound.ts";
import { Metrics } from "./metrics.ts";
import type { BrokerOptions } from "./options.ts";
import { Publishing } from "./publishing.ts";
import { joinTree, recover } from "./recovery.ts";
import { Sessions } from "./sessions.ts";
import { Stalls } from "./stalls.ts";
import { Subscribing } from "./subscribing.ts";
import { Sys } from "./sys.ts";
import { version } from "./version.ts";
import { Wills } from "./wills.ts";

/** Everything that can happen to a broker. What the store answers comes back through `Coordinator`'s callbacks. */
export type BrokerEvent =
  | { readonly kind: "opened"; readonly connection: Connection }
  | { readonly kind: "received"; readonly connection: Connection; readonly bytes: Uint8Array }
  | { readonly kind: "drained"; readonly connection: Connection }
  | { readonly kind: "closed"; readonly connection: Connection; readonly why: string | undefined }
  | { readonly kind: "tick" }
  | { readonly kind: "shutdown" };

export interface Doors {
  readonly options: BrokerOptions;
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly turn: Turn;
}

export class Broker {
  readonly context: Context;
  readonly #connections = new Set<Connection>();
  readonly #inbound: Inbound;
  readonly #sessions: Sessions;
  readonly #stalls: Stalls;
  readonly #wills: Wills;

  private constructor(doors: Doors, epoch: number) {
    const journal = new Journal(doors.coordinator);
    const mail = new Mail(doors.coordinator, journal, epoch);
    const timers = new Timers();
    this.context = {
      ...doors,
      epoch,
      journal,
      mail,
      settlements: new Settlements({ mail, journal, timers, settleAfterMs }),
      timers,
      metrics: new Metrics(),
      router: new Router(),
      retained: new RetainedMessages(),
      clients: new Map(),
    };
    const { context } = this;
    const resume = (connection: Connection, reason: number): void => this.#inbound.resume(connection, reason);
    const stalls = new Stalls(context.timers, () => doors.clock.now(), resume);
    const fanout = new Fanout(context, stalls);
    const publishing = new Publishing(context, fanout, resume);
    const wills = new Wills(context, publishing);
    const sessions = new Sessions(context, { fanout, stalls, wills });
    const connecting = new Connecting(context, { sessions, wills, resume });
    const subscribing = new Subscribing(context);
    this.#inbound = new Inbound(context, { connecting, publishing, subscribing, sessions, fanout, stalls });
    this.#sessions = sessions;
    this.#stalls = stalls;
    this.#wills = wills;
    new Sys(context, fanout);
  }

  /** Joins the tree and recovers what an earlier life has left. Rejects with `OperatingError`. */
  static async start(doors: Doors): Promise<Broker> {
    const startedAt = new Date(doors.clock.wall()).toISOString();
    const epoch = await joinTree(doors.coordinator, doors.options.id, { version, startedAt });
    const broker = new Broker(doors, epoch);
    await recover(broker.context, broker.#sessions, broker.#wills);
    return broker;
  }

  handle(event: BrokerEvent): void {
    switch (event.kind) {
      case "opened":
        return this.#open(event.connection);
      case "received":
        return this.#inbound.receive(event.connection, event.bytes);
      case "drained":
        return this.#drain(event.connection);
      case "closed":
        return this.#close(event.connection, event.why);
      case "tick":
        return this.#tick();
      case "shutdown":
        return this.#shutDown();
      default:
        return unreachable(event);
    }
  }

  /** When `tick` must be handled next, in the clock's milliseconds. */
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
    connection.lastReceivedAt = clock.now();
    connection.timer = new Timer(() => {
      if (connection.channel.phase === "new") this.#sessions.lose(connection, "no CONNECT in time"); // [MQTT-3.1.4-6]
    });
    timers.set(connection.timer, clock.now() + connectDeadlineMs);
  }

  #drain(connection: Connection): void {
    connection.writer.drained();
    this.#stalls.drained(connection);
    connection.client?.pump();
  }

  #close(connection: Connection, why: string | undefined): void {
    this.#connections.delete(connection);
    // What the client sent before it closed counts, once its CONNECT is answered.
    if (connection.channel.phase === "connecting" && connection.isHeldBy(Hold.connecting)) {
      connection.ended = true;
      return;
    }
    this.#sessions.lose(connection, why ?? "closed by the client");
  }

  #tick(): void {
    this.context.timers.tick(this.context.clock.now());
  }

  /** Tells every client; sessions and wills stay in the store. */
  #shutDown(): void {
    this.#wills.retire();
    for (const connection of this.#connections) {
      this.#sessions.expel(connection, Reason.serverShuttingDown, "the broker is shutting down");
    }
  }
}
