/** Reads as the port knows them, made of what ZooKeeper takes; all of one call are on their way at once. */
import { keeperReadOperationsMax } from "../base/store-limits.ts";
import type { ReadOperation, ReadResult } from "../coordinator/coordinator.ts";
import { commitsPath } from "../coordinator/paths.ts";
import type { ZooKeeperClient } from "./client.ts";
import { ZooKeeperError } from "./codes.ts";
import { type Found, foundOf } from "./foresight.ts";
import { toReadRequest, toReadResults, toStat } from "./translate.ts";

/** `exists` has no place in a multi-read, so it is asked beside it. */
export function readAll(
  client: ZooKeeperClient,
  operations: readonly ReadOperation[],
  done: (error: ZooKeeperError | undefined, results: ReadResult[]) => void,
): void {
  const results: ReadResult[] = new Array(operations.length);
  let open = 1;
  let failed: ZooKeeperError | undefined;
  const settle = (error: ZooKeeperError | undefined): void => {
    failed ??= error;
    open--;
    if (open === 0) done(failed, results);
  };
  const indexes: number[] = [];
  operations.forEach((operation, index) => {
    if (operation.kind !== "exists") {
      indexes.push(index);
      return;
    }
    open++;
    client.submitExists(operation.path, undefined, (error, stat) => {
      results[index] = stat === undefined ? "NoNode" : { stat: toStat(stat) };
      settle(error);
    });
  });
  for (let at = 0; at < indexes.length; at += keeperReadOperationsMax) {
    const page = indexes.slice(at, at + keeperReadOperationsMax);
    open++;
    client.submitRead(
      page.map((index) => toReadRequest(operations[index]!)),
      (error, responses) => {
        const found = error === undefined ? toReadResults(responses) : [];
        found?.forEach((result, index) => {
          results[page[index]!] = result;
        });
        settle(found === undefined ? new ZooKeeperError("UnknownError", operations[page[0]!]!.path) : error);
      },
    );
  }
  // Nothing is asked, but in its turn: who asks waits for the answers before it.
  if (operations.length === 0) client.submitExists(commitsPath, undefined, settle);
  else settle(undefined);
}

/**
 * Looks at nodes as they are now, after all that anybody has committed; undefined if that was not to be had. One page
 * after the other: the session's pings would wait behind all of them.
 */
export function lookAt(
  client: ZooKeeperClient,
  paths: readonly string[],
  done: (found: Map<string, Found> | undefined) => void,
): void {
  const found = new Map<string, Found>();
  let isSynced = false;
  client.submitSync((error) => {
    isSynced = error === undefined;
  });
  const next = (from: number): void => {
    const page = paths.slice(from, from + keeperReadOperationsMax);
    const operations = page.map((path) => ({ kind: "exists", path }) as const);
    readAll(client, operations, (error, results) => {
      if (error !== undefined || !isSynced) return done(undefined);
      for (const [at, path] of page.entries()) found.set(path, foundOf(results[at]!));
      if (from + page.length < paths.length) next(from + page.length);
      else done(found);
    });
  };
  next(0);
}
