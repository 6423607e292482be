/**
 * From a route to its receivers. QoS 0 is copied into each receiver's output; QoS 1 and 2 end in a settlement
 * that says when everybody is taken care of.
 */

import { noBytes } from "../../base/bytes.ts";
import { outputBytesHigh } from "../../base/limits.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Target } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import { type Group, isPeer, isRemoteSession, type Peer, type Remote } from "../peers/peer.ts";
import type { BackPressure, Held } from "./back-pressure.ts";
import { type Delivery, DeliveryPlan, type Guard, type Promised } from "./delivery-plan.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";

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
  readonly #shared: SharedSubscriptions;

  constructor(
    context: DeliveryContext,
    parts: { backPressure: BackPressure; forwarding: Forwarding; shared: SharedSubscriptions },
  ) {
    this.#context = context;
    this.#backPressure = parts.backPressure;
    this.#forwarding = parts.forwarding;
    this.#shared = parts.shared;
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

  /** See `Forwarding`. */
  storeInstead(settlement: Settlement): void {
    this.#forwarding.storeInstead(settlement);
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
    for (const group of route.groups) plan.addAny(this.#shared.choose(group, publish));
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
      const target = this.#shared.choose(group, publish, isUnfit);
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

  #plan(promised: Promised): DeliveryPlan {
    return new DeliveryPlan(this.#context, this.#forwarding, promised);
  }

  #liveToMember(publish: Publish, group: Group, publisher: Connection | undefined): void {
    const target = this.#shared.choose(group, publish);
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
