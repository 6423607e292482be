/** Retained messages: in memory for look-ups, in the store for good, and mirrored from what other brokers write there. */
import { noBytes } from "../base/bytes.ts";
import { parentPath, retainedPath, topicOfPath, topicPath } from "../coordinator/paths.ts";
import type { Payment } from "../mail/ledger.ts";
import type { JournalOperation, Outcome } from "../mail/operations.ts";
import { readStored } from "../mail/parts.ts";
import { decodeMessageHead } from "../mail/records.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Context } from "./context.ts";
import { Mirror, read } from "./mirror.ts";

/** What pays for a message that is being written. */
interface Bill {
  readonly credits: number;
  readonly payment: Payment;
}

/** A write that is under way. */
interface Writing {
  readonly bill: Bill | undefined;
  /** The id of its payload, if that is in parts. */
  parts: string | undefined;
}

export class Retaining {
  readonly #context: Context;
  readonly #mirror: Mirror;
  /** Writes of this broker that are under way, by path: until they are done, what others wrote is older. */
  readonly #writing = new Map<string, Writing[]>();
  /** Messages whose payloads are being read. */
  #reading = 0;
  /** Ids of payloads in parts, by the paths of the messages that stand in the store. */
  readonly #inParts = new Map<string, string>();

  constructor(context: Context) {
    this.#context = context;
    this.#mirror = new Mirror(context.coordinator, {
      root: retainedPath,
      concerns: (path) => !this.#writing.has(path),
      needsData: () => true,
      apply: (path, node) => this.#apply(path, node === "exists" ? undefined : node?.data),
    });
  }

  async start(): Promise<void> {
    await this.#mirror.start();
    while (this.#reading > 0) await read(this.#context.coordinator, [{ kind: "exists", path: retainedPath }]);
  }

  /** What keeping a message costs; clearing costs nothing. */
  priceOf(publish: Publish): number {
    return publish.payloadLength === 0 ? 0 : this.#context.banking.retainedPriceOf(publish);
  }

  /** True if a message would be one retained message too many. */
  isFull(publish: Publish, topic: string): boolean {
    const { retained, options, metrics } = this.#context;
    if (options.maxRetained === 0 || publish.payloadLength === 0) return false;
    if (retained.clientsSize < options.maxRetained || retained.get(topic) !== undefined) return false;
    metrics.beyondLimit.retained++;
    return true;
  }

  /** Changes the retained message in memory, and returns what changes it in the store. */
  retain(publish: Publish, topic: string, payment: Payment | undefined): JournalOperation[] {
    const { retained, mail } = this.#context;
    const path = topicPath(retainedPath, topic);
    if (publish.payloadLength === 0) {
      if (!retained.delete(topic)) return [];
      this.#write(path, undefined);
      const after = (how: Outcome): void => {
        this.#written(path, how);
        if (how === "committed") this.#prune(parentPath(path));
      };
      return [{ kind: "remove", path, isCurrent: () => retained.get(topic) === undefined, after }];
    }
    const exists = retained.hasNode(topic);
    const kept = publish.kept();
    retained.set(topic, kept);
    const credits = this.priceOf(kept);
    const writing = this.#write(path, payment && { credits, payment });
    const isCurrent = (): boolean => retained.get(topic)?.publish === kept;
    const after = (how: Outcome): void => this.#written(path, how);
    const { data, checks, parts } = mail.retain(kept, credits);
    writing.parts = parts?.id;
    return [...checks, { kind: "put", path, data, exists, isCurrent, after }];
  }

  #write(path: string, bill: Bill | undefined): Writing {
    const writing: Writing = { bill, parts: undefined };
    const before = this.#writing.get(path);
    if (before === undefined) this.#writing.set(path, [writing]);
    else before.push(writing);
    this.#mirror.note(path);
    return writing;
  }

  /** The oldest write that is under way is over. If it was committed, what stood there before is paid for no longer. */
  #written(path: string, how: Outcome): void {
    const { account } = this.#context.banking;
    const writings = this.#writing.get(path)!;
    const { bill, parts } = writings.shift()!;
    if (writings.length === 0) this.#writing.delete(path);
    if (how === "committed") {
      this.#mirror.note(path);
      this.#removeParts(path);
      this.#standsInParts(path, parts);
      account.freed(path);
      if (bill !== undefined) account.keep(path, bill.credits, bill.payment);
    }
    bill?.payment.close();
    // What is in memory is not what is in the store.
    if (how === "refused") this.#mirror.refresh(path);
    // Its own payload stands nowhere; what stands there is what the next write, or the last one, has left.
    if (how !== "committed" && parts !== undefined) this.#context.slips.removeParts(parts);
  }

  /** What stood at a path in parts stands there no longer. */
  #removeParts(path: string): void {
    const id = this.#inParts.get(path);
    this.#inParts.delete(path);
    if (id !== undefined) this.#context.slips.removeParts(id);
  }

  #standsInParts(path: string, id: string | undefined): void {
    if (id === undefined) this.#inParts.delete(path);
    else this.#inParts.set(path, id);
  }

  #apply(path: string, data: Uint8Array | undefined): void {
    const { retained, coordinator, banking } = this.#context;
    const head = data && decodeMessageHead(data);
    if (head?.branch !== banking.branch) banking.account.freed(path);
    const parts = head?.parts?.id;
    this.#standsInParts(path, parts);
    const topic = topicOfPath(retainedPath, path);
    // Empty: a level above others, or a message that was cleared while others stood below it.
    if (data === undefined || data.length === 0) {
      retained.delete(topic);
      return;
    }
    this.#reading++;
    readStored(coordinator, topic, data, (publish) => {
      this.#reading--;
      // Replaced while its payload was read.
      if (publish === undefined || this.#inParts.get(path) !== parts || this.#writing.has(path)) return;
      this.#found(path, topic, publish);
    });
  }

  #found(path: string, topic: string, publish: Publish): void {
    const { retained, clock, journal } = this.#context;
    if (publish.expiresAt > clock.wall()) retained.set(topic, publish);
    else journal.commit([{ kind: "remove", path }], () => this.#removeParts(path));
  }

  /** The time of a retained message is over: it goes, if it is still the one that was seen. */
  expire(path: string, version: number): void {
    this.#context.coordinator.write([{ kind: "delete", path, version }], (error) => {
      if (error === undefined || error.code === "NotEmpty") this.#removeParts(path);
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
