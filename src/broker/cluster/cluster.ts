/**
 * This broker as a member of the cluster: what follows when brokers join and leave, when frames come over links, and
 * when this broker's own lease or keeper session ends.
 */
import { unreachable } from "../../base/assert.ts";
import { encodeUtf8 } from "../../base/bytes.ts";
import { ignoreTheWorld, messageOf } from "../../base/errors.ts";
import { adoptAfterMs, fencedLookMs, leaveTidyMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { CoordinatorState } from "../../coordinator/coordinator.ts";
import { brokerPath } from "../../coordinator/paths.ts";
import type { Control, Remain } from "../../link/frames.ts";
import type { FullMailboxes } from "../connect/full-mailboxes.ts";
import type { OrphanedWills } from "../connect/orphaned-wills.ts";
import type { SessionHandover } from "../connect/session-handover.ts";
import type { TakeOver } from "../connect/take-over.ts";
import type { Wills } from "../connect/wills.ts";
import type { LevelSweep } from "../core/level-sweep.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Forwarding } from "../peers/forwarding.ts";
import type { Interest } from "../peers/interest.ts";
import type { LinkSender } from "../peers/link-sender.ts";
import type { LinkFlows, Links } from "../peers/links.ts";
import { joinTree, type Membership, type MembershipFlows } from "../peers/membership.ts";
import type { BrokerFacts, Peer } from "../peers/peer.ts";
import type { Questions } from "../peers/questions.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { SubscriptionBarrier } from "../peers/subscription-barrier.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import { formatOperation } from "../peers/tree-format.ts";
import type { Adoption } from "./adoption.ts";
import type { Arriving } from "./arriving.ts";
import type { Leftovers } from "./leftovers.ts";
import type { Publishers } from "./publishers.ts";

export interface ClusterParts {
  readonly adoption: Adoption;
  readonly arriving: Arriving;
  readonly directory: SubscriptionDirectory;
  readonly barrier: SubscriptionBarrier;
  readonly forwarding: Forwarding;
  readonly fullMailboxes: FullMailboxes;
  readonly registry: SessionRegistry;
  readonly interest: Interest;
  readonly leftovers: Leftovers;
  readonly levelSweep: LevelSweep;
  readonly links: Links;
  readonly linkSender: LinkSender;
  readonly membership: Membership;
  readonly orphanedWills: OrphanedWills;
  readonly publishers: Publishers;
  readonly questions: Questions;
  readonly handover: SessionHandover;
  readonly takeOver: TakeOver;
  readonly wills: Wills;
}

/** Passes each event of the cluster on to the parts that it concerns, in the right order. */
export class Cluster implements LinkFlows, MembershipFlows {
  readonly #context: ClusterContext;
  /** The facts in this broker's znode. */
  facts: BrokerFacts;
  readonly #parts: ClusterParts;
  #isLost = false;
  readonly #timer = new Timer((now) => this.#lookForContact(now));

  /** `facts`: those with which the broker has joined the tree. */
  constructor(context: ClusterContext, facts: BrokerFacts, parts: ClusterParts) {
    this.#context = context;
    this.facts = facts;
    this.#parts = parts;
    context.coordinator.onState((state) => this.#stateChanged(state));
  }

  /** Changes the facts in this broker's znode. */
  changeFacts(changes: Partial<BrokerFacts>): void {
    const { journal, options } = this.#context;
    this.facts = { ...this.facts, ...changes };
    journal.commit([{ kind: "set", path: brokerPath(options.id), data: encodeUtf8(JSON.stringify(this.facts)) }]);
  }

  /**
   * Leaves the tree: removes the broker's znode first, so that nobody routes here, then what it has announced, and the
   * levels that this leaves empty. Calls `done` after `leaveTidyMs` at the latest.
   */
  leave(done: () => void): void {
    const { journal, options, timers, clock } = this.#context;
    const { interest, publishers, levelSweep } = this.#parts;
    let isOver = false;
    const over = (): void => {
      if (!isOver) done();
      isOver = true;
    };
    journal.commit([{ kind: "remove", path: brokerPath(options.id) }]);
    interest.whenTidy(() => publishers.retire(() => levelSweep.finish(over)));
    timers.set(new Timer(over), clock.now() + leaveTidyMs);
  }

  /** Begins to work with a broker that has joined. */
  joined(peer: Peer): void {
    this.#context.router.touch();
    this.#parts.directory.joined(peer);
    this.#parts.links.join(peer);
    this.#parts.registry.announceAll(peer);
    this.#parts.takeOver.joined(peer);
  }

  /** Ends the work with a broker that has left; its sessions are adopted after a while. */
  left(peer: Peer): void {
    const { adoption, arriving, barrier, forwarding, leftovers, links, membership, takeOver } = this.#parts;
    links.leave(peer);
    arriving.left(peer);
    forwarding.left(peer);
    barrier.left(peer);
    takeOver.left(peer);
    this.#parts.questions.left(peer);
    adoption.expectOrphans(peer.id);
    leftovers.expect();
    // The broker may come back at once, under the same name: then it looks after its sessions itself.
    const timer = new Timer(() => {
      if (peer.epoch === undefined && membership.isLowest && !this.#context.self.isFenced) this.#adopt();
    });
    this.#context.timers.set(timer, this.#context.clock.now() + adoptAfterMs);
  }

  /** Writes into the tree in which format its records are written from now on. */
  formatChanged(): void {
    const { journal, self } = this.#context;
    journal.commit([formatOperation(self.format)]);
  }

  linkUp(peer: Peer): void {
    this.#context.router.touch();
    this.#parts.forwarding.linkUp(peer);
  }

  linkDown(peer: Peer): void {
    this.#parts.forwarding.linkDown(peer);
    this.#parts.takeOver.linkDown(peer);
  }

  linkDrained(peer: Peer): void {
    if (!peer.asksToWait) this.#parts.linkSender.release(peer);
  }

  run(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    this.#parts.arriving.run(peer, bytes, start, end);
  }

  bundle(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    this.#parts.arriving.bundle(peer, bytes, start, end);
  }

  delivery(peer: Peer, bytes: Uint8Array, start: number, end: number): void {
    this.#parts.arriving.delivery(peer, bytes, start, end);
  }

  settled(peer: Peer, ids: readonly number[]): void {
    this.#parts.forwarding.settled(peer, ids);
  }

  remain(peer: Peer, remain: Remain): void {
    if (remain.unpaid) this.#parts.links.sendControl(peer, { say: "remained" });
    this.#parts.forwarding.remain(peer, remain);
  }

  /** Handles a control message of another broker. */
  control(peer: Peer, control: Control): void {
    const { directory, barrier, forwarding, linkSender, questions, takeOver } = this.#parts;
    switch (control.say) {
      case "claim":
        return takeOver.receive(peer, control);
      case "claimed":
        return takeOver.answered(peer, control);
      case "hosting":
        for (const [, clientId] of control.sessions) {
          const own = this.#context.localSessions.get(clientId);
          if (own?.mailbox !== undefined) this.#parts.registry.contest(own);
        }
        return forwarding.hosted(peer, control.sessions, (clientId) => directory.session(clientId));
      case "unhosting":
        return forwarding.unhosting(peer, control.handles);
      case "see":
        return barrier.see(peer, control.number, control.zxid);
      case "seen":
        return barrier.seen(peer, control.number);
      case "full":
        return this.#parts.fullMailboxes.asked(control.clientId);
      case "freed":
        return this.#context.bankAccount.freedByOthers(control.paths);
      case "remained":
        peer.confirmSentBack();
        return;
      case "short":
        return this.#context.bankAccount.share();
      case "ask":
        return questions.asked(peer, control.number, control.question);
      case "answered":
        return questions.answered(peer, control.number, control.answer);
      case "hold":
        peer.askToWait(true);
        return;
      case "go":
        peer.askToWait(false);
        return linkSender.release(peer);
      default:
        return unreachable(control);
    }
  }

  /**
   * Fences this broker if its lease is over; called before each event, for a broker that was suspended, or had no
   * contact for too long, must promise nothing more.
   */
  checkLease(now: number): void {
    if (!this.#context.self.isFenced && now > this.#context.coordinator.leaseUntil)
      this.#fence("no contact with ZooKeeper for longer than the session timeout");
  }

  #stateChanged(state: CoordinatorState): void {
    if (state === "LOST") {
      this.#isLost = true;
      this.#context.journal.leaseLost();
      this.#fence("the keeper session has expired");
    } else if (state === "SUSPENDED") {
      this.#lookForContact(this.#context.clock.now());
    }
  }

  /** Gives up all persistent sessions, since other brokers may keep them by now. */
  #fence(why: string): void {
    const { self, journal, log, timers, clock } = this.#context;
    if (self.isFenced) return;
    self.isFenced = true;
    self.fences++;
    journal.leaseLost();
    log.error({ why }, "persistent sessions are not served until there is contact again");
    this.#parts.handover.fence();
    this.#parts.wills.fence();
    this.#parts.orphanedWills.fence();
    timers.set(this.#timer, clock.now() + fencedLookMs);
  }

  /** Returns to the cluster if there is contact; otherwise looks again later. */
  #lookForContact(now: number): void {
    const { coordinator, self, timers } = this.#context;
    this.checkLease(now);
    if (coordinator.state === "CONNECTED" && !self.isFenced) return;
    if (coordinator.state === "CONNECTED" && coordinator.leaseUntil > now) {
      if (!self.isJoining)
        void this.#return().catch((error) => {
          ignoreTheWorld(error);
          this.#context.log.error({ why: messageOf(error) }, "cannot return to the cluster");
        });
      return;
    }
    timers.set(this.#timer, now + fencedLookMs);
  }

  /**
   * Serves persistent sessions again, in the same keeper session or as a new incarnation. Rejects with
   * `OperatingError`.
   */
  async #return(): Promise<void> {
    const { self, log, options, coordinator, clock, timers } = this.#context;
    self.isJoining = true;
    try {
      if (this.#isLost) {
        this.#isLost = false;
        this.facts = { ...this.facts, since: this.facts.since ?? self.epoch };
        self.epoch = await joinTree(coordinator, options.id, this.facts);
        this.#renewLinks();
        this.#parts.publishers.renew();
        this.#context.bankAccount.reopen();
        this.#parts.interest.renew();
      }
      // Whoever has subscribed meanwhile has not waited for this broker.
      await new Promise<void>((read) => this.#parts.directory.caughtUp(read));
      if (this.#isLost || clock.now() > coordinator.leaseUntil) return;
      self.isFenced = false;
      log.info({ epoch: self.epoch }, "there is contact again");
      await this.#parts.adoption.adopt();
    } finally {
      self.isJoining = false;
      if (self.isFenced) timers.set(this.#timer, clock.now() + fencedLookMs);
    }
  }

  /** Begins all links anew: what was under way belonged to this broker's earlier incarnation. */
  #renewLinks(): void {
    for (const peer of this.#parts.membership.members()) {
      this.#parts.links.leave(peer);
      this.#parts.arriving.left(peer);
      this.#parts.forwarding.left(peer);
      this.joined(peer);
    }
  }

  #adopt(): void {
    this.#parts.adoption.adopt().catch((error) => {
      ignoreTheWorld(error);
      this.#context.log.warn({ why: messageOf(error) }, "cannot adopt sessions");
    });
  }
}
