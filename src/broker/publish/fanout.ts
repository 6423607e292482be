/**
 * From a route to its receivers. QoS 0 is copied into each receiver's output; QoS 1 and 2 end in a settlement
 * that says when everybody is taken care of.
 */

import type { Keeping } from "../../bank/price.ts";
import { noBytes } from "../../base/bytes.ts";
import { outputBytesHigh } from "../../base/limits.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import { memberTarget, type Target } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import { recount } from "../peers/mail-count.ts";
import { type Group, isPeer, isRemoteSession, type Peer, type Remote, type RemoteSession } from "../peers/peer.ts";
import type { BackPressure, Held } from "./back-pressure.ts";
import { type Delivery, DeliveryPlan, type Guard, type Promised } from "./delivery-plan.ts";

/** What `Route.note` says: whether all receivers here take the packets of a publisher of one kind as they came. */
const Note = { unknown: 0, mixed: 1, all5: 2, allBefore5: 3, none: 4 } as const;

/** Packets that follow each other in one chunk and have one route: they leave in one copy. */
export interface Run {
  route: ClusterRoute;
  bytes: Uint8Array;
  start: number;
  end: number;
  count: number;
  version5: boolean;
}

export function emptyRun(): Run {
  return { route: undefined as unknown as ClusterRoute, bytes: noBytes, start: 0, end: 0, count: 0, version5: false };
}

/** One target for all: it is filled in and used up within a call. */
const to: { -readonly [Key in keyof OutgoingTarget]: OutgoingTarget[Key] } = {
  qos: 0,
  retain: false,
  subscriptionIds: [],
  group: undefined,
};

export class Fanout {
  readonly #context: DeliveryContext;
  readonly #backPressure: BackPressure;
  readonly #forwarding: Forwarding;

  constructor(context: DeliveryContext, backPressure: BackPressure, forwarding: Forwarding) {
    this.#context = context;
    this.#backPressure = backPressure;
    this.#forwarding = forwarding;
  }

  /** True if QoS 0 packets of a publisher of this kind (MQTT 5, or before) may be copied to all as they are. */
  takesVerbatim(route: ClusterRoute, version5: boolean): boolean {
    if (route.note === Note.unknown) route.note = noteOf(route);
    return route.note === Note.none || route.note === (version5 ? Note.all5 : Note.allBefore5);
  }

  /** Copies a run to a route for which `takesVerbatim` holds: to everybody here, and to every broker that needs it. */
  copyRun(run: Run, publisher: Connection): void {
    const { targets, elsewhere } = run.route;
    this.#context.metrics.fanout.observe(targets.length + elsewhere.length, run.count);
    this.copyRunHere(run, publisher);
    if (run.route.elsewhere.length === 0) return;
    this.#forwarding.run(this.#forwarding.linksOf(run.route), run, publisher);
  }

  copyRunHere(run: Run, publisher: Held): void {
    const { metrics, turn } = this.#context;
    for (const { subscriber } of run.route.targets) {
      const connection = subscriber.connection;
      if (connection === undefined) continue;
      const { writer } = connection;
      if (writer.unsent > turn.outputBytesMax) {
        metrics.droppedOutput += run.count;
        continue;
      }
      writer.append(run.bytes, run.start, run.end);
      metrics.publishesSent += run.count;
      if (writer.unsent > outputBytesHigh) this.#backPressure.hold(publisher, connection);
    }
  }

  /**
   * True if QoS 1 packets of any publisher have other brokers to go to, and nobody for whom they may have to be stored.
   */
  takesBundles(route: ClusterRoute): boolean {
    if (route.bundles === undefined) {
      const isPlain = route.targets.every((target) => target.own === target && target.subscriber.mailbox === undefined);
      const isElsewhere = route.elsewhere.length > 0 && route.elsewhere.every(({ subscriber }) => isPeer(subscriber));
      route.bundles = isPlain && isElsewhere && route.groups.length === 0 && isPassedOn(route);
    }
    return route.bundles;
  }

  /** QoS 1, for receivers here whose sessions end with their connections. */
  offerHere(publish: Publish, route: ClusterRoute): void {
    for (const target of route.targets) {
      const { subscriber } = target;
      if (subscriber.mailbox !== undefined) continue;
      to.qos = Math.min(publish.qos, target.qos) as QoS;
      to.retain = false;
      to.subscriptionIds = target.subscriptionIds;
      to.group = undefined;
      if (to.qos === 0) subscriber.sendQoS0(publish, to);
      else subscriber.offer(publish, to);
    }
  }

  /** Hands QoS 1 packets on to the other brokers of a route for which `takesBundles` holds. */
  bundle(run: Run, settlement: Settlement, publisher: Connection): void {
    const { targets, elsewhere } = run.route;
    this.#context.metrics.fanout.observe(targets.length + elsewhere.length, run.count);
    this.#forwarding.bundle(this.#forwarding.linksOf(run.route), run, settlement, publisher);
  }

