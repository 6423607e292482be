/**
 * The subscriptions of the whole cluster, mirrored from `/subscribers` into the router. A filter that another broker
 * announces for its sessions that end with their connections counts while the incarnation lives that its node names.
 */

import { interestSweepMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { Mirror, type MirrorNode } from "../../coordinator/mirror.ts";
import {
  brokerMark,
  decodeName,
  encodeName,
  isEncoded,
  isEncodedPath,
  nameOf,
  parentPath,
  subscriberMark,
  subscriberPath,
  subscribersPath,
} from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { decodeSubscription } from "../../mail/records.ts";
import { decodeStamp, type Stamp } from "../../mail/stamp.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { parseFilter } from "../../mqtt/topic.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { filterOf, type Interest } from "./interest.ts";
import type { Membership } from "./membership.ts";
import type { Announced, Peer } from "./peer.ts";
import { RemoteSession } from "./remote-session.ts";

/** Told of sessions that change their broker, since nothing may overtake the messages on their way to one. */
export interface SessionMoves {
  /** A session of another broker has become this broker's. */
  adopted(remote: RemoteSession): void;
  /** A session of this broker has become another one's. */
  released(remote: RemoteSession): void;
}

/** The mirror of `/subscribers`. It also hands subscriptions over when a session changes its broker. */
export class SubscriptionDirectory {
  readonly #context: ClusterContext;
  readonly #membership: Membership;
  readonly #mirror: Mirror;
  readonly #moves: SessionMoves;
  readonly #interest: Interest;
  /**
   * Paths of subscriptions of own sessions that another broker has changed, while the session's owner is being read.
   */
  readonly #foreign = new Map<LocalSession, Set<string>>();
  /** True while the tree is read for the first time: this broker's own nodes are then of an earlier life. */
  #isStarting = true;

  constructor(context: ClusterContext, parts: { membership: Membership; interest: Interest; moves: SessionMoves }) {
    this.#context = context;
    this.#membership = parts.membership;
    this.#interest = parts.interest;
    this.#moves = parts.moves;
    const { levels } = context.journal;
    this.#mirror = new Mirror(context.coordinator, {
      root: subscribersPath,
      concerns: (path) => this.#concerns(path),
      needsData: () => true,
      leftAside: (path, exists) => this.#lookWhose(path, exists),
      visited: (path) => isLevel(path) && levels.found(path),
      completed: (isComplete) => (isComplete ? levels.watch(subscribersPath) : levels.unwatch()),
      apply: (path, node) => this.#apply(path, node),
    });
  }

  /** Reads all subscriptions. Rejects with `OperatingError` if the store cannot be read. */
  async start(): Promise<void> {
    const { coordinator, journal, options } = this.#context;
    const own = `/${brokerMark}${encodeName(options.id)}`;
    coordinator.watch(subscribersPath, ({ type, path }) => {
      if (type === "created" && isLevel(path)) journal.levels.found(path);
      if (type !== "deleted") return;
      if (isLevel(path)) journal.levels.forget([path]);
      else if (path.endsWith(own)) this.#interest.gone(filterOf(path));
    });
    await this.#mirror.start();
    this.#isStarting = false;
  }

  /** Calls back when all changes that the store has told of are applied. */
  caughtUp(done: () => void): void {
    this.#mirror.caughtUp(done);
  }

  /** Removes from the router what names an earlier incarnation of a broker that has joined, a part at a time. */
  joined(peer: Peer): void {
    const { router, timers, clock } = this.#context;
    const { epoch } = peer;
    const left = peer.interest.values();
    const sweep = new Timer(() => {
      if (peer.epoch !== epoch) return;
      for (let count = 0; count < interestSweepMax; count++) {
        const { value: announced, done } = left.next();
        if (done === true) return;
        if (peer.mayCount(announced.stamp) || !announced.isRouted) continue;
        announced.isRouted = false;
        router.unsubscribe(peer, announced.subscription);
      }
      timers.set(sweep, clock.now() + 1);
    });
    sweep.fire(clock.now());
  }

  /** Returns the session of a client id that another broker keeps, and begins to remember it. */
  session(clientId: string): RemoteSession {
    const { remoteSessions } = this.#context;
    let session = remoteSessions.get(clientId);
    if (session === undefined) {
      session = new RemoteSession(clientId);
      remoteSessions.set(clientId, session);
    }
    return session;
  }

  /** Makes a session this broker's: its subscriptions become the local session's. */
  adopt(client: LocalSession): void {
    const { localSessions, remoteSessions, router } = this.#context;
    const { clientId } = client.session;
    localSessions.set(clientId, client);
    const remote = remoteSessions.get(clientId);
    if (remote === undefined) return;
    for (const subscription of remote.subscriptions.values()) {
      router.unsubscribe(remote, subscription);
      client.session.subscribe(subscription);
      router.subscribe(client, subscription);
    }
    remote.subscriptions.clear();
    this.#moves.adopted(remote);
    this.forget(remote);
  }

  /**
   * Notes that a session is this broker's from now on, and has the subscriptions that it has itself. Those that an
   * earlier session of its client had at another broker have ended with that. If contact was lost meanwhile, the tree
   * has not told that yet, and never will: what it says of an own session is left aside.
   */
  begin(client: LocalSession): void {
    const { localSessions, remoteSessions } = this.#context;
    const { clientId } = client.session;
    localSessions.set(clientId, client);
    const remote = remoteSessions.get(clientId);
    if (remote === undefined) return;
    for (const text of [...remote.subscriptions.keys()]) this.#unsubscribe(remote, text);
    this.forget(remote);
  }

  /** Makes a session another broker's: its subscriptions become the remote session's. */
  release(client: LocalSession): void {
    const { localSessions, router } = this.#context;
    const { clientId, subscriptions } = client.session;
    client.release();
    if (localSessions.get(clientId) === client) localSessions.delete(clientId);
    if (subscriptions.size === 0) return;
    const remote = this.session(clientId);
    for (const [text, subscription] of subscriptions) {
      router.unsubscribe(client, subscription);
      this.#subscribe(remote, text, subscription);
    }
    this.#moves.released(remote);
  }

  /**
   * Releases a session that another broker has taken at an unknown time, and reads its subscriptions again: changes by
   * that broker may have been left aside.
   */
  lose(client: LocalSession): void {
    const { session } = client;
    const texts = [...session.subscriptions.keys()];
    const paths = new Set([...texts.map((text) => subscriberPath(text, session.clientId)), ...this.#foreignOf(client)]);
    this.release(client);
    const { state } = this.#context.coordinator;
    for (const path of paths) {
      this.#mirror.note(path);
      // Without contact nothing can be read now; all is read when there is contact again.
      if (state === "CONNECTED") this.#mirror.refresh(path);
    }
  }

  #foreignOf(client: LocalSession): ReadonlySet<string> {
    return this.#foreign.get(client) ?? new Set();
  }

  /**
   * Handles a change of an own session's subscription: if this broker has not made it, the session may be another's by
   * now.
   */
  #lookWhose(path: string, exists: boolean): void {
    const { localSessions, coordinator } = this.#context;
    const name = nameOf(path);
    if (!name.startsWith(subscriberMark) || !isEncoded(name.slice(1))) return;
    const client = localSessions.get(decodeName(name.slice(1)));
    if (client === undefined || client.session.subscriptions.has(filterOf(path)) === exists) return;
    const foreign = this.#foreign.get(client);
    if (foreign !== undefined) {
      foreign.add(path);
      return;
    }
    this.#foreign.set(client, new Set([path]));
    coordinator.read([{ kind: "get", path: client.fencingToken.path }], (error, [node]) => {
      // The record is written at each change of the owner: a version up to the one that this broker has written, or is
      // writing, is its own.
      const isOwn = error !== undefined || (hasData(node) && node.stat.version <= client.fencingToken.version);
      if (!isOwn) this.#context.evict(client);
      this.#foreign.delete(client);
    });
  }

  /** Forgets a remote session that has no subscriptions, no connection, and no messages under way. */
  forget(remote: RemoteSession): void {
    if (!remote.isInUse) this.#context.remoteSessions.delete(remote.clientId);
  }

  #concerns(path: string): boolean {
    const name = nameOf(path);
    if (!isEncodedPath(subscribersPath, parentPath(path)) || !isEncoded(name.slice(1))) return false;
    if (name.startsWith(subscriberMark)) return !this.#context.localSessions.has(decodeName(name.slice(1)));
    if (!name.startsWith(brokerMark)) return false;
    return this.#isStarting || decodeName(name.slice(1)) !== this.#context.options.id;
  }

  #apply(path: string, node: MirrorNode | "exists" | undefined): void {
    const name = nameOf(path);
    // The session may have become this broker's while the node's data was read.
    if (!this.#concerns(path)) return;
    const text = filterOf(path);
    const who = decodeName(name.slice(1));
    if (name.startsWith(brokerMark)) {
      const stamp = typeof node === "object" ? decodeStamp(node.data) : undefined;
      if (node !== undefined && stamp === undefined) this.#context.strangers.note(path, "names no epoch");
      else this.#context.strangers.forget(path);
      return this.#applyInterest(who, text, node === undefined ? "none" : stamp);
    }
    if (node === undefined) {
      const remote = this.#context.remoteSessions.get(who);
      if (remote === undefined) return;
      this.#unsubscribe(remote, text);
      this.forget(remote);
    } else if (node !== "exists") {
      const subscription = this.#context.strangers.read(path, () => decodeSubscription(text, node.data));
      if (subscription === undefined) return;
      const remote = this.session(who);
      this.#unsubscribe(remote, text);
      this.#subscribe(remote, text, subscription);
    }
  }

  #applyInterest(id: string, text: string, stamp: Stamp | "none"): void {
    if (id === this.#context.options.id) {
      if (stamp !== "none") this.#interest.found(text, stamp);
      return;
    }
    const peer = this.#membership.peer(id);
    const before = peer.interest.get(text);
    if (stamp === undefined || stamp === "none") {
      peer.interest.delete(text);
      if (before?.isRouted) this.#context.router.unsubscribe(peer, before.subscription);
      return;
    }
    const announced = before ?? announcedOf(text, stamp);
    if (announced === undefined) return;
    announced.stamp = stamp;
    if (before === undefined) peer.interest.set(text, announced);
    this.#route(peer, announced);
  }

  /**
   * Puts an announced filter into the router, or takes it out, by whether its incarnation lives or may be about to
   * join.
   */
  #route(peer: Peer, announced: Announced): void {
    const mayCount = peer.mayCount(announced.stamp);
    if (mayCount === announced.isRouted) return;
    announced.isRouted = mayCount;
    if (mayCount) this.#context.router.subscribe(peer, announced.subscription);
    else this.#context.router.unsubscribe(peer, announced.subscription);
  }

  #subscribe(remote: RemoteSession, text: string, subscription: Subscription): void {
    remote.subscriptions.set(text, subscription);
    this.#context.router.subscribe(remote, subscription);
  }

  #unsubscribe(remote: RemoteSession, text: string): void {
    const subscription = remote.subscriptions.get(text);
    if (subscription === undefined) return;
    remote.subscriptions.delete(text);
    this.#context.router.unsubscribe(remote, subscription);
  }
}

/** Returns the subscription that another broker announces; undefined if the text is no filter. */
function announcedOf(text: string, stamp: Exclude<Stamp, undefined>): Announced | undefined {
  const filter = parseFilter(text);
  if (filter === undefined) return undefined;
  // The other broker applies the options of each subscriber.
  const subscription: Subscription = {
    filter,
    qos: 2,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 2,
    id: 0,
  };
  return { subscription, stamp, isRouted: false };
}

/** Returns true for a node above subscriptions: its name bears none of their marks. */
function isLevel(path: string): boolean {
  const mark = path[path.lastIndexOf("/") + 1];
  return mark !== brokerMark && mark !== subscriberMark;
}
