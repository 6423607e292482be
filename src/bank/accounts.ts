/**
 * The bank's znodes: `/bank` holds capital and vault, each node below `/bank/branches` what a branch has been granted.
 *
 * Invariant: vault + Σ grants = capital, for every change of one changes the other in the same commit, from the
 * versions that were read.
 */

import { noBytes } from "../base/bytes.ts";
import type { Coordinator, ReadResult, WriteOperation } from "../coordinator/coordinator.ts";
import { bankPath, branchesPath, branchPath, estatePath } from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import {
  type ClaimsByUser,
  capitalMax,
  decodeGrant,
  decodeVault,
  encodeGrant,
  encodeVault,
  type GrantRecord,
  type VaultRecord,
} from "./account-records.ts";
import { milli } from "./price.ts";

interface Account<Record> {
  /** Undefined: it is damaged. Nothing is reckoned from it, and nothing written to it, until it is repaired. */
  readonly record: Record | undefined;
  readonly version: number;
}

/** One that is whole. */
interface Sound<Record> extends Account<Record> {
  readonly record: Record;
}

function accountOf<Record>(
  result: ReadResult | undefined,
  decode: (data: Uint8Array) => Record | undefined,
): Account<Record> | undefined {
  if (!hasData(result)) return undefined;
  return { record: decode(result.data), version: result.stat.version };
}

/** How a branch and the vault stand after a change. */
export interface Standing {
  readonly grant: number;
  readonly vault: number;
  readonly capital: number;
  /** The claims of the branch on users' shares. */
  readonly users: ClaimsByUser;
}

/** The milli-credits that are bound by what is stored: all of them, and by user. */
export interface Bound {
  readonly credits: number;
  readonly users: ClaimsByUser;
}

interface Found {
  readonly vault: Account<VaultRecord> | undefined;
  readonly branch: Account<GrantRecord> | undefined;
  /** The account of the credits that messages of that broker still bind after its branch was closed. */
  readonly estate: Account<GrantRecord> | undefined;
}

/** The outcome of a change of the capital, in milli-credits; or in words why it was refused. */
export type CapitalChange = { readonly changed: number; readonly capital: number } | { readonly refused: string };

/** Times that a change is tried again when another broker was faster. */
const triesMax = 100;

export class Accounts {
  readonly #coordinator: Pick<Coordinator, "read" | "write">;
  /** Told of the path of an account that is damaged. */
  readonly #damaged: (path: string) => void;

  constructor(coordinator: Pick<Coordinator, "read" | "write">, damaged: (path: string) => void = () => {}) {
    this.#coordinator = coordinator;
    this.#damaged = damaged;
  }

