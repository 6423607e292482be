/**
 * The coordinator on the embedded store. Submissions of one turn, and all that arrive while a transaction is
 * under way, go into the next transaction together: one sync for many (group commit).
 */
import { assert } from "../base/assert.ts";
import { OperatingError } from "../base/errors.ts";
import { storeUnitBytesMax } from "../base/store-limits.ts";
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorState,
  type ReadDone,
  type ReadOperation,
  type Repair,
  type WatchEvent,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { decodeReplies, putRequests, SharedBlock } from "./codec.ts";
import type { Reply, Request } from "./database.ts";
import type { FromWorker, ToWorker } from "./worker.ts";

interface Submission {
  readonly request: Request;
  /** Returns what is tried in its stead, if it was refused and could be repaired. */
  readonly settle: (reply: Reply) => Submission | undefined;
}

export interface EmbeddedOptions {
  /** Serve what is whole of a damaged store. */
  readonly acceptDamage: boolean;
  /** Hears what the operator should know. */
  readonly report: (words: string) => void;
  /** A record was found damaged while the store was in use, and was set aside. */
  readonly foundDamaged: (words: string) => void;
  /** Does something that is a turn of the event loop: the store's answers are handled in it. Without: just does it. */
  readonly inTurn?: (go: () => void) => void;
}

/** The memory that the broker's thread and the store's share. */
type SharedMemory = Pick<Extract<ToWorker, { kind: "open" }>, "requests" | "replies">;

const fullWords =
  "the disk of the store is nearly full: nothing new is stored until there is room; what is stored can be fetched";
const roomWords = "the disk of the store has room again";

const defaultOptions: EmbeddedOptions = { acceptDamage: false, report() {}, foundDamaged() {} };

/** Requests in one transaction, so that one transaction does not hold up the next for long. */
const transactionRequestsMax = 4096;
/** Bytes of requests, and of replies, that the two threads share memory for; a transaction of more has its own. */
const sharedBytes = 512 * 1024;
/** Operations in one transaction: its answers are handled in one turn of the event loop. */
const transactionOperationsMax = 16_384;
/**
 * A transaction ends at the first request that is to be repaired: the more of them there are the fewer are sent at
 * once.
 */
const transactionRequestsMin = 64;

export class EmbeddedCoordinator implements Coordinator {
  state: CoordinatorState = "CONNECTED";
  seenZxid = 0;
  /** Infinity: its session ends with the process. */
  readonly leaseUntil = Infinity;
  readonly isAlone = true;
  readonly makesLevels = true;
  /**
   * Larger messages are stored in parts: what goes to the worker and comes from it is copied, and that must not take
   * long.
   */
  readonly submissionBytesMax = storeUnitBytesMax;
  damagedRecords = 0;
  isFull = false;
  readonly #worker: Worker;
  readonly #requests: SharedBlock;
  readonly #replies: SharedBlock;
  /** Listeners by path. There is one for each session, mostly alone: a `Set` for each would take more than all else. */
  readonly #watches = new Map<string, readonly ((event: WatchEvent) => void)[]>();
  /**
   * How many watched paths there are of each length, by their first level: nodes far below are not asked level by
   * level.
   */
  readonly #watchedLengths = new Map<string, WatchedLengths>();
  readonly #stateListeners: ((state: CoordinatorState, why: string | undefined) => void)[] = [];
  #queue: Submission[] = [];
  #requestsMax = transactionRequestsMax;
  #running: Submission[] | undefined;
  #scheduled = false;
  #closing: (() => void) | undefined;
  #closed = false;

  readonly #options: EmbeddedOptions;

