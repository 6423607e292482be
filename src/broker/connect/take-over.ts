/**
 * The take-over of sessions: a client id is connected once in the cluster. A broker to which a client connects claims
 * the client id from all others; the one that has its session gives it up, with everything committed, before the claim
 * is granted. Of two claims at once the later is granted. A session that no broker keeps is read from the store; there
 * the version of its znode decides.
 */

import { weightPaidBy } from "../../bank/price.ts";
import { assert } from "../../base/assert.ts";
import { claimPatienceMs, claimUnlinkedMs, fencePatienceMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ReadOperation, ReadResult } from "../../coordinator/coordinator.ts";
import { Fields } from "../../coordinator/fields.ts";
import { incomingPath, mailPath, prepaidSlipsPath, sessionPath } from "../../coordinator/paths.ts";
import { childrenOf, hasData, hasStat } from "../../coordinator/read-results.ts";
import type { Control } from "../../link/frames.ts";
import { paidIn } from "../../mail/paid.ts";
import { decodeSession, type SessionRecord } from "../../mail/records.ts";
import { Session } from "../../session/session.ts";
import { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Links } from "../peers/links.ts";
import type { Membership } from "../peers/membership.ts";
import type { Peer } from "../peers/peer.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import type { EndedSessions } from "./ended-sessions.ts";
import type { OrphanedWills } from "./orphaned-wills.ts";
import type { SessionHandover } from "./session-handover.ts";
import { mayTake } from "./session-owner.ts";
import type { Wills } from "./wills.ts";

/** A claim on a client id that is being decided. */
interface Claim {
  readonly clientId: string;
  /** The user that the client has logged in as; "": none. */
  readonly user: string;
  readonly clean: boolean;
  stamp: number;
  readonly waitingFor: Set<Peer>;
  /** Ids of the brokers that were asked, and of those that have granted it. */
  readonly asked: readonly string[];
  readonly grantedBy: Set<string>;
  readonly decided: Decided;
  timer: Timer;
}

/**
 * Returns the ids of brokers that have not granted a claim: they have not answered, or have joined since; what they
 * still hold must not harm the client.
 */
export type SilentBrokers = () => readonly string[];

/** The end of a claim. elsewhere: the client has connected to another broker, later. anothers: another user's. */
type Outcome = "granted" | "elsewhere" | "anothers";

/** The circumstances in which a claim has ended. */
export interface Grant {
  /** The brokers that have not confirmed that they gave up the client's session, as of now. */
  readonly silent: SilentBrokers;
  /** Claims with lesser stamps have come before this one, however late they arrive. */
  readonly stamp: number;
}

type Decided = (outcome: Outcome, grant: Grant) => void;

export interface TakeOverParts {
  readonly links: Links;
  readonly membership: Membership;
  readonly directory: SubscriptionDirectory;
  readonly handover: SessionHandover;
  readonly wills: Wills;
  readonly orphanedWills: OrphanedWills;
  readonly endedSessions: EndedSessions;
  /** Calls back when no connection of that client id waits for the store. */
  readonly whenConnected: (clientId: string, go: () => void) => void;
}

/** The client id that is claimed, and what for. */
export interface ClaimRequest {
  readonly clientId: string;
  /** True if an earlier session ends (Clean Start). */
  readonly clean: boolean;
  /** True if the new session outlives its connection. */
  readonly persistent: boolean;
  /** The user that the client has logged in as; "": none. */
  readonly user: string;
}

/** Claims client ids from other brokers, and answers their claims. */
export class TakeOver {
  readonly #context: ClusterContext;
  readonly #parts: TakeOverParts;
  readonly #claims = new Map<string, Claim>();
  readonly #byNumber = new Map<number, Claim>();
  #lastNumber = 0;
  #lastStamp = 0;

