/**
 * The fanout of messages: from a route to its receivers. QoS 0 is copied into each receiver's output; QoS 1 and 2 end
 * in a settlement that tells when every receiver is taken care of.
 */
import { outputBytesHigh } from "../../base/limits.ts";
import type { Work } from "../../base/slices.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Guard, Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Target } from "../../router/router.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import type { LinkSender } from "../peers/link-sender.ts";
import { type Group, isPeer, type Peer, type Remote } from "../peers/peer.ts";
import { isRemoteSession } from "../peers/remote-session.ts";
import type { BackPressure, Publisher } from "./back-pressure.ts";
import { type Committing, type Delivery, DeliveryPlan, type Promised, type WaysElsewhere } from "./delivery-plan.ts";
import { Note, noteOf, type Run, reachOf } from "./run.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";
import { eachInSteps, isWide, mayStillReceive, WideFanouts } from "./wide-fanouts.ts";

/** The target that all calls share: it is filled in and used up within one. */
const to: { -readonly [Key in keyof OutgoingTarget]: OutgoingTarget[Key] } = {
  qos: 0,
  retain: false,
  subscriptionIds: [],
  group: undefined,
};

/** Delivers messages to the receivers of a route. */
export class Fanout {
  readonly #context: ClusterContext;
  readonly #wide: WideFanouts;
  readonly #resume: (connection: Connection, reason: number) => void;
  readonly #backPressure: BackPressure;
  readonly #linkSender: LinkSender;
  readonly #forwarding: Forwarding;
  readonly #ways: WaysElsewhere;
  readonly #shared: SharedSubscriptions;

  constructor(
    context: ClusterContext,
    parts: {
      backPressure: BackPressure;
      linkSender: LinkSender;
      forwarding: Forwarding;
      shared: SharedSubscriptions;
      resume: (connection: Connection, reason: number) => void;
    },
  ) {
    this.#context = context;
    this.#wide = new WideFanouts(context.slices);
    this.#resume = parts.resume;
    this.#backPressure = parts.backPressure;
    this.#linkSender = parts.linkSender;
    this.#forwarding = parts.forwarding;
    this.#ways = parts;
    this.#shared = parts.shared;
  }

  /** Returns true if QoS 0 packets of a publisher (MQTT 5, or before) may be copied to all receivers as they are. */
  takesVerbatim(route: ClusterRoute, version5: boolean): boolean {
    if (route.note === Note.unknown) route.note = noteOf(route);
    return route.note === Note.none || route.note === (version5 ? Note.all5 : Note.allBefore5);
  }

  /**
   * Returns true while a message on that topic is on its way to very many receivers here: nothing else may be delivered
   * there before it is over, or it would overtake.
   */
  isUnderWay(route: ClusterRoute): boolean {
    return this.#wide.isUnderWay(route);
  }

  /** Calls back when the fan-out of a topic that is under way is over; what came before has been called by then. */
  whenOver(route: ClusterRoute, go: () => void): void {
    this.#wide.whenOver(route, go);
  }

