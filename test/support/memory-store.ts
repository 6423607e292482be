/** A store in memory with ZooKeeper's rules, which answers at once, or when the test says so. */
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorState,
  type ReadDone,
  type ReadOperation,
  type ReadResult,
  type Repair,
  type WatchEvent,
  type WriteDone,
  type WriteOperation,
  type WriteResult,
} from "../../src/coordinator/coordinator.ts";
import { parentPath } from "../../src/coordinator/paths.ts";
import { MemoryTree } from "../simulation/memory-tree.ts";

export class MemoryStore implements Coordinator {
  readonly tree = new MemoryTree();
  /** While false, what is asked waits for `answer`. */
  answers = true;
  state: CoordinatorState = "CONNECTED";
  isFull = false;
  readonly isAlone: boolean;
  readonly leaseUntil = Infinity;
  readonly submissionBytesMax = 512 * 1024;
  /** Submissions that were committed, as they were. */
  readonly commits: (readonly WriteOperation[])[] = [];
  /** How many reads were asked. */
  reads = 0;
  readonly #waiting: (() => void)[] = [];
  /** Submissions that wait, with what is asked of their owners when they are sent again. */
  readonly #renewals = new Set<{ operations: readonly WriteOperation[]; readonly repair: Repair }>();
  readonly #watchers = new Set<{ readonly path: string; readonly listener: (event: WatchEvent) => void }>();
  readonly #listeners: ((state: CoordinatorState, why: string | undefined) => void)[] = [];

  constructor({ isAlone = false } = {}) {
    this.isAlone = isAlone;
    this.tree.onEvent = (event) => {
      for (const { path, listener } of [...this.#watchers])
        if (event.path === path || event.path.startsWith(`${path}/`)) listener(event);
    };
  }

  get seenZxid(): number {
    return this.tree.zxid;
  }

  /** How many submissions and reads wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Answers what waits: all of it, or the first so many. */
  answer(count = Infinity): void {
    for (let left = Math.min(count, this.#waiting.length); left > 0; left--) this.#waiting.shift()!();
  }

  write(operations: readonly WriteOperation[], done: WriteDone, repair?: Repair): void {
    const renewal = { operations, repair: repair ?? ((): undefined => undefined) };
    this.#renewals.add(renewal);
    this.#soon(() => {
      this.#renewals.delete(renewal);
      for (let tried = renewal.operations; ; ) {
        const outcome = this.tree.write(tried, this);
        if (isDone(outcome)) {
          this.commits.push(tried);
          return done(undefined, outcome, this.tree.zxid);
        }
        const error = new CoordinatorError(outcome.code, tried[outcome.index]?.path ?? "", outcome.index);
        const instead = repair?.(error);
        if (instead === undefined) return done(error, undefined, this.tree.zxid);
        tried = instead;
      }
    });
  }

  read(operations: readonly ReadOperation[], done: ReadDone): void {
    this.reads++;
    this.#soon(() =>
      done(
        undefined,
        operations.map((operation) => this.tree.read(operation)),
      ),
    );
  }

  sync(done: () => void): void {
    this.#soon(done);
  }

  watch(path: string, listener: (event: WatchEvent) => void): () => void {
    const watcher = { path, listener };
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void {
    this.#listeners.push(listener);
  }

  /** Contact is lost before what waits was committed: it is sent again as its owner has it now. */
  loseContact(): void {
    for (const renewal of this.#renewals) renewal.operations = renewal.repair(undefined) ?? renewal.operations;
  }

  /** Contact is lost, or there again. */
  turn(state: CoordinatorState): void {
    this.state = state;
    for (const listener of this.#listeners) listener(state, undefined);
  }

  close(done: () => void): void {
    done();
  }

  /** Puts a node there as another client would, with all levels above it. */
  put(path: string, data: Uint8Array | string = ""): void {
    if (path === "/") return;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (this.tree.nodes.has(path)) this.tree.write([{ kind: "set", path, data: bytes, version: -1 }], this);
    else {
      if (!this.tree.nodes.has(parentPath(path))) this.put(parentPath(path));
      this.tree.write([{ kind: "create", path, data: bytes, mode: "persistent" }], this);
    }
  }

  /** Removes a node as another client would. */
  remove(path: string): void {
    this.tree.write([{ kind: "delete", path, version: -1 }], this);
  }

  /** The data of a node as text; undefined: it is not there. */
  textOf(path: string): string | undefined {
    const node: ReadResult = this.tree.read({ kind: "get", path });
    return typeof node === "object" && "data" in node ? new TextDecoder().decode(node.data) : undefined;
  }

  #soon(go: () => void): void {
    if (this.answers && this.#waiting.length === 0) go();
    else this.#waiting.push(go);
  }
}

function isDone(outcome: ReturnType<MemoryTree["write"]>): outcome is readonly WriteResult[] {
  return Array.isArray(outcome);
}
