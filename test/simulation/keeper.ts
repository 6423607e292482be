/**
 * A simulated ZooKeeper: one tree in memory, many sessions on it, in simulated time. A session can be cut off, and then
 * its requests and answers on the way are lost, whether they took effect or not; and it can expire.
 */
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorState,
  type ReadDone,
  type ReadOperation,
  type Repair,
  type StoreTime,
  type WatchEvent,
  type WriteDone,
  type WriteOperation,
} from "../../src/coordinator/coordinator.ts";
import { MemoryTree } from "./memory-tree.ts";

/** Time, simulated or real. */
export interface Scheduler {
  now(): number;
  after(ms: number, run: () => void): void;
}

export interface KeeperOptions {
  readonly scheduler: Scheduler;
  /** How long one message takes, in ms; asked for each. */
  readonly latency: () => number;
  readonly sessionTimeoutMs: number;
  /** Bytes that one submission may hold. */
  readonly submissionBytesMax?: number;
  /** The time that its clock shows at a time of the scheduler, in ms since 1970. */
  readonly wall?: (time: number) => number;
}

export class SimulatedKeeper {
  readonly tree = new MemoryTree();
  readonly options: KeeperOptions;
  readonly clients = new Set<KeeperClient>();
  /** Called when a write has come, before it takes effect; and when it has, before its answer leaves. */
  beforeWrite: (client: KeeperClient) => void = () => {};
  afterWrite: (client: KeeperClient, operations: readonly WriteOperation[]) => void = () => {};

  constructor(options: KeeperOptions) {
    this.options = options;
    this.tree.onEvent = (event) => {
      for (const client of this.clients) if (client.isWatching(event.path)) client.post(() => client.fire(event), 0);
    };
  }

  /** `local`: what the client's own clock says at a time of the world. */
  connect(local: (time: number) => number = (time) => time): KeeperClient {
    const client = new KeeperClient(this, local);
    this.clients.add(client);
    return client;
  }
}

interface Submission {
  readonly isWrite: boolean;
  readonly run: () => void;
  /** Whether it took effect: a write that did is not done again. */
  outcome: "unknown" | "committed";
  /** True if it was not done before contact was lost: its owner may change it. */
  readonly renew?: () => void;
  /** Contact was lost after it had taken effect. */
  readonly again: () => void;
}

export class KeeperClient implements Coordinator {
  readonly submissionBytesMax: number;
  state: CoordinatorState = "CONNECTED";
  seenZxid = 0;
  storeTime: StoreTime | undefined;
  leaseUntil = Infinity;
  readonly #keeper: SimulatedKeeper;
  readonly #local: (time: number) => number;
  readonly #watches = new Map<string, Set<(event: WatchEvent) => void>>();
  readonly #listeners: ((state: CoordinatorState, why: string | undefined) => void)[] = [];
  /** Requests without an answer, in their order. */
  #open: Submission[] = [];
  #closed = false;
  /** Counts connections: what was on its way over an earlier one is lost. */
  #connection = 0;
  #cut = false;
  #expired = false;
  #requestAt = 0;
  #replyAt = 0;
  /** Called when the next write has taken effect, before its answer leaves. */
  #onNextCommit: (() => void) | undefined;

  constructor(keeper: SimulatedKeeper, local: (time: number) => number) {
    this.#keeper = keeper;
    this.submissionBytesMax = keeper.options.submissionBytesMax ?? 1024 * 1024;
    this.#local = local;
    this.#extendLease();
    this.#beat();
  }

  write(operations: readonly WriteOperation[], done: WriteDone, repair?: Repair): void {
    if (this.#closed) return queueMicrotask(() => done(new CoordinatorError("Closed", "/", 0), undefined, 0));
    const { tree } = this.#keeper;
    let zxid = 0;
    // What has been repaired, or given up, stays so when it is sent again.
    let writes: readonly WriteOperation[] | undefined = operations;
    let refusal: CoordinatorError | undefined;
    const { scheduler, wall } = this.#keeper.options;
    const from = this.#local(scheduler.now());
    const submission: Submission = {
      isWrite: true,
      outcome: "unknown",
      renew: () => {
        writes = repair?.(undefined) ?? writes;
      },
      run: () => {
        // What is repaired is tried at its place in the order: nothing of this session comes between.
        while (writes !== undefined) {
          const results = tree.write(writes, this);
          zxid = tree.zxid;
          if (!("code" in results)) {
            submission.outcome = "committed";
            this.#onNextCommit?.();
            this.#onNextCommit = undefined;
            this.#keeper.afterWrite(this, writes);
            const at = wall?.(scheduler.now());
            return this.#reply(submission, () => {
              if (at !== undefined) this.storeTime = { wall: at, from, to: this.#local(scheduler.now()) };
              done(undefined, results, zxid);
            });
          }
          refusal = new CoordinatorError(results.code, writes[results.index]!.path, results.index);
          writes = repair?.(refusal);
        }
        this.#reply(submission, () => done(refusal, undefined, 0));
      },
      again: () => done(undefined, undefined, zxid),
    };
    this.#submit(submission);
  }