  /** Holds a publisher while a fan-out on that topic is under way. Returns false if none is. */
  holdWhileUnderWay(route: ClusterRoute, publisher: Connection): boolean {
    if (!this.#wide.isUnderWay(route)) return false;
    if (publisher.isHeldBy(PauseReason.fanout)) return true;
    publisher.hold(PauseReason.fanout);
    this.#wide.whenOver(route, () => this.#resume(publisher, PauseReason.fanout));
    return true;
  }

  /** Copies a run to all receivers, here and at other brokers, of a route for which `takesVerbatim` holds. */
  copyRun(run: Run, publisher: Connection): void {
    const { targets, elsewhere } = run.route;
    this.#context.metrics.fanout.observe(targets.length + elsewhere.length, run.count);
    if (elsewhere.length > 0) this.#linkSender.run(this.#linkSender.linksOf(run.route), run, publisher);
    this.copyRunHere(run, publisher);
    if (isWide(run.route)) this.holdWhileUnderWay(run.route, publisher);
  }

  /** Copies a run to the receivers here; drops and counts it for those whose output is full. */
  copyRunHere(run: Run, publisher: Publisher): void {
    const { targets } = run.route;
    if (isWide(run.route)) {
      // Its fields, and its chunk, are used again when the turn is over.
      const bytes = run.bytes.slice(run.start, run.end);
      const kept = { ...run, bytes, start: 0, end: bytes.length, isApart: true };
      const mayStill = mayStillReceive(this.#context.router, run.route);
      const copy = (target: Target<LocalSession>): void => {
        const channel = target.subscriber.connection?.channel;
        // Its client may have come back meanwhile, in another version.
        const takes = channel?.phase === "open" && channel.takesVerbatim && (channel.version === 5) === kept.version5;
        if (takes && mayStill(target.subscriber)) this.#copyRunTo(kept, target, publisher);
      };
      return this.#wide.run(run.route, eachInSteps(targets, copy));
    }
    for (const target of targets) this.#copyRunTo(run, target, publisher);
  }

  #copyRunTo(run: Run, { subscriber }: Target<LocalSession>, publisher: Publisher): void {
    const { metrics, turn } = this.#context;
    const connection = subscriber.connection;
    if (connection === undefined) return;
    const { writer } = connection;
    if (writer.unsent > turn.outputBytesMax) {
      metrics.droppedOutput += run.count;
      const { clientId } = subscriber.session;
      return this.#context.drops.noteRun("output", run.route.topic, { count: run.count, clientId });
    }
    if (run.isApart) writer.lend(run.bytes, run.start, run.end);
    else writer.append(run.bytes, run.start, run.end);
    metrics.publishesSent += run.count;
    connection.traffic.messagesOut += run.count;
    metrics.payloadBytesSent += run.payloadBytes;
    if (writer.unsent > outputBytesHigh) this.#backPressure.hold(publisher, connection);
  }

  /** Returns true if QoS 1 packets go to other brokers, and to no receiver for whom they may have to be stored. */
  takesBundles(route: ClusterRoute): boolean {
    return reachOf(route) === "live";
  }

  /** Returns true if messages with a promise, unless retained, are stored for nobody and go to no other broker. */
  staysHere(route: ClusterRoute): boolean {
    return reachOf(route) === "here";
  }

  /** Sends a message of QoS 1 or 2, not retained, to the receivers whose sessions end with their connections. */
  offerHere(publish: Publish, route: ClusterRoute): void {
    for (const target of route.targets) this.#offerTo(publish, target);
  }

  /**
   * Sends kept QoS 1 messages, one after the other, to very many receivers here whose sessions end with their
   * connections. Calls `done` when all have been served.
   */
  offerInSteps(publishes: readonly Publish[], route: ClusterRoute, done: () => void): void {
    const mayStill = mayStillReceive(this.#context.router, route);
    const offer = (publish: Publish) => (target: Target<LocalSession>) => {
      if (mayStill(target.subscriber)) this.#offerTo(publish, target);
    };
    const all = function* (): Work {
      for (const publish of publishes) yield* eachInSteps(route.targets, offer(publish));
    };
    this.#wide.run(route, all(), done);
  }

  #offerTo(publish: Publish, { subscriber, qos, subscriptionIds }: Target<LocalSession>): void {
    if (subscriber.mailbox !== undefined) return;
    to.qos = Math.min(publish.qos, qos) as QoS;
    to.retain = false;
    to.subscriptionIds = subscriptionIds;
    to.group = undefined;
    if (to.qos === 0) subscriber.sendQoS0(publish, to);
    else subscriber.offer(publish, to);
  }

  /** Sends QoS 1 packets to the other brokers of a route for which `takesBundles` holds. */
  bundle(run: Run, settlement: Settlement, publisher: Connection): void {
    const { targets, elsewhere } = run.route;
    this.#context.metrics.fanout.observe(targets.length + elsewhere.length, run.count);
    this.#linkSender.bundle(this.#linkSender.linksOf(run.route), run, settlement, publisher);
  }

  /** Has a message that is under way to other brokers stored at once; see `Forwarding.storeInstead`. */
  storeInstead(settlement: Settlement): void {
    this.#forwarding.storeInstead(settlement);
  }

  /** Sends one QoS 0 message to all receivers. */
  live(publish: Publish, route: ClusterRoute, publisher: Connection): void {
    const { client } = publisher;
    this.#context.metrics.fanout.observe(route.targets.length + route.groups.length + route.elsewhere.length);
    for (const group of route.groups) this.#liveToMember(publish, group, publisher);
    if (route.elsewhere.length > 0) this.#linkSender.live(publish, this.#linkSender.linksOf(route), publisher);
    if (isWide(route)) {
      this.#liveWide(publish, route, publisher);
      this.holdWhileUnderWay(route, publisher);
      return;
    }
    for (const target of route.targets)
      this.#liveTo(publish, target.subscriber === client ? target.own : target, publisher);
  }

  /** Sends a QoS 0 message of another broker to the receivers here, but to no group: members were chosen there. */
  liveHere(publish: Publish, route: ClusterRoute, publisher: Peer): void {
    if (isWide(route)) return this.#liveWide(publish, route, publisher);
    for (const target of route.targets) this.#liveTo(publish, target, publisher);
  }

  #liveWide(publish: Publish, route: ClusterRoute, publisher: Publisher): void {
    const kept = publish.kept();
    const client = "client" in publisher ? publisher.client : undefined;
    const mayStill = mayStillReceive(this.#context.router, route);
    const send = (target: Target<LocalSession>): void => {
      if (!mayStill(target.subscriber)) return;
      this.#liveTo(kept, target.subscriber === client ? target.own : target, publisher);
    };
    this.#wide.run(route, eachInSteps(route.targets, send));
  }

  /** Sends what this broker says of itself to the receivers here; other brokers tell theirs of themselves. */
  *tell(publish: Publish, route: ClusterRoute): Work {
    yield* eachInSteps(route.targets, (target) => this.#liveTo(publish, target, undefined));
    for (const group of route.groups) {
      // Members elsewhere are unfit, so what is chosen is here.
      const target = this.#shared.choose(group, publish, (member) => "isElsewhere" in member);
      this.#liveTo(publish, target as Target<LocalSession> | undefined, undefined);
    }
  }

  /**
   * Delivers a QoS 1 or 2 message, with operations that must be committed for it. If there is a settlement, it is not
   * settled yet.
   */
  deliver(
    publish: Publish,
    route: ClusterRoute,
    publisher: LocalSession | undefined,
    how: {
      readonly operations: JournalOperation[];
      readonly connection?: Connection | undefined;
      readonly guard?: Guard | undefined;
      readonly by?: Promised["by"];
      readonly payment?: Payment | undefined;
      readonly refused?: (error: CoordinatorError) => void;
    },
  ): Delivery {
    const { payment, guard, by, connection } = how;
    const plan = this.#plan({ publish, payment, guard, by, afterZxid: connection?.connectZxid });
    const add = (target: Target<LocalSession>): void => plan.add(target.subscriber === publisher ? target.own : target);
    const isInSteps = !route.isMailDrop && isWide(route);
    if (!route.isMailDrop) {
      if (!isInSteps) for (const target of route.targets) add(target);
      for (const target of route.elsewhere) plan.addElsewhere(target);
    }
    for (const group of route.groups) plan.addAny(this.#shared.choose(group, publish));
    const moved = new Set<string>();
    const inSteps = (work: Work, done: () => void): void => this.#wide.runNext(route, work, done);
    const commit = (): void => {
      if (moved.size > 0 && !plan.isRefused) this.#addMoved(plan, route, moved);
      plan.commit(how.operations, isInSteps ? { ...how, inSteps } : how);
      this.#context.metrics.fanout.observe(plan.receivers);
    };
    if (!isInSteps) commit();
    else {
      this.#planInSteps(plan, route, { add, commit, how, moved });
      if (connection !== undefined) this.holdWhileUnderWay(route, connection);
    }
    return plan;
  }

  /** Adds the receivers here to a plan a few at a time, and commits it. */
  #planInSteps(plan: DeliveryPlan, route: ClusterRoute, { add, commit, how, moved }: PlanSteps): void {
    const { localSessions } = this.#context;
    const mayStill = mayStillReceive(this.#context.router, route);
    const addHere = (target: Target<LocalSession>): void => {
      const { subscriber } = target;
      const { clientId } = subscriber.session;
      if (plan.isRefused) return;
      plan.commitWhole(how);
      // Since the message came a session may have ended, gone to another broker, or even come back from there.
      if (subscriber.isReleased) moved?.add(clientId);
      else if (localSessions.get(clientId) === subscriber && mayStill(subscriber)) add(target);
    };
    plan.begin();
    this.#wide.run(route, eachInSteps(route.targets, addHere), () => {
      commit();
      plan.end();
    });
  }

  /** Adds receivers that have gone to other brokers while others were added, if they still subscribe. */
  #addMoved(plan: DeliveryPlan, { bytes }: ClusterRoute, moved: ReadonlySet<string>): void {
    const { targets, elsewhere } = this.#context.router.route(bytes, 0, bytes.length)!;
    for (const target of targets) if (moved.has(target.subscriber.session.clientId)) plan.add(target);
    for (const target of elsewhere) {
      const { subscriber } = target;
      if (isRemoteSession(subscriber) && moved.has(subscriber.clientId)) plan.addElsewhere(target);
    }
  }