  /** QoS 0, one message. */
  live(publish: Publish, route: ClusterRoute, publisher: Connection | undefined): void {
    const client = publisher?.client;
    if (publisher !== undefined)
      this.#context.metrics.fanout.observe(route.targets.length + route.groups.length + route.elsewhere.length);
    for (const target of route.targets)
      this.#liveTo(publish, target.subscriber === client ? target.own : target, publisher);
    for (const group of route.groups) this.#liveToMember(publish, group, publisher);
    if (route.elsewhere.length > 0) this.#forwarding.live(publish, this.#forwarding.linksOf(route), publisher);
  }

  /** QoS 0 that has come over a link: for everybody here. Members of shared subscriptions have been chosen there. */
  liveHere(publish: Publish, route: ClusterRoute, publisher: Peer): void {
    for (const target of route.targets) this.#liveTo(publish, target, publisher);
  }

  /**
   * A message that is promised to its receivers, together with operations that must be committed for it. The
   * settlement, if there is one, is not settled yet.
   */
  deliver(
    publish: Publish,
    route: ClusterRoute,
    publisher: LocalSession | undefined,
    how: {
      readonly operations: JournalOperation[];
      readonly connection?: Connection | undefined;
      readonly guard?: Guard | undefined;
      readonly payment?: Payment | undefined;
      readonly refused?: () => void;
    },
  ): Delivery {
    const plan = this.#plan({ publish, payment: how.payment, guard: how.guard });
    if (!route.isMailDrop) {
      for (const target of route.targets) plan.add(target.subscriber === publisher ? target.own : target);
      for (const target of route.elsewhere) plan.addElsewhere(target);
    }
    for (const group of route.groups) plan.addAny(this.choose(group, publish));
    plan.commit(how.operations, how);
    this.#context.metrics.fanout.observe(plan.receivers);
    return plan;
  }

  /** A promised message that has come over a link, for these receivers here. */
  promiseHere(publish: Publish, route: ClusterRoute, whom: Whom, payment: Payment | undefined): Delivery {
    // What cannot be paid for may still go to members whose sessions end with their connections: it is never stored for
    // them. At QoS 2 the publishing broker stores for all others, in one commit with the packet id that it came with.
    const isOnlyForBrief = whom.isUnpaid === true || publish.qos === 2;
    const isUnfit = (member: LocalSession | Remote): boolean =>
      "isElsewhere" in member || (isOnlyForBrief && member.mailbox !== undefined);
    const plan = this.#plan({ publish, payment, guard: undefined });
    for (const target of route.targets) {
      const { mailbox, handle } = target.subscriber;
      if (mailbox === undefined ? whom.toInterest : whom.handles.delete(handle)) plan.add(target);
    }
    for (const group of route.groups) {
      if (!whom.groups.has(group.text)) continue;
      const target = this.choose(group, publish, isUnfit);
      if (target === undefined) continue;
      whom.groups.delete(group.text);
      plan.addAny(target);
    }
    plan.commit([], {});
    return plan;
  }

  /** A message that another member of a shared subscription has not acknowledged, or cannot be given. */
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

  /**
   * How many copies of a message may have to be stored at most, besides what lies in a mail drop: one for each receiver
   * that outlives its connection.
   */
  copiesOf(route: ClusterRoute, qos: QoS): number {
    if (qos === 0) return 0;
    return route.groups.length + (route.isMailDrop ? 0 : lastingOf(route));
  }

  /** How a message lies in a mail drop: as in a mailbox, if a session that outlives its connection is owed it. */
  keepingOf(route: ClusterRoute, qos: QoS): Keeping {
    return qos > 0 && lastingOf(route) > 0 ? "mailbox" : "drop";
  }

