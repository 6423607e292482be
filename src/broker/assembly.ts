/**
 * Builds a broker's parts once, room by room, from the bottom up. Each part is given all it needs by its constructor. A
 * part that is built later is handed over as a function (`Later`), which is not called before all parts are there.
 */
import type { Access } from "../access/access.ts";
import { Bans } from "../access/bans.ts";
import { Accounts } from "../bank/accounts.ts";
import type { ProtocolError } from "../base/errors.ts";
import { formats } from "../base/formats.ts";
import { Slices } from "../base/slices.ts";
import { Timers } from "../base/timers.ts";
import { TurnWatch } from "../base/turn-watch.ts";
import { StoreClock } from "../coordinator/store-clock.ts";
import { Journal } from "../mail/journal.ts";
import { Mail } from "../mail/mail.ts";
import { Settlements } from "../mail/settlement.ts";
import { Slips } from "../mail/slips.ts";
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
import { ConnectionEnd } from "./connect/connection-end.ts";
import { watchConnections } from "./connect/connection-watches.ts";
import { EndedSessions } from "./connect/ended-sessions.ts";
import { FullMailboxes } from "./connect/full-mailboxes.ts";
import { ConnectHandler } from "./connect/handle-connect.ts";
import { OrphanedWills } from "./connect/orphaned-wills.ts";
import { SessionEnd } from "./connect/session-end.ts";
import { SessionHandover } from "./connect/session-handover.ts";
import { SessionRemains } from "./connect/session-remains.ts";
import { SessionStore } from "./connect/session-store.ts";
import { TakeOver } from "./connect/take-over.ts";
import { Wills } from "./connect/wills.ts";
import { BankAccount, type BankAccountParts } from "./core/bank-account.ts";
import { sharePercentOf } from "./core/bank-share.ts";
import { LevelSweep } from "./core/level-sweep.ts";
import { LiveEvents } from "./core/live-events.ts";
import { Metrics } from "./core/metrics.ts";
import type { BrokerOptions } from "./core/options.ts";
import { RecentDrops } from "./core/recent-drops.ts";
import { RecentRefusals } from "./core/recent-refusals.ts";
import { RecentTakeOvers } from "./core/recent-take-overs.ts";
import type { Runtime } from "./core/runtime.ts";
import { Strangers } from "./core/strangers.ts";
import { Trace } from "./core/trace.ts";
import type { Connection } from "./delivery/connection.ts";
import type { DeliveryContext } from "./delivery/delivery-context.ts";
import type { LocalSession } from "./delivery/local-session.ts";
import { MailboxGauge } from "./delivery/mailbox-gauge.ts";
import { StoreBackPressure } from "./delivery/store-back-pressure.ts";
import type { Doors } from "./doors.ts";
import { MailDrops } from "./drops/mail-drops.ts";
import { SubscribeHandler } from "./handle-subscribe.ts";
import { Inbound } from "./inbound.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";
import { Forwarding } from "./peers/forwarding.ts";
import { Interest } from "./peers/interest.ts";
import { LinkSender } from "./peers/link-sender.ts";
import { Links } from "./peers/links.ts";
import { Membership } from "./peers/membership.ts";
import { NamedPublishes } from "./peers/named-publishes.ts";
import { otherBranches } from "./peers/other-branches.ts";
import { type BrokerFacts, type GroupsEnd, isPeer, Peer, type Remote } from "./peers/peer.ts";
import { Questions } from "./peers/questions.ts";
import type { RemoteSession } from "./peers/remote-session.ts";
import { SessionRegistry } from "./peers/session-registry.ts";
import { SubscriptionBarrier } from "./peers/subscription-barrier.ts";
import { SubscriptionDirectory } from "./peers/subscription-directory.ts";
import { BackPressure } from "./publish/back-pressure.ts";
import { Fanout } from "./publish/fanout.ts";
import { PublishHandler } from "./publish/handle-publish.ts";
import { LateRetained } from "./publish/late-retained.ts";
import type { OperatorPublisher } from "./publish/publish-by-operator.ts";
import { Regrouping } from "./publish/regrouping.ts";
import { RetainedStore } from "./publish/retained-store.ts";
import { SharedSubscriptions } from "./publish/shared-subscription.ts";
import { SysTopics } from "./sys-topics.ts";

