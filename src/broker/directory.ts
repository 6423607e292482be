/**
 * Who subscribes to what in the whole cluster: `/subscribers`, mirrored into the router. And what this broker says of
 * itself there: the filters of its sessions that end with their connections, each once.
 */
import { noBytes } from "../base/bytes.ts";
import {
  brokerMark,
  decodeName,
  interestPath,
  nameOf,
  parentPath,
  subscriberMark,
  subscribersPath,
  topicOfPath,
} from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { decodeSubscription } from "../mail/records.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { parseFilter } from "../mqtt/topic.ts";
import type { Client } from "./client.ts";
import type { Context } from "./context.ts";
import type { Membership } from "./membership.ts";
import { Mirror, type MirrorNode } from "./mirror.ts";
import { RemoteSession } from "./peer.ts";

export class Directory {
  readonly #context: Context;
  readonly #membership: Membership;
  readonly #mirror: Mirror;
  /** A session that was kept elsewhere is this broker's: nothing may overtake what is on its way there. */
  onAdopted: (remote: RemoteSession) => void = () => {};
  /** A session that was kept here is kept elsewhere: the same. */
  onReleased: (remote: RemoteSession) => void = () => {};
  /** How many sessions here that end with their connection have each filter. */
  readonly #interest = new Map<string, number>();

  constructor(context: Context, membership: Membership) {
    this.#context = context;
    this.#membership = membership;
    this.#mirror = new Mirror(context.coordinator, {
      root: subscribersPath,
      concerns: (path) => this.#concerns(nameOf(path)),
      needsData: (path) => nameOf(path).startsWith(subscriberMark),
      apply: (path, node) => this.#apply(path, node),
    });
  }

  start(): Promise<void> {
    return this.#mirror.start();
  }

  /** Calls back when what was told before has been applied. */
  settled(done: () => void): void {
    this.#mirror.settled(done);
  }

  /** One more subscription of a session that ends with its connection: what must be written for it. */
  subscribed(text: string): JournalOperation[] {
    const count = (this.#interest.get(text) ?? 0) + 1;
    this.#interest.set(text, count);
    return count === 1 ? [this.#announcement(text)] : [];
  }

  /** One less. */
  unsubscribed(text: string): JournalOperation[] {
    const count = (this.#interest.get(text) ?? 0) - 1;
    if (count > 0) {
      this.#interest.set(text, count);
      return [];
    }
    this.#interest.delete(text);
    const path = interestPath(text, this.#context.options.id);
    return [{ kind: "remove", path, isCurrent: () => !this.#interest.has(text) }];
  }

  /** Everything again, for a new keeper session: the ephemeral nodes of the old one are gone. */
  announceAll(): JournalOperation[] {
    return [...this.#interest.keys()].map((text) => this.#announcement(text));
  }

  /** Whether the filter is announced already, so that nobody has to be waited for. */
  isKnown(text: string): boolean {
    return this.#interest.has(text);
  }

  /** A persistent session that is kept elsewhere. */
  session(clientId: string): RemoteSession {
    const { elsewhere } = this.#context;
    let session = elsewhere.get(clientId);
    if (session === undefined) {
      session = new RemoteSession(clientId);
      elsewhere.set(clientId, session);
    }
    return session;
  }

  /** This broker keeps the session from now on: its subscriptions become the client's. */
  adopt(client: Client): void {
    const { clients, elsewhere, router } = this.#context;
    const { clientId } = client.session;
    clients.set(clientId, client);
    const remote = elsewhere.get(clientId);
    if (remote === undefined) return;
    for (const subscription of remote.subscriptions.values()) {
      router.unsubscribe(remote, subscription);
      client.session.subscribe(subscription);
      router.subscribe(client, subscription);
    }
    remote.subscriptions.clear();
    this.onAdopted(remote);
    this.#forget(remote);
  }

  /** The session is kept elsewhere from now on. */
  release(client: Client): void {
    const { clients, router } = this.#context;
    const { clientId, subscriptions } = client.session;
    client.isReleased = true;
    if (clients.get(clientId) === client) clients.delete(clientId);
    if (subscriptions.size === 0) return;
    const remote = this.session(clientId);
    this.onReleased(remote);
    for (const [text, subscription] of subscriptions) {
      router.unsubscribe(client, subscription);
      this.#subscribe(remote, text, subscription);
    }
  }

  /** A session without subscriptions, connections or messages under way is not remembered. */
  #forget(remote: RemoteSession): void {
    if (remote.subscriptions.size > 0 || remote.underWay > 0 || remote.moving.length > 0 || remote.host !== undefined)
      return;
    this.#context.elsewhere.delete(remote.clientId);
  }

  #concerns(name: string): boolean {
    if (name.startsWith(subscriberMark)) return !this.#context.clients.has(decodeName(name.slice(1)));
    return name.startsWith(brokerMark) && decodeName(name.slice(1)) !== this.#context.options.id;
  }

  #apply(path: string, node: MirrorNode | "exists" | undefined): void {
    const name = nameOf(path);
    // It may have become this broker's own while its data was read.
    if (!this.#concerns(name)) return;
    const text = topicOfPath(subscribersPath, parentPath(path));
    const who = decodeName(name.slice(1));
    if (name.startsWith(brokerMark)) return this.#applyInterest(who, text, node !== undefined);
    if (node === undefined) {
      const remote = this.#context.elsewhere.get(who);
      if (remote === undefined) return;
      this.#unsubscribe(remote, text);
      this.#forget(remote);
    } else if (node !== "exists") {
      const remote = this.session(who);
      this.#unsubscribe(remote, text);
      this.#subscribe(remote, text, decodeSubscription(text, node.data));
    }
  }

  #applyInterest(id: string, text: string, exists: boolean): void {
    const peer = this.#membership.peer(id);
    const before = peer.interest.get(text);
    if (!exists) {
      if (before === undefined) return;
      peer.interest.delete(text);
      return this.#context.router.unsubscribe(peer, before);
    }
    if (before !== undefined) return;
    const filter = parseFilter(text);
    if (filter === undefined) return;
    // The broker there knows what its subscribers asked for.
    const subscription: Subscription = {
      filter,
      qos: 2,
      noLocal: false,
      retainAsPublished: true,
      retainHandling: 2,
      id: 0,
    };
    peer.interest.set(text, subscription);
    this.#context.router.subscribe(peer, subscription);
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

  #announcement(text: string): JournalOperation {
    const path = interestPath(text, this.#context.options.id);
    return { kind: "announce", path, data: noBytes, isCurrent: () => this.#interest.has(text) };
  }
}