  /** Founds the bank with so much capital, unless it is there. */
  found(capital: number, done: () => void): void {
    const create = (path: string, data: Uint8Array): WriteOperation => ({
      kind: "create",
      path,
      data,
      mode: "persistent",
    });
    const operations = [create(bankPath, encodeVault({ capital, vault: capital })), create(branchesPath, noBytes)];
    this.#coordinator.write(operations, (error) => {
      if (error?.code === "Closed") return;
      done();
    });
  }

  /** Opens a broker's branch, with what is still bound by its messages. */
  open(id: string, done: (standing: Standing) => void): void {
    this.#change(
      id,
      (found) => {
        const { vault, branch, estate } = found;
        const { grant, users = noClaims } = estate?.record ?? { grant: 0 };
        if (branch !== undefined) return { operations: [], result: standingOf(found) };
        const operations: WriteOperation[] = [
          { kind: "create", path: branchPath(id), data: encodeGrant({ grant, users }), mode: "persistent" },
        ];
        // It may have been removed and made anew meanwhile, in the same version: but not with the vault as it was.
        if (isSound(estate) && vault !== undefined)
          operations.push(
            { kind: "delete", path: estatePath(id), version: estate.version },
            { kind: "check", path: bankPath, version: vault.version },
          );
        return { operations, result: { ...standingOf(found), grant, users } };
      },
      done,
    );
  }

  /** Tells how a branch and the vault stand, and changes nothing. `done` is told nothing if the branch is closed. */
  look(id: string, done: (standing: Standing | undefined) => void): void {
    this.#change(
      id,
      (found) => ({ operations: [], result: found.branch === undefined ? undefined : standingOf(found) }),
      done,
    );
  }

  /**
   * Moves credits from the vault to a branch, as much of `credits` as there is; or back, if negative. `done` is told
   * nothing if the branch is closed.
   */
  move(id: string, credits: number, done: (standing: Standing | undefined) => void): void {
    this.#change<Standing | undefined>(
      id,
      (found) => {
        const { vault, branch } = found;
        if (vault === undefined || branch === undefined) return { operations: [], result: undefined };
        const standing = standingOf(found);
        if (!isSound(vault) || !isSound(branch)) return { operations: [], result: standing };
        const moved = Math.max(-standing.grant, Math.min(credits, standing.vault));
        if (moved === 0) return { operations: [], result: standing };
        const result = { ...standing, grant: standing.grant + moved, vault: standing.vault - moved };
        const operations = [withVault(vault, -moved), setGrant(branchPath(id), branch, result.grant)];
        return { operations, result };
      },
      done,
    );
  }

  /**
   * Closes a broker's branch: only what its messages bind stays, as its estate; the rest goes back to the vault.
   * `checks` must hold in the same commit. `done(false)`: they did not, or there is no such branch.
   */
  close(id: string, bound: Bound, checks: readonly WriteOperation[], done: (isClosed: boolean) => void): void {
    this.#coordinator.read(reads(id), (error, results) => {
      const { vault, branch, estate } = this.#find(id, results);
      if (error !== undefined || !isSound(vault) || !isSound(branch) || estate !== undefined) return done(false);
      const kept = Math.min(bound.credits, branch.record.grant);
      const users = claimsLeft(branch.record, bound);
      const operations: WriteOperation[] = [
        ...checks,
        withVault(vault, branch.record.grant - kept),
        { kind: "delete", path: branchPath(id), version: branch.version },
      ];
      if (kept > 0)
        operations.push({
          kind: "create",
          path: estatePath(id),
          data: encodeGrant({ grant: kept, users }),
          mode: "persistent",
        });
      this.#coordinator.write(operations, (refused) => done(refused === undefined));
    });
  }

  /** Writes down how many publishes a broker has refused. */
  reportRefused(id: string, refused: number): void {
    this.#change<void>(
      id,
      ({ branch }) => {
        if (!isSound(branch)) return { operations: [], result: undefined };
        const data = encodeGrant({ ...branch.record, refused });
        return {
          operations: [{ kind: "set", path: branchPath(id), data, version: branch.version }],
          result: undefined,
        };
      },
      () => {},
    );
  }

  /**
   * Has an estate hold what is bound: gives the rest back, and takes from the vault what is missing, as far as there is
   * some. A teller of format 1 counts messages alone, and leaves too little, or no estate. Beside an open branch it
   * holds nothing. `boundBy` returns what is bound, as far as is known when it is asked; undefined: nothing is known.
   */
  settleEstate(id: string, boundBy: () => Bound | undefined, done: () => void): void {
    this.#change(
      id,
      ({ vault, branch, estate }) => {
        const unchanged = { operations: [], result: undefined };
        const bound = boundBy();
        if (bound === undefined || !isSound(vault) || (estate !== undefined && !isSound(estate))) return unchanged;
        const { record, version } = estate ?? { record: { grant: 0 }, version: -1 };
        const due = branch === undefined ? bound.credits : 0;
        const moved = Math.min(due - record.grant, vault.record.vault);
        if (moved === 0) return unchanged;
        const grant = record.grant + moved;
        const path = estatePath(id);
        const data = encodeGrant({ ...record, grant, users: claimsLeft(record, bound) });
        let change: WriteOperation = { kind: "set", path, data, version };
        if (grant === 0) change = { kind: "delete", path, version };
        else if (estate === undefined) change = { kind: "create", path, data, mode: "persistent" };
        return { operations: [withVault(vault, -moved), change], result: undefined };
      },
      done,
    );
  }

  /**
   * Raises the capital by so many milli-credits, or lowers it if they are negative: by no more than the vault holds, or
   * with `asFarAs` "possible" by what it holds.
   */
  changeCapital(
    credits: number,
    { asFarAs = "asked" }: { readonly asFarAs?: "asked" | "possible" },
    done: (change: CapitalChange) => void,
  ): void {
    if (!Number.isSafeInteger(credits)) return done({ refused: `${credits} is no whole number of milli-credits` });
    this.#change<CapitalChange>(
      "",
      ({ vault }) => {
        const refuse = (refused: string) => ({ operations: [], result: { refused } });
        if (vault === undefined) return refuse("there is no bank here: no broker has been started on it yet");
        if (!isSound(vault)) return refuse(`${bankPath} is damaged: "mqttzoo bank repair" mends it`);
        const { capital, vault: held } = vault.record;
        if (held + credits < 0 && asFarAs === "asked")
          return refuse(`the vault holds ${held / milli} credits: branches give back what they need no longer`);
        const changed = Math.max(-held, credits);
        if (capital + changed > capitalMax) return refuse(`a bank has ${capitalMax / milli} credits at most`);
        const record = { capital: capital + changed, vault: held + changed };
        const operation: WriteOperation = {
          kind: "set",
          path: bankPath,
          data: encodeVault(record),
          version: vault.version,
        };
        return { operations: [operation], result: { changed, capital: record.capital } };
      },
      done,
    );
  }

  #find(id: string, results: readonly ReadResult[]): Found {
    const found = foundIn(results);
    const accounts = [found.vault, found.branch, found.estate];
    pathsOf(id).forEach((path, index) => {
      const account = accounts[index];
      if (account !== undefined && account.record === undefined) this.#damaged(path);
    });
    return found;
  }

  /** Reads, decides, writes; and again, if somebody else has changed the same meanwhile. */
  #change<Result>(
    id: string,
    decide: (found: Found) => { operations: readonly WriteOperation[]; result: Result },
    done: (result: Result) => void,
    tries = triesMax,
  ): void {
    this.#coordinator.read(reads(id), (error, results) => {
      if (error !== undefined) return;
      const { operations, result } = decide(this.#find(id, results));
      if (operations.length === 0) return done(result);
      this.#coordinator.write(operations, (refused) => {
        if (refused === undefined) return done(result);
        if (refused.code === "Closed") return;
        // Others were faster: one of all of them always is, so it ends. Who waits for the answer must have one.
        if (refused.code === "BadVersion") this.#change(id, decide, done, tries);
        else if (tries > 0) this.#change(id, decide, done, tries - 1);
      });
    });
  }
}

