/** Examines and repairs a store that no broker uses. */
import { existsSync } from "node:fs";
import { OperatingError } from "../base/errors.ts";
import { assess, storePath } from "./assess.ts";
import type { Damage } from "./damage.ts";
import { inWords, tryLock } from "./open-store.ts";
import { type Salvage, salvage } from "./salvage.ts";
import { witnessPath } from "./witness.ts";

/** Looks for damage; undefined: there is none. Throws `OperatingError` if there is no store, or a broker uses it. */
export function examine(folder: string): Damage | undefined {
  return alone(folder, () => assess(folder, () => {}));
}

export interface Repaired extends Damage, Salvage {}

/** Undefined: the store was whole, and is as it was. Throws as `examine` does. */
export function repair(folder: string): Repaired | undefined {
  return alone(folder, () => {
    const damage = assess(folder, () => {});
    if (damage === undefined) return undefined;
    const salvaged = salvage(folder);
    return { ...salvaged, findings: damage.findings, lost: [...new Set([...damage.lost, ...salvaged.dropped])] };
  });
}

function alone<Result>(folder: string, use: () => Result): Result {
  if (!existsSync(storePath(folder)) && !existsSync(witnessPath(folder)))
    throw new OperatingError("ESTORE", `there is no store in ${folder}; name the broker's folder with --data`);
  try {
    const lock = tryLock(folder);
    if (lock === undefined) throw new OperatingError("EBUSY", `a broker is using ${folder}: end it first`);
    try {
      return use();
    } finally {
      lock.close();
    }
  } catch (error) {
    throw inWords(error, folder);
  }
}
