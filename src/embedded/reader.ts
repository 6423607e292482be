/** Reads the embedded store of a broker that may be running: as its last commit has left it. */
import { existsSync } from "node:fs";
import type { ReadDone, ReadOperation } from "../coordinator/coordinator.ts";
import type { Visit } from "../coordinator/mirror.ts";
import { assess, assessRunning, storePath } from "./assess.ts";
import { type Damage, refusal } from "./damage.ts";
import { TreeDatabase } from "./database.ts";
import { tryLock } from "./open-store.ts";

export interface Reader {
  read(operations: readonly ReadOperation[], done: ReadDone): void;
  /** Visits all nodes below a path as one commit has left them; see `Store`. */
  walk(root: string, visit: Visit): void;
  /** Reads everything once: what is damaged; undefined: nothing. */
  verify(): Damage | undefined;
}

/**
 * Throws `OperatingError` if there is no store in the folder, or it is damaged; so does each read that meets a damaged
 * record. While a broker runs only what is read is judged, and `verify` judges all.
 */
export function openReader(folder: string): Reader {
  const lock = existsSync(storePath(folder)) ? tryLock(folder) : undefined;
  try {
    const damage = lock === undefined ? undefined : assess(folder, () => {});
    if (damage !== undefined) throw refusal(folder, damage);
    const database = new TreeDatabase(folder, "read");
    return {
      read(operations, done) {
        const [reply] = database.run([{ kind: "read", operations }]);
        done(undefined, reply?.kind === "read" ? reply.results : []);
      },
      walk: (root, visit) => database.walk(root, visit),
      verify: () => assessRunning(folder),
    };
  } finally {
    lock?.close();
  }
}
