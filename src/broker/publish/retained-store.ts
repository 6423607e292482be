/**
 * Retained messages: in memory for look-ups, in the store for good, and mirrored from what other brokers write there.
 * All brokers come to hold what was committed last. While this broker writes a message, what the store tells of its
 * path is older and is ignored; when it cannot be sure of that any more, it reads the path again.
 */
import { Mirror, type MirrorNode, read } from "../../coordinator/mirror.ts";
import { isEncodedPath, parentPath, retainedPath, topicOfPath, topicPath } from "../../coordinator/paths.ts";
import type { Payment, Price } from "../../mail/ledger.ts";
import { isDone, type JournalOperation, type Outcome } from "../../mail/operations.ts";
import { decodeStored, readPieces } from "../../mail/parts.ts";
import type { PaidPayload } from "../../mail/payloads.ts";
import { decodeMessageHead } from "../../mail/records.ts";
import { isSameMessage, type Publish } from "../../mqtt/publish.ts";
import type { LevelSweep } from "../core/level-sweep.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import { CatchingUp } from "./catching-up.ts";
import { isOwnTopic } from "./own-topics.ts";

/** The payment for a message that is being written. */
interface Bill extends Price {
  readonly payment: Payment;
}

/** The circumstances of a change: what pays for it, and whether its publisher still waits for it. */
export interface RetainOptions {
  readonly payment: Payment | undefined;
  readonly isAwaited: () => boolean;
  /** The client that has published it, for people; undefined: an operator. */
  readonly clientId?: string;
}

/** A write that is under way. */
interface Writing {
  readonly bill: Bill | undefined;
  /** The message's payload, if that is stored in parts. */
  payload: PaidPayload | undefined;
}

/** Writes retained messages, and mirrors those of other brokers. */
export class RetainedStore {
  readonly #context: DeliveryContext;
  readonly #sweep: LevelSweep;
  readonly #mirror: Mirror;
  readonly #catchingUp: CatchingUp;
  /** Writes of this broker that are under way, by path: until they are done, what the store tells of is older. */
  readonly #writing = new Map<string, Set<Writing>>();
  /** The number of messages whose payloads are being read. */
  #reading = 0;
  /** Counts how often contact with the store was lost. */
  #losses = 0;
  /** Payloads in parts, by the paths of their messages. */
  readonly #inParts = new Map<string, PaidPayload>();

