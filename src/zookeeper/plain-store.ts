/** The tree on ZooKeeper for tools: reads and writes as the coordinator's port has them, without a broker's name. */
import {
  CoordinatorError,
  type ReadDone,
  type ReadOperation,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import type { ZooKeeperError } from "./codes.ts";
import { toCode, toReadRequest, toReadResult, toRequest, toWriteResults } from "./translate.ts";
import type { ZooKeeper } from "./zookeeper.ts";

export class PlainStore {
  readonly #zookeeper: ZooKeeper;

  constructor(zookeeper: ZooKeeper) {
    this.#zookeeper = zookeeper;
  }

  /** No `exists`: it has no place in a multi-read. */
  read(operations: readonly ReadOperation[], done: ReadDone): void {
    this.#zookeeper.client.submitRead(operations.map(toReadRequest), (error, responses) => {
      if (error === undefined) done(undefined, responses.map(toReadResult));
      else done(refusal(error), []);
    });
  }

  write(operations: readonly WriteOperation[], done: WriteDone): void {
    this.#zookeeper.client.submitWrite(operations.map(toRequest), (error, responses, zxid) =>
      done(error && refusal(error), responses && toWriteResults(operations, responses), zxid),
    );
  }
}

function refusal(error: ZooKeeperError): CoordinatorError {
  return new CoordinatorError(toCode(error), error.path, error.index);
}