/** The parts that `Broker` speaks to. */
export interface Assembly {
  readonly context: ClusterContext;
  readonly bans: Bans;
  readonly inbound: Inbound;
  /** The looks at memory, which are told of bytes that clients send. */
  readonly memory: { received(bytes: number): void };
  readonly connectionEnd: ConnectionEnd;
  readonly admission: Admission;
  readonly backPressure: BackPressure;
  readonly storeBackPressure: StoreBackPressure;
  readonly wills: Wills;
  readonly sessionEnd: SessionEnd;
  readonly publishers: Publishers;
  readonly operatorPublisher: OperatorPublisher;
  readonly links: Links;
  readonly questions: Questions;
  readonly sweeper: Sweeper;
  readonly drain: Drain;
  readonly cluster: Cluster;
  /** Has each part read what it needs from the tree. Rejects with `OperatingError`. */
  readonly start: () => Promise<void>;
}

/** Access to parts that are built after those that need them. */
interface Later {
  readonly cluster: () => Cluster;
  readonly links: () => Links;
  readonly membership: () => Membership;
  readonly directory: () => SubscriptionDirectory;
  readonly drops: () => MailDrops;
  readonly levelSweep: () => LevelSweep;
  readonly storeBackPressure: () => StoreBackPressure;
  readonly connectHandler: () => ConnectHandler;
  readonly fullMailboxes: () => FullMailboxes;
  readonly groupsEnd: () => GroupsEnd;
  readonly lateRetained: () => LateRetained;
  readonly evict: (session: LocalSession) => void;
  readonly resume: (connection: Connection, reason: number) => void;
}

/** The broker as it has joined the tree. */
export interface Identity {
  /** The broker's epoch: the transaction that created its znode. */
  readonly epoch: number;
  readonly facts: BrokerFacts;
}

/** Builds and connects all parts. `connections`: the open connections, a set that the caller keeps. */
export function assemble(doors: Doors, identity: Identity, connections: ReadonlySet<Connection>): Assembly {
  const later: Later = {
    cluster: () => cluster,
    links: () => peers.links,
    membership: () => peers.membership,
    directory: () => peers.directory,
    drops: () => drops,
    levelSweep: () => levelSweep,
    storeBackPressure: () => storeBackPressure,
    connectHandler: () => connect.connectHandler,
    fullMailboxes: () => connect.fullMailboxes,
    groupsEnd: () => publish.regrouping,
    lateRetained: () => publish.lateRetained,
    evict: (session) => connect.handover.evict(session),
    resume: (connection, reason) => inbound.resume(connection, reason),
  };
  const runtime = runtimeOf(doors);
  const context = contextOf(runtime, { epoch: identity.epoch, access: doors.access }, later);
  const levelSweep = new LevelSweep(runtime, { journal: context.journal, account: context.bankAccount.account });
  const storeBackPressure = new StoreBackPressure(context, later.resume);
  const peers = peersOf(context, doors, later);
  const drops = new MailDrops(context);
  const publish = publishOf(context, { peers, levelSweep, storeBackPressure, later });
  const door = { access: doors.access, bans: bansOf(doors.options) };
  const connect = connectOf(context, { peers, publish, drops, storeBackPressure, door, later });
  const { membership, directory, interest, barrier } = peers;
  const { fanout, retainedStore, backPressure } = publish;
  const { connectionEnd, endedSessions } = connect;
  const fail = (connection: Connection, error: ProtocolError): void => connectionEnd.fail(connection, error);
  const subscribing = { interest, barrier, drops, retainedStore, resume: later.resume, fail };
  const subscribeHandler = new SubscribeHandler(context, subscribing);
  const publishers = new Publishers(context);
  const adoption = new Adoption(context, { ...connect, membership, directory });
  const cluster = new Cluster(context, identity.facts, {
    ...peers,
    ...connect,
    adoption,
    arriving: new Arriving(context, { ...peers, fanout, backPressure }),
    leftovers: new Leftovers(context, { membership, publishers }),
    ...{ levelSweep, publishers },
  });
  const inbound = new Inbound(context, { ...publish, ...connect, subscribeHandler, storeBackPressure });
  const sys = new SysTopics(context, fanout);
  const memoryParts = { connections, fail, spenders: connect.admission.spenders, memory: doors.memory };
  return {
    context,
    bans: door.bans,
    inbound,
    memory: watchConnections(context, memoryParts),
    ...{ connectionEnd, admission: connect.admission },
    backPressure,
    storeBackPressure,
    ...{ wills: connect.wills, sessionEnd: connect.sessionEnd, links: peers.links, questions: peers.questions },
    ...{ publishers, operatorPublisher: publish.publishHandler.ofOperator },
    sweeper: new Sweeper(context, { ...connect, membership, retainedStore, drops }),
    drain: new Drain(context, { membership, connectionEnd, connections, regrouping: publish.regrouping }),
    cluster,
    start: async () => {
      await directory.start();
      await retainedStore.start();
      await membership.start();
      await context.bankAccount.start();
      await drops.start();
      await endedSessions.start();
      await adoption.adopt();
      sys.start();
    },
  };
}

