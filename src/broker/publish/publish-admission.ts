/**
 * The admission of publishes: a publish is taken if nothing that it would go into is full, and the bank can pay for all
 * of it.
 */
import type { Keeping } from "../../bank/price.ts";
import { textWeightOf } from "../../coordinator/weight.ts";
import type { Payment, Price } from "../../mail/ledger.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { type CreditWait, isLastWord } from "../core/credit-wait.ts";
import { fullDiskWords } from "../core/full-disk.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import { isRemoteSession, type RemoteSession } from "../peers/remote-session.ts";
import { copiesPriceOf, placeOf } from "./copies-price.ts";
import { heldIdPriceOf } from "./held-ids.ts";
import type { RefusalCause } from "./refusals.ts";
import type { RetainedStore } from "./retained-store.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";

/** The reason why a publish cannot be taken now. */
export interface Denial {
  readonly cause: RefusalCause;
  /** The reason string for the client and the log. */
  readonly why: string;
  /** True if the publish may be admitted in a moment. */
  readonly isHopeful: boolean;
  /** The price that the bank was asked for in vain. */
  readonly price?: Price;
}

/** The credits set aside for a publish; undefined where nothing may have to be stored. */
export interface AdmittedPublish {
  /**
   * The credits for copies in mailboxes and in a mail drop, those for the retained message, and those for the packet id
   * at QoS 2.
   */
  readonly payment: Payment | undefined;
  readonly retainedPayment: Payment | undefined;
  readonly idPayment: Payment | undefined;
}

/** Frees what was set aside for a publish that is not taken. */
export function withdraw({ payment, retainedPayment, idPayment }: AdmittedPublish): void {
  payment?.close();
  retainedPayment?.close();
  idPayment?.close();
}

const nothingToPay = { payment: undefined, retainedPayment: undefined, idPayment: undefined } as const;

/** Decides on publishes, and sets credits aside for those that it admits. */
export class PublishAdmission {
  readonly #context: DeliveryContext;
  readonly #shared: SharedSubscriptions;
  readonly #retainedStore: RetainedStore;

  constructor(context: DeliveryContext, parts: { shared: SharedSubscriptions; retainedStore: RetainedStore }) {
    this.#context = context;
    this.#shared = parts.shared;
    this.#retainedStore = parts.retainedStore;
  }

  /**
   * Sets aside what a publish may cost at most, or returns why it cannot be taken now. `publisher`: the client;
   * undefined: the broker itself.
   */
  admit(publish: Publish, route: ClusterRoute, publisher: LocalSession | undefined): AdmittedPublish | Denial {
    const full = publish.qos === 0 ? undefined : this.#fullMailbox(route, publish);
    return full ?? this.#afford(publish, route, publisher);
  }

  /** Like `admit`, of a will: where full mailboxes end their sessions none of them keeps it from anybody. */
  admitWill(publish: Publish, route: ClusterRoute, publisher: LocalSession | undefined): AdmittedPublish | Denial {
    const areEnded = this.#context.options.mailboxFull === "end";
    return areEnded ? this.#afford(publish, route, publisher) : this.admit(publish, route, publisher);
  }

