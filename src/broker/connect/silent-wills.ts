/**
 * The wills of a client at brokers that could not be asked to give it up. A client that changes brokers while links are
 * cut may be let in at both, in either order; each of them has stored its will before it looks for the other's, so one
 * of them at least sees both, and by the stamps of their claims it is known which connection was the later.
 */
import { silentWillTriesMax } from "../../base/limits.ts";
import type { ReadResult } from "../../coordinator/coordinator.ts";
import { willPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { decodeWill } from "../../mail/will-record.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";

/** A client that is about to be let in. */
export interface Entering {
  readonly clientId: string;
  /** The stamp of the claim by which its client id was granted. */
  readonly stamp: number;
  /** Ids of the brokers that have not granted it. */
  readonly silent: readonly string[];
  /** Returns true while it waits to be let in. */
  readonly isAwaited: () => boolean;
}

/** Settles which of a client's connections is the last, where brokers cannot ask each other. */
export class SilentWills {
  readonly #context: ClusterContext;

  constructor(context: ClusterContext) {
    this.#context = context;
  }

  /**
   * Removes the wills of earlier connections at silent brokers, then calls `letIn`. Calls `refuse` instead, and removes
   * none, if a later connection has left its will at one of them.
   */
  settle(entering: Entering, letIn: () => void, refuse: () => void, tries = silentWillTriesMax): void {
    if (entering.silent.length === 0) return letIn();
    const { coordinator, journal } = this.#context;
    const paths = entering.silent.map((id) => willPath(id, entering.clientId));
    coordinator.read(
      paths.map((path) => ({ kind: "get", path }) as const),
      (error, results) => {
        if (error !== undefined) return;
        if (!entering.isAwaited()) return letIn();
        if (paths.some((path, at) => this.#claimedAt(path, results[at]) > entering.stamp)) return refuse();
        const removals = paths.flatMap((path, at) => {
          const node = results[at];
          if (!hasData(node)) return [];
          // It may be set again meanwhile, for a later connection.
          const { version } = node.stat;
          return [{ kind: "check", path, version: () => version } as const, { kind: "remove", path } as const];
        });
        const again = (): void => (tries > 1 ? this.settle(entering, letIn, refuse, tries - 1) : letIn());
        journal.commit(removals, letIn, again);
      },
    );
  }

  #claimedAt(path: string, node: ReadResult | undefined): number {
    if (!hasData(node)) return 0;
    return this.#context.strangers.read(path, () => decodeWill(node.data))?.claimedAt ?? 0;
  }
}
