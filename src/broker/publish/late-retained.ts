/**
 * Retained messages that reach another broker late, since its link was cut: by then a newer message may have been
 * retained by a third broker, and have been heard there before. Whoever hears the older one last would take it for what
 * is true, against what is retained; so what is retained is said again, after it.
 */
import { retainedLookMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { Settlement } from "../../mail/settlement.ts";
import type { QoS } from "../../mqtt/constants.ts";
import { isSameMessage, type Publish, topicOf } from "../../mqtt/publish.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { LinkSender } from "../peers/link-sender.ts";
import type { Peer } from "../peers/peer.ts";
import type { RetainedStore } from "./retained-store.ts";

/** A topic at another broker where this one has said something late. */
interface Doubt {
  readonly peer: Peer;
  readonly topic: string;
  /** The message that this broker has said there last. */
  readonly said: Publish;
}

/**
 * Says again what is retained, where an older message has just arrived. It is looked at once, and once more a while
 * later: a newer message is heard before it is committed.
 */
export class LateRetained {
  readonly #context: ClusterContext;
  readonly #retainedStore: RetainedStore;
  readonly #linkSender: LinkSender;
  /** The doubts that are being looked into, by broker and topic: a later one replaces an earlier one. */
  readonly #doubts = new Map<string, Doubt>();

  constructor(context: ClusterContext, parts: { retainedStore: RetainedStore; linkSender: LinkSender }) {
    this.#context = context;
    this.#retainedStore = parts.retainedStore;
    this.#linkSender = parts.linkSender;
  }

  /** Handles the late arrival of a retained message of this broker's at another one. */
  arrived(peer: Peer, said: Publish): void {
    const doubt = { peer, topic: topicOf(said), said };
    this.#doubts.set(keyOf(doubt), doubt);
    this.#look(doubt, () => this.#lookLater(doubt));
  }

  #lookLater(doubt: Doubt): void {
    const { timers, clock } = this.#context;
    const timer = new Timer(() => this.#look(doubt, () => this.#doubts.delete(keyOf(doubt))));
    timers.set(timer, clock.now() + retainedLookMs);
  }

  /** Says again what is retained, if that is something else; `isSaid` is called if it is not. */
  #look(doubt: Doubt, isSaid: () => void): void {
    this.#retainedStore.caughtUp(() => {
      if (this.#doubts.get(keyOf(doubt)) !== doubt) return;
      const { peer } = doubt;
      const present = this.#presentAfter(doubt);
      if (present === undefined) return isSaid();
      if (!peer.isMember) return void this.#doubts.delete(keyOf(doubt));
      const next = { ...doubt, said: present };
      this.#doubts.set(keyOf(next), next);
      const settlement = new Settlement(present, this.#context.mail.nextOrder());
      const packet = this.#linkSender.encode(present, Math.min(1, present.qos) as QoS);
      this.#linkSender.deliver(peer, { toInterest: true, sessions: [], groups: [] }, settlement, packet);
      if (settlement.isSettled) this.#lookLater(next);
      else settlement.whenSettled(() => this.#lookLater(next));
    });
  }

  /**
   * Returns what another broker has retained in place of what was said; undefined: nothing. Where nothing is retained
   * it may be that it was cleared since, or that what was said was never retained: its publisher had gone elsewhere.
   */
  #presentAfter({ topic, said }: Doubt): Publish | undefined {
    const present = this.#context.retained.get(topic);
    if (present === undefined || isSameMessage(present.publish, said)) return undefined;
    // What was published here since has gone over the same link, after it. At QoS 2 nothing may be said twice.
    return present.wasLive || present.publish.qos === 2 ? undefined : present.publish;
  }
}

function keyOf({ peer, topic }: Doubt): string {
  return `${peer.id} ${topic}`;
}
