/**
 * A session: what a client id stands for (4.1). It outlives its connection if the client asked for that; then
 * its subscriptions, its mailbox and the ids of half-received QoS 2 messages are in the store.
 */
import { sharedShapesPerSessionMax, subscriptionTextPerSessionMax } from "../base/limits.ts";
import { filterCharacterMemoryBytes, packetIdMemoryBytes, subscriptionMemoryBytes } from "../base/memory-limits.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { sessionNeverExpires } from "../mqtt/constants.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import type { Filter } from "../mqtt/topic.ts";
import { FilterShapes } from "./filter-shapes.ts";

export class Session {
  readonly clientId: string;
  /** The version its client last spoke: what is stored is delivered in its terms. */
  version: ProtocolVersion;
  /** Session Expiry Interval in seconds; 0: it ends with its connection. */
  expiryInterval: number;
  readonly #subscriptions = new Map<string, Subscription>();
  #subscriptionText = 0;
  /** Counted once there are so many subscriptions that there may be too many shapes: most sessions have a few. */
  #shapes: FilterShapes | undefined;
  #incoming: Set<number> | undefined;
  /** Incoming publishes that are not known to have reached everybody. */
  #found: Set<number> | undefined;

  constructor(clientId: string, version: ProtocolVersion, expiryInterval: number) {
    this.clientId = clientId;
    this.version = version;
    this.expiryInterval = expiryInterval;
  }

  get persistent(): boolean {
    return this.expiryInterval > 0;
  }

  get neverExpires(): boolean {
    return this.expiryInterval >= sessionNeverExpires;
  }

  /** The memory that its subscriptions and half-received QoS 2 messages take, in bytes, about. */
  get memoryBytes(): number {
    const subscriptions = this.#subscriptions.size * subscriptionMemoryBytes;
    const ids = this.incomingCount * packetIdMemoryBytes;
    return subscriptions + this.#subscriptionText * filterCharacterMemoryBytes + ids;
  }

  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.#subscriptions;
  }

  /** Adds or replaces; false if the session holds all that it may: so many, or so much text. */
  subscribe(subscription: Subscription, subscriptionsMax = Infinity): boolean {
    const { text } = subscription.filter;
    if (!this.#subscriptions.has(text)) {
      if (this.#subscriptions.size >= subscriptionsMax) return false;
      if (this.#subscriptionText + text.length > subscriptionTextPerSessionMax) return false;
      this.#subscriptionText += text.length;
      this.#shapes?.count(subscription.filter, 1);
    }
    this.#subscriptions.set(text, subscription);
    return true;
  }

  /** False if one topic could match more of the session's filters than may be, with this one. */
  hasShapeFor(filter: Filter): boolean {
    if (this.#subscriptions.size < sharedShapesPerSessionMax || this.#subscriptions.has(filter.text)) return true;
    if (this.#shapes === undefined) {
      this.#shapes = new FilterShapes();
      for (const subscription of this.#subscriptions.values()) this.#shapes.count(subscription.filter, 1);
    }
    return this.#shapes.hasRoomFor(filter);
  }

  unsubscribe(text: string): void {
    const subscription = this.#subscriptions.get(text);
    if (subscription === undefined) return;
    this.#subscriptions.delete(text);
    this.#subscriptionText -= text.length;
    this.#shapes?.count(subscription.filter, -1);
  }

  /** How many QoS 2 publishes were received and are not released. */
  get incomingCount(): number {
    return this.#incoming?.size ?? 0;
  }

  hasIncoming(packetId: number): boolean {
    return this.#incoming?.has(packetId) ?? false;
  }

  addIncoming(packetId: number): void {
    this.#incoming ??= new Set();
    this.#incoming.add(packetId);
  }

  /** Notes that another broker, or this one before a restart, has received the publish. */
  findIncoming(packetId: number): void {
    this.addIncoming(packetId);
    this.#found ??= new Set();
    this.#found.add(packetId);
  }

  /** Returns true, once, for a publish that was noted by `findIncoming`. */
  takeFound(packetId: number): boolean {
    return this.#found?.delete(packetId) ?? false;
  }

  removeIncoming(packetId: number): boolean {
    this.#found?.delete(packetId);
    return this.#incoming?.delete(packetId) ?? false;
  }
}