  read(operations: readonly ReadOperation[], done: ReadDone): void {
    const submission: Submission = {
      isWrite: false,
      outcome: "unknown",
      run: () => {
        const results = operations.map((operation) => this.#keeper.tree.read(operation));
        this.#reply(submission, () => done(undefined, results));
      },
      again: () => {},
    };
    if (this.#closed) return done(new CoordinatorError("Closed", "/", 0), []);
    this.#submit(submission);
  }

  sync(done: () => void): void {
    this.read([], () => done());
  }

  watch(path: string, listener: (event: WatchEvent) => void): () => void {
    const listeners = this.#watches.get(path) ?? new Set();
    this.#watches.set(path, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void {
    this.#listeners.push(listener);
  }

  close(done: () => void): void {
    this.sync(() => {
      this.terminate();
      this.#keeper.tree.endSession(this);
      done();
    });
  }

  /** Dies without a word: its session ends when it has been silent for long enough. */
  terminate(): void {
    this.#closed = true;
    this.#keeper.clients.delete(this);
    this.#open = [];
    this.#connection++;
  }

  /** A crash: the keeper notices after the session timeout. */
  crash(ended: () => void = () => {}): void {
    this.terminate();
    this.#keeper.options.scheduler.after(this.#keeper.options.sessionTimeoutMs, () => {
      this.#keeper.tree.endSession(this);
      ended();
    });
  }

  /** Cuts it off from the keeper. */
  cut(): void {
    if (this.#cut || this.#closed) return;
    this.#cut = true;
    this.#connection++;
    this.#become("SUSPENDED", "cut off");
    const connection = this.#connection;
    this.#keeper.options.scheduler.after(this.#keeper.options.sessionTimeoutMs, () => {
      if (this.#connection === connection && !this.#closed) this.#expire();
    });
  }

  /** The next write takes effect, and contact is lost before it is answered. */
  loseNextAnswer(forMs: number): void {
    this.#onNextCommit = () => {
      this.cut();
      this.#keeper.options.scheduler.after(forMs, () => this.heal());
    };
  }

  /** Contact again. */
  heal(): void {
    if (!this.#cut || this.#closed) return;
    if (this.#expired) this.#become("LOST", "expired");
    this.#expired = false;
    this.#extendLease();
    // As with the real client: what its listeners submit waits behind what is open already, and is sent once.
    this.#become("CONNECTED", undefined);
    this.#cut = false;
    this.#connection++;
    const open = this.#open;
    this.#open = [];
    for (const [path, listeners] of this.#watches) {
      for (const listener of [...listeners]) this.post(() => listener({ type: "missed", path }), 0);
    }
    this.post(() => {});
    for (const submission of open) {
      this.#open.push(submission);
      if (submission.outcome === "committed") this.#reply(submission, submission.again);
      else {
        submission.renew?.();
        this.#send(submission);
      }
    }
  }

  /**
   * Something arrives from the keeper, after what was sent before. `zxid`: what is seen with it; an event says nothing,
   * for more of its transaction may follow.
   */
  post(deliver: () => void, zxid = this.#keeper.tree.zxid): void {
    if (this.#cut) return;
    const { scheduler, latency } = this.#keeper.options;
    const connection = this.#connection;
    this.#replyAt = Math.max(this.#replyAt, scheduler.now() + latency());
    scheduler.after(this.#replyAt - scheduler.now(), () => {
      if (this.#connection !== connection) return;
      this.seenZxid = Math.max(this.seenZxid, zxid);
      this.#extendLease();
      deliver();
    });
  }

  isWatching(path: string): boolean {
    for (let at = path; ; at = at.slice(0, at.lastIndexOf("/")) || "/") {
      if ((this.#watches.get(at)?.size ?? 0) > 0) return true;
      if (at === "/") return false;
    }
  }

  fire(event: WatchEvent): void {
    for (const [watched, listeners] of this.#watches) {
      if (event.path !== watched && !event.path.startsWith(watched === "/" ? "/" : `${watched}/`)) continue;
      for (const listener of [...listeners]) listener(event);
    }
  }

  #submit(submission: Submission): void {
    this.#open.push(submission);
    if (!this.#cut) this.#send(submission);
  }

  #send(submission: Submission): void {
    const { scheduler, latency } = this.#keeper.options;
    const connection = this.#connection;
    this.#requestAt = Math.max(this.#requestAt, scheduler.now() + latency());
    scheduler.after(this.#requestAt - scheduler.now(), () => {
      if (this.#connection !== connection) return;
      if (submission.isWrite) this.#keeper.beforeWrite(this);
      // It may have been its end.
      if (this.#connection === connection) submission.run();
    });
  }

  #reply(submission: Submission, deliver: () => void): void {
    this.post(() => {
      const at = this.#open.indexOf(submission);
      if (at !== -1) this.#open.splice(at, 1);
      deliver();
    });
  }

  #expire(): void {
    this.#expired = true;
    this.#keeper.tree.endSession(this);
  }

  #become(state: CoordinatorState, why: string | undefined): void {
    this.state = state;
    for (const listener of this.#listeners) listener(state, why);
  }

  #extendLease(): void {
    const { scheduler, sessionTimeoutMs } = this.#keeper.options;
    // As the real client: by its own clock.
    this.leaseUntil = this.#local(scheduler.now()) + sessionTimeoutMs;
  }

  /** Pings, as long as there is contact. */
  #beat(): void {
    if (this.#closed) return;
    const { scheduler, sessionTimeoutMs } = this.#keeper.options;
    if (!this.#cut) this.post(() => {});
    scheduler.after(sessionTimeoutMs / 3, () => this.#beat());
  }
}
