/** Retained messages: in memory for look-ups, in the store for good, and mirrored from what other brokers write there. */
import { noBytes } from "../base/bytes.ts";
import { parentPath, retainedPath, topicOfPath, topicPath } from "../coordinator/paths.ts";
import type { Payment } from "../mail/ledger.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { decodeMessage, decodeMessageHead, encodeMessage } from "../mail/records.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Context } from "./context.ts";
import { Mirror } from "./mirror.ts";

/** What pays for a message that is being written. */
interface Bill {
  readonly credits: number;
  readonly payment: Payment;
}

export class Retaining {
  readonly #context: Context;
  readonly #mirror: Mirror;
  /** Writes of this broker that are under way, by path: until they are done, what others wrote is older. */
  readonly #writing = new Map<string, (Bill | undefined)[]>();

  constructor(context: Context) {
    this.#context = context;
    this.#mirror = new Mirror(context.coordinator, {
      root: retainedPath,
      concerns: (path) => !this.#writing.has(path),
      needsData: () => true,
      apply: (path, node) => this.#apply(path, node === "exists" ? undefined : node?.data),
    });
  }

  start(): Promise<void> {
    return this.#mirror.start();
  }

  /** What keeping a message costs; clearing costs nothing. */
  priceOf(publish: Publish): number {
    return publish.payloadLength === 0 ? 0 : this.#context.banking.retainedPriceOf(publish);
  }

  /** Changes the retained message in memory, and returns what changes it in the store. */
  retain(publish: Publish, topic: string, payment: Payment | undefined): JournalOperation[] {
    const { retained, banking } = this.#context;
    const path = topicPath(retainedPath, topic);
    if (publish.payloadLength === 0) {
      if (!retained.delete(topic)) return [];
      this.#write(path, undefined);
      const after = (how: "committed" | "refused"): void => {
        this.#written(path, how);
        this.#prune(parentPath(path));
      };
      return [{ kind: "remove", path, isCurrent: () => retained.get(topic) === undefined, after }];
    }
    const exists = retained.hasNode(topic);
    const kept = publish.kept();
    retained.set(topic, kept);
    const credits = this.priceOf(kept);
    this.#write(path, payment && { credits, payment });
    const isCurrent = (): boolean => retained.get(topic)?.publish === kept;
    const after = (how: "committed" | "refused"): void => this.#written(path, how);
    const data = encodeMessage(kept, { credits, keepUntil: Infinity, branch: banking.branch, recipients: 0 });
    return [banking.guard(), { kind: "put", path, data, exists, isCurrent, after }];
  }

  #write(path: string, bill: Bill | undefined): void {
    const bills = this.#writing.get(path);
    if (bills === undefined) this.#writing.set(path, [bill]);
    else bills.push(bill);
    this.#mirror.note(path);
  }

  /** The oldest write that is under way is over: what stood there before is paid for no longer. */
  #written(path: string, how: "committed" | "refused"): void {
    const { account } = this.#context.banking;
    const bills = this.#writing.get(path)!;
    const bill = bills.shift();
    if (bills.length === 0) this.#writing.delete(path);
    if (how === "committed") {
      account.freed(path);
      if (bill !== undefined) account.keep(path, bill.credits, bill.payment);
    }
    bill?.payment.close();
    // What is in memory is not what is in the store.
    if (how === "refused") this.#mirror.refresh(path);
  }

  #apply(path: string, data: Uint8Array | undefined): void {
    const { retained, clock, journal, banking } = this.#context;
    if (data === undefined || decodeMessageHead(data)?.branch !== banking.branch) banking.account.freed(path);
    const topic = topicOfPath(retainedPath, path);
    // Empty: a level above others, or a message that was cleared while others stood below it.
    if (data === undefined || data.length === 0) {
      retained.delete(topic);
      return;
    }
    const publish = decodeMessage(topic, data);
    if (publish.expiresAt > clock.wall()) retained.set(topic, publish);
    else journal.commit([{ kind: "remove", path }]);
  }

  /** The time of a retained message is over: it goes, if it is still the one that was seen. */
  expire(path: string, version: number): void {
    this.#context.coordinator.write([{ kind: "delete", path, version }], (error) => {
      if (error === undefined) this.#prune(parentPath(path));
      // There are others below it: it stays as their level.
      else if (error.code === "NotEmpty")
        this.#context.coordinator.write([{ kind: "set", path, data: noBytes, version }], () => {});
    });
  }

  /**
   * Levels of retained messages are no containers: a container that is given a message would vanish with the last
   * one below it. So the empty ones are removed here, each only as it was seen.
   */
  #prune(path: string): void {
    const { coordinator } = this.#context;
    if (path === retainedPath) return;
    coordinator.read([{ kind: "get", path }], (_, [node]) => {
      if (typeof node !== "object" || !("data" in node) || node.data.length > 0 || node.stat.childCount > 0) return;
      coordinator.write([{ kind: "delete", path, version: node.stat.version }], (error) => {
        if (error === undefined) this.#prune(parentPath(path));
      });
    });
  }
}