  private constructor(worker: Worker, memory: SharedMemory, options: EmbeddedOptions) {
    this.#worker = worker;
    this.#requests = new SharedBlock(memory.requests);
    this.#replies = new SharedBlock(memory.replies);
    this.#options = options;
    // Our bug: without its store the broker must not go on. The next start finds what was committed.
    worker.onerror = (event) => assert(false, `the store's worker failed: ${event.message}`);
    const { inTurn = (go) => go() } = options;
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => inTurn(() => this.#receive(data));
  }

  /**
   * Opens the store in a folder. Rejects with `OperatingError` if the folder cannot be used, or what is in it is
   * damaged.
   */
  static open(folder: string, options = defaultOptions): Promise<EmbeddedCoordinator> {
    const { acceptDamage } = options;
    const worker = new Worker(workerUrl());
    const memory = { requests: new SharedArrayBuffer(sharedBytes), replies: new SharedArrayBuffer(sharedBytes) };
    return new Promise((resolve, reject) => {
      worker.onerror = (event) => reject(new OperatingError("ESTORE", `the store's worker failed: ${event.message}`));
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (data.kind === "report") return options.report(data.words);
        if (data.kind === "opened") return resolve(new EmbeddedCoordinator(worker, memory, options));
        worker.terminate();
        assert(data.kind === "refused", `the store's worker says ${data.kind} before it is open`);
        reject(new OperatingError(data.code, data.message));
      };
      worker.postMessage({ kind: "open", folder, acceptDamage, ...memory } satisfies ToWorker);
    });
  }

  write(operations: readonly WriteOperation[], done: WriteDone, repair?: Repair): void {
    this.#submit(this.#writing(operations, done, repair));
  }

