/** A store that takes everything at once and remembers nothing: for tests of what comes from clients. */
import type {
  Coordinator,
  ReadDone,
  ReadOperation,
  WriteDone,
  WriteOperation,
} from "../../src/coordinator/coordinator.ts";

export interface InstantCoordinator extends Coordinator {
  /** While false, what is written waits. */
  answers: boolean;
  /** Commits what waits. */
  release(): void;
}

export function instantCoordinator(): InstantCoordinator {
  let zxid = 0;
  const waiting: (() => void)[] = [];
  return {
    answers: true,
    release() {
      for (const done of waiting.splice(0)) done();
    },
    state: "CONNECTED",
    write(operations: readonly WriteOperation[], done: WriteDone) {
      const answer = (): void =>
        done(
          undefined,
          operations.map(({ path }) => ({ path, version: 1 })),
          ++zxid,
        );
      if (this.answers) answer();
      else waiting.push(answer);
    },
    read: (operations: readonly ReadOperation[], done: ReadDone) =>
      done(
        undefined,
        operations.map(() => "NoNode" as const),
      ),
    seenZxid: 0,
    leaseUntil: Infinity,
    submissionBytesMax: Infinity,
    sync: (done) => done(),
    watch: () => () => {},
    onState() {},
    close: (done) => done(),
  };
}