function bansOf({ banAfter, banTime }: BrokerOptions): Bans {
  return new Bans({ failures: banAfter, ms: banTime * 1000 });
}

/** Builds the runtime, whose clock follows the store's. */
function runtimeOf({ options, coordinator, clock: machineClock, random, log, turn, ...doors }: Doors): Runtime {
  const clock = new StoreClock({
    clock: machineClock,
    coordinator,
    onApart: (aheadMs) => log.warn({ aheadMs }, "this machine's clock is not ZooKeeper's: ZooKeeper's time is taken"),
  });
  const timers = new Timers();
  const turns = doors.turns ?? new TurnWatch({ clock: machineClock, log });
  const events = new LiveEvents();
  const trace = new Trace(clock);
  return {
    options,
    coordinator,
    clock,
    machineClock,
    random,
    log,
    turn,
    timers,
    turns,
    slices: new Slices(clock, timers, turns),
    metrics: new Metrics(),
    events,
    trace,
    drops: new RecentDrops(clock, trace),
    takeOvers: new RecentTakeOvers(clock),
    refused: new RecentRefusals(clock, trace, (refusal) => events.tell({ kind: "refused", refusal })),
    strangers: new Strangers({ clock, log }),
    spans: doors.spans,
  };
}

/** Builds the contexts. The epoch is the broker's present one; `access` tells whether there may be several users. */
function contextOf(runtime: Runtime, { epoch, access }: Incarnation, later: Later): ClusterContext {
  const peers = new Map<string, Peer>();
  const sharePercent = (): number => sharePercentOf(runtime.options, access);
  const delivery = deliveryOf(runtime, epoch, { others: otherBranches(later, peers), sharePercent }, later);
  return {
    ...delivery,
    router: new Router<LocalSession, Remote>({
      mayReceive: (session, topic) => session.permissions?.mayReceive(topic) !== false,
      isThere: (remote) => !isPeer(remote) || remote.isMember,
      isMailDrop: (topic) => later.drops().isOpenFor(topic),
    }),
    hasMailDrops: () => later.drops().exist,
    localSessions: new Map(),
    remoteSessions: new Map(),
    peers,
    self: {
      ...{ epoch, isJoining: false, isFenced: false, isDraining: false },
      ...{ format: formats.oldest, fences: 0, orphansUntil: 0 },
    },
  };
}

/** A broker as its contexts are built for. */
interface Incarnation {
  readonly epoch: number;
  readonly access: Access | undefined;
}

/** The parts of the broker that the bank account is given. */
type BankDoors = Pick<BankAccountParts, "others" | "sharePercent">;

function deliveryOf(runtime: Runtime, epoch: number, bankDoors: BankDoors, later: Later): DeliveryContext {
  const { coordinator, clock, timers, strangers, options } = runtime;
  const journal = new Journal(coordinator, clock, {
    parked: () => bankAccount.closed(),
    obstructed: ({ code, path }) => strangers.note(path, `is in the way of a commit: ${code}`),
    relieved: () => later.storeBackPressure().relieved(),
    removed: (path) => later.levelSweep().removed(path),
  });
  const accounts = new Accounts(coordinator, (path) => strangers.note(path, "is no account of the bank"));
  const bankAccount = new BankAccount(runtime, { journal, accounts, ...bankDoors });
  const slips = new Slips({ coordinator, journal, ledger: bankAccount, reader: strangers });
  const mail = new Mail({ journal, ledger: bankAccount, slips, epoch });
  return {
    ...runtime,
    journal,
    mail,
    slips,
    settlements: new Settlements({ mail, journal, timers, settleAfterMs: options.settleAfter }),
    bankAccount,
    retained: new RetainedMessages(),
    mailboxes: new MailboxGauge(runtime, { numbers: slips.numbers, look: (id) => later.fullMailboxes().look(id) }),
    evict: later.evict,
  };
}

