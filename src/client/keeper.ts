/**
 * Keeps the session of a client in its store, so that it survives the process. What has to be kept before something is
 * sent is gathered during a turn of the event loop, and written at once: so one sync of the disk does for all of it.
 */
import { type Publish, topicOf } from "../mqtt/publish.ts";
import type { Kept, Store, StoreChange, StoredMessage } from "./store.ts";

/** Something that waits until its change is kept. */
interface Step {
  readonly next: () => void;
  readonly failed: (error: unknown) => void;
}

export interface KeeperContext {
  readonly store: Store;
  /** Runs something at the end of the event loop's turn. */
  readonly nextTurn: (run: () => void) => void;
  /** Told when the store does not keep what it is given. */
  readonly onFailed: (error: unknown) => void;
}

export class Keeper {
  readonly #context: KeeperContext;
  #changes: StoreChange[] = [];
  #steps: Step[] = [];
  /** Undefined: nothing is to be written at the end of this turn. */
  #isScheduled = false;
  /** The last write that was to be waited for. */
  #last: Promise<void> = Promise.resolve();
  #lastKey = 0;

  constructor(context: KeeperContext) {
    this.#context = context;
  }

  /** Begins with what an earlier process has left. Rejects as the store does. */
  async open(clientId: string): Promise<Kept> {
    const kept = await this.#context.store.open(clientId);
    this.#lastKey = kept.messages.reduce((last, { key }) => Math.max(last, key), 0);
    return kept;
  }

  /**
   * Keeps new messages, and returns their keys and, where that takes time, a promise. The others are kept when it
   * returns. Throws, or rejects, as the store does.
   */
  add(publishes: readonly Publish[]): { readonly keys: readonly number[]; readonly kept: Promise<void> | undefined } {
    const keys = publishes.map(() => ++this.#lastKey);
    const added = publishes.map(
      (publish, at): StoreChange => ({ kind: "add", key: keys[at]!, message: storedOf(publish) }),
    );
    const kept = this.#context.store.write(added, { isDurable: false });
    return { keys, kept: kept ?? undefined };
  }

  /** Makes a change, and goes on when it is kept: that is, not before the end of this turn. */
  keep(change: StoreChange, next: () => void, failed: (error: unknown) => void): void {
    this.#changes.push(change);
    this.#steps.push({ next, failed });
    this.#schedule();
  }

  /** Makes a change that nothing waits for. */
  later(change: StoreChange): void {
    this.#changes.push(change);
    this.#schedule();
  }

  /** Resolves when all that has been given so far would survive a power cut. Rejects as the store does. */
  settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#steps.push({ next: resolve, failed: reject });
      this.#schedule();
    });
  }

  /** Writes what is left, and closes the store. */
  async close(): Promise<void> {
    this.#write();
    await this.#last;
    await this.#context.store.close();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#context.nextTurn(() => {
      this.#isScheduled = false;
      this.#write();
    });
  }

  #write(): void {
    const changes = this.#changes;
    const steps = this.#steps;
    this.#changes = [];
    this.#steps = [];
    if (changes.length === 0 && steps.length === 0) return;
    const done = (): void => {
      for (const { next } of steps) next();
    };
    const failed = (error: unknown): void => {
      this.#context.onFailed(error);
      for (const step of steps) step.failed(error);
    };
    try {
      const kept = this.#context.store.write(changes, { isDurable: steps.length > 0 });
      if (kept === undefined) done();
      else this.#last = kept.then(done, failed);
    } catch (error) {
      failed(error);
    }
  }
}

function storedOf(publish: Publish): StoredMessage {
  const { qos, retain, expiresAt, payloadBytes, payloadStart, payloadEnd, propertyBytes } = publish;
  return {
    topic: topicOf(publish),
    payload: payloadBytes.subarray(payloadStart, payloadEnd),
    qos,
    retain,
    expiresAt: expiresAt === Infinity ? undefined : expiresAt,
    properties: propertyBytes.subarray(publish.propertiesStart, publish.propertiesEnd),
  };
}