  #writing(operations: readonly WriteOperation[], done: WriteDone, repair: Repair | undefined): Submission {
    const settle = (reply: Reply): Submission | undefined => {
      if (reply.kind !== "written") {
        const error = errorOf(reply);
        const instead = repair?.(error);
        if (instead !== undefined) return this.#writing(instead, done, repair);
        done(error, undefined, 0);
        return undefined;
      }
      this.seenZxid = reply.zxid;
      const results = reply.results.map((result, index) =>
        result.path === "" ? { path: operations[index]!.path, version: result.version } : result,
      );
      operations.forEach(({ kind }, index) => {
        this.#notify(kind, results[index]!.path);
      });
      done(undefined, results, reply.zxid);
      return undefined;
    };
    return { request: { kind: "write", operations, canBeRepaired: repair !== undefined }, settle };
  }

  read(operations: readonly ReadOperation[], done: ReadDone): void {
    this.#submit({
      request: { kind: "read", operations },
      settle: (reply) => {
        if (reply.kind === "read") done(undefined, reply.results);
        else done(errorOf(reply), []);
        return undefined;
      },
    });
  }

  sync(done: () => void): void {
    this.read([], done);
  }

  watch(path: string, listener: (event: WatchEvent) => void): () => void {
    const before = this.#watches.get(path);
    if (before === undefined) this.#countWatch(path, 1);
    this.#watches.set(path, before === undefined ? [listener] : [...before, listener]);
    return () => {
      const listeners = this.#watches.get(path);
      if (listeners === undefined || !listeners.includes(listener)) return;
      const left = listeners.toSpliced(listeners.indexOf(listener), 1);
      if (left.length > 0) return void this.#watches.set(path, left);
      this.#watches.delete(path);
      this.#countWatch(path, -1);
    };
  }

  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void {
    this.#stateListeners.push(listener);
  }

  close(done: () => void): void {
    this.#closing = done;
    this.#post();
  }

  /** Ends without a word, as a crash would; for tests. */
  terminate(): void {
    this.#worker.terminate();
  }

  #submit(submission: Submission): void {
    if (this.#closing !== undefined) {
      const path = submission.request.operations[0]?.path ?? "";
      queueMicrotask(() => submission.settle({ kind: "failed", code: "Closed", path, index: 0 }));
      return;
    }
    this.#queue.push(submission);
    if (this.#running !== undefined || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#post();
    });
  }

  /** Requests of one transaction: as many as may be, and no more operations and bytes than may be handled at once. */
  #takeSome(): Submission[] {
    let count = 0;
    let operations = 0;
    for (let bytes = 0; count < this.#requestsMax && count < this.#queue.length; count++) {
      const { request } = this.#queue[count]!;
      bytes += bytesOf(request);
      operations += request.operations.length;
      if (count > 0 && (bytes > storeUnitBytesMax || operations > transactionOperationsMax)) break;
    }
    return this.#queue.splice(0, count);
  }

  #post(): void {
    if (this.#running !== undefined || this.#closed) return;
    if (this.#queue.length > 0) {
      this.#running = this.#takeSome();
      const operations = this.#running.map((submission) => submission.request);
      const requests = putRequests(this.#requests, operations);
      this.#send({ kind: "run", requests }, typeof requests === "number" ? [] : [requests.buffer]);
    } else if (this.#closing !== undefined) {
      this.#closed = true;
      this.#send({ kind: "close" });
    }
  }

  #send(message: ToWorker, handedOver: readonly ArrayBuffer[] = []): void {
    if (handedOver.length === 0) this.#worker.postMessage(message);
    else this.#worker.postMessage(message, [...handedOver]);
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "ran": {
        const replies = decodeReplies(this.#replies.take(message.replies));
        const submissions = this.#running!;
        this.#running = undefined;
        this.#setState("CONNECTED");
        const unanswered = submissions.slice(replies.length);
        if (unanswered.length === 0 && replies.at(-1)?.kind !== "failed") {
          this.#requestsMax = Math.min(transactionRequestsMax, 2 * this.#requestsMax);
          // The next transaction starts before the callbacks of this one: disk and event loop work side by side.
          this.#post();
          for (let index = 0; index < replies.length; index++) submissions[index]!.settle(replies[index]!);
          return;
        }
        this.#requestsMax = Math.max(transactionRequestsMin, this.#requestsMax >> 1);
        // What was refused is repaired, and tried again before what came after it.
        const last = replies.length - 1;
        for (let index = 0; index < last; index++) submissions[index]!.settle(replies[index]!);
        const instead = submissions[last]!.settle(replies[last]!);
        this.#queue.unshift(...(instead === undefined ? [] : [instead]), ...unanswered);
        return this.#post();
      }
      case "swept":
        if (this.#running === undefined) this.#setState("CONNECTED");
        return;
      case "trouble":
        return this.#setState("SUSPENDED", message.message);
      case "report":
        return this.#options.report(message.words);
      case "space":
        this.isFull = message.isFull;
        return this.#options.report(message.isFull ? fullWords : roomWords);
      case "damaged":
        this.damagedRecords++;
        return this.#options.foundDamaged(message.words);
      case "closed":
        this.#worker.terminate();
        return this.#closing?.();
    }
  }

  #setState(state: CoordinatorState, why?: string): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of this.#stateListeners) listener(state, why);
  }

  /** Tells whoever watches a node, or one above it. There may be a watch for each client, so they are looked up. */
  #notify(kind: WriteOperation["kind"], path: string): void {
    if (kind === "check") return;
    const lengths = this.#watchedLengths.get(rootOf(path));
    if (lengths === undefined) return;
    const type = kind === "create" ? "created" : kind === "set" ? "changed" : "deleted";
    // A listener may end or begin watches: one that begins now hears of the node too, or not.
    for (const length of lengths.all) {
      if (path.length !== length && path.charCodeAt(length) !== slash) continue;
      for (const listener of this.#watches.get(path.slice(0, length)) ?? []) listener({ type, path });
    }
  }

  #countWatch(path: string, more: 1 | -1): void {
    const root = rootOf(path);
    const lengths = this.#watchedLengths.get(root) ?? { counts: new Map<number, number>(), all: [] };
    this.#watchedLengths.set(root, lengths);
    const { counts } = lengths;
    const before = counts.get(path.length) ?? 0;
    if (before + more > 0) counts.set(path.length, before + more);
    else counts.delete(path.length);
    if (before === 0 || before + more === 0) lengths.all = [...counts.keys()];
    if (counts.size === 0) this.#watchedLengths.delete(root);
  }
}

interface WatchedLengths {
  readonly counts: Map<number, number>;
  /** Each of them once: a list is walked faster, for every node that is written. */
  all: readonly number[];
}

const slash = 0x2f;

/** The first level of a path. */
function rootOf(path: string): string {
  const end = path.indexOf("/", 1);
  return end === -1 ? path : path.slice(0, end);
}

/** The worker's URL. In the compiled executable all modules are one, and the worker lies where the build has put it. */
function workerUrl(): string {
  const compiled = import.meta.url.includes("/$bunfs/");
  return compiled ? "/$bunfs/root/src/embedded/worker.js" : new URL("./worker.ts", import.meta.url).href;
}

function errorOf(reply: Reply): CoordinatorError {
  assert(reply.kind === "failed", `a ${reply.kind} reply to another kind of request`);
  return new CoordinatorError(reply.code, reply.path, reply.index);
}

/** Bytes that are written, without names. */
function bytesOf({ operations }: Request): number {
  let bytes = 0;
  for (const operation of operations) if ("data" in operation) bytes += operation.data.length;
  return bytes;
}
