/**
 * The port to shared state: a tree of znodes, as ZooKeeper has it. The broker knows nothing else of its store.
 *
 * Invariant: submissions take effect in the order of `submit`, and their callbacks come in that order.
 * Invariant: a callback without error means committed: synced to disk, or on a majority of servers.
 */

export type CreateMode = "persistent" | "ephemeral" | "container";

/** Writes. All of one submission happen, or none. `version` -1 matches any. */
export type WriteOperation =
  | { readonly kind: "create"; readonly path: string; readonly data: Uint8Array; readonly mode: CreateMode }
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
  /** How often its data was set. */
  readonly version: number;
  readonly childCount: number;
}

/** The codes that both ZooKeeper and the embedded store give. */
export type CoordinatorErrorCode =
  | "NoNode"
  | "NodeExists"
  | "BadVersion"
  | "NotEmpty"
  | "NoChildrenForEphemerals"
  | "InvalidPath"
  | "ConnectionLoss"
  | "SessionExpired"
  | "Closed";

export class CoordinatorError extends Error {
  override readonly name = "CoordinatorError";
  readonly code: CoordinatorErrorCode;
  readonly path: string;
  /** Which operation of the submission failed. */
  readonly index: number;

  constructor(code: CoordinatorErrorCode, path: string, index: number) {
    super(`${code} ${path}`);
    this.code = code;
    this.path = path;
    this.index = index;
  }

  /** True if the submission may or may not have happened. */
  get outcomeUnknown(): boolean {
    return this.code === "ConnectionLoss";
  }
}

/** Per operation: the stat of what was created or set; undefined for delete and check. */
export type WriteResult = Stat | undefined;
export type WriteDone = (error: CoordinatorError | undefined, results: readonly WriteResult[]) => void;

export type ReadResult =
  | { readonly data: Uint8Array; readonly stat: Stat }
  | { readonly children: readonly string[]; readonly stat: Stat }
  | { readonly stat: Stat }
  | CoordinatorErrorCode;
export type ReadDone = (error: CoordinatorError | undefined, results: readonly ReadResult[]) => void;

export interface WatchEvent {
  readonly type: "created" | "changed" | "deleted";
  readonly path: string;
}

/** SUSPENDED: no contact, perhaps for a moment. LOST: the session is over, its ephemeral nodes are gone. */
export type CoordinatorState = "CONNECTED" | "SUSPENDED" | "LOST";

export interface Coordinator {
  readonly state: CoordinatorState;
  write(operations: readonly WriteOperation[], done: WriteDone): void;
  read(operations: readonly ReadOperation[], done: ReadDone): void;
  /** Events of a node and everything below it, until the returned function is called. */
  watch(path: string, listener: (event: WatchEvent) => void): () => void;
  /** `why` says in words what is wrong, where that is known. */
  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void;
  /** Ends the session after what was submitted: ephemeral nodes vanish. */
  close(done: () => void): void;
}
