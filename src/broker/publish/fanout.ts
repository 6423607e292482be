/**
 * The fanout of messages: from a route to its receivers. QoS 0 is copied into each receiver's output; QoS 1 and 2 end
 * in a settlement that tells when every receiver is taken care of.
 */

import { noBytes } from "../../base/bytes.ts";
import { outputBytesHigh } from "../../base/limits.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Guard, Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Target } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import type { LinkSender } from "../peers/link-sender.ts";
import { type Group, isPeer, type Peer, type Remote } from "../peers/peer.ts";
import { isRemoteSession } from "../peers/remote-session.ts";
import type { BackPressure, Publisher } from "./back-pressure.ts";
import { type Delivery, DeliveryPlan, type Promised, type WaysElsewhere } from "./delivery-plan.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";

/** The values of `Route.note`: whether all receivers here take a publisher's packets as they came, by its version. */
const Note = { unknown: 0, mixed: 1, all5: 2, allBefore5: 3, none: 4 } as const;

/** A run: packets of one route that follow each other in one chunk and are passed on as they are, at QoS 0 or QoS 1. */
export interface Run {
  route: ClusterRoute;
  bytes: Uint8Array;
  start: number;
  end: number;
  count: number;
  version5: boolean;
  /** The bytes of all payloads in it. */
  payloadBytes: number;
}

/** Returns a run without packets, to be filled in. */
export function emptyRun(): Run {
  const empty = { bytes: noBytes, start: 0, end: 0, count: 0, version5: false, payloadBytes: 0 };
  return { route: undefined as unknown as ClusterRoute, ...empty };
}

/** The target that all calls share: it is filled in and used up within one. */
const to: { -readonly [Key in keyof OutgoingTarget]: OutgoingTarget[Key] } = {
  qos: 0,
  retain: false,
  subscriptionIds: [],
  group: undefined,
};

/** Delivers messages to the receivers of a route. */
export class Fanout {
  readonly #context: DeliveryContext;
  readonly #backPressure: BackPressure;
  readonly #linkSender: LinkSender;
  readonly #forwarding: Forwarding;
  readonly #ways: WaysElsewhere;
  readonly #shared: SharedSubscriptions;

  constructor(
    context: DeliveryContext,
    parts: { backPressure: BackPressure; linkSender: LinkSender; forwarding: Forwarding; shared: SharedSubscriptions },
  ) {
    this.#context = context;
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

  /** Copies a run to all receivers, here and at other brokers, of a route for which `takesVerbatim` holds. */
  copyRun(run: Run, publisher: Connection): void {
    const { targets, elsewhere } = run.route;
    this.#context.metrics.fanout.observe(targets.length + elsewhere.length, run.count);
    this.copyRunHere(run, publisher);
    if (run.route.elsewhere.length === 0) return;
    this.#linkSender.run(this.#linkSender.linksOf(run.route), run, publisher);
  }

  /** Copies a run to the receivers here; drops and counts it for those whose output is full. */
  copyRunHere(run: Run, publisher: Publisher): void {
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
      metrics.payloadBytesSent += run.payloadBytes;
      if (writer.unsent > outputBytesHigh) this.#backPressure.hold(publisher, connection);
    }
  }

  /** Returns true if QoS 1 packets go to other brokers, and to no receiver for whom they may have to be stored. */
  takesBundles(route: ClusterRoute): boolean {
    if (route.bundles === undefined) {
      const isPlain = route.targets.every((target) => target.own === target && target.subscriber.mailbox === undefined);
      const isElsewhere = route.elsewhere.length > 0 && route.elsewhere.every(({ subscriber }) => isPeer(subscriber));
      route.bundles = isPlain && isElsewhere && route.groups.length === 0 && !route.isMailDrop;
    }
    return route.bundles;
  }

  /** Sends a QoS 1 message to the receivers here whose sessions end with their connections. */
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
    for (const target of route.targets)
      this.#liveTo(publish, target.subscriber === client ? target.own : target, publisher);
    for (const group of route.groups) this.#liveToMember(publish, group, publisher);
    if (route.elsewhere.length > 0) this.#linkSender.live(publish, this.#linkSender.linksOf(route), publisher);
  }

  /** Sends a QoS 0 message of another broker to the receivers here, but to no group: members were chosen there. */
  liveHere(publish: Publish, route: ClusterRoute, publisher: Peer): void {
    for (const target of route.targets) this.#liveTo(publish, target, publisher);
  }

  /** Sends what this broker says of itself to the receivers here; other brokers tell theirs of themselves. */
  tell(publish: Publish, route: ClusterRoute): void {
    for (const target of route.targets) this.#liveTo(publish, target, undefined);
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
      readonly payment?: Payment | undefined;
      readonly refused?: (error: CoordinatorError) => void;
    },
  ): Delivery {
    const { payment, guard, connection } = how;
    const plan = this.#plan({ publish, payment, guard, afterZxid: connection?.connectZxid });
    if (!route.isMailDrop) {
      for (const target of route.targets) plan.add(target.subscriber === publisher ? target.own : target);
      for (const target of route.elsewhere) plan.addElsewhere(target);
    }
    for (const group of route.groups) plan.addAny(this.#shared.choose(group, publish));
    plan.commit(how.operations, how);
    this.#context.metrics.fanout.observe(plan.receivers);
    return plan;
  }

  /** Delivers a QoS 1 or 2 message of another broker to these receivers here. */
  deliverHere(publish: Publish, route: ClusterRoute, addressees: Addressees, payment: Payment | undefined): Delivery {
    // A message that cannot be paid for may still go to members whose sessions end with their connections: it is never
    // stored for them. At QoS 2 the publishing broker stores it for all others, in one commit with its packet id.
    const isNotForPersistent = addressees.isUnpaid === true || publish.qos === 2;
    const isUnfit = (member: LocalSession | Remote): boolean =>
      "isElsewhere" in member || (isNotForPersistent && member.mailbox !== undefined);
    const plan = this.#plan({ publish, payment, guard: undefined });
    for (const target of route.targets) {
      const { mailbox, handle } = target.subscriber;
      if (mailbox === undefined ? addressees.toInterest : addressees.handles.delete(handle)) plan.add(target);
    }
    for (const group of route.groups) {
      if (!addressees.groups.has(group.text)) continue;
      const target = this.#shared.choose(group, publish, isUnfit);
      if (target === undefined) continue;
      addressees.groups.delete(group.text);
      plan.addAny(target);
    }
    plan.commit([], {});
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

function noteOf(route: ClusterRoute): number {
  if (route.groups.length > 0 || route.isMailDrop) return Note.mixed;
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
