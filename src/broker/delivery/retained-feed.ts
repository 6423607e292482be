/** The retained messages that new subscriptions of one client are owed: sent in order, as far as there is room. */
import { pumpOutputBytesMax } from "../../base/limits.ts";
import { Ring } from "../../base/ring.ts";
import { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import type { RetainedMessage } from "../../router/retained.ts";
import type { LocalSession } from "./local-session.ts";
import { OutgoingMessage, type OutgoingTarget, plainQoS1, plainQoS2 } from "./outgoing-message.ts";

/** They are looked up when its turn comes. */
interface Feed {
  readonly subscription: Subscription;
  entries: readonly RetainedMessage[] | undefined;
  at: number;
}

export class RetainedFeeds {
  readonly #client: LocalSession;
  readonly #feeds = new Ring<Feed>();

  constructor(client: LocalSession) {
    this.#client = client;
  }

  add(subscription: Subscription): void {
    this.#feeds.push({ subscription, entries: undefined, at: 0 });
  }

  pump(): void {
    const feeds = this.#feeds;
    for (let feed = feeds.peek(); feed !== undefined; feed = feeds.peek()) {
      feed.entries ??= this.#client.context.retained.match(feed.subscription.filter.levels);
      while (feed.at < feed.entries.length) {
        if (!this.#feed(feed.subscription, feed.entries[feed.at]!)) return;
        feed.at++;
      }
      feeds.shift();
    }
  }

  /** False if there is no room now. */
  #feed(subscription: Subscription, { topic, publish }: RetainedMessage): boolean {
    const client = this.#client;
    const { connection, context } = client;
    if (connection === undefined || connection.channel.phase !== "open") return false;
    // Replaced since the client subscribed: it has had the newer one as a live message, and must not get the
    // older one after it.
    if (context.retained.get(topic)?.publish !== publish || client.isExpired(publish)) return true;
    if (!client.mayReceive(publish)) return true;
    // It lies in a mail drop too, and comes from there in its turn.
    if (publish.copyUntil > context.clock.wall() && client.followsDrops(subscription.filter.text)) return true;
    const qos = Math.min(publish.qos, subscription.qos) as QoS;
    const subscriptionIds = subscription.id === 0 ? [] : [subscription.id];
    const target: OutgoingTarget = { qos, retain: true, subscriptionIds, group: undefined };
    if (!client.fits(publish, target)) return true;
    if (qos === 0) {
      if (connection.writer.unsent > pumpOutputBytesMax) return false;
      client.write(publish, target, 0);
      return true;
    }
    if (!client.hasRoom) return false;
    if (client.mailbox === undefined) {
      client.write(publish, target, client.inflight.add(qos === 1 ? plainQoS1 : plainQoS2));
      return true;
    }
    this.#promise(client, publish, target);
    return true;
  }

  /** To a session that outlives its connection; what the bank cannot pay is left out. */
  #promise(client: LocalSession, publish: Publish, target: OutgoingTarget): void {
    const { bankAccount, mail, metrics } = client.context;
    const payment = bankAccount.reserve(bankAccount.termsOf(publish, "mailbox").credits);
    if (payment === undefined) {
      metrics.refused++;
      return;
    }
    const settlement = new Settlement(publish, mail.nextOrder());
    settlement.payment = payment;
    const outgoing = new OutgoingMessage(client, target, publish, settlement);
    if (target.qos === 1) client.sendLive(outgoing);
    else client.mailbox!.store(outgoing);
  }
}
