/**
 * Removes stored messages from outside of their brokers' flows: their branches find out, and have their credits back.
 * A message goes after its slips, and before the pieces of its payload.
 */
import { noBytes } from "../base/bytes.ts";
import type { Coordinator, CoordinatorErrorCode, WriteOperation } from "../coordinator/coordinator.ts";
import { read } from "../coordinator/mirror.ts";
import { parentPath, partPath, payloadPath, retainedPath } from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import type { RecordReader } from "../mail/record-reader.ts";
import { counterPath } from "../mail/slips.ts";
import type { StoredMessage } from "./audit.ts";
import { allSlips, type FoundMessage, type FoundSlip, messageIn, nodesAt, slipsOf } from "./stored-mail.ts";

/** The store that things are removed from. */
export type WritableStore = Pick<Coordinator, "read" | "write">;

/** The store, and the reader that leaves out strangers' znodes. */
export interface Emptied {
  readonly store: WritableStore;
  readonly reader: RecordReader;
}

/** A retained message, and the version of its znode in which it was seen. */
export interface SeenMessage extends Pick<StoredMessage, "path" | "parts"> {
  readonly version: number;
}

/** Nodes, or messages, that are removed at once. */
const removedAtOnce = 64;

/**
 * Removes messages with the slips that name them, for which it goes through all mailboxes once. Returns how many: a
 * retained message that another one has replaced meanwhile stays. Rejects with `OperatingError`.
 */
export async function removeMessages(emptied: Emptied, messages: readonly FoundMessage[]): Promise<number> {
  const { store } = emptied;
  const named = new Set(messages.filter(({ isRetained }) => !isRetained).map(({ path }) => path));
  if (named.size > 0)
    for await (const slips of allSlips(emptied))
      await atOnce(
        slips.filter(({ record }) => named.has(record.messagePath)),
        ({ path }) => write(store, [{ kind: "delete", path, version: -1 }]),
      );
  const removed = await atOnce(messages, (message) =>
    message.isRetained ? clearRetained(store, message) : removeMessage(store, message),
  );
  return removed.filter(Boolean).length;
}

/** The mail of one client that is to go. */
export interface MailOf {
  readonly clientId: string;
  /** The levels of a topic filter; undefined: all topics. */
  readonly levels: readonly string[] | undefined;
  /** Most slips that are removed. */
  readonly max: number;
}

/**
 * Removes what waits for one client: a message goes with the last of its slips. What the client has, and only its
 * packet id is still needed, stays. Returns how many slips were removed. Rejects with `OperatingError`.
 */
export async function removeMailOf(emptied: Emptied, { clientId, levels, max }: MailOf): Promise<number> {
  let removed = 0;
  for await (const slips of slipsOf(emptied, clientId, levels)) {
    const waiting = slips.filter(({ record }) => record.state !== "released").slice(0, max - removed);
    const done = await atOnce(waiting, (slip) => removeSlip(emptied, slip));
    removed += done.filter(Boolean).length;
    if (removed >= max) break;
  }
  return removed;
}

/** Removes a slip, and its message if it was the last one. Returns false if the slip is gone: it has just been read. */
async function removeSlip(
  emptied: Emptied,
  { path, record: { messagePath, recipients } }: FoundSlip,
): Promise<boolean> {
  const { store } = emptied;
  const slip: WriteOperation = { kind: "delete", path, version: -1 };
  const counter: WriteOperation = { kind: "set", path: counterPath(messagePath), data: noBytes, version: -1 };
  const versions = await write(store, recipients > 1 ? [slip, counter] : [slip]);
  if (versions === undefined) return false;
  // In a mail drop it lies until its time is over.
  const isLast = recipients === 1 || (recipients > 1 && versions[1]! >= recipients);
  if (!isLast) return true;
  for await (const nodes of nodesAt(store, [messagePath]))
    for (const [at, node] of nodes) {
      const message = messageIn(emptied, at, node);
      if (message !== undefined) await removeMessage(store, message);
    }
  return true;
}

/** Removes a message that no slip names any more, with its counter, and with the pieces of its payload after it. */
async function removeMessage(store: WritableStore, { path, parts }: FoundMessage): Promise<true> {
  await write(store, [{ kind: "delete", path: counterPath(path), version: -1 }]);
  await write(store, [{ kind: "delete", path, version: -1 }]);
  await removePieces(store, parts);
  return true;
}

/**
 * Removes a retained message, unless another one has taken its place since it was seen: then it returns false, as it
 * does if the message has gone meanwhile. Its credits come back to the branch that pays for it: its broker sees that
 * the znode is gone, and for a broker that has died the teller does.
 */
export async function clearRetained(store: WritableStore, { path, version, parts }: SeenMessage): Promise<boolean> {
  let refused = await refusalOf(store, { kind: "delete", path, version });
  // Others stand below it: it stays as a level, and an empty one is no message.
  if (refused === "NotEmpty") refused = await refusalOf(store, { kind: "set", path, data: noBytes, version });
  if (refused !== undefined) return false;
  await removePieces(store, parts);
  await removeEmptyLevels(store, parentPath(path));
  return true;
}

/** Removes a payload in pieces: the last piece first, and at the end the node above them, which says who pays. */
async function removePieces(store: WritableStore, parts: StoredMessage["parts"]): Promise<void> {
  if (parts === undefined) return;
  const pieces = Array.from({ length: parts.count }, (_, number) => partPath(parts.id, number));
  for (const path of [...pieces.reverse(), payloadPath(parts.id)])
    await write(store, [{ kind: "delete", path, version: -1 }]);
}

/** Removes the levels that stood only for what has gone; where the store does it by itself, there are none. */
async function removeEmptyLevels(store: WritableStore, from: string): Promise<void> {
  for (let level = from; level !== retainedPath; level = parentPath(level)) {
    const [node] = await read(store, [{ kind: "get", path: level }]);
    if (!hasData(node) || node.data.length > 0) return;
    if ((await refusalOf(store, { kind: "delete", path: level, version: node.stat.version })) !== undefined) return;
  }
}

/** Does the same with each, so many at once. Returns what has come of each. */
async function atOnce<Item, Result>(
  items: readonly Item[],
  each: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < items.length; at += removedAtOnce)
    results.push(...(await Promise.all(items.slice(at, at + removedAtOnce).map(each))));
  return results;
}

/** Writes. Returns the versions that are left behind; undefined if it was refused. */
function write(store: WritableStore, operations: readonly WriteOperation[]): Promise<readonly number[] | undefined> {
  return new Promise((done) =>
    store.write(operations, (error, results) => done(error ? undefined : results?.map(({ version }) => version))),
  );
}

/** Writes. Returns why it was refused; undefined: it was done. */
function refusalOf(store: WritableStore, operation: WriteOperation): Promise<CoordinatorErrorCode | undefined> {
  return new Promise((done) => store.write([operation], (error) => done(error?.code)));
}
