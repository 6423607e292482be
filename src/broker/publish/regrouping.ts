/**
 * Regrouping: what a member of a shared subscription has not acknowledged when its session ends, or what its broker
 * cannot take, goes to another member. Not what was sent at QoS 2: it might arrive twice [MQTT-4.8.2-5].
 */
import { encodeUtf8, noBytes } from "../../base/bytes.ts";
import { reassignmentsMax, refusedRetryMs, regroupBytesMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { mailPath } from "../../coordinator/paths.ts";
import { slipPathBytesOf } from "../../coordinator/weight.ts";
import type { Payment } from "../../mail/ledger.ts";
import { encodeSlip, groupMarkOf } from "../../mail/records.ts";
import type { Settlement } from "../../mail/settlement.ts";
import { type FencingToken, fence, type Slip, slipPath, topicOfMessage } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import { makePublish, type Publish } from "../../mqtt/publish.ts";
import type { Target } from "../../router/router.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingMessage } from "../delivery/outgoing-message.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { type Group, type GroupsEnd, isPeer, type Peer, type Remote } from "../peers/peer.ts";
import { isRemoteSession } from "../peers/remote-session.ts";
import type { Fanout } from "./fanout.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";

/** A member of a shared subscription: a session, or another broker that stands for its sessions. */
type Member = LocalSession | Remote;

/** A message on its way from one member to another. */
interface Handover {
  readonly group: Group;
  readonly publish: Publish;
  /** The credits for a copy that may have to be stored; undefined: this broker's branch pays, if it can. */
  readonly payment: Payment | undefined;
  /** How often the message has been given to another member. */
  readonly reassigned: number;
  /** Called when the new member has the message, or nobody will. */
  readonly done: () => void;
}

/** The session that a mailbox belongs to, as long as the check of its token holds. */
export interface MailboxOwner {
  readonly clientId: string;
  readonly fencingToken: FencingToken;
}

/** Chooses new members for messages of shared subscriptions, and hands the messages over. */
export class Regrouping implements GroupsEnd {
  readonly #context: ClusterContext;
  readonly #fanout: Fanout;
  readonly #shared: SharedSubscriptions;
  /** Messages that cannot be paid for now, of sessions that have ended with their connections. */
  #waiting: Handover[] = [];
  #waitingBytes = 0;
  readonly #timer = new Timer(() => this.#retry());

  constructor(context: ClusterContext, parts: { fanout: Fanout; shared: SharedSubscriptions }) {
    this.#context = context;
    this.#fanout = parts.fanout;
    this.#shared = parts.shared;
  }

  /** The number of messages that are in memory alone until they can be paid for, or sent to another member. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Hands an unacknowledged message of a member that has lost its connection to another member. Returns false if there
   * is none. "there": only to one that can be sent it now, for the member itself may come back; "anyone": its session
   * has ended.
   */
  reassign(outgoing: OutgoingMessage, to: "there" | "anyone"): boolean {
    const { client, publish, settlement } = outgoing;
    if (outgoing.group === undefined || publish === undefined || (outgoing.qos === 2 && outgoing.packetId !== 0))
      return false;
    const group = this.#current(outgoing.group as Group, publish);
    if (group === undefined) return false;
    const done = (): void => settlement?.done();
    const payment = this.#context.bankAccount.lend(settlement?.payment);
    const handover = { group, publish, payment, reassigned: 0, done };
    const isUnfit = (member: Member): boolean => member === client || (to === "there" && !isThere(member));
    const target = this.#shared.choose(group, publish, isUnfit);
    if (target === undefined) return false;
    outgoing.takenCareOf();
    this.#hand(handover, target, "sent");
    return true;
  }

  /**
   * Hands the message of a slip to another member of its group, since the session of `owner` ends, in whose mailbox the
   * slip lies. `done(true)`: the slip is gone, or another broker's; `done(false)`: the slip is left to be removed.
   */
  reassignSlip(owner: MailboxOwner, slip: Slip, done: (isGone: boolean) => void): void {
    const { clientId } = owner;
    const heir = this.#heirOf(clientId, slip);
    if (heir === undefined) return done(false);
    if (isKeeping(heir)) return this.#moveSlip(owner, slip, heir, done);
    this.#context.slips.fetch([slip], () => {
      // The message, or the other member, may have gone meanwhile.
      const target = this.#heirOf(clientId, slip);
      if (slip.publish === undefined || target === undefined) return done(false);
      if (isKeeping(target)) return this.#moveSlip(owner, slip, target, done);
      const handover = { publish: slip.publish, payment: undefined, reassigned: 0, done: () => done(false) };
      this.#hand({ ...handover, group: target.group as Group }, target, "sent");
    });
  }

  /** Chooses the member that gets what was stored for one whose session ends; undefined if there is none. */
  #heirOf(clientId: string, { record }: Slip): Target<Member> | undefined {
    const { groupMark, messagePath, state, qos } = record!;
    if (groupMark === 0 || (qos === 2 && state !== "waiting")) return undefined;
    const about = makePublish(encodeUtf8(topicOfMessage(messagePath)), noBytes, { qos, retain: false });
    const group = this.#groupsOf(about).find(({ text }) => groupMarkOf(text) === groupMark);
    if (group === undefined) return undefined;
    // A slip is paid for as it was stored: in a mailbox with a longer path it would weigh more. And what one session
    // had must not be the end of the next: if all are full nobody gets it.
    const room = slipPathBytesOf(clientId);
    const isUnfit = (member: Member): boolean =>
      idOf(member) === clientId ||
      (isPersistent(member) && slipPathBytesOf(idOf(member)!) > room) ||
      this.#shared.isFull(member);
    const isUnfitAtQoS2 = (member: Member): boolean => isUnfit(member) || !isPersistent(member);
    // At QoS 2 the slip is moved in one commit: otherwise a crash could let the message arrive twice.
    const persistent = qos === 2 ? this.#shared.choose(group, about, isUnfitAtQoS2) : undefined;
    return persistent ?? this.#shared.choose(group, about, isUnfit);
  }

  /** Moves a slip to another mailbox; the message stays where it is stored, and paid for. */
  #moveSlip({ fencingToken }: MailboxOwner, slip: Slip, target: Target<Member>, done: (isGone: boolean) => void): void {
    const { subscriber, qos, subscriptionIds, retainAsPublished } = target;
    const record = slip.record!;
    const data = encodeSlip({
      ...record,
      state: "waiting",
      packetId: 0,
      qos: Math.min(record.qos, qos) as QoS,
      retain: record.retain && retainAsPublished,
      subscriptionIds,
    });
    const path = `${mailPath(idOf(subscriber)!)}/`;
    const moved = (_: readonly number[], zxid: number): void => {
      if (isRemoteSession(subscriber)) subscriber.mailed(zxid);
      // A connected one hears of it from the store.
      else if (!isPeer(subscriber) && subscriber.connection === undefined) subscriber.mailbox!.count++;
      done(true);
    };
    this.#context.journal.commit(
      [
        fence(fencingToken),
        { kind: "take", path: slipPath(slip), ofLease: true },
        { kind: "create", path, data, mode: "sequential" },
      ],
      moved,
      () => done(true),
    );
  }

  /**
   * Hands on a message that another broker has not placed, or that a member here has not been sent. At QoS 2 only when
   * it is known that its publisher has not published it at another broker.
   */
  notPlaced(settlement: Settlement, group: Group, from: Peer | LocalSession): void {
    if (settlement.publish.qos < 2) return void this.#reassignForwarded(settlement, group, from);
    settlement.waitFor();
    this.#context.journal.drained(() => {
      if (!settlement.isRefused) this.#reassignForwarded(settlement, group, from);
      settlement.done();
    });
  }

  /** Hands on a message that another broker may have placed: at QoS 1 it may arrive twice, at QoS 2 it must not. */
  inDoubt(settlement: Settlement, group: Group, from: Peer): boolean {
    return settlement.publish.qos < 2 && this.#reassignForwarded(settlement, group, from);
  }

  /** Gives a message to another member. Returns false if there is none. */
  #reassignForwarded(settlement: Settlement, group: Group, from: Peer | LocalSession): boolean {
    const { publish, payment, reassigned } = settlement;
    const lent = this.#context.bankAccount.lend(payment);
    const done = (): void => settlement.done();
    const handover = { group, publish, payment: lent, reassigned: reassigned + 1, done };
    const isAtItsBroker = (member: Member): boolean =>
      member === from || (isRemoteSession(member) && member.host === from);
    const next = reassigned < reassignmentsMax ? this.#shared.choose(group, publish, isAtItsBroker) : undefined;
    // If no broker takes the message, it is stored from here, for a member that will come for it.
    const chosen = next ?? this.#shared.choose(group, publish, (member) => !isPersistent(member));
    if (chosen === undefined) return false;
    settlement.waitFor();
    this.#hand(handover, chosen, next === undefined ? "stored" : "sent");
    return true;
  }

  #hand(handover: Handover, target: Target<Member>, how: "sent" | "stored"): void {
    const { publish, done, payment, reassigned } = handover;
    const { bankAccount } = this.#context;
    const mayBeStored = isPersistent(target.subscriber) && Math.min(publish.qos, target.qos) > 0;
    // What was set aside for the group is enough for members as they were then, and for short client ids.
    const isPaid = payment !== undefined && hasShortId(target.subscriber);
    const mustPay = mayBeStored && !isPaid;
    const price = mustPay ? bankAccount.prices.ofCopy(publish, idOf(target.subscriber)!, target.subscriptionIds) : 0;
    const own = mustPay ? bankAccount.reserve(price, publish.payer) : undefined;
    if (mustPay && own === undefined)
      this.#wait(handover, bankAccount.whoRefuses({ credits: price, payer: publish.payer }));
    else this.#fanout.redeliver(publish, target, { done, payment: own ?? payment, reassigned, how });
  }

  /**
   * Keeps a message in memory, within a limit, that may have to be stored and cannot be paid for now. `by`: what
   * refuses it where that is too much.
   */
  #wait(handover: Handover, by: "bank" | "share"): void {
    const { metrics, timers, clock } = this.#context;
    const { size } = handover.publish;
    if (this.#waitingBytes + size > regroupBytesMax) {
      metrics.countRefused(by);
      return handover.done();
    }
    this.#waiting.push(handover);
    this.#waitingBytes += size;
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + refusedRetryMs);
  }

  /** Tries messages again that could not be paid for: credits may have come back, or another member. */
  #retry(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const handover of waiting) {
      const group = this.#groupsOf(handover.publish).find(({ text }) => text === handover.group.text);
      const target = group && this.#shared.choose(group, handover.publish);
      if (group === undefined || target === undefined) handover.done();
      else this.#hand({ ...handover, group }, target, "sent");
    }
  }

  /** Finds the group that a message was chosen from: without members it has ended, and may have begun anew since. */
  #current(group: Group, publish: Publish): Group | undefined {
    return group.members.size > 0 ? group : this.#groupsOf(publish).find(({ text }) => text === group.text);
  }

  #groupsOf({ topicBytes, topicStart, topicEnd }: Publish): readonly Group[] {
    return this.#context.router.route(topicBytes, topicStart, topicEnd)?.groups ?? [];
  }
}

/** Returns true if a member can be sent a message now, here or elsewhere. */
function isThere(member: Member): boolean {
  if (isPeer(member)) return member.isLinked;
  return isRemoteSession(member) ? member.host !== undefined : member.connection !== undefined;
}

/** Returns true if a message for that member can lie in a mailbox. */
function isKeeping({ subscriber, qos }: Target<Member>): boolean {
  return isPersistent(subscriber) && qos > 0;
}

/** Returns true for a session that outlives its connection. */
function isPersistent(member: Member): boolean {
  return isRemoteSession(member) || (!isPeer(member) && member.mailbox !== undefined);
}

/** Returns true if a slip for that member weighs no more than one for any other. */
function hasShortId(member: Member): boolean {
  const clientId = idOf(member);
  return clientId === undefined || slipPathBytesOf(clientId) === slipPathBytesOf("");
}

/** Returns a session's client id; undefined for a broker. */
function idOf(member: Member): string | undefined {
  if (isPeer(member)) return undefined;
  return isRemoteSession(member) ? member.clientId : member.session.clientId;
}
