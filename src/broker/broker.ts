/**
 * The broker: one switch through which every input goes. It does no IO of its own: connections, coordinator,
 * clock and chance are given to it, so that a test or a simulation can give it others.
 */

import type { Access } from "../access/access.ts";
import { Bans } from "../access/bans.ts";
import { Accounts } from "../bank/accounts.ts";
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { OperatingError } from "../base/errors.ts";
import { formats } from "../base/formats.ts";
import { connectDeadlineMs } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Timer, Timers } from "../base/timers.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { StoreClock } from "../coordinator/store-clock.ts";
import { Journal } from "../mail/journal.ts";
import { Mail } from "../mail/mail.ts";
import { Settlements } from "../mail/settlement.ts";
import { Slips } from "../mail/slips.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Turn } from "../net/writer.ts";
import { RetainedMessages } from "../router/retained.ts";
import { Router } from "../router/router.ts";
import { Adoption } from "./cluster/adoption.ts";
import { Arriving } from "./cluster/arriving.ts";
import { Cluster } from "./cluster/cluster.ts";
import { Drain } from "./cluster/drain.ts";
import { Leftovers } from "./cluster/leftovers.ts";
import { Publishers } from "./cluster/publishers.ts";
import { Sweeper } from "./cluster/sweeper.ts";
import { Admission } from "./connect/admission.ts";
import { Sessions } from "./connect/connection-end.ts";
import { ConnectHandler } from "./connect/handle-connect.ts";
import { OrphanedWills } from "./connect/orphaned-wills.ts";
import { TakeOver } from "./connect/take-over.ts";
import { Wills } from "./connect/wills.ts";
import { BankAccount } from "./core/bank-account.ts";
import { LevelSweep } from "./core/level-sweep.ts";
import { Metrics } from "./core/metrics.ts";
import type { BrokerOptions } from "./core/options.ts";
import { Strangers } from "./core/strangers.ts";
import { version } from "./core/version.ts";
import type { Connection } from "./delivery/connection.ts";
import { StoreBackPressure } from "./delivery/store-back-pressure.ts";
import { MailDrops } from "./drops/mail-drops.ts";
import type { BrokerEvent } from "./events.ts";
import { SubscribeHandler } from "./handle-subscribe.ts";
import { Inbound } from "./inbound.ts";
import type { Context } from "./peers/cluster-context.ts";
import { Forwarding } from "./peers/forwarding.ts";
import { Interest } from "./peers/interest.ts";
import { type DialLink, Links } from "./peers/links.ts";
import { joinTree, Membership } from "./peers/membership.ts";
import { type BrokerFacts, isPeer, Peer } from "./peers/peer.ts";
import { SessionRegistry } from "./peers/session-registry.ts";
import { SubscriptionBarrier } from "./peers/subscription-barrier.ts";
import { SubscriptionDirectory } from "./peers/subscription-directory.ts";
import { refuseCluster } from "./peers/tree-format.ts";
import { BackPressure } from "./publish/back-pressure.ts";
import { Fanout } from "./publish/fanout.ts";
import { PublishHandler } from "./publish/handle-publish.ts";
import { Regrouping } from "./publish/regrouping.ts";
import { RetainedStore } from "./publish/retained-store.ts";
import { SysTopics } from "./sys-topics.ts";

export interface Doors {
  readonly options: BrokerOptions;
  readonly coordinator: Coordinator;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly turn: Turn;
  readonly dialLink: DialLink;
  readonly linkSecret: string | undefined;
  readonly access?: Access | undefined;
  /** The broker must end. */
  readonly fatal: (error: OperatingError) => void;
}

export class Broker {
  readonly context: Context;
  readonly #connections = new Set<Connection>();
  readonly #inbound: Inbound;
  readonly #sessions: Sessions;
  readonly #admission: Admission;
  readonly #backPressure: BackPressure;
  readonly #storeBackPressure: StoreBackPressure;
  readonly #wills: Wills;
  readonly #links: Links;
  readonly #leaving: Drain;
  readonly #cluster: Cluster;
  /** Each reads its part of the tree before the first client is served. */
  readonly #start: () => Promise<void>;

