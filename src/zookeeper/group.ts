/**
 * Submissions that are committed together, as one `multi`. Many of them check the same thing, each for itself: what has
 * been checked, and not been changed in the group since, holds, and is not asked again.
 */
import type { Repair, WriteDone, WriteOperation, WriteResult } from "../coordinator/coordinator.ts";
import type { WriteRequest, WriteResponse } from "./records.ts";
import { toRequest, toWriteResult } from "./translate.ts";

export interface Write {
  readonly kind: "write";
  readonly operations: readonly WriteOperation[];
  readonly bytes: number;
  readonly done: WriteDone;
  readonly repair: Repair | undefined;
}

/** The submission, and the operation in it, that a request stands for. */
interface Place {
  readonly write: number;
  readonly index: number;
}

export class Group {
  readonly writes: readonly Write[];
  readonly requests: readonly WriteRequest[];
  readonly #places: Place[] = [];

  constructor(writes: readonly Write[]) {
    this.writes = writes;
    const requests: WriteRequest[] = [];
    const held = new Map<string, number>();
    writes.forEach(({ operations }, write) => {
      operations.forEach((operation, index) => {
        const { path } = operation;
        if (operation.kind === "check") {
          if (held.get(path) === operation.version) return;
          held.set(path, operation.version);
        } else if (operation.kind !== "create") held.delete(path);
        requests.push(toRequest(operation));
        this.#places.push({ write, index });
      });
    });
    this.requests = requests;
  }

  get bytes(): number {
    return this.writes.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The operation that a request stands for. */
  placeOf(request: number): Place {
    return this.#places[request]!;
  }

  /** Returns the results of each operation of each submission. */
  resultsOf(responses: readonly WriteResponse[]): WriteResult[][] {
    let at = 0;
    return this.writes.map(({ operations }, write) =>
      operations.map((operation, index): WriteResult => {
        const place = this.#places[at];
        // It was checked before.
        if (place?.write !== write || place.index !== index) return { path: operation.path, version: -1 };
        return toWriteResult(operation, responses[at++]!);
      }),
    );
  }
}
