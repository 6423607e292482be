/** The operations that the journal takes, and the store's operations that they become. */
import { pageBytesMax, pageOperationsMax } from "../base/limits.ts";
import type { CoordinatorError, CreateMode, WriteOperation } from "../coordinator/coordinator.ts";

/**
 * The outcome of an operation. emptied: there were others below what was to be removed. doubted: it was committed, but
 * contact was lost over it, or there was nothing to do; what others have committed since may have been told before this
 * is. overtaken: it was left out, for a later one.
 */
export type Outcome = "committed" | "emptied" | "doubted" | "refused" | "overtaken";

/** True if what an operation was to bring about is so in the store. */
export function isDone(how: Outcome): boolean {
  return how !== "refused" && how !== "overtaken";
}

/** Makes a check hold, and calls back; with an error if the store does not let it. */
export type Mend = (done: (error?: CoordinatorError) => void) => void;

/** `isCurrent` is asked before a retry: what later units have overtaken is left out. */
export type JournalOperation =
  | {
      readonly kind: "create";
      readonly path: string;
      readonly data: Uint8Array;
      readonly mode: CreateMode;
      /** Told the node's name once it is committed; undefined: the name that the store gave it is not known. */
      readonly named?: (name: string | undefined) => void;
      /** A piece of a payload: it takes no memory of its own, and does not make others wait. */
      readonly isPiece?: true;
      /** As of `put`. */
      readonly after?: (how: Outcome) => void;
    }
  /** Sets; with a `version`, only that one, or the unit is refused. */
  | {
      readonly kind: "set";
      readonly path: string;
      readonly data: Uint8Array;
      readonly version?: () => number;
      readonly ofLease?: true;
      /** As of `put`. */
      readonly after?: (how: Outcome) => void;
    }
  /** Creates or sets; `exists` is a guess. */
  | {
      readonly kind: "put";
      readonly path: string;
      readonly data: Uint8Array;
      readonly exists: boolean;
      readonly isCurrent?: () => boolean;
      /** Called when it is written or overtaken, or the unit is refused: nothing of it is under way any more. */
      readonly after?: (how: Outcome) => void;
    }
  /**
   * Creates, in place of a node that an earlier life of the broker has left; `isOccupied` is a guess. `after`: as of
   * `put`.
   */
  | {
      readonly kind: "announce";
      readonly path: string;
      readonly data: Uint8Array;
      readonly isOccupied: boolean;
      readonly isCurrent?: () => boolean;
      readonly after?: (how: Outcome) => void;
    }
  /** Deletes if it is there; a node with children is emptied instead. */
  | {
      readonly kind: "remove";
      readonly path: string;
      readonly isCurrent?: () => boolean;
      readonly after?: (how: Outcome) => void;
    }
  /** Deletes; if it is not there the unit is refused: somebody else has done it. */
  | {
      readonly kind: "take";
      readonly path: string;
      readonly ofLease?: true;
      /** As of `put`. */
      readonly after?: (how: Outcome) => void;
    }
  /** The unit is refused if the version is another one; -1: if there is no such node. */
  | {
      readonly kind: "check";
      readonly path: string;
      readonly version: () => number;
      /**
       * The version holds under this lease only; once that is over the unit is refused. Others may have erased a
       * client's session since, and begun it anew: then versions, and the numbers of slips, begin anew as well.
       */
      readonly ofLease?: true;
      /** Instead of being refused the unit waits, in its order, until `Journal.unpark`. */
      readonly mayWait?: true;
      /**
       * Instead of being refused the unit waits, and this is called: it makes the check hold, and the unit is tried
       * again.
       */
      readonly mend?: Mend;
    };

/** Operations that need not be committed together, in pieces that can be. */
export function pagesOf(operations: readonly JournalOperation[]): JournalOperation[][] {
  // Mostly it is one.
  if (operations.length <= 1) return operations.map((operation) => [operation]);
  const pages: JournalOperation[][] = [];
  let page: JournalOperation[] = [];
  let bytes = 0;
  for (const operation of operations) {
    const { path } = operation;
    // The levels above it may have to be made.
    const size = (path.length * levelsOf(path)) / 2 + ("data" in operation ? operation.data.length : 0);
    if (page.length >= pageOperationsMax || (page.length > 0 && bytes + size > pageBytesMax)) {
      pages.push(page);
      page = [];
      bytes = 0;
    }
    page.push(operation);
    bytes += size;
  }
  if (page.length > 0) pages.push(page);
  return pages;
}

function levelsOf(path: string): number {
  let levels = 1;
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) levels++;
  return levels;
}

/** Nodes that stand above others of the same operations: they are no levels. */
export function madeBy(operations: readonly (JournalOperation | undefined)[]): Set<string> {
  return new Set(operations.flatMap((operation) => (operation?.kind === "create" ? [operation.path] : [])));
}

/** Places that must be cleared first, as far as is known. */
export function occupiedIn(operations: readonly JournalOperation[]): Set<string> | undefined {
  let occupied: Set<string> | undefined;
  for (const operation of operations) {
    if (operation.kind !== "announce" || !operation.isOccupied) continue;
    occupied ??= new Set();
    occupied.add(operation.path);
  }
  return occupied;
}

export function isOvertaken(operation: JournalOperation | undefined): boolean {
  return operation !== undefined && "isCurrent" in operation && operation.isCurrent?.() === false;
}

export function mayCreate(operation: JournalOperation): boolean {
  return (
    operation.kind === "create" || operation.kind === "announce" || (operation.kind === "put" && !operation.exists)
  );
}

export function isPiece(operation: JournalOperation): boolean {
  return operation.kind === "create" && operation.isPiece === true;
}

export function mayWait(operation: JournalOperation | undefined): boolean {
  return operation?.kind === "check" && (operation.mayWait === true || operation.mend !== undefined);
}

/** Returns what makes a check hold again; undefined: somebody else does, or nobody can. */
export function menderOf(operation: JournalOperation | undefined): Mend | undefined {
  return operation?.kind === "check" ? operation.mend : undefined;
}

/** No node has it. */
const noVersion = -2;

/**
 * Has what goes by a lease refused, when that is over before it was committed. Returns whether there is any.
 */
export function outdate(operations: readonly (JournalOperation | undefined)[], expected: number[]): boolean {
  let isAny = false;
  operations.forEach((operation, index) => {
    if (operation === undefined || !("ofLease" in operation)) return;
    expected[index] = noVersion;
    isAny = true;
  });
  return isAny;
}

export function expectedBy(operation: JournalOperation): number {
  return "version" in operation ? (operation.version?.() ?? -1) : -1;
}

/** `withLevels`: the store makes what is missing above what is created. */
export function toWrite(
  operation: JournalOperation,
  { version, withLevels }: { readonly version: number; readonly withLevels: boolean },
): WriteOperation {
  const { kind, path } = operation;
  switch (kind) {
    case "create":
      return { kind, path, data: operation.data, mode: operation.mode, withLevels };
    case "announce":
      return { kind: "create", path, data: operation.data, mode: "persistent", withLevels };
    case "set":
      return { kind, path, data: operation.data, version };
    case "remove":
      return { kind: "delete", path, version: -1 };
    case "take":
      return { kind: "delete", path, version };
    case "check":
      return { kind, path, version };
    case "put":
      if (operation.exists) return { kind: "set", path, data: operation.data, version: -1 };
      return { kind: "create", path, data: operation.data, mode: "persistent", withLevels };
  }
}
