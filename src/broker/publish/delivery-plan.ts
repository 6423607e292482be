/**
 * A QoS 1 or 2 message in preparation: receivers are added one by one, then the plan commits what must be stored and
 * sends what goes to other brokers. The result is a settlement, or none if nobody has to be waited for.
 */
import { slipsPerUnitMax } from "../../base/limits.ts";
import type { Work } from "../../base/slices.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import type { HeldBy } from "../../link/delivery-frame.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { StoredMail } from "../../mail/mail.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { type Guard, Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Target } from "../../router/router.ts";
import type { Connection } from "../delivery/connection.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { OutgoingMessage, type OutgoingTarget } from "../delivery/outgoing-message.ts";
import { subjectOfSession, tellStored } from "../delivery/wire-tap.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import type { LinkSender, Sending } from "../peers/link-sender.ts";
import { type Group, isPeer, type Peer, type Remote, type Share } from "../peers/peer.ts";
import { draftOf, isRemoteSession, isStoredAtOnce, type RemoteTarget } from "../peers/remote-session.ts";
import { AfterCommit } from "./after-commit.ts";
import { namesOf } from "./routing-words.ts";

/** The outcome of a delivery, for its publisher's acknowledgement. */
export interface Delivery {
  /** The number of receivers; while very many are being added, over several turns, of those so far. */
  readonly receivers: number;
  /** The settlement to wait for; undefined if nothing has to be waited for. */
  readonly settlement: Settlement | undefined;
}

/** The target that all calls share: it is filled in and used up within one. */
const to: { -readonly [Key in keyof OutgoingTarget]: OutgoingTarget[Key] } = {
  qos: 0,
  retain: false,
  subscriptionIds: [],
  group: undefined,
};

/** The ways to receivers at other brokers. */
export interface WaysElsewhere {
  readonly linkSender: LinkSender;
  readonly forwarding: Forwarding;
}

/** The circumstances of a commit. */
export interface Committing {
  /** The publisher's connection, which is held when another broker has too much to take. */
  readonly connection?: Connection | undefined;
  /** Called if the store refuses the commit, since the guard does not hold; the settlement then never ends. */
  readonly refused?: (error: CoordinatorError) => void;
  /** Has very many receivers here sent the message over several turns; undefined: they are few. */
  readonly inSteps?: ((work: Work, done: () => void) => void) | undefined;
}

/** A message to deliver, with what pays for it and what must hold for it to be stored. */
export interface Promised {
  readonly publish: Publish;
  /** The credits for the copies that may have to be stored. */
  readonly payment: Payment | undefined;
  /** The condition of every commit: the publisher's session is still this broker's. */
  readonly guard: Guard | undefined;
  /** The name of a QoS 2 publish whose packet id is committed with it; undefined: none is. */
  readonly by?: HeldBy | undefined;
  /** How often the message has been given to another member of a shared subscription. */
  readonly reassigned?: number;
  /** The transaction with which the publisher's CONNECT was recorded; see `Settlement.afterZxid`. */
  readonly afterZxid?: number | undefined;
}

/** A unit of the journal, with the receivers whose slips it stores. */
interface Unit {
  /** The message, if one is stored. */
  readonly message: StoredMail | undefined;
  readonly operations: JournalOperation[];
  readonly stored: readonly OutgoingMessage[];
  readonly mailed: readonly RemoteTarget[];
}

/** The plan of one message's delivery. `commit` is called once, after all receivers were added. */
export class DeliveryPlan implements Delivery {
  receivers = 0;
  settlement: Settlement | undefined;
  readonly #context: DeliveryContext;
  readonly #elsewhere: WaysElsewhere;
  #publish: Publish;
  readonly #payment: Payment | undefined;
  readonly #guard: Guard | undefined;
  readonly #reassigned: number;
  readonly #afterZxid: number;
  #stored: OutgoingMessage[] | undefined;
  /** Sessions of other brokers that get the message into their mailboxes. */
  #mailed: RemoteTarget[] | undefined;
  #shares: Map<Peer, Share> | undefined;
  readonly #by: HeldBy | undefined;
  /** Receivers here that are sent it after the commit; undefined: everybody is sent it at once. */
  readonly #afterCommit: AfterCommit | undefined;

