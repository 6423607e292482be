/**
 * Claims of branches on users' shares: a branch that is to bind much for a user first writes into its znode how much
 * it may. Claims are made in big steps, as credits are moved, so no message waits for one for long.
 *
 * Invariant: Σ over all branches of what each may bind for a user, by its claim or without one, is no more than the
 * user's share; for a claim is raised in a commit that also sets the vault, in the version that it had before all
 * claims were read: whoever raises one meanwhile has this commit refused.
 */
import { claimsTriesMax } from "../base/bank-limits.ts";
import type { Coordinator, ReadResult, WriteOperation } from "../coordinator/coordinator.ts";
import { bankPath, branchesPath, encodeName } from "../coordinator/paths.ts";
import { childrenOf, hasData } from "../coordinator/read-results.ts";
import { type ClaimsByUser, decodeGrant, encodeGrant } from "./account-records.ts";

type Store = Pick<Coordinator, "read" | "write">;

/** A claim that a branch wants; in milli-credits. */
export interface Wanted {
  readonly claim: number;
  /** The milli-credits that are bound already: a claim on them is granted, whatever others have. */
  readonly held: number;
}

export interface ClaimTerms {
  /** The name of the branch. */
  readonly id: string;
  /** Milli-credits that all branches may bind for one user. */
  readonly limit: number;
  /** Returns what each of so many branches may bind for a user without a claim, in milli-credits. */
  readonly spareOf: (branches: number) => number;
  /** All that the branch wants, by user: of any other user it gives up its claim. */
  readonly wanted: ReadonlyMap<string, Wanted>;
}

/** The claims that a branch has, and of how many branches it is one. */
export interface Claims {
  readonly users: ClaimsByUser;
  /** The claims of all other branches together for those users for whom this one claims. */
  readonly elsewhere: ClaimsByUser;
  readonly branches: number;
}

/** Writes the claims of a branch. `done` is told nothing if there is no such branch, or others were always faster. */
export function claim(store: Store, terms: ClaimTerms, done: (claims: Claims | undefined) => void): void {
  attempt(store, terms, { done, left: claimsTriesMax });
}

interface Attempt {
  readonly done: (claims: Claims | undefined) => void;
  readonly left: number;
}

function attempt(store: Store, terms: ClaimTerms, { done, left }: Attempt): void {
  if (left === 0) return done(undefined);
  const again = (): void => attempt(store, terms, { done, left: left - 1 });
  // The vault comes first: a claim that is raised after it was read is seen by its version.
  const bankReads = [{ kind: "get", path: bankPath } as const, { kind: "children", path: branchesPath } as const];
  store.read(bankReads, (failed, [bank, listed]) => {
    if (failed !== undefined || !hasData(bank)) return done(undefined);
    const names = childrenOf(listed);
    const paths = names.map((name) => `${branchesPath}/${name}`);
    store.read(
      paths.map((path) => ({ kind: "get", path })),
      (error, results) => {
        if (error !== undefined) return done(undefined);
        const at = names.indexOf(encodeName(terms.id));
        if (at === -1) return done(undefined);
        // A branch was closed or opened meanwhile: its claims stand elsewhere by now.
        if (results.some((result) => result === "NoNode")) return again();
        const drafted = draft(terms, { path: paths[at]!, own: results[at], others: results.toSpliced(at, 1) });
        if (drafted === undefined) return done(undefined);
        const { operation, users, elsewhere } = drafted;
        const claims = { users, elsewhere, branches: names.length };
        if (operation === undefined) return done(claims);
        const vault: WriteOperation = { kind: "set", path: bankPath, data: bank.data, version: bank.stat.version };
        store.write([vault, operation], (refused) => {
          if (refused === undefined) done(claims);
          else if (refused.code !== "Closed") again();
        });
      },
    );
  });
}

interface Found {
  readonly path: string;
  readonly own: ReadResult | undefined;
  readonly others: readonly ReadResult[];
}

/** Returns the claims that may be made, and the operation that writes them if they differ; undefined: it is damaged. */
function draft({ limit, spareOf, wanted }: ClaimTerms, { path, own, others }: Found) {
  const record = hasData(own) ? decodeGrant(own.data) : undefined;
  if (record === undefined || !hasData(own)) return undefined;
  const spare = spareOf(others.length + 1);
  const records = others.map((result) => (hasData(result) ? decodeGrant(result.data) : undefined));
  const users = new Map<string, number>();
  const elsewhere = new Map<string, number>();
  for (const [user, { claim: asked, held }] of wanted) {
    const claims = records.map((other) => other?.users?.get(user) ?? 0);
    const taken = claims.reduce((sum, claimed) => sum + Math.max(spare, claimed), 0);
    elsewhere.set(
      user,
      claims.reduce((sum, claimed) => sum + claimed, 0),
    );
    // What is claimed already is not taken away, for it may have been used since it was asked for.
    const most = Math.max(limit - taken, record.users?.get(user) ?? 0);
    const granted = Math.max(held, Math.min(asked, most));
    if (granted > spare) users.set(user, granted);
  }
  if (isSame(users, record.users)) return { users, elsewhere, operation: undefined };
  const data = encodeGrant({ ...record, users });
  const operation: WriteOperation = { kind: "set", path, data, version: own.stat.version };
  return { users, elsewhere, operation };
}

function isSame(claims: ClaimsByUser, written: ClaimsByUser = new Map()): boolean {
  return claims.size === written.size && [...claims].every(([user, credits]) => written.get(user) === credits);
}
