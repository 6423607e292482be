/**
 * The bank's znodes: `/bank` holds capital and vault, each node below `/bank/branches` what a branch has been granted.
 *
 * Invariant: vault + Σ grants = capital, for every change of one changes the other in the same commit, from the versions
 * that were read.
 */
import { decodeUtf8, encodeUtf8, noBytes } from "../base/bytes.ts";
import type { Coordinator, ReadResult, WriteOperation } from "../coordinator/coordinator.ts";
import { bankPath, branchesPath, branchPath, estatePath } from "../coordinator/paths.ts";

/** In milli-credits, as JSON. */
export interface VaultRecord {
  readonly capital: number;
  readonly vault: number;
}

/** In milli-credits, as JSON. */
export interface GrantRecord {
  readonly grant: number;
  /** How many publishes the broker has refused since it was started because the bank could not pay. */
  readonly refused?: number;
}

export interface Node<Record> {
  readonly record: Record;
  readonly version: number;
}

export function encodeAccount(record: VaultRecord | GrantRecord): Uint8Array {
  return encodeUtf8(JSON.stringify(record));
}

export function decodeVault(data: Uint8Array): VaultRecord {
  const { capital, vault } = JSON.parse(decodeUtf8(data)) as VaultRecord;
  return { capital, vault };
}

export function decodeGrant(data: Uint8Array): GrantRecord {
  const { grant, refused = 0 } = JSON.parse(decodeUtf8(data)) as GrantRecord;
  return { grant, refused };
}

function nodeOf<Record>(
  result: ReadResult | undefined,
  decode: (data: Uint8Array) => Record,
): Node<Record> | undefined {
  if (typeof result !== "object" || !("data" in result)) return undefined;
  return { record: decode(result.data), version: result.stat.version };
}

/** How a branch and the vault stand after a change. */
export interface Standing {
  readonly grant: number;
  readonly vault: number;
  readonly capital: number;
}

interface Found {
  readonly vault: Node<VaultRecord> | undefined;
  readonly branch: Node<GrantRecord> | undefined;
  /** What is still bound by messages of that broker after its branch was closed. */
  readonly estate: Node<GrantRecord> | undefined;
}

/** Times that a change is tried again when another broker was faster. */
const triesMax = 100;

export class Accounts {
  readonly #coordinator: Pick<Coordinator, "read" | "write">;

  constructor(coordinator: Pick<Coordinator, "read" | "write">) {
    this.#coordinator = coordinator;
  }

