/**
 * Publishes of the operator's own, which come over no connection. They follow the rules of clients' publishes, but the
 * access list: what cannot be paid for, stored or retained is refused at once, with the reason.
 */
import { isInTheWay } from "../../mail/unit.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { placeInDrop } from "./drop-place.ts";
import type { Fanout } from "./fanout.ts";
import { isOwnTopic } from "./own-topics.ts";
import type { PublishAdmission } from "./publish-admission.ts";
import type { RetainedStore } from "./retained-store.ts";

export interface OperatorPublisherParts {
  readonly fanout: Fanout;
  readonly retainedStore: RetainedStore;
  readonly admission: PublishAdmission;
}

/** Publishes what the operator says. */
export class OperatorPublisher {
  readonly #context: ClusterContext;
  readonly #parts: OperatorPublisherParts;

  constructor(context: ClusterContext, parts: OperatorPublisherParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Publishes a message; `done` is called when it is settled (undefined), or with the reason why it was refused. */
  publish(publish: Publish, done: (why: string | undefined) => void): void {
    const { router, mail } = this.#context;
    const { fanout, retainedStore, admission } = this.#parts;
    const route = router.route(publish.topicBytes, publish.topicStart, publish.topicEnd);
    if (route === undefined) return done("the topic is none that may be published on");
    if (isOwnTopic(route.topic)) return done("only the broker publishes on that topic");
    if (!mail.fits(publish)) return done("the message is larger than what the store takes at once");
    const admitted = admission.admit(publish, route, undefined);
    if ("why" in admitted) return done(admitted.why);
    const { payment, retainedPayment } = admitted;
    const inDrop = placeInDrop(this.#context, publish, { route, publisher: undefined, payment });
    const retaining = { payment: retainedPayment, isAwaited: () => true };
    const kept = publish.retain ? retainedStore.retain(publish, route.topic, retaining) : [];
    let isDone = false;
    const end = (why: string | undefined): void => {
      if (isDone) return;
      isDone = true;
      done(why);
    };
    const { settlement } = fanout.deliver(publish, route, undefined, {
      operations: [...kept, ...inDrop.operations],
      payment,
      refused: ({ code }) => {
        inDrop.withdrawn();
        end(isInTheWay(code) ? "something that is not the broker's stands in the store in its place" : code);
      },
    });
    if (settlement === undefined || settlement.isSettled) end(undefined);
    else settlement.whenSettled(() => end(undefined));
  }
}
