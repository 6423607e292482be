/** A store that takes everything at once and remembers nothing: for tests of what comes from clients. */
import type {
  Coordinator,
  ReadDone,
  ReadOperation,
  WriteDone,
  WriteOperation,
} from "../../src/coordinator/coordinator.ts";

export function instantCoordinator(): Coordinator {
  let zxid = 0;
  const stat = () => ({ czxid: ++zxid, version: 1, childCount: 0 });
  return {
    state: "CONNECTED",
    write: (operations: readonly WriteOperation[], done: WriteDone) => done(undefined, operations.map(stat)),
    read: (operations: readonly ReadOperation[], done: ReadDone) =>
      done(
        undefined,
        operations.map(() => "NoNode" as const),
      ),
    watch: () => () => {},
    onState() {},
    close: (done) => done(),
  };
}