  /** Delivers a QoS 1 or 2 message of another broker to these receivers here. */
  deliverHere(publish: Publish, route: ClusterRoute, addressees: Addressees, payment: Payment | undefined): Delivery {
    // A message that cannot be paid for may still go to members whose sessions end with their connections: it is never
    // stored for them. At QoS 2 the publishing broker stores it for all others, in one commit with its packet id.
    const isNotForPersistent = addressees.isUnpaid === true || publish.qos === 2;
    const isUnfit = (member: LocalSession | Remote): boolean =>
      "isElsewhere" in member || (isNotForPersistent && member.mailbox !== undefined);
    const plan = this.#plan({ publish, payment, guard: undefined });
    const add = (target: Target<LocalSession>): void => {
      const { mailbox, handle } = target.subscriber;
      if (mailbox === undefined ? addressees.toInterest : addressees.handles.delete(handle)) plan.add(target);
    };
    if (!isWide(route)) route.targets.forEach(add);
    for (const group of route.groups) {
      if (!addressees.groups.has(group.text)) continue;
      const target = this.#shared.choose(group, publish, isUnfit);
      if (target === undefined) continue;
      addressees.groups.delete(group.text);
      plan.addAny(target);
    }
    if (!isWide(route)) plan.commit([], {});
    else this.#planInSteps(plan, route, { add, commit: () => plan.commit([], {}), how: {} });
    return plan;
  }

