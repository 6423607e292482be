/**
 * Who subscribes to what in the whole cluster: `/subscribers`, mirrored into the router. What other brokers say there of
 * their sessions that end with their connections counts while the incarnation lives that it names.
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
import { isData } from "../../mail/parts.ts";
import { decodeSubscription } from "../../mail/records.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { parseFilter } from "../../mqtt/topic.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { filterOf, type Interest } from "./interest.ts";
import type { Membership } from "./membership.ts";
import { type Announced, type Peer, RemoteSession } from "./peer.ts";
import { decodeStamp, type Stamp } from "./stamps.ts";

/** Told of sessions that change their broker: nothing may overtake what is on its way to one. */
export interface SessionMoves {
  /** A session that was kept elsewhere is this broker's. */
  adopted(remote: RemoteSession): void;
  /** A session that was kept here is kept elsewhere. */
  released(remote: RemoteSession): void;
}

export class SubscriptionDirectory {
  readonly #context: ClusterContext;
  readonly #membership: Membership;
  readonly #mirror: Mirror;
  readonly #moves: SessionMoves;
  readonly #interest: Interest;
  /** Subscriptions of sessions kept here that were changed, and not from here, while it is looked whose the session is. */
  readonly #foreign = new Map<LocalSession, Set<string>>();
  /** The tree is being read for the first time: what is found of this broker's own is of an earlier life. */
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

  /** Calls back when what was told before has been applied. */
  caughtUp(done: () => void): void {
    this.#mirror.caughtUp(done);
  }

  /** A broker is there, or there again: what names an earlier incarnation does not count, however much that is. */
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

  /** A persistent session that is kept elsewhere. */
  session(clientId: string): RemoteSession {
    const { remoteSessions } = this.#context;
    let session = remoteSessions.get(clientId);
    if (session === undefined) {
      session = new RemoteSession(clientId);
      remoteSessions.set(clientId, session);
    }
    return session;
  }

  /** This broker keeps the session from now on: its subscriptions become the client's. */
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

  /** The session is kept elsewhere from now on. */
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
   * The session has been taken by another broker, and it is not known when: what that one has changed of its subscriptions
   * may have been left aside.
   */
  lose(client: LocalSession): void {
    const { session } = client;
    const texts = [...session.subscriptions.keys()];
    const paths = new Set([...texts.map((text) => subscriberPath(text, session.clientId)), ...this.#foreignOf(client)]);
    this.release(client);
    const { state } = this.#context.coordinator;
    for (const path of paths) {
      this.#mirror.note(path);
      // Without contact all is read anew when there is contact again.
      if (state === "CONNECTED") this.#mirror.refresh(path);
    }
  }

  #foreignOf(client: LocalSession): ReadonlySet<string> {
    return this.#foreign.get(client) ?? new Set();
  }

  /** A subscription of a session that is kept here has changed: if that was not done here, it may be another broker's by now. */
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
      // Its record is written at each change of hands: what this broker has written last, or is writing, is the newest.
      const isOwn = error !== undefined || (isData(node) && node.stat.version <= client.fencingToken.version);
      if (!isOwn) this.#context.evict(client);
      this.#foreign.delete(client);
    });
  }

  /** A session without subscriptions, connections or messages under way is not remembered. */
  forget(remote: RemoteSession): void {
    if (remote.subscriptions.size > 0 || remote.underWay > 0 || remote.moving.length > 0 || remote.host !== undefined)
      return;
    this.#context.remoteSessions.delete(remote.clientId);
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
    // It may have become this broker's own while its data was read.
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

  /** Routes by it, if the incarnation lives that it names, or may be about to join. */
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

/** Undefined: that is no filter. */
function announcedOf(text: string, stamp: Exclude<Stamp, undefined>): Announced | undefined {
  const filter = parseFilter(text);
  if (filter === undefined) return undefined;
  // The broker there knows what its subscribers asked for.
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

/** True for what stands above subscriptions: it bears none of their marks. */
function isLevel(path: string): boolean {
  const mark = path[path.lastIndexOf("/") + 1];
  return mark !== brokerMark && mark !== subscriberMark;
}
