/** The pings of one connection, and how long the broker takes to answer them. */
import { systemClock } from "../base/clock.ts";
import { type Deferred, defer } from "./deadlines.ts";

export class Pings {
  /** Milliseconds from the last ping to its answer; undefined: there was none. */
  roundTripMs: number | undefined;
  readonly #send: () => void;
  /** In their order, in which they are answered. Nobody waits for those that only keep the connection alive. */
  #underWay: { readonly at: number; readonly waiting: Deferred<void> | undefined }[] = [];

  /** `send` writes a PINGREQ. */
  constructor(send: () => void) {
    this.#send = send;
  }

  /** Resolves with the answer. Rejects when the connection is closed. */
  ask(): Promise<void> {
    const waiting = defer<void>();
    this.#ask(waiting);
    return waiting.promise;
  }

  keepAlive(): void {
    this.#ask(undefined);
  }

  answered(): void {
    const ping = this.#underWay.shift();
    if (ping === undefined) return;
    this.roundTripMs = systemClock.now() - ping.at;
    ping.waiting?.resolve();
  }

  close(error: Error): void {
    for (const { waiting } of this.#underWay.splice(0)) waiting?.reject(error);
  }

  #ask(waiting: Deferred<void> | undefined): void {
    this.#send();
    this.#underWay.push({ at: systemClock.now(), waiting });
  }
}
