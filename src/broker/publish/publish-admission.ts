/** Whether a publish may be taken: nothing that it would go into is full, and the bank can pay for all of it. */
import type { Payment } from "../../mail/ledger.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { fullDiskWords } from "../core/full-disk.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import type { Fanout } from "./fanout.ts";
import type { RefusalCause } from "./refusals.ts";
import type { RetainedStore } from "./retained-store.ts";

/** Why a publish cannot be taken now. */
export interface Denial {
  readonly cause: RefusalCause;
  /** In words. */
  readonly why: string;
  /** It may be otherwise in a moment. */
  readonly isHopeful: boolean;
}

/** What is set aside for a publish; undefined where nothing may have to be stored. */
export interface AdmittedPublish {
  /** For the copies of it in mailboxes. */
  readonly payment: Payment | undefined;
  readonly retainedPayment: Payment | undefined;
}

export class PublishAdmission {
  readonly #context: DeliveryContext;
  readonly #fanout: Fanout;
  readonly #retainedStore: RetainedStore;

  constructor(context: DeliveryContext, { fanout, retainedStore }: { fanout: Fanout; retainedStore: RetainedStore }) {
    this.#context = context;
    this.#fanout = fanout;
    this.#retainedStore = retainedStore;
  }

  /** Sets aside what a publish may cost; or says in words why it cannot be taken now. */
  admit(publish: Publish, route: ClusterRoute): AdmittedPublish | Denial {
    const { bankAccount, coordinator, options } = this.#context;
    const full = publish.qos === 0 ? undefined : this.#fanout.fullMailbox(route, publish.qos);
    if (full !== undefined)
      return {
        cause: "mailbox",
        why: `the mailbox of ${full} holds its maximum of ${options.maxQueued} messages`,
        isHopeful: false,
      };
    if (publish.retain && this.#retainedStore.isFull(publish, route.topic))
      return {
        cause: "retained",
        why: `the broker holds its maximum of ${options.maxRetained} retained messages`,
        isHopeful: false,
      };
    const copiesPrice = this.#priceOf(publish, route);
    const retainedPrice = publish.retain ? this.#retainedStore.priceOf(publish) : 0;
    if (copiesPrice + retainedPrice === 0) return { payment: undefined, retainedPayment: undefined };
    // To be empty again the store needs the room that is left.
    if (coordinator.isFull === true) return { cause: "disk", why: fullDiskWords, isHopeful: false };
    const payment = bankAccount.reserve(copiesPrice);
    const retainedPayment = bankAccount.reserve(retainedPrice);
    if (payment !== undefined && retainedPayment !== undefined) return { payment, retainedPayment };
    payment?.close();
    retainedPayment?.close();
    const price = copiesPrice + retainedPrice;
    return { cause: "bank", why: bankAccount.describe(price), isHopeful: bankAccount.mayPay(price) };
  }

  /** What all copies of a publish cost that may have to be stored, in milli-credits. */
  #priceOf(publish: Publish, route: ClusterRoute): number {
    const { bankAccount } = this.#context;
    const copies = this.#fanout.copiesOf(route, publish.qos);
    const mail = copies === 0 ? 0 : copies * bankAccount.termsOf(publish, "mailbox").credits;
    return route.isMailDrop
      ? mail + bankAccount.termsOf(publish, this.#fanout.keepingOf(route, publish.qos)).credits
      : mail;
  }
}
