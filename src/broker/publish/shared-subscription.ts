/** Shared subscriptions: the choice of the group's member that is sent a message, as far as mailboxes have room. */
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import { memberTarget, type Target } from "../../router/router.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { recount } from "../peers/mail-count.ts";
import { type Group, isPeer, type Remote } from "../peers/peer.ts";
import { isRemoteSession, type RemoteSession } from "../peers/remote-session.ts";

/** The rank of a member whose mailbox is full: its session ends by what it is given. */
const lastResort = 0.5;

/** Chooses members of groups in turn. */
export class SharedSubscriptions {
  readonly #context: DeliveryContext;

  constructor(context: DeliveryContext) {
    this.#context = context;
  }

  /**
   * Chooses the member of a group whose turn it is; undefined if none can take the message. A member with room goes
   * before one without, that before one that is away, and that before one whose mailbox is full. Another broker stands
   * for its members that end with their connections. `isUnfit` excludes members.
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
    group.last = best;
    return memberTarget(group, best, group.members.get(best)!);
  }

  #rankOf(member: LocalSession | Remote, publish: Publish): number {
    if (isPeer(member)) return member.isLinked ? 3 : 0;
    if (this.refuses(member) || this.isSpent(member)) return 0;
    if (isRemoteSession(member)) {
      if (this.isFull(member)) return lastResort;
      return member.host === undefined ? 1 : member.host.isLinked ? 3 : 2;
    }
    if (member.isEnding) return 0;
    if (member.permissions?.mayReceive(topicOf(publish)) === false) return 0;
    if (this.isFull(member)) return lastResort;
    // A session that ends with its connection is about to leave the group.
    if (member.connection === undefined) return member.mailbox === undefined ? 0 : 1;
    return member.hasRoom && (member.mailbox?.isEmpty ?? true) ? 3 : 2;
  }

  /** Returns true if no member of a group can take a message, and one could if its mailbox were not full. */
  isBlocked(group: Group, publish: Publish): boolean {
    let isAnyFull = false;
    for (const member of group.members.keys()) {
      if (this.#rankOf(member, publish) > 0) return false;
      isAnyFull ||= this.refuses(member) || this.isSpent(member);
    }
    return isAnyFull;
  }

  /** Returns true if publishes for a group are refused that none of its members can take now. */
  isRefusing(group: Group): boolean {
    return [...group.members.keys()].some((member) => this.refuses(member));
  }

  /**
   * Returns true if the mailbox of a receiver has used up its numbers. It is looked at then: it takes messages again
   * when it has been emptied, or its session ends.
   */
  isSpent(member: LocalSession | Remote): boolean {
    if (isPeer(member)) return false;
    const { slips, mailboxes } = this.#context;
    const clientId = isRemoteSession(member) ? member.clientId : member.session.clientId;
    if (!slips.numbers.isSpent(clientId)) return false;
    if (isRemoteSession(member)) slips.numbers.look(clientId);
    mailboxes.filled(clientId, 0);
    return true;
  }

  /** Returns true if publishes for a receiver are refused now: its mailbox is full, and its session does not end. */
  refuses(member: LocalSession | Remote): boolean {
    if (isPeer(member)) return false;
    const { options, mailboxes } = this.#context;
    const isRefusing = options.mailboxFull === "refuse";
    if (!isRefusing && !(isRemoteSession(member) && member.isRefusedWhenFull)) return false;
    const isFull = this.isFull(member);
    // Its broker may have become one that does.
    if (isFull && !isRefusing && isRemoteSession(member)) mailboxes.filled(member.clientId, member.mailCount);
    return isFull;
  }

  /** Returns true if the mailbox of a receiver has no room. */
  isFull(member: LocalSession | Remote): boolean {
    if (isPeer(member)) return false;
    if (isRemoteSession(member)) return this.#isFullElsewhere(member);
    if (member.mailbox === undefined) return false;
    return this.#context.mailboxes.isFull(member.session.clientId, member.mailbox.count);
  }

  /**
   * Returns true if a remote session's mailbox is full, as last counted; counts it again then, for its broker empties
   * it.
   */
  #isFullElsewhere(session: RemoteSession): boolean {
    const { options, slips } = this.#context;
    const isFull = session.mailCount >= options.maxQueued;
    if (isFull) recount(this.#context, session);
    const isSpent = slips.numbers.isSpent(session.clientId);
    if (isSpent) slips.numbers.look(session.clientId);
    return isFull || isSpent;
  }
}
