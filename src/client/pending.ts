/** A publish that is not settled, and the promise that its application has of it. */
import type { Publish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Published } from "./client-options.ts";
import type { Unacknowledged } from "./client-session.ts";

/** Lets an application leave a publish to itself: its rejection does not end the process when nobody awaits it. */
export function mayBeLeft<Outcome>(publishing: Promise<Outcome>): Promise<Outcome> {
  publishing.catch(() => {});
  return publishing;
}

/** Returns the promise of a publish that is refused at once: it rejects with `error`. */
export function refused(error: unknown): Promise<Published> {
  return mayBeLeft(Promise.reject(error));
}

export class Pending implements Unacknowledged {
  readonly publish: Publish;
  released = false;
  reason: number = Reason.success;
  isSent = false;
  /** True if nobody waits for it any more: if it has not been sent, it is not. */
  isAborted = false;
  /** The key that it has in the store; 0: it is not there. */
  key = 0;
  /** False: it is on its way into the store, and does not go out before it is there. */
  isKept = true;
  readonly settled: Promise<Published>;
  #resolve!: (published: Published) => void;
  #reject!: (error: unknown) => void;
  #signal: AbortSignal | undefined;

  constructor(publish: Publish) {
    this.publish = publish;
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(published: Published): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#resolve(published);
  }

  reject(error: unknown): void {
    this.#signal?.removeEventListener("abort", this.#abort);
    // Here, since nearly all are taken over: a reaction for each of them costs a publisher some percent of its time.
    void mayBeLeft(this.settled);
    this.#reject(error);
  }

  watch(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort);
  }

  onAborted: (() => void) | undefined;

  readonly #abort = (): void => {
    this.isAborted = true;
    this.onAborted?.();
    this.reject(this.#signal!.reason);
  };
}
