/**
 * The last things that were refused, with the reason of each, for whoever asks why. Nothing is done for them but when
 * something is refused, and a flood of one kind from one client takes one place.
 */
import { dropLookMs, droppedTopicsMax, recentRefusalsMax, rememberedTextMax } from "../../base/api-limits.ts";
import type { Clock } from "../../base/clock.ts";
import { Ring } from "../../base/ring.ts";
import type { Trace } from "./trace.ts";

/** The kinds of what is refused: a connection, a publish, a subscription, a will, or a packet against the protocol. */
export type RefusedKind = "connect" | "publish" | "subscribe" | "will" | "protocol";

/** A refusal as it is noted. */
export interface Refused {
  readonly kind: RefusedKind;
  /** The limit, rule or reason code, in a word. */
  readonly cause: string;
  /** Returns the reason in words; called only where it is remembered. */
  readonly reason: () => string;
  /** Undefined: the client had not said who it is. */
  readonly clientId: string | undefined;
  /** Address and port from which it came; undefined: nobody was connected. */
  readonly remote: string | undefined;
  readonly user?: string;
  /** The topic of the publish, or will, that was refused. */
  readonly topic?: (() => string) | undefined;
}

/** A refusal as it is remembered. */
export interface RememberedRefusal extends Omit<Refused, "reason" | "user" | "topic"> {
  readonly reason: string;
  /** Topics of some of them, the last one last, and the reason of each. */
  readonly topics: Map<string, string>;
  readonly number: number;
  /** When it was refused last, in ms since 1970, and how often in a row. */
  at: number;
  times: number;
}

/** Remembers the last refusals. */
export class RecentRefusals {
  readonly #clock: Pick<Clock, "wall">;
  readonly #told: (refusal: RememberedRefusal) => void;
  readonly #trace: Trace;
  readonly #recent = new Ring<RememberedRefusal>();
  #last: RememberedRefusal | undefined;
  #number = 0;

  /** `told`: told of each that takes a new place: of a flood the first. */
  constructor(clock: Pick<Clock, "wall">, trace: Trace, told: (refusal: RememberedRefusal) => void) {
    this.#clock = clock;
    this.#trace = trace;
    this.#told = told;
  }

  /** Notes a refusal. */
  note({ kind, cause, reason, clientId, remote, user = "", topic }: Refused): void {
    if (this.#trace.isOn) {
      const subject = { clientId, user, address: addressOf(remote ?? "") };
      this.#trace.tell({
        kind: "refused",
        subject,
        topic: topic?.(),
        text: () => `${kind} refused (${cause}): ${reason()}`,
      });
    }
    const at = this.#clock.wall();
    const last = this.#last;
    if (last?.kind === kind && last.cause === cause && last.clientId === clientId && last.remote === remote) {
      if (topic !== undefined && (last.topics.size < droppedTopicsMax || at - last.at >= dropLookMs))
        rememberTopic(last.topics, topic(), reason);
      last.at = at;
      last.times++;
      return;
    }
    const short = reason().slice(0, rememberedTextMax);
    const topics = new Map<string, string>();
    if (topic !== undefined) rememberTopic(topics, topic(), () => short);
    this.#last = { kind, cause, reason: short, clientId, remote, topics, number: ++this.#number, at, times: 1 };
    this.#recent.push(this.#last);
    if (this.#recent.length > recentRefusalsMax) this.#recent.shift();
    this.#told(this.#last);
  }

  /** All that are remembered, the oldest first. */
  *all(): Generator<RememberedRefusal> {
    for (let index = 0; index < this.#recent.length; index++) yield this.#recent.at(index)!;
  }
}

function rememberTopic(topics: Map<string, string>, topic: string, reason: () => string): void {
  const short = topic.slice(0, rememberedTextMax);
  const why = topics.get(short) ?? reason().slice(0, rememberedTextMax);
  topics.delete(short);
  if (topics.size >= droppedTopicsMax) topics.delete(topics.keys().next().value!);
  topics.set(short, why);
}

/** Returns an address without its port. */
function addressOf(remote: string): string {
  return remote.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}
