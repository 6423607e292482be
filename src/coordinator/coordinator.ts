/**
 * The port to shared state: a tree of znodes, as ZooKeeper has it. The broker knows nothing else of its store.
 *
 * Invariant: submissions take effect in the order in which they are made, and their callbacks come in that order.
 * Invariant: a callback without error means committed: synced to disk, or on a majority of servers.
 * Invariant: a submission is neither lost nor done twice when contact is lost: it waits until its outcome is known.
 */

/** sequential: persistent, and the store appends a number to the name that grows with every child of the parent. */
export type CreateMode = "persistent" | "ephemeral" | "container" | "sequential";

/** Writes. All of one submission happen, or none. `version` -1 matches any. */
export type WriteOperation =
  | {
      readonly kind: "create";
      readonly path: string;
      readonly data: Uint8Array;
      readonly mode: CreateMode;
      /** Has the store make what is missing above the node too; only where it `makesLevels`. */
      readonly withLevels?: boolean;
    }
  | { readonly kind: "set"; readonly path: string; readonly data: Uint8Array; readonly version: number }
  | { readonly kind: "delete"; readonly path: string; readonly version: number }
  | { readonly kind: "check"; readonly path: string; readonly version: number };

/** Reads. Each of one submission succeeds or fails for itself; all see one state or a later one. */
export type ReadOperation =
  | { readonly kind: "get"; readonly path: string }
  | { readonly kind: "children"; readonly path: string }
  | { readonly kind: "exists"; readonly path: string };

export interface Stat {
  /** The transaction that created the node. */
  readonly czxid: number;
  /** The transaction that set its data last. */
  readonly mzxid: number;
  /** When its data was set last, in ms since 1970; undefined where the store does not keep that. */
  readonly mtime?: number;
  /** How often its data was set. */
  readonly version: number;
  /**
   * Where a node is got, and not asked only whether it exists, perhaps just 1 for many: the embedded store had to count
   * them.
   */
  readonly childCount: number;
  /** Bytes of its data; undefined where the store does not say: then it must be got. */
  readonly dataLength?: number | undefined;
  /** Whether it goes with the session that has created it; undefined where the store does not say. */
  readonly isEphemeral?: boolean;
}

/** The refusals of every coordinator. `src/README.md`, "Errors", says what a caller does about each. */
export type CoordinatorErrorCode = (typeof coordinatorErrorCodes)[number];
export const coordinatorErrorCodes = [
  "NoNode",
  "NodeExists",
  "BadVersion",
  "NotEmpty",
  "NoChildrenForEphemerals",
  "InvalidPath",
  "TooLarge",
  "NoAuth",
  /** To tools only: the store takes nothing just now. A broker's submission waits. */
  "Unavailable",
  "Closed",
] as const;

/** A submission was refused as a whole; nothing of it has happened. */

export class CoordinatorError extends Error {
  override readonly name = "CoordinatorError";
  readonly code: CoordinatorErrorCode;
  readonly path: string;
  /** The place of the operation that failed in its submission. */
  readonly index: number;

  constructor(code: CoordinatorErrorCode, path: string, index: number) {
    super(`${code} ${path}`);
    this.code = code;
    this.path = path;
    this.index = index;
  }
}

export interface WriteResult {
  /** As created: with its number, if sequential. */
  readonly path: string;
  /** The data version left behind; -1 after delete and check. */
  readonly version: number;
}

/**
 * Committed, with a result for each operation and the transaction's number. `results` is undefined if contact was
 * lost and it was found out afterwards that the submission had been committed.
 */
export type WriteDone = (
  error: CoordinatorError | undefined,
  results: readonly WriteResult[] | undefined,
  zxid: number,
) => void;

/**
 * Called when a submission is refused: returns what is tried in its stead, at its place in the order, or undefined
 * if it shall stay refused. Without an error: contact was lost before it was committed, and it is about to be sent
 * again, perhaps much later than it was meant to be; undefined: as it is.
 */
export type Repair = (error: CoordinatorError | undefined) => readonly WriteOperation[] | undefined;

export type ReadResult =
  | { readonly data: Uint8Array; readonly stat: Stat }
  | { readonly children: readonly string[] }
  | { readonly stat: Stat }
  | CoordinatorErrorCode;
export type ReadDone = (error: CoordinatorError | undefined, results: readonly ReadResult[]) => void;

/** `missed`: contact was lost for a while; what is at the watched path or below it must be read anew. */
export interface WatchEvent {
  readonly type: "created" | "changed" | "deleted" | "missed";
  readonly path: string;
}

/** SUSPENDED: no contact, perhaps for a moment. LOST: the session is over, its ephemeral nodes are gone. */
export type CoordinatorState = "CONNECTED" | "SUSPENDED" | "LOST";

/** The store's own time of day, in ms since 1970, at some moment between two of this machine's clock (`Clock.now`). */
export interface StoreTime {
  readonly wall: number;
  readonly from: number;
  readonly to: number;
}

export interface Coordinator {
  /** True if nobody else writes to the store: what this broker knows of it is never behind. */
  readonly isAlone?: boolean;
  /**
   * True if the store itself makes the levels that are missing above a node, in the same commit, when it is asked to
   * (`withLevels`), and removes them when they are empty. Watchers are told of neither.
   */
  readonly makesLevels?: boolean;
  readonly state: CoordinatorState;
  /** Events of all transactions up to this one have been told. */
  readonly seenZxid: number;
  /** The time until which, by the clock's `now`, the session lives for sure, and the ephemeral nodes with it. */
  readonly leaseUntil: number;
  /** Bytes that all operations of one submission may hold together. */
  readonly submissionBytesMax: number;
  /** As it was told with the last commit; undefined: not yet, or the store goes by this machine's clock. */
  readonly storeTime?: StoreTime | undefined;
  /** Records that were found damaged since the start and are not served; only where the store is a file of our own. */
  readonly damagedRecords?: number;
  /** True if its disk is full: nothing new should be stored, so that what is stored can be fetched and removed. */
  readonly isFull?: boolean;
  write(operations: readonly WriteOperation[], done: WriteDone, repair?: Repair): void;
  read(operations: readonly ReadOperation[], done: ReadDone): void;
  /** When `done` is called, everything that anybody had committed before is seen: its events have been told. */
  sync(done: () => void): void;
  /** Events of a node and everything below it, until the returned function is called. */
  watch(path: string, listener: (event: WatchEvent) => void): () => void;
  /** `why` says in words what is wrong, where that is known. */
  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void;
  /** Ends the session after what was submitted: ephemeral nodes vanish. */
  close(done: () => void): void;
}