  constructor(context: DeliveryContext, sweep: LevelSweep) {
    this.#context = context;
    this.#sweep = sweep;
    this.#mirror = new Mirror(context.coordinator, {
      root: retainedPath,
      concerns: (path) => !this.#writing.has(path) && isEncodedPath(retainedPath, path),
      needsData: () => true,
      apply: (path, node) => this.#apply(path, node === "exists" ? undefined : node),
    });
    context.coordinator.onState((state) => {
      if (state !== "CONNECTED") this.#losses++;
    });
    this.#catchingUp = new CatchingUp(context, (done) => this.#mirror.caughtUp(() => this.#whenRead(done)));
  }

  /** Calls back when all that any broker had committed before is held here; see `CatchingUp`. */
  caughtUp(done: () => void): void {
    this.#catchingUp.pass(done);
  }

  /** Calls back when no payload is being read. */
  #whenRead(done: () => void): void {
    if (this.#reading === 0) done();
    else this.#context.coordinator.read([], () => this.#whenRead(done));
  }

  /** Reads all retained messages. Rejects with `OperatingError` if the store cannot be read. */
  async start(): Promise<void> {
    await this.#mirror.start();
    while (this.#reading > 0) await read(this.#context.coordinator, [{ kind: "exists", path: retainedPath }]);
  }

  /** Returns the price of keeping a retained message, in milli-credits; clearing one costs nothing. */
  priceOf(publish: Publish): number {
    return publish.payloadLength === 0 ? 0 : this.#context.bankAccount.prices.ofRetained(publish);
  }

  /**
   * Returns true, and counts it, if there are as many retained messages as there may be and this would be a new one.
   */
  isFull(publish: Publish, topic: string): boolean {
    const { retained, options, metrics } = this.#context;
    if (options.maxRetained === 0 || publish.payloadLength === 0) return false;
    if (retained.clientsSize < options.maxRetained || retained.get(topic) !== undefined) return false;
    metrics.beyondLimit.retained++;
    return true;
  }

  /**
   * Changes the retained message of a topic in memory, and returns the operations that change it in the store. If
   * contact is lost before they are done and `isAwaited` returns false, they are left out: the publisher has gone,
   * perhaps to another broker, and may have been told there that a newer message is retained.
   */
  retain(publish: Publish, topic: string, { payment, isAwaited, clientId }: RetainOptions): JournalOperation[] {
    const { retained, mail, bankAccount, coordinator } = this.#context;
    const losses = this.#losses;
    const isDue = (): boolean => losses === this.#losses || isAwaited();
    const path = topicPath(retainedPath, topic);
    if (publish.payloadLength === 0) {
      const isKnown = retained.delete(topic);
      // Another broker may have committed one of which the store has not told yet.
      if (!isKnown && coordinator.isAlone && !this.#writing.has(path)) return [];
      const writing = this.#write(path, undefined);
      const after = (how: Outcome): void => {
        this.#written(path, writing, how);
        if (how === "committed" && !this.#writing.has(path)) this.#mirror.forget(path);
        // Nodes below it may have gone meanwhile, and have left this level as it was.
        if (how !== "emptied" && how !== "doubted") return;
        this.#sweep.note(path);
        this.#sweep.note(parentPath(path));
      };
      return [{ kind: "remove", path, isCurrent: () => retained.get(topic) === undefined && isDue(), after }];
    }
    const exists = retained.hasNode(topic);
    const kept = publish.kept();
    retained.set(topic, kept, "here", { broker: bankAccount.branch, clientId, at: this.#context.clock.wall() });
    const { data, checks, parts, credits } = mail.retain(kept, this.priceOf(kept), payment);
    const payloadBytes = parts === undefined ? kept.payloadLength : 0;
    const writing = this.#write(path, payment && { credits, payer: kept.payer, payloadBytes, payment });
    writing.payload = parts && { id: parts.id, branch: bankAccount.branch };
    const isCurrent = (): boolean => retained.get(topic)?.publish === kept && isDue();
    const after = (how: Outcome): void => this.#written(path, writing, how);
    return [...checks, { kind: "put", path, data, exists, isCurrent, after }];
  }

  #write(path: string, bill: Bill | undefined): Writing {
    const writing: Writing = { bill, payload: undefined };
    const others = this.#writing.get(path);
    if (others === undefined) this.#writing.set(path, new Set([writing]));
    else others.add(writing);
    this.#mirror.note(path);
    return writing;
  }

  /** Ends a write. If it was committed, what stood there before is no longer paid for. */
  #written(path: string, writing: Writing, how: Outcome): void {
    const { account } = this.#context.bankAccount;
    const { bill, payload } = writing;
    const others = this.#writing.get(path)!;
    others.delete(writing);
    if (others.size === 0) this.#writing.delete(path);
    if (isDone(how)) {
      this.#mirror.note(path);
      this.#removePayload(path);
      this.#standsInParts(path, payload);
      account.freed(path);
      if (bill !== undefined) account.keep(path, bill, bill.payment);
    }
    bill?.payment.close();
    // What other brokers have written since may have been ignored, or memory may differ from the store.
    if (how !== "committed" && how !== "emptied" && others.size === 0) this.#mirror.refresh(path);
    // The write's own payload is not in use; the one at the path is another write's.
    if (!isDone(how) && payload !== undefined) this.#context.slips.payloads.remove(payload);
  }

  /** Removes the payload of the message that stood at a path, if it was in parts. */
  #removePayload(path: string): void {
    const payload = this.#inParts.get(path);
    this.#inParts.delete(path);
    if (payload !== undefined) this.#context.slips.payloads.remove(payload);
  }

  #standsInParts(path: string, payload: PaidPayload | undefined): void {
    if (payload === undefined) this.#inParts.delete(path);
    else this.#inParts.set(path, payload);
  }

  /** Removes the payload of a message of this broker's that another one has replaced, perhaps without knowing of it. */
  #replaced(path: string, payload: PaidPayload, { stat: { version } }: MirrorNode): void {
    this.#context.slips.payloads.remove(payload, { kind: "check", path, version: () => version });
  }

  #apply(path: string, node: MirrorNode | undefined): void {
    const { retained, coordinator, bankAccount, strangers } = this.#context;
    const topic = topicOfPath(retainedPath, path);
    const isMessage = node !== undefined && node.data.length > 0;
    if (!isMessage) strangers.forget(path);
    const stored = isMessage ? strangers.read(path, () => decodeStored(topic, node.data)) : undefined;
    const head = stored && decodeMessageHead(node!.data);
    if (head?.branch !== bankAccount.branch) bankAccount.account.freed(path);
    const parts = head?.parts?.id;
    const before = this.#inParts.get(path);
    if (node !== undefined && before?.branch === bankAccount.branch && before.id !== parts)
      this.#replaced(path, before, node);
    this.#standsInParts(path, parts === undefined ? undefined : { id: parts, branch: head!.branch });
    // An empty node is a level above others, or a message that was cleared while others stood below it.
    const isOwn = isOwnTopic(topic);
    if (node === undefined || stored === undefined) {
      // What the broker says itself is in memory only.
      if (!isOwn) retained.delete(topic);
      // Nobody may know of it any more: the broker that has emptied it may have died before it was removed.
      if (node?.data.length === 0 && node.stat.childCount === 0) this.#sweep.note(path);
      return;
    }
    // Earlier versions have let wills in that are retained there, where they would stand for what the broker says.
    if (isOwn) return this.expire(path, node.stat.version);
    this.#reading++;
    readPieces(coordinator, stored, (publish) => {
      this.#reading--;
      // The message was replaced while its payload was read.
      if (publish === undefined || this.#inParts.get(path)?.id !== parts || this.#writing.has(path)) return;
      if (publish.expiresAt <= this.#context.clock.wall()) return this.expire(path, node.stat.version);
      // If the same message was only read again, it must stay the same object: feeds compare it.
      const known = retained.get(topic)?.publish;
      if (known !== undefined && isSameMessage(known, publish)) return;
      retained.set(topic, publish, "elsewhere", { broker: head!.branch, clientId: undefined, at: node.stat.mtime });
    });
  }

  /** Removes a retained message that is not to stay, if it is still in the version that was seen under this lease. */
  expire(path: string, version: number): void {
    const check: JournalOperation = { kind: "check", path, version: () => version, ofLease: true };
    const payload = this.#inParts.get(path);
    const after = (how: Outcome): void => {
      if (how === "refused") return;
      // What stands there by now may be another message.
      if (payload !== undefined && this.#inParts.get(path) === payload) this.#removePayload(path);
      else if (payload !== undefined) this.#context.slips.payloads.remove(payload);
      this.#sweep.note(path);
      this.#sweep.note(parentPath(path));
    };
    this.#context.journal.commit(
      [check, { kind: "remove", path, after }],
      () => {},
      () => {},
    );
  }
}