  #afford(publish: Publish, route: ClusterRoute, publisher: LocalSession | undefined): AdmittedPublish | Denial {
    const { bankAccount, coordinator, options } = this.#context;
    if (publish.retain && this.#retainedStore.isFull(publish, route.topic))
      return {
        cause: "retained",
        why: `the broker holds its maximum of ${options.maxRetained} retained messages`,
        isHopeful: false,
      };
    const clientId = publisher?.session.clientId ?? "";
    const copiesPrice = this.#priceOf(publish, route, clientId);
    const retainedPrice = publish.retain ? this.#retainedStore.priceOf(publish) : 0;
    const idPrice = heldIdPriceOf(this.#context, publish, publisher);
    const credits = copiesPrice + retainedPrice + idPrice;
    if (credits === 0) return nothingToPay;
    // The store needs the room that is left to become emptier.
    if (coordinator.isFull === true) return { cause: "disk", why: fullDiskWords, isHopeful: false };
    const { payer } = publish;
    // All of it at once: whoever asks for parts in turn is answered for none of them while others ask as well.
    const payment = bankAccount.reserve(credits, payer, clientId);
    if (payment !== undefined)
      return { payment, retainedPayment: payment.apart(retainedPrice), idPayment: payment.apart(idPrice) };
    const price = { credits, payer, clientId };
    const isHopeful = bankAccount.mayPay(price);
    return { cause: bankAccount.whoRefuses(price), why: bankAccount.describe(price), isHopeful, price };
  }

  /**
   * Returns true if a denial is the last word; by the bank as `isLastWord` says. It is not where a mailbox is about to
   * be emptied, or to end.
   */
  isFinal({ cause, isHopeful, price }: Denial, wait: CreditWait): boolean {
    if (cause === "mailbox") return !isHopeful;
    return price === undefined || isLastWord(this.#context, price, wait);
  }

  /** Returns the price of all copies of a publish that may have to be stored, in milli-credits. */
  #priceOf(publish: Publish, route: ClusterRoute, publisher: string): number {
    const { bankAccount } = this.#context;
    const copies = copiesOf(route, publish.qos);
    const mail = copies === 0 ? 0 : copiesPriceOf(this.#context, { publish, route, copies });
    if (!route.isMailDrop) return mail;
    const { credits } = bankAccount.termsOf(publish, keepingOf(route, publish.qos), placeOf(route));
    return mail + credits + bankAccount.priceOf(textWeightOf(publisher));
  }

  /** Returns why a publish cannot be taken for a receiver's mailbox; undefined: all take it, or end. */
  #fullMailbox(route: ClusterRoute, publish: Publish): Denial | undefined {
    const { qos } = publish;
    for (const { subscriber, qos: granted } of route.isMailDrop ? [] : route.targets) {
      if (Math.min(qos, granted) === 0 || subscriber.mailbox === undefined) continue;
      const denial = this.#denyFor(subscriber, subscriber.session.clientId);
      if (denial !== undefined) return denial;
    }
    for (const { subscriber, qos: granted } of route.isMailDrop ? [] : route.elsewhere) {
      if (!isRemoteSession(subscriber) || Math.min(qos, granted) === 0) continue;
      const denial = this.#denyFor(subscriber, subscriber.clientId);
      if (denial !== undefined) return denial;
    }
    for (const group of route.groups) {
      if (!this.#shared.isBlocked(group, publish)) continue;
      const why = `the mailboxes of all members of ${group.text} that could take the message are full`;
      return { cause: "mailbox", why, isHopeful: !this.#shared.isRefusing(group) };
    }
    return undefined;
  }

  #denyFor(member: LocalSession | RemoteSession, clientId: string): Denial | undefined {
    const isRefused = this.#shared.refuses(member);
    if (!isRefused && !this.#shared.isSpent(member)) return undefined;
    return { cause: "mailbox", why: this.#describeFull(clientId), isHopeful: !isRefused };
  }

  #describeFull(clientId: string): string {
    const { slips, options } = this.#context;
    // The store numbers slips, and cannot count on for ever.
    if (slips.numbers.isSpent(clientId))
      return `the mailbox of ${clientId} has used up its numbers, and takes messages again when it has been emptied`;
    return `the mailbox of ${clientId} holds its maximum of ${options.maxQueued} messages`;
  }
}

/**
 * Returns how many copies of a message may have to be stored at most, besides what lies in a mail drop: one for each
 * receiver that outlives its connection.
 */
function copiesOf(route: ClusterRoute, qos: QoS): number {
  if (qos === 0) return 0;
  return route.groups.length + (route.isMailDrop ? 0 : persistentReceivers(route));
}

/** Returns how long a message in a mail drop is kept: as in a mailbox, if a persistent session is owed it. */
export function keepingOf(route: ClusterRoute, qos: QoS): Keeping {
  return qos > 0 && persistentReceivers(route) > 0 ? "mailbox" : "drop";
}

/** Returns how many receivers that outlive their connections get what is published on a route at QoS 1 or 2. */
function persistentReceivers({ targets, elsewhere }: ClusterRoute): number {
  let count = 0;
  for (const { subscriber, qos } of targets) if (subscriber.mailbox !== undefined && qos > 0) count++;
  for (const { subscriber, qos } of elsewhere) if (isRemoteSession(subscriber) && qos > 0) count++;
  return count;
}
