/** The retained messages that a client's new subscriptions are owed, sent in order, as far as there is room. */
import { bankHopeRetryMs } from "../../base/bank-limits.ts";
import { pumpOutputBytesMax } from "../../base/limits.ts";
import { Ring } from "../../base/ring.ts";
import { Timer } from "../../base/timers.ts";
import type { Price } from "../../mail/ledger.ts";
import { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import type { RetainedMessage } from "../../router/retained.ts";
import { type CreditWait, isLastWord } from "../core/credit-wait.ts";
import type { LocalSession } from "./local-session.ts";
import { OutgoingMessage, type OutgoingTarget, plainQoS1, plainQoS2 } from "./outgoing-message.ts";

/** One subscription's retained messages, which are searched for when its turn comes. */
interface Feed {
  readonly subscription: Subscription;
  /** The number of the last message that was retained before live messages reached the client by the subscription. */
  readonly liveAfter: number;
  /** The number of the last message that was retained when SUBACK was sent: newer ones are sent to it anyway. */
  readonly upTo: number;
  search: Iterator<RetainedMessage | undefined, void> | undefined;
  /** The message that was found and is not sent yet. */
  found: RetainedMessage | undefined;
}

/** The number of steps after which the time of the slice is checked. */
const stepsMax = 64;

/** The feeds of one client, one after the other in the order of its subscriptions. */
export class RetainedFeeds {
  readonly #client: LocalSession;
  readonly #feeds = new Ring<Feed>();
  /** True while the search goes on in a later turn, or the bank is asked. */
  #isWaiting = false;
  /** The wait for credits for the message that was found; undefined: there is none. */
  #wait: CreditWait | undefined;

  constructor(client: LocalSession) {
    this.#client = client;
  }

  /** The number of feeds that have not come to their end. */
  get length(): number {
    return this.#feeds.length;
  }

  /** Adds a feed for a new subscription, whose live messages began after `liveAfter`; `pump` sends it. */
  add(subscription: Subscription, liveAfter: number): void {
    const upTo = this.#client.context.retained.lastNumber;
    this.#feeds.push({ subscription, liveAfter, upTo, search: undefined, found: undefined });
  }

  /**
   * Sends retained messages, as far as there is room. A long search goes on in later slices, also one that finds
   * nothing.
   */
  pump(): void {
    if (this.#feeds.length === 0 || this.#isWaiting) return;
    const { slices, clock } = this.#client.context;
    const startedAt = clock.now();
    let steps = 0;
    for (let feed = this.#feeds.peek(); feed !== undefined; feed = this.#feeds.peek()) {
      feed.found ??= this.#next(feed);
      if (feed.found !== undefined && !this.#feed(feed.subscription, feed.found)) return;
      feed.found = undefined;
      if (++steps % stepsMax !== 0 || !slices.isOver(startedAt)) continue;
      this.#isWaiting = true;
      return slices.later(() => {
        this.#isWaiting = false;
        this.pump();
      });
    }
  }

  /** Returns the next message that is owed, if this step of the search finds one. Removes a feed that is at its end. */
  #next(feed: Feed): RetainedMessage | undefined {
    feed.search ??= this.#client.context.retained.search(feed.subscription.filter.levels);
    const { done, value } = feed.search.next();
    if (done === true) this.#feeds.shift();
    if (value === undefined || value.number > feed.upTo) return undefined;
    // It came between SUBSCRIBE and SUBACK, as the first message of a client that does not wait for SUBACK may: it was
    // sent live, and must not come twice.
    return value.wasLive && value.number > feed.liveAfter ? undefined : value;
  }

  /** Sends one retained message, or leaves it out if it is not owed. Returns false if there is no room now. */
  #feed(subscription: Subscription, { topic, publish }: RetainedMessage): boolean {
    const client = this.#client;
    const { connection, context } = client;
    if (connection === undefined || connection.channel.phase !== "open") return false;
    // The message was replaced since the client subscribed: the client has had the newer one as a live message, and
    // must not get the older one after it.
    if (context.retained.get(topic)?.publish !== publish || client.isExpired(publish)) return true;
    if (!client.mayReceive(publish)) return true;
    // The message lies in a mail drop too, and is handed out from there in its turn.
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
    return this.#promise(client, publish, target);
  }

  /**
   * Sends or stores one for a persistent session; a message that the bank cannot pay is left out. Returns false while
   * the bank is asked.
   */
  #promise(client: LocalSession, retained: Publish, target: OutgoingTarget): boolean {
    const { bankAccount, mail, metrics } = client.context;
    // Who asks for copies of what is retained pays for them.
    const publish = retained.paidBy(client.payer);
    const credits = bankAccount.prices.ofCopy(publish, client.session.clientId, target.subscriptionIds);
    const price = { credits, payer: client.payer };
    const payment = bankAccount.reserve(credits, client.payer);
    if (payment === undefined && this.#mayStillBePaid(price)) return false;
    this.#wait = undefined;
    if (payment === undefined) {
      metrics.countRefused(bankAccount.whoRefuses(price));
      return true;
    }
    const settlement = new Settlement(publish, mail.nextOrder());
    settlement.payment = payment;
    const outgoing = new OutgoingMessage(client, target, publish, settlement);
    if (target.qos === 1) client.sendLive(outgoing);
    else client.mailbox!.store(outgoing);
    return true;
  }

  /** Returns true if credits that are lacking now may be there in a moment; then it is tried again. */
  #mayStillBePaid(price: Price): boolean {
    const { context } = this.#client;
    const { clock, timers, coordinator } = context;
    this.#wait ??= { since: clock.now(), hopeUntil: undefined };
    if (coordinator.state !== "CONNECTED" || isLastWord(context, price, this.#wait)) return false;
    this.#isWaiting = true;
    const again = new Timer(() => {
      this.#isWaiting = false;
      this.pump();
    });
    timers.set(again, clock.now() + bankHopeRetryMs);
    return true;
  }
}