  /** Delivers a message to a member of a shared subscription, in place of one that has not taken it. */
  redeliver(
    publish: Publish,
    target: Target<LocalSession | Remote>,
    { done, payment, reassigned, how }: Redelivery,
  ): void {
    const plan = this.#plan({ publish, payment, guard: undefined, reassigned });
    if (how === "stored") plan.addStored(target);
    else plan.addAny(target);
    plan.commit([], {});
    if (plan.settlement === undefined || plan.settlement.isSettled) done();
    else plan.settlement.whenSettled(done);
  }

  #plan(promised: Promised): DeliveryPlan {
    return new DeliveryPlan(this.#context, this.#ways, promised);
  }

  #liveToMember(publish: Publish, group: Group, publisher: Connection): void {
    const target = this.#shared.choose(group, publish);
    if (target === undefined) return;
    const { subscriber } = target;
    if (isPeer(subscriber)) this.#linkSender.offer(publish, group, subscriber);
    else if (isRemoteSession(subscriber)) subscriber.host && this.#linkSender.offer(publish, group, subscriber.host);
    else this.#liveTo(publish, target as Target<LocalSession>, publisher);
  }

  #liveTo(publish: Publish, target: Target<LocalSession> | undefined, publisher: Publisher | undefined): void {
    if (target === undefined) return;
    to.qos = 0;
    to.retain = publish.retain && target.retainAsPublished;
    to.subscriptionIds = target.subscriptionIds;
    to.group = undefined;
    target.subscriber.sendQoS0(publish, to);
    const { connection } = target.subscriber;
    if (publisher !== undefined && connection !== undefined && connection.writer.unsent > outputBytesHigh) {
      this.#backPressure.hold(publisher, connection);
    }
  }
}

/** How the receivers of a message are added to its plan, and how the plan is committed. */
interface PlanSteps {
  readonly add: (target: Target<LocalSession>) => void;
  readonly commit: () => void;
  readonly how: Committing;
  /** Filled with the client ids of sessions that have gone to other brokers meanwhile; undefined: nobody asks. */
  readonly moved?: Set<string>;
}

/** The circumstances of a redelivery to another member of a shared subscription. */
export interface Redelivery {
  readonly done: () => void;
  /** The credits for the copy that may have to be stored. */
  readonly payment: Payment | undefined;
  /** How often the message has been given to another member. */
  readonly reassigned: number;
  /** "stored": into the mailbox of a persistent session, wherever its client is connected. */
  readonly how: "sent" | "stored";
}

/** The receivers here that another broker means by a delivery. Those that are found are removed from the sets. */
export interface Addressees {
  readonly toInterest: boolean;
  readonly handles: Set<number>;
  readonly groups: Set<string>;
  /** True if the bank cannot pay for storing the message here. */
  readonly isUnpaid?: boolean;
}
