/**
 * Mends accounts that hold no amounts, or that do not balance. What messages bind is counted from the messages, so a
 * damaged branch is granted just that; the vault gets what the branches do not have of the capital.
 */

import type { Coordinator, ReadResult, WriteOperation } from "../coordinator/coordinator.ts";
import { bankPath, branchesPath, decodeName, messageMark } from "../coordinator/paths.ts";
import { childrenOf, hasData } from "../coordinator/read-results.ts";
import { capitalMax, decodeGrant, decodeVault, encodeGrant, encodeVault, isAmount } from "./account-records.ts";
import { milli } from "./price.ts";

/** Milli-credits, for each account that was changed, by its path; or in words why nothing was. */
export type Repair = { readonly mended: ReadonlyMap<string, number> } | { readonly refused: string };

export interface RepairOptions {
  /** Milli-credits that messages bind, by the names of branches. */
  readonly bound: ReadonlyMap<string, number>;
  /** Milli-credits of the capital, where the tree does not tell any more; it wins over what the tree tells. */
  readonly capital: number | undefined;
}

type Store = Pick<Coordinator, "read" | "write">;

/** All in one commit, and only if nobody has changed any of it meanwhile. */
export function repairAccounts(store: Store, options: RepairOptions, done: (repair: Repair) => void): void {
  store.read([{ kind: "children", path: branchesPath }], (failed, [listed]) => {
    if (failed !== undefined) return done({ refused: `the store cannot be read: ${failed.message}` });
    const names = childrenOf(listed);
    const paths = [bankPath, ...names.map((name) => `${branchesPath}/${name}`)];
    store.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) return done({ refused: `the store cannot be read: ${error.message}` });
        const mending = new Mending(options);
        const refused = mending.plan(paths, results);
        if (refused !== undefined) return done({ refused });
        const { mended, operations } = mending;
        if (mended.size === 0) return done({ mended });
        store.write(operations, (changed) =>
          done(
            changed === undefined ? { mended } : { refused: "brokers have changed the accounts meanwhile: try again" },
          ),
        );
      },
    );
  });
}

class Mending {
  readonly mended = new Map<string, number>();
  readonly operations: WriteOperation[] = [];
  readonly #options: RepairOptions;
  #granted = 0;

  constructor(options: RepairOptions) {
    this.#options = options;
  }

  /** `results`: of the vault, then of the branches. Returns why nothing can be done, if nothing can. */
  plan([, ...branches]: readonly string[], [vault, ...grants]: readonly ReadResult[]): string | undefined {
    if (!hasData(vault)) return "there is no bank here: no broker has been started on it";
    for (const [index, path] of branches.entries()) this.#mendBranch(path, grants[index]);
    const found = decodeVault(vault.data);
    const capital = this.#options.capital ?? found?.capital;
    if (capital === undefined) return "nobody knows the capital any more: give it with --capital CREDITS";
    if (!isAmount(capital) || capital > capitalMax) return `a bank has ${capitalMax / milli} credits at most`;
    if (this.#granted > capital) return `branches have ${this.#granted / milli} credits: --capital must not be less`;
    const left = capital - this.#granted;
    if (found?.capital === capital && found.vault === left) return undefined;
    this.mended.set(bankPath, left);
    const data = encodeVault({ capital, vault: left });
    this.operations.push({ kind: "set", path: bankPath, data, version: vault.stat.version });
    return undefined;
  }

  #mendBranch(path: string, result: ReadResult | undefined): void {
    if (!hasData(result)) return;
    const { version } = result.stat;
    const found = decodeGrant(result.data);
    this.#granted += found?.grant ?? 0;
    // Nobody must have spent what is counted, before all of it is written.
    if (found !== undefined) this.operations.push({ kind: "check", path, version });
    else this.#grant(path, version);
  }

  #grant(path: string, version: number): void {
    const name = path.slice(branchesPath.length + 1);
    const isClosed = name.startsWith(messageMark);
    const grant = this.#options.bound.get(decodeName(isClosed ? name.slice(1) : name)) ?? 0;
    this.#granted += grant;
    this.mended.set(path, grant);
    // What is left of a closed branch goes with the last that it binds.
    if (isClosed && grant === 0) this.operations.push({ kind: "delete", path, version });
    else this.operations.push({ kind: "set", path, data: encodeGrant({ grant }), version });
  }
}
