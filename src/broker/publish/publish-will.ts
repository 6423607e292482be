/**
 * The publishing of wills. Nobody is there who could be told of a refusal, or send the will again: so one that the bank
 * cannot pay for at once waits, in the store, until the vault and the other brokers have said what they have. What is
 * given up then is counted, and told in the log.
 */
import { bankHopeRetryMs } from "../../base/bank-limits.ts";
import { willRetryMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Settlement } from "../../mail/settlement.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { CreditWait } from "../core/credit-wait.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import { placeInDrop } from "./drop-place.ts";
import type { Fanout } from "./fanout.ts";
import { isOwnTopic } from "./own-topics.ts";
import type { AdmittedPublish, PublishAdmission } from "./publish-admission.ts";
import type { Refusals } from "./refusals.ts";
import type { RetainedStore } from "./retained-store.ts";

/** A will that is due. */
export interface DueWill {
  readonly publish: Publish;
  /** The session of its client, or one that stands for it. */
  readonly publisher: LocalSession;
  /** The operations that remove it from the store: committed with its publication, or when it is given up. */
  readonly operations: JournalOperation[];
  /**
   * Returns whether it is still to be published, while it waits for credits. back: its client waits for that, so it is
   * published now or given up. over: somebody else takes care of it, or has removed it; nothing more is done.
   */
  readonly standing: () => "due" | "back" | "over";
  /** Called before it leaves: from now on nothing stops it. */
  readonly leaves: () => void;
  /** Told the settlement of a will that has left, if something must be waited for. */
  readonly left: (settlement: Settlement | undefined) => void;
  /** Called when it is settled, given up, or the store has refused it with `operations`; not when it is over. */
  readonly done: () => void;
}

export interface WillPublisherParts {
  readonly fanout: Fanout;
  readonly retainedStore: RetainedStore;
  readonly admission: PublishAdmission;
  readonly refusals: Refusals;
}

/** A will that waits for credits, and how long until it is tried again. */
interface WaitingWill {
  readonly will: DueWill;
  readonly wait: CreditWait;
  retryMs: number;
}

/** Publishes wills. */
export class WillPublisher {
  readonly #context: ClusterContext;
  readonly #parts: WillPublisherParts;

  constructor(context: ClusterContext, parts: WillPublisherParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Publishes a will, as soon as it can be paid for. */
  publish(will: DueWill): void {
    const wait: CreditWait = { since: this.#context.clock.now(), hopeUntil: undefined };
    this.#attempt({ will, wait, retryMs: bankHopeRetryMs });
  }

  /** Has a will that is under way to other brokers stored at once, for those receivers for whom it can be. */
  storeInstead(settlement: Settlement): void {
    this.#parts.fanout.storeInstead(settlement);
  }

  #attempt(waiting: WaitingWill): void {
    const { router, timers, clock, coordinator } = this.#context;
    const { will, wait } = waiting;
    const { publish, publisher } = will;
    const standing = will.standing();
    if (standing === "over") return;
    const route = router.route(publish.topicBytes, publish.topicStart, publish.topicEnd);
    // The client may not be allowed any more what it was allowed when it set its will, or by an earlier version.
    if (route === undefined || isOwnTopic(route.topic) || publisher.permissions?.mayPublish(route.topic) === false)
      return this.#giveUp(will);
    const { fanout } = this.#parts;
    if (fanout.isUnderWay(route)) return fanout.whenOver(route, () => this.#attempt(waiting));
    const admission = this.#parts.admission.admitWill(publish, route, publisher);
    if (!("why" in admission)) return this.#send(will, route, admission);
    // Without the store nobody knows what the bank has.
    const isFinal = coordinator.state === "CONNECTED" && this.#parts.admission.isFinal(admission, wait);
    if (isFinal || standing === "back") {
      const why = standing === "back" ? `${admission.why}; its client is back` : admission.why;
      this.#parts.refusals.noteWill(
        admission.cause,
        `on ${route.topic}: ${why}`,
        publisher.session.clientId,
        () => route.topic,
      );
      return this.#giveUp(will);
    }
    timers.set(new Timer(() => this.#attempt(waiting)), clock.now() + waiting.retryMs);
    // There may be many of them at once.
    waiting.retryMs = Math.min(2 * waiting.retryMs, willRetryMs);
  }

  #giveUp({ leaves, operations, done }: DueWill): void {
    leaves();
    this.#context.journal.commit(operations, done, done);
  }

  #send({ publish, publisher, operations, leaves, left, done }: DueWill, route: ClusterRoute, paid: AdmittedPublish) {
    const { payment, retainedPayment } = paid;
    leaves();
    const inDrop = placeInDrop(this.#context, publish, { route, publisher, payment });
    const { clientId } = publisher.session;
    const retaining = { payment: retainedPayment, isAwaited: () => true, clientId };
    const kept = publish.retain ? this.#parts.retainedStore.retain(publish, route.topic, retaining) : [];
    // Another broker has published the will, or keeps the session.
    const refused = (): void => {
      inDrop.withdrawn();
      done();
    };
    const how = { operations: [...operations, ...kept, ...inDrop.operations], refused, payment };
    const { settlement } = this.#parts.fanout.deliver(publish, route, publisher, how);
    left(settlement);
    if (settlement === undefined || settlement.isSettled) done();
    else settlement.whenSettled(done);
  }
}