/** Builds the room `peers`. */
function peersOf(
  context: ClusterContext,
  { dialLink, linkSecret, fatal, answerQuestion: answer }: Doors,
  later: Later,
) {
  const links = new Links(context, { flows: later.cluster, dial: dialLink, secret: linkSecret });
  const membership = new Membership(context, { flows: later.cluster, fatal });
  const interest = new Interest(context);
  const linkSender = new LinkSender(context, later.resume);
  const forwarding = new Forwarding(context, {
    linkSender,
    idle: (session) => later.directory().forget(session),
    groupsEnd: {
      notPlaced: (...message) => later.groupsEnd().notPlaced(...message),
      inDoubt: (...message) => later.groupsEnd().inDoubt(...message),
    },
    retainedLate: (peer, publish) => later.lateRetained().arrived(peer, publish),
  });
  const moves = {
    adopted: (remote: RemoteSession): void => forwarding.moveToMailbox(remote),
    released: (remote: RemoteSession): void => forwarding.waitForMailbox(remote),
  };
  const directory = new SubscriptionDirectory(context, { membership, interest, moves });
  const registry = new SessionRegistry(context, { links, membership });
  const barrier = new SubscriptionBarrier(context, { links, membership, directory });
  const questions = new Questions(context, { links, answer });
  const named = new NamedPublishes(context.self.epoch);
  return { links, linkSender, membership, interest, forwarding, directory, registry, barrier, questions, named };
}

interface PublishParts {
  readonly peers: ReturnType<typeof peersOf>;
  readonly levelSweep: LevelSweep;
  readonly storeBackPressure: StoreBackPressure;
  readonly later: Later;
}

/** Builds the room `publish`. */
function publishOf(context: ClusterContext, { peers, levelSweep, storeBackPressure, later }: PublishParts) {
  const { links, linkSender, forwarding } = peers;
  const { resume } = later;
  const backPressure = new BackPressure(context.timers, () => context.clock.now(), {
    resume: (held, reason) => (held instanceof Peer ? links.sendControl(held, { say: "go" }) : resume(held, reason)),
    holdPeer: (peer) => links.sendControl(peer, { say: "hold" }),
  });
  const shared = new SharedSubscriptions(context);
  const fanout = new Fanout(context, { backPressure, linkSender, forwarding, shared, resume });
  const regrouping = new Regrouping(context, { fanout, shared });
  const retainedStore = new RetainedStore(context, levelSweep);
  const lateRetained = new LateRetained(context, { retainedStore, linkSender });
  const publishHandler = new PublishHandler(context, {
    ...{ fanout, shared, retainedStore, storeBackPressure, resume },
    ...{ linkSender, named: peers.named },
  });
  return { backPressure, fanout, regrouping, retainedStore, lateRetained, publishHandler };
}

interface ConnectParts {
  readonly peers: ReturnType<typeof peersOf>;
  readonly publish: ReturnType<typeof publishOf>;
  readonly drops: MailDrops;
  readonly storeBackPressure: StoreBackPressure;
  readonly door: { readonly access: Access | undefined; readonly bans: Bans };
  readonly later: Later;
}

/** Builds the room `connect`. */
function connectOf(context: ClusterContext, { peers, publish, drops, storeBackPressure, door, later }: ConnectParts) {
  const { membership } = peers;
  const { resume, connectHandler: handler } = later;
  const wills = new Wills(context, publish.publishHandler.wills);
  const sessionStore = new SessionStore(context, { ...peers, ...publish, wills });
  const connectionEnd = new ConnectionEnd(context, { ...peers, ...publish, sessionStore, wills, drops });
  const handover = new SessionHandover(context, { ...peers, connectionEnd, sessionStore, wills });
  const admission = new Admission(context, { ...door, connectionEnd });
  const isObtaining = (clientId: string): boolean => handler().isObtaining(clientId);
  const whenConnected = (clientId: string, go: () => void): void => handler().whenConnected(clientId, go);
  const orphanedWills = new OrphanedWills(context, { membership, wills, isObtaining });
  const endedSessions = new EndedSessions(context, sessionStore);
  const sessionRemains = new SessionRemains(context, { sessionStore, isObtaining });
  const parts = { ...peers, connectionEnd, sessionStore, handover, wills, orphanedWills, endedSessions };
  const fullMailboxes = new FullMailboxes(context, { ...parts, sessionRemains, isObtaining });
  const takeOver = new TakeOver(context, { ...parts, whenConnected });
  const connectHandler = new ConnectHandler(context, {
    ...parts,
    admission,
    takeOver,
    drops,
    storeBackPressure,
    resume,
  });
  return {
    ...{ wills, connectionEnd, sessionStore, handover, admission, orphanedWills, takeOver, connectHandler },
    ...{ endedSessions, sessionRemains, fullMailboxes, isObtaining, sessionEnd: new SessionEnd(context, parts) },
  };
}
