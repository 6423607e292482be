/**
 * Finds the message that a broker will not take, where closing the connection is all that it says to it: before MQTT 5
 * there is no other answer to one that is too large. Sent again in each new connection, it would keep those behind it
 * from the broker for ever.
 *
 * A broker of MQTT 5 says so, or how much it takes: where it closes without a word it is the network, or its death.
 *
 * When a connection has ended without a single ack, what was under way goes one by one in the next. A message that was
 * alone on its way when the broker closed, twice, is refused. A broker that dies is not taken for one that refuses: it
 * cannot be reached for a while, and each time that counts as a closing more that it takes.
 */
import { Reason } from "../mqtt/reason.ts";

const closingsMin = 2;
/** Failed attempts to connect ask for more closings, but not for so many more. */
const failuresMax = 3;
/** Brokers close on what they will not have as soon as they see it; later they have other reasons: an empty bank. */
const promptMs = 10_000;

/** The state of the publishes on a connection when the broker has closed it. */
export interface Loss<One> {
  /** The publish under way, if it was the only one. */
  readonly alone: One | undefined;
  /** ms since that was sent. */
  readonly sinceMs: number;
  /** Acks that have come in that connection. */
  readonly acks: number;
  /** Publishes that are not acknowledged. */
  readonly outgoing: number;
  /** DISCONNECT's reason; undefined: the broker has said nothing. */
  readonly reason: number | undefined;
  /** True before MQTT 5: a broker has no way to say it. */
  readonly isMute: boolean;
}

/** `One`: a publish, by whose identity it is known in later connections. */
export class Suspicion<One extends object> {
  /** Publishes that are sent one by one, since one of them may be it. */
  #doubtful = 0;
  #suspect: One | undefined;
  #closings = 0;
  #failures = 0;

  /** True: one publish at a time. */
  get isCareful(): boolean {
    return this.#doubtful > 0;
  }

  /** A publish has been acknowledged, or refused. */
  settled(): void {
    if (this.#doubtful > 0) this.#doubtful--;
  }

  /** A connection could not be made. */
  failed(): void {
    this.#failures = Math.min(failuresMax, this.#failures + 1);
  }

  /** The broker has closed the connection. Returns the publish that is to be refused, if that is clear now. */
  lost({ alone, sinceMs, acks, outgoing, reason, isMute }: Loss<One>): One | undefined {
    const isAnswer = reason === Reason.packetTooLarge || (isMute && reason === undefined);
    if (!isAnswer) return undefined;
    if (acks === 0) this.#doubtful = outgoing;
    if (alone === undefined || (reason === undefined && sinceMs >= promptMs)) return undefined;
    if (alone !== this.#suspect) {
      this.#suspect = alone;
      this.#closings = 0;
      this.#failures = 0;
    }
    this.#closings++;
    const isClear = reason !== undefined || this.#closings >= closingsMin + this.#failures;
    return isClear ? alone : undefined;
  }
}