  /** The persistent session among the receivers whose mailbox has no room; then the publish is refused. */
  fullMailbox(route: ClusterRoute, qos: QoS): string | undefined {
    for (const { subscriber, qos: granted } of route.isMailDrop ? [] : route.targets) {
      if (Math.min(qos, granted) > 0 && this.#isFull(subscriber)) return subscriber.session.clientId;
    }
    for (const { subscriber, qos: granted } of route.isMailDrop ? [] : route.elsewhere) {
      if (isRemoteSession(subscriber) && Math.min(qos, granted) > 0 && this.#isFull(subscriber))
        return subscriber.clientId;
    }
    for (const group of route.groups) {
      const members = [...group.members.keys()];
      if (members.length > 0 && members.every((member) => this.#isFull(member))) return group.text;
    }
    return undefined;
  }

  /**
   * Whose turn it is in a group: members take turns; one with room goes before one without, and that before one away.
   * Another broker stands for its members that end with their connections. `isUnfit`: who must not be chosen.
   */
  choose(
    group: Group,
    publish: Publish,
    isUnfit: (member: LocalSession | Remote) => boolean = () => false,
  ): Target<LocalSession | Remote> | undefined {
    group.order ??= [...group.members.keys()];
    const members = group.order;
    let best: LocalSession | Remote | undefined;
    let bestRank = 0;
    let bestAt = 0;
    for (let step = 0; step < members.length; step++) {
      const at = (group.turn + step) % members.length;
      const member = members[at]!;
      const rank = isUnfit(member) ? 0 : this.#rankOf(member, publish);
      if (rank <= bestRank) continue;
      best = member;
      bestRank = rank;
      bestAt = at;
      if (rank === 3) break;
    }
    if (best === undefined) return undefined;
    group.turn = (bestAt + 1) % members.length;
    return memberTarget(group, best, group.members.get(best)!);
  }

  #rankOf(member: LocalSession | Remote, publish: Publish): number {
    if (isPeer(member)) return member.isLinked ? 3 : 0;
    if (this.#isFull(member)) return 0;
    if (isRemoteSession(member)) return member.host === undefined ? 1 : member.host.isLinked ? 3 : 2;
    if (member.permissions?.mayReceive(topicOf(publish)) === false) return 0;
    // One that ends with its connection is about to be gone from the group.
    if (member.connection === undefined) return member.mailbox === undefined ? 0 : 1;
    return member.hasRoom && (member.mailbox?.isEmpty ?? true) ? 3 : 2;
  }

  #isFull(member: LocalSession | Remote): boolean {
    if (isPeer(member)) return false;
    const { options, slips } = this.#context;
    if (isRemoteSession(member)) return this.#isFullElsewhere(member);
    if (member.mailbox === undefined) return false;
    return member.mailbox.count >= options.maxQueued || slips.numbers.isSpent(member.session.clientId);
  }

  /**
   * A mailbox that was full is looked at anew, or it would be full for ever: its session is served by another broker.
   */
  #isFullElsewhere(session: RemoteSession): boolean {
    const { options, slips } = this.#context;
    const isFull = session.mailCount >= options.maxQueued;
    if (isFull) recount(this.#context, session);
    const isSpent = slips.numbers.isSpent(session.clientId);
    if (isSpent) slips.numbers.look(session.clientId);
    return isFull || isSpent;
  }

  #plan(promised: Promised): DeliveryPlan {
    return new DeliveryPlan(this.#context, this.#forwarding, promised);
  }

  #liveToMember(publish: Publish, group: Group, publisher: Connection | undefined): void {
    const target = this.choose(group, publish);
    if (target === undefined) return;
    const { subscriber } = target;
    if (isPeer(subscriber)) this.#forwarding.offer(publish, group, subscriber);
    else if (isRemoteSession(subscriber)) subscriber.host && this.#forwarding.offer(publish, group, subscriber.host);
    else this.#liveTo(publish, target as Target<LocalSession>, publisher);
  }

  #liveTo(publish: Publish, target: Target<LocalSession> | undefined, publisher: Held | undefined): void {
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

export interface Redelivery {
  readonly done: () => void;
  /** Pays for the copy that may have to be stored. */
  readonly payment: Payment | undefined;
  /** How often the message has been given to another member. */
  readonly reassigned: number;
  /** stored: into the mailbox of a session that outlives its connection, wherever that is. */
  readonly how: "sent" | "stored";
}

/** Who is meant by a delivery. What is found here is taken out. */
export interface Whom {
  readonly toInterest: boolean;
  readonly handles: Set<number>;
  readonly groups: Set<string>;
  /** Nothing can be stored for them. */
  readonly isUnpaid?: boolean;
}

/** What comes in on it goes to its receivers as it is: it is neither the broker's own nor a mail drop's. */
function isPassedOn({ topic, isMailDrop }: ClusterRoute): boolean {
  return !isMailDrop && !isOwnTopic(topic);
}

/** Only the broker publishes below `$SYS`. */
export function isOwnTopic(topic: string): boolean {
  return topic.startsWith("$SYS/");
}

/** How many receivers that outlive their connections are promised what is published on a route. */
function lastingOf({ targets, elsewhere }: ClusterRoute): number {
  let count = 0;
  for (const { subscriber, qos } of targets) if (subscriber.mailbox !== undefined && qos > 0) count++;
  for (const { subscriber, qos } of elsewhere) if (isRemoteSession(subscriber) && qos > 0) count++;
  return count;
}

function noteOf(route: ClusterRoute): number {
  if (route.groups.length > 0 || !isPassedOn(route)) return Note.mixed;
  if (route.targets.length === 0) return Note.none;
  let note: number = Note.unknown;
  for (const target of route.targets) {
    const channel = target.subscriber.connection?.channel;
    if (channel?.phase !== "open" || !channel.takesVerbatim) return Note.mixed;
    if (target.own !== target || target.subscriptionIds.length > 0) return Note.mixed;
    const kind = channel.version === 5 ? Note.all5 : Note.allBefore5;
    if (note !== Note.unknown && note !== kind) return Note.mixed;
    note = kind;
  }
  return note;
}
