/**
 * Follows what was published here until receivers at other brokers have it: over a link, or in the mailboxes of
 * sessions that are away. A QoS 1 or 2 delivery is kept until the other broker has settled it; if that broker dies, or
 * cannot be reached for long, its persistent receivers get the message into their mailboxes.
 */
import { linkPatienceMs, movingMessagesMax, retainedLateMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import type { Remain } from "../../link/frames.ts";
import type { Settlement } from "../../mail/settlement.ts";
import { isInTheWay } from "../../mail/unit.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { LinkSender } from "./link-sender.ts";
import { countStored } from "./mail-count.ts";
import { type Forwarded, type Group, type GroupsEnd, giveOtherwise, type Peer } from "./peer.ts";
import { draftOf, inOrder, isCounted, type RemoteSession, type RemoteTarget } from "./remote-session.ts";

/** Keeps the order of messages to each session at another broker, whichever way they go, until they have arrived. */
export class Forwarding {
  readonly #context: ClusterContext;
  readonly #linkSender: LinkSender;
  readonly #idle: (session: RemoteSession) => void;
  readonly #groupsEnd: GroupsEnd;
  readonly #retainedLate: (peer: Peer, publish: Publish) => void;
  /** Sessions that have moved in this turn, and wait to catch up. */
  #moved: RemoteSession[] = [];

  constructor(
    context: ClusterContext,
    how: {
      readonly linkSender: LinkSender;
      /** Tells that nothing is under way to a session any more, or that it is connected nowhere. */
      readonly idle: (session: RemoteSession) => void;
      readonly groupsEnd: GroupsEnd;
      /** Tells that a retained message has come late to sessions at another broker that end with their connections. */
      readonly retainedLate: (peer: Peer, publish: Publish) => void;
    },
  ) {
    this.#context = context;
    this.#linkSender = how.linkSender;
    this.#idle = how.idle;
    this.#groupsEnd = how.groupsEnd;
    this.#retainedLate = how.retainedLate;
  }

  /** Has a message wait until earlier ones to the same session have arrived. */
  wait(target: RemoteTarget, settlement: Settlement): void {
    settlement.waitFor();
    if (target.session.wait({ target, settlement }) > movingMessagesMax)
      this.#context.log.warn({ client: target.session.clientId }, "many messages wait for a session on the move");
  }

  /** Notes that messages were committed to the mailboxes of sessions that other brokers keep, by transaction `zxid`. */
  mailed(targets: readonly RemoteTarget[], zxid: number): void {
    for (const target of targets) {
      const { session } = target;
      session.mailed(zxid);
      countStored(this.#context, session);
      if (isCounted(target)) this.#arrived(session);
    }
  }

  /** Drops messages that will not be committed: their publisher's session is another broker's, which publishes them. */
  withdrawn(targets: readonly RemoteTarget[]): void {
    for (const target of targets) if (isCounted(target)) this.#arrived(target.session);
  }

  /** Ends deliveries that another broker has settled. */
  settled(peer: Peer, ids: readonly number[]): void {
    for (const id of ids) {
      const forwarded = peer.pending.get(id);
      if (forwarded === undefined) continue;
      peer.pending.delete(id);
      for (const { session } of forwarded.sessions.values()) this.#arrived(session);
      this.#checkLate(peer, forwarded);
      forwarded.settlement.done();
    }
  }

  /** Tells of a retained message that has come late to sessions that end with their connections. */
  #checkLate(peer: Peer, { settlement: { publish }, toInterest, sentAt }: Forwarded): void {
    if (!publish.retain || !toInterest || this.#context.clock.now() < sentAt + retainedLateMs) return;
    this.#retainedLate(peer, publish);
  }

  /** Ends a delivery of which some receivers were not at the other broker: those get the message another way. */
  remain(peer: Peer, { id, handles, groups, unpaid }: Remain): void {
    const forwarded = peer.pending.get(id);
    if (forwarded === undefined) return;
    peer.pending.delete(id);
    const { settlement, sessions } = forwarded;
    const missing = new Set(handles);
    for (const [handle, target] of sessions) {
      // Earlier messages may still be under way: this one waits for them, and then goes another way.
      if (missing.has(handle)) this.wait(unpaid ? { ...target, mustBeStored: true } : target, settlement);
      this.#arrived(target.session);
    }
    for (const group of forwarded.groups)
      if (groups.includes(group.text)) this.#groupsEnd.notPlaced(settlement, group, peer);
    this.#checkLate(peer, forwarded);
    settlement.done();
  }

  /** Hands on a message that is not sent to the member of a group, or the broker, that was chosen for it. */
  notSent(settlement: Settlement, group: Group, to: Peer | LocalSession): void {
    this.#groupsEnd.notPlaced(settlement, group, to);
  }

  /** Lets publishers that wait for a broker go on, now that the link to it is up. */
  linkUp(peer: Peer): void {
    peer.link!.onRelief = () => this.#linkSender.release(peer);
    this.#linkSender.release(peer);
  }

  /** Stores what a broker has not settled, for persistent receivers, if its link is down for `linkPatienceMs`. */
  linkDown(peer: Peer): void {
    this.#linkSender.release(peer);
    const { link } = peer;
    const timer = new Timer(() => {
      if (peer.link !== link || peer.isLinked) return;
      this.#storeWaiting(peer);
      for (const [id, forwarded] of peer.pending) {
        const { settlement, sessions, groups } = forwarded;
        this.#store(settlement, [...sessions.values()]);
        forwarded.groups = groups.filter((group) => !this.#groupsEnd.inDoubt(settlement, group, peer));
        giveOtherwise(peer, id, sessions.keys());
      }
    });
    this.#context.timers.set(timer, this.#context.clock.now() + linkPatienceMs);
  }

  /** Stores what a broker that is gone has not settled, for its persistent sessions; its other sessions have ended. */
  left(peer: Peer): void {
    this.#storeWaiting(peer);
    const pending = [...peer.pending.values()];
    peer.pending.clear();
    for (const handle of [...peer.hosted.keys()]) this.#unhost(peer, handle);
    this.#context.router.touch();
    for (const { settlement, sessions, groups } of pending) {
      this.#store(settlement, [...sessions.values()]);
      for (const group of groups) this.#groupsEnd.inDoubt(settlement, group, peer);
      settlement.done();
    }
    this.#linkSender.release(peer);
  }

  /**
   * Stores what waits for messages under way to a broker that will not settle them, with those, in order: it may have
   * sent back what was published before some of them.
   */
  #storeWaiting(peer: Peer): void {
    const sessions = new Set<RemoteSession>();
    for (const forwarded of peer.pending.values())
      for (const { session } of forwarded.sessions.values()) if (session.waiting > 0) sessions.add(session);
    for (const session of sessions) if (session.way === peer) this.moveToMailbox(session);
  }

  /** Notes which persistent sessions are connected at a broker, by the numbers that it has given them. */
  hosted(
    peer: Peer,
    sessions: readonly (readonly [number, string])[],
    find: (clientId: string) => RemoteSession,
  ): void {
    for (const [handle, clientId] of sessions) {
      const session = find(clientId);
      session.connectedAt(peer, handle);
      peer.hosted.set(handle, session);
      // The session's last broker cannot be reached, and will not tell what has arrived of the messages under way.
      if (session.way !== "mail" && session.way !== peer && !session.way.isLinked) this.moveToMailbox(session);
      if (session.hasMoved && session.underWay === 0) this.#catchUp(session);
    }
    this.#context.router.touch();
  }

  /** Notes that persistent sessions are not connected at a broker any more. */
  unhosting(peer: Peer, handles: readonly number[]): void {
    for (const handle of handles) this.#unhost(peer, handle);
    this.#context.router.touch();
  }

  #unhost(peer: Peer, handle: number): void {
    const session = peer.hosted.get(handle);
    peer.hosted.delete(handle);
    if (session?.disconnectedFrom(peer, handle)) this.#idle(session);
  }

  /** Stores, in order, all messages under way to a session whose broker cannot be waited for; some may arrive twice. */
  moveToMailbox(session: RemoteSession): void {
    if (session.underWay === 0) return;
    const found = session.startWaiting();
    const home = session.way === "mail" ? undefined : session.way;
    for (const [id, { settlement, sessions }] of home?.pending ?? []) {
      const moved = [...sessions].filter(([, target]) => target.session === session);
      for (const [handle, target] of moved) {
        settlement.waitFor();
        found.push({ target, settlement });
        giveOtherwise(home!, id, [handle]);
      }
    }
    for (const { target, settlement } of inOrder(found)) {
      this.#store(settlement, [target]);
      settlement.done();
    }
  }

  /** Stores a message for persistent receivers elsewhere, instead of waiting for a link that does not answer. */
  storeInstead(settlement: Settlement): void {
    const sessions = new Set<RemoteSession>();
    for (const { pending } of this.#context.peers.values())
      for (const forwarded of pending.values())
        if (forwarded.settlement === settlement)
          for (const { session } of forwarded.sessions.values()) sessions.add(session);
    for (const session of sessions) if (session.way !== "mail") this.moveToMailbox(session);
  }

  /** Has messages to a session that this broker has given up wait for what it has stored for it. */
  waitForMailbox(session: RemoteSession): void {
    const { journal, coordinator } = this.#context;
    session.startMail();
    journal.drained(() => {
      session.mailedUpTo(coordinator.seenZxid);
      this.#arrived(session);
    });
  }

  /**
   * Has messages to a session that has moved wait until this broker has heard of all that the session's former broker
   * has stored of what it was sent: whoever is sent the next one must have read the mailbox that far.
   */
  #catchUp(session: RemoteSession): void {
    session.startMail();
    if (this.#moved.push(session) > 1) return;
    // Many move at once, when their broker is gone: one question does for all of a turn.
    queueMicrotask(() => {
      const { coordinator } = this.#context;
      const sessions = this.#moved;
      this.#moved = [];
      coordinator.sync(() => {
        for (const moved of sessions) {
          moved.mailedUpTo(coordinator.seenZxid);
          this.#arrived(moved);
        }
      });
    });
  }

  /** Counts a message to a session as arrived; after the last one, those that wait go their way. */
  #arrived(session: RemoteSession): void {
    if (!session.arrived()) return;
    if (session.hasMoved) return this.#catchUp(session);
    for (const { target, settlement } of session.takeWaiting()) this.#move(target, settlement);
    this.#idle(session);
  }

  #move(target: RemoteTarget, settlement: Settlement): void {
    // What was published before it has been refused: its publisher publishes all of it at another broker.
    if (settlement.guard?.isRevoked()) return settlement.payment?.close();
    const way = target.session.startDelivery(target);
    if (way === "wait") {
      target.session.wait({ target, settlement });
      return;
    }
    if (way === "mail") {
      // The message counts as under way until it is committed, as all that is stored.
      this.#store(settlement, [target]);
    } else {
      const packet = this.#linkSender.encode(settlement.publish, settlement.publish.qos);
      const share = { toInterest: false, sessions: [target], groups: target.group === undefined ? [] : [target.group] };
      this.#linkSender.deliver(target.session.host!, share, settlement, packet);
    }
    settlement.done();
  }

  /**
   * Stores a message for sessions to which it could not be delivered: later messages do not overtake it over a link.
   */
  #store(settlement: Settlement, targets: readonly RemoteTarget[]): void {
    if (targets.length === 0) return;
    for (const { session } of targets) session.turnToMail();
    // The version that the guard names may by now be the one that the publisher's new broker has written.
    if (settlement.guard?.isRevoked()) {
      settlement.waitFor();
      settlement.payment?.close();
      return this.withdrawn(targets);
    }
    const { mail, journal } = this.#context;
    const name = { order: settlement.order, from: settlement.slips };
    settlement.slips += targets.length;
    let at = 0;
    const { guard } = settlement;
    for (const unit of mail.store(settlement.publish, name, targets.map(draftOf), settlement.payment)) {
      const { operations, slips } = unit;
      const stored = targets.slice(at, at + slips.length);
      at += slips.length;
      settlement.waitFor();
      const traced = settlement.publish.trace?.storing();
      const done = (_: readonly number[], zxid: number): void => {
        this.mailed(stored, zxid);
        traced?.("committed");
        settlement.done();
      };
      // The publisher's session is another broker's, where it publishes the message again, in order with those before
      // it.
      const refused = (error: CoordinatorError): void => {
        // This comes first: what waits behind it is the same publisher's.
        if (!isInTheWay(error.code)) guard!.revoke();
        mail.withdrawn(unit);
        settlement.payment?.close();
        this.withdrawn(stored);
      };
      journal.commit(guard === undefined ? operations : [guard.check, ...operations], done, guard && refused);
    }
  }
}