  constructor(context: ClusterContext, parts: TakeOverParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Asks all other brokers to give up a client id. */
  claim({ clientId, clean, persistent, user }: ClaimRequest, decided: Decided): void {
    const members = this.#parts.membership.members();
    const { clock, timers, options } = this.#context;
    // Later claims of this broker have greater stamps, whatever the wall clock does.
    const stamp = this.#nextStamp(clock.wall());
    if (members.length === 0)
      return decided("granted", { silent: this.#silentIn({ asked: [], grantedBy: new Set() }), stamp });
    const number = ++this.#lastNumber;
    const timer = new Timer(() => this.#decide(claim, "granted"));
    const finished: Decided = (outcome, grant) => {
      this.#byNumber.delete(number);
      decided(outcome, grant);
    };
    const asked = members.map(({ id }) => id);
    const parties = { waitingFor: new Set(members), asked, grantedBy: new Set<string>() };
    const claim: Claim = { clientId, user, clean, stamp, ...parties, decided: finished, timer };
    // The caller has refused the connection of an earlier claim on the same client id.
    this.#claims.set(clientId, claim);
    this.#byNumber.set(number, claim);
    // A broker that is alive but slow may still be storing what it has sent to the session: what others store meanwhile
    // would overtake it. So its answer is waited for until its keeper session must have ended.
    const patienceMs = persistent ? options.zkSessionTimeout * 1000 + fencePatienceMs : claimPatienceMs;
    // A broker whose link is down may be back in a moment; not every client can wait for it for long.
    const areLinked = members.every(({ isLinked }) => isLinked);
    timers.set(timer, clock.now() + (areLinked ? patienceMs : claimUnlinkedMs));
    for (const peer of members) this.#ask(peer, number, claim);
  }

  #ask(peer: Peer, number: number, { clientId, stamp, clean, user }: Claim): void {
    this.#parts.links.sendControl(peer, { say: "claim", number, clientId, stamp, clean, user, maybeLate: true });
  }

  #nextStamp(least: number): number {
    this.#lastStamp = Math.max(least, this.#lastStamp + 1);
    return this.#lastStamp;
  }

  /**
   * Handles another broker's claim: refuses it if the session here is another user's, or this broker's own claim goes
   * before, or did: a claim arrives late where the link was cut. Otherwise gives the client id up, then grants.
   */
  receive(peer: Peer, { number, clientId, stamp, clean, user, maybeLate }: Extract<Control, { say: "claim" }>): void {
    const own = this.#claims.get(clientId);
    const { link } = peer;
    const answer = (outcome: Outcome): void => {
      if (peer.link !== link) return;
      const isAnothers = outcome === "anothers" || undefined;
      const granted = outcome === "granted";
      const willRemains = (granted && this.#parts.wills.mayRemain(clientId)) || undefined;
      this.#parts.links.sendControl(peer, { say: "claimed", number, granted, isAnothers, willRemains });
    };
    // A broker that does not say who its client is cannot be refused for that.
    const isTheirs = (one: { readonly user: string } | undefined): boolean =>
      one === undefined || user === undefined || mayTake(user, one);
    const isHere = (): boolean => isTheirs(this.#context.localSessions.get(clientId));
    const isOvertaken = (): boolean => {
      const newest = this.#context.localSessions.get(clientId)?.claimedAt ?? 0;
      if (maybeLate !== true || newest <= stamp) return false;
      if (peer.link === link) this.#parts.links.sendControl(peer, { say: "claimed", number, granted: false, newest });
      return true;
    };
    if (!isHere()) return answer("anothers");
    if (isOvertaken()) return;
    if (own !== undefined) {
      const isLater = own.stamp > stamp || (own.stamp === stamp && this.#context.options.id > peer.id);
      // Of two claims of one user the later goes before, of two users' the earlier.
      if (isTheirs(own) ? isLater : !isLater) return answer(isTheirs(own) ? "elsewhere" : "anothers");
      this.#decide(own, isTheirs(own) ? "elsewhere" : "anothers");
    }
    const { handover, wills, orphanedWills, whenConnected } = this.#parts;
    const isSettled = (): void =>
      wills.whenPublished(clientId, () => {
        if (!isOvertaken()) answer("granted");
      });
    const { self } = this.#context;
    const { fences } = self;
    const isCurrent = (): boolean => peer.link === link && self.fences === fences;
    this.#context.journal.commit(orphanedWills.cameBack(clientId, { by: peer.id, isCurrent }), () =>
      whenConnected(clientId, () => {
        if (!isHere()) answer("anothers");
        else if (!isOvertaken()) handover.giveUp(clientId, { clean, done: isSettled });
      }),
    );
  }

  /** Handles another broker's answer to a claim. */
  answered(
    peer: Peer,
    { number, granted, isAnothers, newest, willRemains }: Extract<Control, { say: "claimed" }>,
  ): void {
    const claim = this.#byNumber.get(number);
    if (claim === undefined) return;
    if (newest !== undefined) {
      // The client waits here, so it is the other broker's clock that is ahead of this one's.
      claim.stamp = this.#nextStamp(newest + 1);
      return this.#ask(peer, number, claim);
    }
    if (!granted) return this.#decide(claim, isAnothers ? "anothers" : "elsewhere");
    // One that has no contact with the store has given up all but the will, which is to be removed as a silent one's.
    if (willRemains !== true) claim.grantedBy.add(peer.id);
    this.#waitNoMore(claim, peer);
  }

  /** Tells a broker that has come back which clients have connected here meanwhile: they are not its own any more. */
  joined(peer: Peer): void {
    // Nobody waits for the answer to a claim with number 0.
    for (const { clientId, wall } of this.#parts.orphanedWills.cameBackWithout(peer.id))
      this.#parts.links.sendControl(peer, { say: "claim", number: 0, clientId, stamp: wall, clean: false });
  }

  /** Shortens the wait of claims that wait only for brokers without a link. */
  linkDown(peer: Peer): void {
    const { clock, timers } = this.#context;
    const dueAt = clock.now() + claimUnlinkedMs;
    for (const { waitingFor, timer } of this.#byNumber.values()) {
      if (!waitingFor.has(peer) || [...waitingFor].some(({ isLinked }) => isLinked) || timer.dueAt <= dueAt) continue;
      timers.set(timer, dueAt);
    }
  }

  /** Takes a broker that has died for silent in all claims that wait for it. */
  left(peer: Peer): void {
    for (const claim of [...this.#byNumber.values()]) this.#waitNoMore(claim, peer);
  }

  /** Returns true if the store may hold a session of this client that this broker does not keep. */
  mustReadStore(persistent: boolean): boolean {
    const orphans = this.#context.clock.now() < this.#context.self.orphansUntil;
    return orphans || (persistent && this.#parts.membership.members().length > 0);
  }

  /**
   * Reads a session that no broker keeps, with subscriptions, mailbox count and half-received QoS 2 publishes;
   * undefined if there is none. It is not this broker's before the broker has written its record.
   */
  read(clientId: string, done: (client: LocalSession | undefined) => void): void {
    const { coordinator } = this.#context;
    // The broker that gave up the session has committed before; this broker's ZooKeeper server may be behind.
    coordinator.sync(() => {
      coordinator.read(sessionReads(clientId), (error, results) => {
        if (error !== undefined) return;
        const node = results[0]!;
        if (!hasData(node)) return this.#parts.endedSessions.caughtUp(() => done(undefined));
        const client = sessionFromStore(this.#context, clientId, results);
        this.#parts.directory.caughtUp(() => this.#parts.endedSessions.caughtUp(() => done(client)));
      });
    });
  }

  /**
   * Reads the packet ids of half-received publishes, and waits for all changes of subscriptions: when the session is
   * this broker's already, for until then its former broker may have committed some.
   */
  readIncoming(client: LocalSession, done: () => void): void {
    const [, , ...reads] = sessionReads(client.session.clientId);
    this.#context.coordinator.read(reads, (error, results) => {
      if (error !== undefined) return;
      foundIncoming(client, results);
      this.#parts.directory.caughtUp(done);
    });
  }

  #waitNoMore(claim: Claim, peer: Peer): void {
    claim.waitingFor.delete(peer);
    if (claim.waitingFor.size === 0) this.#decide(claim, "granted");
  }

  #decide(claim: Claim, outcome: Outcome): void {
    this.#context.timers.cancel(claim.timer);
    if (this.#claims.get(claim.clientId) === claim) this.#claims.delete(claim.clientId);
    claim.waitingFor.clear();
    claim.decided(outcome, { silent: this.#silentIn(claim), stamp: claim.stamp });
  }

  #silentIn({ asked, grantedBy }: Pick<Claim, "asked" | "grantedBy">): SilentBrokers {
    const { membership } = this.#parts;
    return () =>
      [...new Set([...asked, ...membership.members().map(({ id }) => id)])].filter((id) => !grantedBy.has(id));
  }
}

/** Returns the reads of a session in the store: its record, mailbox, half-received publishes, what pays for slips. */
export function sessionReads(clientId: string): ReadOperation[] {
  return [
    { kind: "get", path: sessionPath(clientId) },
    { kind: "exists", path: mailPath(clientId) },
    { kind: "children", path: incomingPath(clientId) },
    { kind: "get", path: prepaidSlipsPath(clientId) },
  ];
}

/** Returns a session from what the store holds, with what `sessionReads` has read in `results`. */
export function sessionFromStore(
  context: ClusterContext,
  clientId: string,
  results: readonly ReadResult[],
): LocalSession {
  const [node, mail, ...incoming] = results;
  assert(hasData(node), "no session was read");
  // An empty record was made by mail that was stored while the session was erased; nobody wants that mail.
  const path = sessionPath(clientId);
  const found = node.data.length > 0 ? context.strangers.read(path, () => decodeSession(node.data)) : undefined;
  // A stranger's record is overwritten when the client connects; what stands below it is this session's.
  const record: SessionRecord = found ?? nobody;
  // It may be of a broker that let sessions last longer.
  const expiry = Math.max(1, Math.min(record.expiryInterval, context.options.sessionExpiryMax));
  const client = new LocalSession(context, new Session(clientId, record.version, expiry));
  client.found(found, node.stat.version);
  if (hasStat(mail)) client.mailbox!.count = mail.stat.childCount;
  foundIncoming(client, incoming);
  return client;
}

/** Takes the packet ids of a session's half-received publishes, and what pays for its slips. */
function foundIncoming({ session, mailbox, context }: LocalSession, [incoming, prepaid]: readonly ReadResult[]): void {
  for (const name of childrenOf(incoming)) if (/^[1-9]\d{0,4}$/.test(name)) session.findIncoming(Number(name));
  if (!hasData(prepaid)) return;
  const path = prepaidSlipsPath(session.clientId);
  const paid = context.strangers.read(path, () => paidIn(new Fields(prepaid.data)));
  mailbox?.prepaid.found(weightPaidBy(paid?.credits ?? 0));
}

/** The record of a session where the store has none that can be read: it has expired. */
const nobody: SessionRecord = { owner: "", epoch: 0, connected: false, version: 4, expiryInterval: 1, expiresAt: 0 };
