/** SUBSCRIBE and UNSUBSCRIBE: answered when the store holds them and every broker of the cluster routes by them. */
import { varintSize } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { subscriberPath } from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { encodeSubscription } from "../mail/records.ts";
import { fence } from "../mail/slips.ts";
import { encodeControl, type Packet, type SubscribePacket, type UnsubscribePacket } from "../mqtt/control.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { fullDiskWords } from "./core/full-disk.ts";
import type { Connection } from "./delivery/connection.ts";
import type { LocalSession } from "./delivery/local-session.ts";
import type { MailDrops } from "./drops/mail-drops.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";
import type { Interest } from "./peers/interest.ts";
import type { SubscriptionBarrier } from "./peers/subscription-barrier.ts";
import type { RetainedStore } from "./publish/retained-store.ts";

export class SubscribeHandler {
  readonly #context: ClusterContext;
  readonly #interest: Interest;
  readonly #barrier: SubscriptionBarrier;
  readonly #drops: MailDrops;
  readonly #retainedStore: RetainedStore;

  constructor(
    context: ClusterContext,
    parts: { interest: Interest; barrier: SubscriptionBarrier; drops: MailDrops; retainedStore: RetainedStore },
  ) {
    this.#context = context;
    this.#retainedStore = parts.retainedStore;
    this.#drops = parts.drops;
    this.#interest = parts.interest;
    this.#barrier = parts.barrier;
  }

  /** Handles SUBSCRIBE. Throws `ProtocolError`. */
  subscribe(connection: Connection, packet: SubscribePacket): void {
    checkAnswerFits(connection, packet.subscriptions.length);
    const client = connection.client!;
    const operations: JournalOperation[] = [];
    const taken: { subscription: Subscription; isOwedRetained: boolean }[] = [];
    const id = packet.properties?.subscriptionIdentifier ?? 0;
    let isRefusedByDisk = false;
    const granted = packet.subscriptions.map((asked) => {
      const subscription = readSubscription(asked, { id, bridge: connection.channel.bridge });
      if (typeof subscription === "number") return subscription;
      const { text, levels } = subscription.filter;
      if (client.permissions?.maySubscribe(levels) === false) {
        this.#context.metrics.forbidden.subscribe++;
        return Reason.notAuthorized;
      }
      const before = client.session.subscriptions.get(text);
      if (before === undefined && this.#lacksRoomFor(client, text)) {
        isRefusedByDisk = true;
        return Reason.quotaExceeded;
      }
      if (!client.session.subscribe(subscription, this.#context.options.maxSubscriptions)) {
        this.#context.metrics.beyondLimit.subscriptions++;
        return Reason.quotaExceeded;
      }
      this.#context.router.subscribe(client, subscription);
      if (client.mailbox !== undefined) operations.push(storeOperation(client, subscription, before));
      else if (before === undefined) operations.push(...this.#interest.subscribed(text));
      if (before === undefined) operations.push(...this.#drops.entering(client, subscription));
      taken.push({ subscription, isOwedRetained: wantsRetained(subscription, before) });
      return subscription.qos;
    });
    const codes = connection.channel.version === 5 ? granted : granted.map((code) => (code > 2 ? 0x80 : code));
    const then = (): void => {
      for (const { subscription, isOwedRetained } of taken) {
        this.#drops.subscribed(client, subscription);
        const isCurrent = client.session.subscriptions.get(subscription.filter.text) === subscription;
        if (isOwedRetained && isCurrent) client.feed(subscription);
      }
    };
    const isOwed = taken.some(({ isOwedRetained }) => isOwedRetained);
    // What follows SUBACK is what others have been acknowledged by then, and not what was held here a moment ago.
    const before = isOwed ? (go: () => void): void => this.#retainedStore.caughtUp(go) : undefined;
    this.#answer(
      connection,
      operations,
      { cmd: "suback", messageId: packet.messageId!, granted: codes, ...reasonOf(connection, isRefusedByDisk) },
      { before, then },
    );
  }

  /** The disk of the store is full, and a new subscription would have to be written. */
  #lacksRoomFor({ mailbox }: LocalSession, text: string): boolean {
    return this.#context.coordinator.isFull === true && (mailbox !== undefined || !this.#interest.announces(text));
  }

  /** Handles UNSUBSCRIBE. Throws `ProtocolError`. */
  unsubscribe(connection: Connection, packet: UnsubscribePacket): void {
    checkAnswerFits(connection, packet.unsubscriptions.length);
    const client = connection.client!;
    const operations: JournalOperation[] = [];
    const granted = packet.unsubscriptions.map((text) => {
      const subscription = client.session.subscriptions.get(text);
      if (subscription === undefined) {
        return parseFilter(text) === undefined ? Reason.topicFilterInvalid : Reason.noSubscriptionExisted;
      }
      client.session.unsubscribe(text);
      this.#context.router.unsubscribe(client, subscription);
      if (client.mailbox !== undefined) {
        const path = subscriberPath(text, client.session.clientId);
        operations.push({ kind: "remove", path, isCurrent: () => !client.session.subscriptions.has(text) });
      } else this.#interest.unsubscribed(text);
      operations.push(...this.#drops.leaving(client, text));
      return Reason.success;
    });
    this.#answer(connection, operations, { cmd: "unsuback", messageId: packet.messageId!, granted } as Packet, {});
  }

  #answer(
    connection: Connection,
    operations: readonly JournalOperation[],
    answer: Packet,
    { before = (go) => go(), then = () => {} }: Around,
  ): void {
    const { channel } = connection;
    const bytes = encodeControl(answer, channel.version);
    const send = (): void =>
      before(() => {
        if (channel.phase !== "open") return;
        connection.send(bytes);
        then();
      });
    const client = connection.client!;
    // Another subscriber here may have announced the filter a moment ago: its commit counts for this one too.
    if (operations.length === 0) return this.#context.journal.drained(() => this.#barrier.passed(send));
    this.#context.journal.commitAll(operations, {
      guard: client.mailbox === undefined ? undefined : fence(client.fencingToken),
      done: (_, zxid) => this.#barrier.pass(zxid, send),
      refused: () => this.#context.evict(client),
    });
  }
}

