/** Reads the embedded store of a broker that may be running: as its last commit has left it. */
import type { ReadDone, ReadOperation } from "../coordinator/coordinator.ts";
import { TreeDatabase } from "./database.ts";

/** Throws `OperatingError` if there is no store in the folder. */
export function openReader(folder: string): { read(operations: readonly ReadOperation[], done: ReadDone): void } {
  const database = new TreeDatabase(folder, "read");
  return {
    read(operations, done) {
      const [reply] = database.run([{ kind: "read", operations }]);
      done(undefined, reply?.kind === "read" ? reply.results : []);
    },
  };
}
