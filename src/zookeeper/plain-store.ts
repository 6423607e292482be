/** The tree on ZooKeeper for tools: reads and writes as the coordinator's port has them, without a broker's name. */
import {
  CoordinatorError,
  type ReadDone,
  type ReadOperation,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import type { ZooKeeperError } from "./codes.ts";
import type { ReadResponse } from "./records.ts";
import { toCode, toReadRequest, toReadResults, toRequest, toWriteResult } from "./translate.ts";
import type { ZooKeeper } from "./zookeeper.ts";

export class PlainStore {
  readonly #zookeeper: ZooKeeper;

  constructor(zookeeper: ZooKeeper) {
    this.#zookeeper = zookeeper;
  }

  /** No `exists`: it has no place in a multi-read. */
  read(operations: readonly ReadOperation[], done: ReadDone): void {
    this.#zookeeper.client.submitRead(operations.map(toReadRequest), (error, responses) => {
      if (error === undefined) answer(responses, done);
      else done(refusal(error), []);
    });
  }

  write(operations: readonly WriteOperation[], done: WriteDone): void {
    this.#zookeeper.client.submitWrite(operations.map(toRequest), (error, responses, zxid) =>
      done(
        error && refusal(error),
        responses?.map((response, index) => toWriteResult(operations[index]!, response)),
        zxid,
      ),
    );
  }
}

function answer(responses: readonly ReadResponse[], done: ReadDone): void {
  const results = toReadResults(responses);
  if (results === undefined) done(new CoordinatorError("Unavailable", "/", 0), []);
  else done(undefined, results);
}

/** A tool does not try again: it ends, and says why. */
function refusal(error: ZooKeeperError): CoordinatorError {
  return new CoordinatorError(toCode(error) ?? "Unavailable", error.path, error.index);
}
