/**
 * Publishes a batch with one promise. A batch keeps the bounds that single publishes keep: while there is a connection,
 * it waits for room; while there is none, what does not fit is refused.
 */
import { messageOf } from "../base/errors.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { BatchMessage, BatchOptions, Published } from "./client-options.ts";
import { type PublishFailure, PublishManyFailed } from "./errors.ts";
import type { Outbox } from "./outbox.ts";
import { toPublish } from "./outgoing-publish.ts";
import { mayBeLeft } from "./pending.ts";

/** Returns the promise of the batch: it rejects with `PublishManyFailed`, or the signal's reason. */
export function publishMany(
  outbox: Outbox,
  messages: readonly BatchMessage[],
  { signal }: BatchOptions,
): Promise<readonly Published[]> {
  return mayBeLeft(publishAll(outbox, messages, signal));
}

async function publishAll(
  outbox: Outbox,
  messages: readonly BatchMessage[],
  signal: AbortSignal | undefined,
): Promise<readonly Published[]> {
  signal?.throwIfAborted();
  // All are looked at before the first of them leaves.
  const publishes = messages.map(publishOf);
  const outcomes: Promise<Published>[] = [];
  let settledCount = 0;
  for (;;) {
    const isAlone = settledCount === outcomes.length;
    for (const outcome of outbox.publishSome(publishes, { from: outcomes.length, isAlone, signal }))
      outcomes.push(outcome);
    if (outcomes.length === publishes.length) break;
    // There is room again when the oldest of them is settled.
    await outcomes[settledCount++]!.catch(() => {});
    signal?.throwIfAborted();
  }
  const settled = await Promise.allSettled(outcomes);
  signal?.throwIfAborted();
  const failures = settled.flatMap((outcome, index): PublishFailure[] =>
    outcome.status === "fulfilled" ? [] : [{ index, topic: messages[index]!.topic, error: outcome.reason }],
  );
  if (failures.length > 0) throw new PublishManyFailed(failures, messages.length);
  return settled.map((outcome) => (outcome as PromiseFulfilledResult<Published>).value);
}

/** Throws a `TypeError` that says which of them cannot be published, and why. */
function publishOf(message: BatchMessage, index: number): Publish {
  try {
    const { topic, payload, ...options } = message;
    return toPublish(topic, payload, options);
  } catch (error) {
    throw new TypeError(`messages[${index}]: ${messageOf(error)}`);
  }
}