function pathsOf(id: string): string[] {
  return [bankPath, branchPath(id), estatePath(id)];
}

function reads(id: string) {
  return pathsOf(id).map((path) => ({ kind: "get", path }) as const);
}

function foundIn(results: readonly ReadResult[]): Found {
  return {
    vault: accountOf(results[0], decodeVault),
    branch: accountOf(results[1], decodeGrant),
    estate: accountOf(results[2], decodeGrant),
  };
}

function isSound<Record>(account: Account<Record> | undefined): account is Sound<Record> {
  return account?.record !== undefined;
}

/** Returns the amounts of vault and branch. A damaged account counts for nothing. */
function standingOf({ vault, branch }: Found): Standing {
  return {
    grant: branch?.record?.grant ?? 0,
    vault: vault?.record?.vault ?? 0,
    capital: vault?.record?.capital ?? 0,
    users: branch?.record?.users ?? noClaims,
  };
}

const noClaims: ClaimsByUser = new Map();

/** Returns the claims that a closed branch still needs: for what is bound. */
function claimsLeft({ users = noClaims }: GrantRecord, bound: Bound): ClaimsByUser {
  const left = [...users].map(([user, claim]) => [user, Math.min(claim, bound.users.get(user) ?? 0)] as const);
  return new Map(left.filter(([, credits]) => credits > 0));
}

function withVault({ record, version }: Sound<VaultRecord>, credits: number): WriteOperation {
  const data = encodeVault({ ...record, vault: record.vault + credits });
  return { kind: "set", path: bankPath, data, version };
}

function setGrant(path: string, { record, version }: Sound<GrantRecord>, grant: number): WriteOperation {
  return { kind: "set", path, data: encodeGrant({ ...record, grant }), version };
}
