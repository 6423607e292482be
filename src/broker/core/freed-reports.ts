/** Reports to other brokers that what their branches paid for has gone from the store. */
import { freedPathsMax } from "../../base/bank-limits.ts";
import type { OtherBranches } from "./bank-account.ts";

/** Gathers the paths of what is gone by the branches that paid for it, and reports them after the turn. */
export class FreedReports {
  readonly #others: Pick<OtherBranches, "reportFreed">;
  readonly #gone = new Map<string, string[]>();

  constructor(others: Pick<OtherBranches, "reportFreed">) {
    this.#others = others;
  }

  /** Notes that what stood at a path is gone, and that another branch paid for it. */
  note(path: string, branch: string): void {
    const paths = this.#gone.get(branch) ?? [];
    this.#gone.set(branch, paths);
    paths.push(path);
    if (paths.length === 1) queueMicrotask(() => this.#report());
  }

  #report(): void {
    for (const [branch, paths] of this.#gone) {
      for (let at = 0; at < paths.length; at += freedPathsMax)
        this.#others.reportFreed(branch, paths.slice(at, at + freedPathsMax));
    }
    this.#gone.clear();
  }
}
