/** Submissions to the coordinator on ZooKeeper, which wait for their turn. */
import type {
  CoordinatorError,
  ReadDone,
  ReadOperation,
  Repair,
  WriteDone,
  WriteOperation,
} from "../coordinator/coordinator.ts";
import type { Write } from "./group.ts";
import { sizeOf } from "./translate.ts";

export interface Read {
  readonly kind: "read";
  readonly operations: readonly ReadOperation[];
  readonly done: ReadDone;
}

export interface Sync {
  readonly kind: "sync";
  readonly done: () => void;
}

export type Submission = Write | Read | Sync;

export function makeWrite(operations: readonly WriteOperation[], done: WriteDone, repair: Repair | undefined): Write {
  let bytes = 0;
  for (const operation of operations) bytes += sizeOf(operation);
  return { kind: "write", operations, bytes, done, repair };
}

/** A submission that was not committed before contact was lost: what has become of it since is for its owner to say. */
export function renewed(submission: Submission): Submission {
  if (submission.kind !== "write") return submission;
  const { repair, done } = submission;
  const instead = repair?.(undefined);
  return instead === undefined ? submission : makeWrite(instead, done, repair);
}

export function refuse(submission: Submission, error: CoordinatorError): void {
  if (submission.kind === "write") submission.done(error, undefined, 0);
  else if (submission.kind === "read") submission.done(error, []);
}

export function pathOf(submission: Submission): string {
  return submission.kind === "sync" ? "/" : (submission.operations[0]?.path ?? "/");
}