  private constructor(doors: Doors, epoch: number, facts: BrokerFacts) {
    const { coordinator, options, log } = doors;
    const clock = new StoreClock({
      clock: doors.clock,
      coordinator,
      onApart: (aheadMs) => log.warn({ aheadMs }, "this machine's clock is not ZooKeeper's: ZooKeeper's time is taken"),
    });
    const journal = new Journal(coordinator, clock);
    const strangers = new Strangers({ clock, log });
    const bankAccount = new BankAccount(
      options,
      new Accounts(coordinator, (path) => strangers.note(path, "is no account of the bank")),
    );
    journal.onObstacle = ({ code, path }) => strangers.note(path, `is in the way of a commit: ${code}`);
    const slips = new Slips({ coordinator, journal, ledger: bankAccount, reader: strangers });
    const mail = new Mail({ journal, ledger: bankAccount, slips, epoch });
    const timers = new Timers();
    this.context = {
      ...doors,
      clock,
      access: doors.access,
      bans: new Bans({ failures: options.banAfter, ms: options.banTime * 1000 }),
      journal,
      mail,
      slips,
      strangers,
      settlements: new Settlements({ mail, journal, timers, settleAfterMs: options.settleAfter }),
      bankAccount,
      timers,
      metrics: new Metrics(),
      router: new Router(),
      retained: new RetainedMessages(),
      localSessions: new Map(),
      remoteSessions: new Map(),
      peers: new Map(),
      self: { epoch, isJoining: false, isFenced: false, isDraining: false, format: formats.oldest, orphansUntil: 0 },
      evict: (client) => this.#sessions.evict(client),
    };
    const { context } = this;
    context.router.mayReceive = (client, topic) => client.permissions?.mayReceive(topic) !== false;
    context.router.isThere = (remote) => !isPeer(remote) || remote.isMember;
    const resume = (connection: Connection, reason: number): void => this.#inbound.resume(connection, reason);
    const cluster = new Cluster(context, facts);
    const links = new Links(context, cluster);
    const membership = new Membership(context, cluster);
    bankAccount.begin(context, {
      tell: (branch, paths) => {
        const peer = context.peers.get(branch);
        // Who is not there counts anew when it comes.
        if (peer?.link !== undefined) links.say(peer, { say: "freed", paths });
      },
      ask: () => {
        for (const peer of membership.members()) links.say(peer, { say: "short" });
      },
    });
    const interest = new Interest(context);
    const directory = new SubscriptionDirectory(context, { membership, interest });
    const registry = new SessionRegistry(context, { links, membership });
    const barrier = new SubscriptionBarrier(context, { links, membership, directory });
    const forwarding = new Forwarding(context, { resume, idle: (session) => directory.forget(session) });
    directory.onAdopted = (remote) => forwarding.moveToMailbox(remote);
    directory.onReleased = (remote) => forwarding.waitForMailbox(remote);
    const backPressure = new BackPressure(context.timers, () => doors.clock.now(), {
      resume: (held, reason) => (held instanceof Peer ? links.say(held, { say: "go" }) : resume(held, reason)),
      holdPeer: (peer) => links.say(peer, { say: "hold" }),
    });
    const fanout = new Fanout(context, backPressure, forwarding);
    const regrouping = new Regrouping(context, { fanout, forwarding });
    const retainedStore = new RetainedStore(context, new LevelSweep(context));
    const storeBackPressure = new StoreBackPressure({ journal, coordinator }, resume);
    const publishHandler = new PublishHandler(context, { fanout, retainedStore, storeBackPressure, resume });
    const publishers = new Publishers(context);
    const wills = new Wills(context, publishHandler);
    const drops = new MailDrops(context);
    const sessions = new Sessions(context, { regrouping, backPressure, wills, directory, interest, registry, drops });
    const admission = new Admission(context, sessions);
    const isObtaining = (clientId: string): boolean => connectHandler.isObtaining(clientId);
    const orphanedWills = new OrphanedWills(context, { membership, wills, isObtaining });
    const connectHandler = new ConnectHandler(context, {
      sessions,
      admission,
      wills,
      orphanedWills,
      registry,
      directory,
      drops,
      storeBackPressure,
      resume,
    });
    const whenConnected = (clientId: string, go: () => void): void => connectHandler.whenConnected(clientId, go);
    const takeOver = new TakeOver(context, {
      links,
      membership,
      directory,
      sessions,
      wills,
      orphanedWills,
      whenConnected,
    });
    connectHandler.takeOver = takeOver;
    const subscribeHandler = new SubscribeHandler(context, { interest, barrier, drops, retainedStore });
    const arriving = new Arriving(context, { fanout, registry });
    const adoption = new Adoption(context, { membership, directory, sessions, orphanedWills, isObtaining });
    cluster.begin({
      adoption,
      arriving,
      directory,
      barrier,
      forwarding,
      registry,
      interest,
      leftovers: new Leftovers(context, { membership, publishers }),
      links,
      membership,
      orphanedWills,
      publishers,
      sessions,
      takeOver,
      wills,
    });
    this.#inbound = new Inbound(context, {
      connectHandler,
      admission,
      publishHandler,
      subscribeHandler,
      sessions,
      fanout,
      backPressure,
      storeBackPressure,
    });
    this.#admission = admission;
    this.#sessions = sessions;
    this.#backPressure = backPressure;
    this.#storeBackPressure = storeBackPressure;
    this.#wills = wills;
    this.#links = links;
    this.#leaving = new Drain(context, { membership, sessions, connections: this.#connections });
    this.#cluster = cluster;
    const sys = new SysTopics(context, fanout);
    this.#start = async () => {
      await directory.start();
      await retainedStore.start();
      await membership.start();
      await bankAccount.start();
      await drops.start();
      await adoption.adopt();
      sys.start();
    };
    new Sweeper(context, { membership, retainedStore, drops });
  }

  /** Joins the tree and recovers what an earlier life has left. Rejects with `OperatingError`. */
  static async start(doors: Doors): Promise<Broker> {
    const { advertise, port, linkPort, id, mailDrop: mailDrops, serverReference } = doors.options;
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
    };
    await refuseCluster(doors.coordinator);
    const epoch = await joinTree(doors.coordinator, id, facts);
    const broker = new Broker(doors, epoch, facts);
    await broker.#start();
    return broker;
  }

  /** The port that clients reach is known: the others are told. */
  listening(port: number): void {
    this.#cluster.tell({ port });
  }

  handle(event: BrokerEvent): void {
    this.#cluster.checkLease(this.context.clock.now());
    switch (event.kind) {
      case "opened":
        return this.#open(event.connection);
      case "received":
        return this.#inbound.receive(event.connection, event.bytes);
      case "drained":
        return this.#drain(event.connection);
      case "closed":
        return this.#close(event.connection, event.why);
      case "linkOpened":
        return this.#links.opened(event.connection);
      case "linkReceived":
        return this.#links.received(event.connection, event.bytes);
      case "linkDrained":
        return this.#links.drained(event.connection);
      case "linkClosed":
        return this.#links.closed(event.connection, event.why);
      case "tick":
        return this.#tick();
      case "accessChanged":
        return this.#admission.reloaded();
      case "drain":
        return this.#drainAway(event.done);
      case "shutdown":
        return this.#shutDown(event.done);
      default:
        return unreachable(event);
    }
  }

  /** Ends a client's connection, and says why where the client can be told. */
  expel(connection: Connection, reason: number, why: string): void {
    this.#sessions.expel(connection, reason, why);
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
      const { phase } = connection.channel;
      // [MQTT-3.1.4-6]
      if (phase !== "new" && phase !== "authenticating") return;
      metrics.turnedAway.deadline++;
      this.#sessions.lose(connection, "no CONNECT in time");
    });
    timers.set(connection.timer, clock.now() + connectDeadlineMs);
    if (this.#admission.arrived(connection)) return;
    this.#sessions.lose(connection, "turned away");
    connection.transport.abort();
  }

  #drain(connection: Connection): void {
    connection.writer.drained();
    this.#backPressure.drained(connection);
    connection.client?.pump();
  }

  #close(connection: Connection, why: string | undefined): void {
    this.#connections.delete(connection);
    this.#admission.left(connection);
    if (this.#mustGoOn(connection)) {
      connection.ended = true;
      connection.writer.close();
      this.context.metrics.connections--;
      return;
    }
    this.#storeBackPressure.forget(connection);
    this.#sessions.lose(connection, why ?? "closed by the client");
  }

  /** What a client sent before it closed counts, when what holds it is over: DISCONNECT may be among it. */
  #mustGoOn(connection: Connection): boolean {
    const { phase } = connection.channel;
    if (!connection.isHeld || !connection.framer.pending) return false;
    // Nobody waits any more for the answer to a CONNECT that the store has not heard of.
    return phase === "open" || (phase === "connecting" && !this.#storeBackPressure.isWaiting(connection));
  }

  #tick(): void {
    this.context.timers.tick(this.context.clock.now());
  }

  #drainAway(done: () => void): void {
    const { self, options } = this.context;
    if (options.drainTime === 0) return done();
    self.isDraining = true;
    this.#cluster.tell({ draining: true });
    this.#leaving.begin(options.drainTime * 1000, done);
  }

  /** Tells every client; sessions and wills stay in the store. */
  #shutDown(done: () => void): void {
    this.#wills.retire();
    for (const connection of this.#connections) {
      this.#sessions.expel(connection, Reason.serverShuttingDown, "the broker is shutting down");
    }
    this.#links.retire();
    this.#cluster.leave(done);
  }
}