  constructor(context: DeliveryContext, elsewhere: WaysElsewhere, what: Promised) {
    this.#context = context;
    this.#elsewhere = elsewhere;
    this.#publish = what.publish;
    this.#payment = what.payment;
    this.#guard = what.guard;
    this.#reassigned = what.reassigned ?? 0;
    this.#afterZxid = what.afterZxid ?? 0;
    this.#by = what.by;
    // Where there are no other brokers nobody sends it once more.
    if (what.by !== undefined && !context.coordinator.isAlone) this.#afterCommit = new AfterCommit();
  }

  /**
   * Has receivers added over several turns, until `end` is called after the commit: the message is kept, and not
   * settled before.
   */
  begin(): void {
    const settlement = this.#settle();
    settlement.waitFor();
    this.#publish = settlement.publish;
  }

  /** Ends what `begin` has begun. */
  end(): void {
    this.settlement!.done();
  }

  /**
   * True if the publisher's packet id is committed: then the publisher is told at its next broker that the message has
   * been received, so all who are promised it have it in that commit, at whichever QoS they are sent it.
   */
  get #isWithPacketId(): boolean {
    return this.#by !== undefined;
  }

  /** True once the store has refused something of it: nothing more is to be stored in its publisher's name. */
  get isRefused(): boolean {
    return this.settlement?.isRefused === true;
  }

  /**
   * Commits the mail of the receivers added so far, if it makes a whole unit. At QoS 2 there is one commit, with the
   * packet id: a message of which a part is stored would be sent twice after a crash.
   */
  commitWhole(how: Committing): void {
    if (this.#publish.qos === 2 || (this.#stored?.length ?? 0) < slipsPerUnitMax) return;
    const units = this.#units([]);
    this.#stored = this.#mailed = undefined;
    for (const unit of units) this.#commitUnit(unit, how);
  }

  /** Adds a receiver, here or elsewhere. */
  addAny(target: Target<LocalSession | Remote> | undefined): void {
    if (target === undefined) return;
    if ("isElsewhere" in target.subscriber) this.addElsewhere(target as Target<Remote>);
    else this.add(target as Target<LocalSession>);
  }

  /** Adds another broker, or a session that another broker keeps. */
  addElsewhere({ subscriber, qos: granted, retainAsPublished, subscriptionIds, group }: Target<Remote>): void {
    this.receivers++;
    if (isPeer(subscriber)) {
      // The broker's filters are known before it is a member, and for a moment after it has left.
      if (subscriber.link === undefined) return;
      const share = this.#shareOf(subscriber);
      if (group === undefined) share.toInterest = true;
      else share.groups.push(group as Group);
      return;
    }
    const qos = Math.min(this.#publish.qos, granted) as QoS;
    const retain = this.#publish.retain && retainAsPublished;
    const target: RemoteTarget = {
      session: subscriber,
      qos,
      retain,
      subscriptionIds,
      group: group as Group | undefined,
      isWithPacketId: this.#isWithPacketId,
    };
    // Any member at that broker will do. Not where it is stored: should a broker die, it might come twice, or never.
    if (target.group !== undefined && !isStoredAtOnce(target) && subscriber.host?.isLinked) {
      this.#shareOf(subscriber.host).groups.push(target.group);
      return;
    }
    if (qos === 0) {
      if (subscriber.host?.isLinked) this.#shareOf(subscriber.host).sessions.push(target);
      return;
    }
    switch (subscriber.startDelivery(target)) {
      case "link":
        this.#shareOf(subscriber.host!).sessions.push(target);
        return;
      case "mail":
        this.#mailed ??= [];
        this.#mailed.push(target);
        return;
      case "wait":
        return this.#elsewhere.forwarding.wait(target, this.#settle());
    }
  }

  /** Adds a receiver; if another broker keeps its session, the message goes into the mailbox and is paid for here. */
  addStored(target: Target<LocalSession | Remote>): void {
    if (!isRemoteSession(target.subscriber)) return this.addAny(target);
    this.receivers++;
    const { subscriber: session, subscriptionIds } = target;
    const qos = Math.min(this.#publish.qos, target.qos) as QoS;
    const retain = this.#publish.retain && target.retainAsPublished;
    const group = target.group as Group | undefined;
    this.#addMailed({ session, qos, retain, subscriptionIds, group, mustBeStored: true });
  }

  #addMailed(target: RemoteTarget): void {
    if (target.session.startDelivery(target) === "wait") return this.#elsewhere.forwarding.wait(target, this.#settle());
    this.#mailed ??= [];
    this.#mailed.push(target);
  }

  /** Adds a session of this broker: QoS 0, and what needs no mailbox, is sent at once. */
  add(target: Target<LocalSession> | undefined): void {
    if (target === undefined) return;
    this.receivers++;
    const client = target.subscriber;
    to.qos = Math.min(this.#publish.qos, target.qos) as QoS;
    to.retain = this.#publish.retain && target.retainAsPublished;
    to.subscriptionIds = target.subscriptionIds;
    to.group = target.group as Group | undefined;
    const isStored = to.qos > 0 && client.mailbox !== undefined;
    if (!isStored && this.#afterCommit !== undefined) this.#afterCommit.add(client, to);
    else if (to.qos === 0) client.sendQoS0(this.#publish, to);
    else if (client.mailbox === undefined) client.offer(this.#publish, to);
    else if (client.isEnding) this.#dropFor(client);
    else if (client.fits(this.#publish, to)) this.#addPersistent(client, to);
  }

  /**
   * Commits the caller's operations, with the mail for those that cannot be sent the message now; forwards it to
   * brokers.
   */
  commit(operations: JournalOperation[], how: Committing): void {
    const { settlements, clock } = this.#context;
    const units = this.#units(operations);
    const last = units.at(-1);
    const waits = this.#afterCommit !== undefined && last !== undefined;
    for (const unit of units)
      this.#commitUnit(unit, how, unit === last && waits ? (zxid) => this.#sendAfter(zxid, how) : undefined);
    if (this.#shares !== undefined && !waits) this.#forward(this.#shares, { publisher: how.connection });
    const live = this.settlement !== undefined && this.settlement.live.length > 0;
    if (live) settlements.watch(this.settlement!, clock.now());
    if (this.settlement === undefined || this.settlement.isSettled) this.#payment?.close();
  }

  #commitUnit(
    { message, operations, stored, mailed }: Unit,
    { refused }: Committing,
    committed?: (zxid: number) => void,
  ): void {
    const guard = this.#guard?.check;
    const settlement = this.#settle();
    settlement.waitFor();
    settlement.isStored = true;
    const traced = settlement.publish.trace?.storing();
    const connections = stored.map((outgoing) => outgoing.client!.connection);
    const done = (_: readonly number[], zxid: number): void => {
      for (let index = 0; index < stored.length; index++) {
        const outgoing = stored[index]!;
        outgoing.client!.mailbox!.committed(outgoing, connections[index]);
      }
      this.#elsewhere.forwarding.mailed(mailed, zxid);
      const { trace } = this.#context;
      if (trace.isOn) tellStored(trace, settlement.publish, namesOf(stored, mailed));
      traced?.("committed");
      committed?.(zxid);
      settlement.done();
    };
    const withdraw = (error: CoordinatorError): void => {
      // This comes first, since what follows depends on it.
      refused?.(error);
      settlement.isRefused = true;
      traced?.("refused");
      if (message !== undefined) this.#context.mail.withdrawn(message);
      settlement.payment?.close();
      for (const outgoing of stored) outgoing.client!.mailbox!.withdrawn(outgoing);
      this.#elsewhere.forwarding.withdrawn(mailed);
    };
    const guarded = guard === undefined ? operations : [guard, ...operations];
    this.#context.journal.commit(guarded, done, refused && withdraw);
  }

  /**
   * Returns the units to commit: mostly one, several where the slips of all receivers are too many for one. The
   * caller's operations go with the last: a publish is not known as received before every receiver has it.
   */
  #units(operations: JournalOperation[]): Unit[] {
    const stored = this.#stored ?? [];
    const mailed = this.#mailed ?? [];
    if (stored.length + mailed.length === 0)
      return operations.length === 0 ? [] : [{ message: undefined, operations, stored: [], mailed: [] }];
    const { mail } = this.#context;
    const settlement = this.#settle();
    const drafts = [...stored.map((outgoing) => outgoing.client!.mailbox!.draft(outgoing)), ...mailed.map(draftOf)];
    const name = { order: settlement.order, from: settlement.slips };
    settlement.slips += drafts.length;
    const units: Unit[] = [];
    let at = 0;
    for (const part of mail.store(settlement.publish, name, drafts, settlement.payment)) {
      const end = at + part.slips.length;
      for (let index = at; index < Math.min(end, stored.length); index++)
        stored[index]!.client!.mailbox!.placed(stored[index]!, part.slips[index - at]!);
      const remote = mailed.slice(Math.max(0, at - stored.length), Math.max(0, end - stored.length));
      units.push({
        message: part,
        operations: part.operations,
        stored: stored.slice(at, end),
        mailed: remote,
      });
      at = end;
    }
    const last = units.pop()!;
    return [...units, { ...last, operations: [...operations, ...last.operations] }];
  }

  #forward(shares: Map<Peer, Share>, how: Sending): void {
    const { linkSender, forwarding } = this.#elsewhere;
    const settlement = this.#settle();
    const { publish } = settlement;
    const packet = linkSender.encode(publish, publish.qos);
    for (const [peer, share] of shares) {
      if (share.sessions.length > 0) settlement.isSentThrough = true;
      if (peer.link !== undefined) linkSender.deliver(peer, share, settlement, packet, how);
      // It has left while the store was asked.
      else for (const group of share.groups) forwarding.notSent(settlement, group, peer);
    }
  }

  /** Sends the message to those that had to wait for the commit of its packet id, which was transaction `zxid`. */
  #sendAfter(zxid: number, { connection, inSteps }: Committing): void {
    const settlement = this.settlement!;
    const publisher = connection?.channel.phase === "open" ? connection : undefined;
    if (this.#shares !== undefined) this.#forward(this.#shares, { publisher, name: { ...this.#by!, zxid } });
    const { forwarding } = this.#elsewhere;
    const work = this.#afterCommit!.send(settlement.publish, (group, member) =>
      forwarding.notSent(settlement, group, member),
    );
    settlement.waitFor();
    if (inSteps !== undefined) return inSteps(work, () => settlement.done());
    while (work.next().done !== true);
    settlement.done();
  }

  #shareOf(peer: Peer): Share {
    this.#shares ??= new Map();
    let share = this.#shares.get(peer);
    if (share === undefined) {
      share = { toInterest: false, sessions: [], groups: [] };
      this.#shares.set(peer, share);
    }
    return share;
  }

  #dropFor(client: LocalSession): void {
    this.#context.metrics.droppedMailbox++;
    this.#context.drops.note("mailbox", this.#publish, subjectOfSession(client));
  }

  #addPersistent(client: LocalSession, target: OutgoingTarget): void {
    const settlement = this.#settle();
    if (target.qos === 1 && !this.#isWithPacketId && client.mailbox!.isEmpty && client.hasRoom) {
      client.sendLive(new OutgoingMessage(client, target, settlement.publish, settlement));
    } else {
      if (target.qos === 1) client.storeUnacknowledged();
      this.#stored ??= [];
      this.#stored.push(new OutgoingMessage(client, target, settlement.publish));
    }
  }

  #settle(): Settlement {
    if (this.settlement === undefined) {
      this.settlement = new Settlement(this.#publish.kept(), this.#context.mail.nextOrder());
      this.settlement.payment = this.#payment;
      this.settlement.reassigned = this.#reassigned;
      this.settlement.guard = this.#guard;
      this.settlement.afterZxid = this.#afterZxid;
    }
    return this.settlement;
  }
}