/** What could not be answered in a packet that the client takes is not done [MQTT-3.1.2-24]. */
function checkAnswerFits({ channel }: Connection, reasonCodes: number): void {
  // Packet identifier, property length, reason codes.
  const body = 2 + 1 + reasonCodes;
  if (1 + varintSize(body) + body > channel.packetBytesMax)
    throw new ProtocolError(Reason.packetTooLarge, "the answer is larger than the Maximum Packet Size");
}

/** Says why subscriptions are refused, to whom may be told. */
function reasonOf({ channel }: Connection, isRefusedByDisk: boolean): { properties?: { reasonString: string } } {
  // 3.9.2.1.2: not where the packet might become larger than the client takes.
  if (!isRefusedByDisk || channel.version < 5 || !channel.wantsReasons || channel.packetBytesMax !== Infinity)
    return {};
  return { properties: { reasonString: `${fullDiskWords}: it takes no new subscriptions` } };
}

/** What is done around an answer. */
interface Around {
  /** Calls back when it may be sent. */
  readonly before?: ((go: () => void) => void) | undefined;
  readonly then?: () => void;
}

function readSubscription(
  asked: SubscribePacket["subscriptions"][number],
  { id, bridge }: { id: number; bridge: boolean },
): Subscription | number {
  const filter = parseFilter(asked.topic);
  if (filter === undefined) return Reason.topicFilterInvalid;
  const noLocal = asked.nl ?? bridge;
  // [MQTT-3.8.3-4]
  if (filter.group !== undefined && noLocal && !bridge) {
    throw new ProtocolError(Reason.protocolError, "No Local on a shared subscription");
  }
  const retainHandling = (asked.rh ?? 0) as 0 | 1 | 2;
  return { filter, qos: asked.qos, noLocal, retainAsPublished: asked.rap ?? bridge, retainHandling, id };
}

function wantsRetained({ filter, retainHandling }: Subscription, before: Subscription | undefined): boolean {
  // Shared subscriptions are sent no retained messages (4.8.2).
  if (filter.group !== undefined) return false;
  return retainHandling === 0 || (retainHandling === 1 && before === undefined);
}

function storeOperation(
  client: LocalSession,
  subscription: Subscription,
  before: Subscription | undefined,
): JournalOperation {
  const path = subscriberPath(subscription.filter.text, client.session.clientId);
  const isCurrent = (): boolean => client.session.subscriptions.get(subscription.filter.text) === subscription;
  return { kind: "put", path, data: encodeSubscription(subscription), exists: before !== undefined, isCurrent };
}
