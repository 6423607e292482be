/**
 * How full the mailboxes of persistent sessions are, here and elsewhere, as far as this broker stores in them. One that
 * has been filled to `mailboxHighPartMin` is named in the log, once, and counted until it has fallen to
 * `mailboxLowPartMax`; one that is full is looked at (`connect/full-mailboxes.ts`).
 */
import { logTextMax, mailboxHighPartMin, mailboxLowPartMax } from "../../base/limits.ts";
import type { MailboxNumbers } from "../../mail/mailbox-numbers.ts";
import type { Runtime } from "../core/runtime.ts";

/** Watches the numbers of slips, by client ids. What it is told first may be too much: the store is asked then. */
export class MailboxGauge {
  readonly #context: Runtime;
  readonly #numbers: MailboxNumbers;
  readonly #look: (clientId: string) => void;
  /** From here on a mailbox is worth a look; 1 at least. */
  readonly #highMin: number;
  readonly #lowMax: number;
  readonly #high = new Set<string>();

  /** `look`: has the mailbox of a client counted in the store, and is told what to do by that. */
  constructor(runtime: Runtime, parts: { numbers: MailboxNumbers; look: (clientId: string) => void }) {
    this.#context = runtime;
    this.#numbers = parts.numbers;
    this.#look = parts.look;
    this.#highMin = Math.max(1, Math.ceil(runtime.options.maxQueued * mailboxHighPartMin));
    this.#lowMax = Math.floor(runtime.options.maxQueued * mailboxLowPartMax);
  }

  /** The client ids whose mailboxes are known to be filled far. */
  get high(): ReadonlySet<string> {
    return this.#high;
  }

  /** Notes that a slip is on its way into a mailbox, which holds `count` then, as far as is known. */
  filled(clientId: string, count: number): void {
    if (count < this.#highMin && !this.#numbers.isSpent(clientId)) return;
    if (this.isFull(clientId, count) || !this.#high.has(clientId)) this.#look(clientId);
  }

  /** Returns true if a mailbox takes nothing more that holds `count` slips: the maximum, or no number is left. */
  isFull(clientId: string, count: number): boolean {
    return count >= this.#context.options.maxQueued || this.#numbers.isSpent(clientId);
  }

  /** Notes how many slips the store has counted. `user`: whose session it is; "": nobody's, or it is not known. */
  counted(clientId: string, count: number, user: string): void {
    const { log, options } = this.#context;
    if (count <= this.#lowMax) return this.forget(clientId);
    if (count < this.#highMin || this.#high.has(clientId)) return;
    this.#high.add(clientId);
    this.#context.metrics.mailboxesHigh = this.#high.size;
    const whose = user === "" ? {} : { user: user.slice(0, logTextMax) };
    const facts = { client: clientId.slice(0, logTextMax), ...whose, messages: count, maximum: options.maxQueued };
    log.warn(facts, "a mailbox is nearly full");
  }

  /** Forgets a mailbox: it has been emptied, or its session has ended. */
  forget(clientId: string): void {
    if (this.#high.delete(clientId)) this.#context.metrics.mailboxesHigh = this.#high.size;
  }
}