  /** Founds the bank with so much capital, unless it is there. */
  found(capital: number, done: () => void): void {
    const create = (path: string, data: Uint8Array): WriteOperation => ({
      kind: "create",
      path,
      data,
      mode: "persistent",
    });
    const operations = [create(bankPath, encodeAccount({ capital, vault: capital })), create(branchesPath, noBytes)];
    this.#coordinator.write(operations, (error) => {
      if (error?.code === "Closed") return;
      done();
    });
  }

  /** Opens a broker's branch, with what is still bound by its messages. */
  open(id: string, done: (standing: Standing) => void): void {
    this.#change(
      id,
      ({ vault, branch, estate }) => {
        const grant = branch?.record.grant ?? estate?.record.grant ?? 0;
        const result = { grant, vault: vault?.record.vault ?? 0, capital: vault?.record.capital ?? 0 };
        if (branch !== undefined) return { operations: [], result };
        const operations: WriteOperation[] = [
          { kind: "create", path: branchPath(id), data: encodeAccount({ grant }), mode: "persistent" },
        ];
        if (estate !== undefined) operations.push({ kind: "delete", path: estatePath(id), version: estate.version });
        return { operations, result };
      },
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
      ({ vault, branch }) => {
        if (vault === undefined || branch === undefined) return { operations: [], result: undefined };
        const moved = Math.max(-branch.record.grant, Math.min(credits, vault.record.vault));
        const grant = branch.record.grant + moved;
        const result = { grant, vault: vault.record.vault - moved, capital: vault.record.capital };
        if (moved === 0) return { operations: [], result };
        return { operations: [withVault(vault, -moved), setGrant(branchPath(id), branch, grant)], result };
      },
      done,
    );
  }

  /**
   * Closes a broker's branch: only what its messages bind stays, as its estate; the rest goes back to the vault. `checks`
   * must hold in the same commit. `done(false)`: they did not, or there is no such branch.
   */
  close(id: string, bound: number, checks: readonly WriteOperation[], done: (isClosed: boolean) => void): void {
    this.#coordinator.read(reads(id), (error, results) => {
      const { vault, branch, estate } = foundIn(results);
      if (error !== undefined || vault === undefined || branch === undefined || estate !== undefined)
        return done(false);
      const kept = Math.min(bound, branch.record.grant);
      const operations: WriteOperation[] = [
        ...checks,
        withVault(vault, branch.record.grant - kept),
        { kind: "delete", path: branchPath(id), version: branch.version },
      ];
      if (kept > 0)
        operations.push({
          kind: "create",
          path: estatePath(id),
          data: encodeAccount({ grant: kept }),
          mode: "persistent",
        });
      this.#coordinator.write(operations, (refused) => done(refused === undefined));
    });
  }

  /** Writes down how many publishes a broker has refused. */
  tellRefused(id: string, refused: number): void {
    this.#change<void>(
      id,
      ({ branch }) => {
        if (branch === undefined) return { operations: [], result: undefined };
        const data = encodeAccount({ grant: branch.record.grant, refused });
        return {
          operations: [{ kind: "set", path: branchPath(id), data, version: branch.version }],
          result: undefined,
        };
      },
      () => {},
    );
  }

  /** Gives back what the estate's messages do not bind any more. */
  settleEstate(id: string, bound: number, done: () => void): void {
    this.#change(
      id,
      ({ vault, estate }) => {
        if (vault === undefined || estate === undefined || estate.record.grant <= bound)
          return { operations: [], result: undefined };
        const change: WriteOperation =
          bound === 0
            ? { kind: "delete", path: estatePath(id), version: estate.version }
            : setGrant(estatePath(id), estate, bound);
        return { operations: [withVault(vault, estate.record.grant - bound), change], result: undefined };
      },
      done,
    );
  }

  /** Raises the capital by so much, or lowers it, as far as the vault holds it; tells what it was changed by. */
  deposit(credits: number, done: (changed: number) => void): void {
    this.#change(
      "",
      ({ vault }) => {
        if (vault === undefined) return { operations: [], result: 0 };
        const changed = Math.max(-vault.record.vault, credits);
        const record = { capital: vault.record.capital + changed, vault: vault.record.vault + changed };
        const operation: WriteOperation = {
          kind: "set",
          path: bankPath,
          data: encodeAccount(record),
          version: vault.version,
        };
        return { operations: [operation], result: changed };
      },
      done,
    );
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
      const { operations, result } = decide(foundIn(results));
      if (operations.length === 0) return done(result);
      this.#coordinator.write(operations, (refused) => {
        if (refused === undefined) return done(result);
        if (refused.code !== "Closed" && tries > 0) this.#change(id, decide, done, tries - 1);
      });
    });
  }
}

function reads(id: string) {
  return [bankPath, branchPath(id), estatePath(id)].map((path) => ({ kind: "get", path }) as const);
}

function foundIn(results: readonly ReadResult[]): Found {
  return {
    vault: nodeOf(results[0], decodeVault),
    branch: nodeOf(results[1], decodeGrant),
    estate: nodeOf(results[2], decodeGrant),
  };
}

function withVault({ record, version }: Node<VaultRecord>, credits: number): WriteOperation {
  const data = encodeAccount({ ...record, vault: record.vault + credits });
  return { kind: "set", path: bankPath, data, version };
}

function setGrant(path: string, { record, version }: Node<GrantRecord>, grant: number): WriteOperation {
  return { kind: "set", path, data: encodeAccount({ ...record, grant }), version };
}
