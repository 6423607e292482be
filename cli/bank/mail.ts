/** `mqttzoo bank mail` and `bank sweep`: the stored messages themselves. */

import { Command, Option } from "commander";
import type { Snapshot, StoredMessage } from "../../src/audit/audit.ts";
import { decodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { OperatingError } from "../../src/base/errors.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { read } from "../../src/coordinator/mirror.ts";
import {
  decodeName,
  nameOf,
  parentPath,
  partPath,
  retainedPath,
  topicOfPath,
  topicsPath,
} from "../../src/coordinator/paths.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import { decodeStored, readPieces } from "../../src/mail/parts.ts";
import type { Publish } from "../../src/mqtt/publish.ts";
import { filterMatches, parseFilter } from "../../src/mqtt/topic.ts";
import { clearRetained } from "../cluster/clear-retained.ts";
import { snapshotOf, type Tree, withTree } from "../cluster/open-tree.ts";
import { addCommand, type TreeFlags } from "../flags/tree-flags.ts";
import { sayLines } from "../output/print.ts";
import { inCredits, printRows } from "../output/table.ts";

interface MailFlags extends TreeFlags {
  readonly client?: string;
}

export function mailCommand(): Command {
  const mail = new Command("mail")
    .description("stored messages")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  const forClient = (): Option => new Option("--client <ID>", "only what waits for this client");
  addCommand(mail, "list", "stored messages whose topic matches a filter")
    .argument("[FILTER]", "topic filter", "#")
    .addOption(forClient())
    .action(list);
  addCommand(mail, "show", "the payload of one stored message")
    .argument("<PATH>", "its znode, as list prints it")
    .action(show);
  addCommand(mail, "drop", "remove stored messages whose topic matches a filter; their credits come back")
    .argument("<FILTER>", "topic filter")
    .addOption(forClient())
    .action(drop);
  return mail;
}

/** Messages whose topic matches a filter, and that wait for a client if one is named. */
function matching({ messages, slips }: Snapshot, text: string, client: string | undefined): StoredMessage[] {
  const filter = parseFilter(text);
  if (filter === undefined) throw new OperatingError("EUSAGE", `${JSON.stringify(text)} is no topic filter`);
  const theirs = new Set(slips.filter(({ path }) => clientOf(path) === client).map(({ messagePath }) => messagePath));
  return messages.filter(
    (message) =>
      filterMatches(filter.levels, topicOf(message).split("/")) && (client === undefined || theirs.has(message.path)),
  );
}

async function list(filter: string, flags: MailFlags): Promise<void> {
  const taken = await withTree(flags, "read", snapshotOf);
  const waiting = new Map<string, number>();
  for (const { messagePath } of taken.slips) waiting.set(messagePath, (waiting.get(messagePath) ?? 0) + 1);
  const rows = matching(taken, filter, flags.client).map((message) => ({
    topic: topicOf(message),
    bytes: message.bytes,
    credits: inCredits(message.credits),
    expires: message.expiresAt === 0 ? null : new Date(message.expiresAt).toISOString(),
    waiting: waiting.get(message.path) ?? 0,
    branch: message.branch,
    path: message.path,
  }));
  printRows(rows, flags.json === true);
}

async function show(path: string, flags: TreeFlags): Promise<void> {
  const publish = await withTree(flags, "read", async (tree) => {
    const [result] = await read(tree, [{ kind: "get", path }]);
    const message = hasData(result)
      ? await new Promise<Publish | undefined>((done) =>
          readPieces(
            tree,
            decodeStored(topicOf({ path, isRetained: path.startsWith(`${retainedPath}/`) }), result.data),
            done,
          ),
        )
      : undefined;
    if (message === undefined) throw new OperatingError("EBANK", `there is no message ${path}`);
    return message;
  });
  sayLines(decodeUtf8(publish.payloadBytes, publish.payloadStart, publish.payloadEnd));
}

async function drop(filter: string, flags: MailFlags): Promise<void> {
  await withTree(flags, "write", async (tree) => {
    const taken = await snapshotOf(tree);
    const messages = matching(taken, filter, flags.client);
    const dropped =
      flags.client === undefined
        ? await remove(tree, taken, messages)
        : await removeFor(tree, { taken, messages, client: flags.client });
    printRows([{ dropped }], flags.json === true);
  });
}

/** Removes what waits for one client: a message goes with the last of its slips. */
async function removeFor(tree: Tree, { taken, messages, client }: Removal): Promise<number> {
  const found = new Map(messages.map((message) => [message.path, message]));
  let removed = 0;
  for (const { path, messagePath, isReleased, recipients } of taken.slips) {
    const message = found.get(messagePath);
    if (message === undefined || isReleased || clientOf(path) !== client) continue;
    const slip: WriteOperation = { kind: "delete", path, version: -1 };
    const counter: WriteOperation = { kind: "set", path: `${messagePath}/left`, data: noBytes, version: -1 };
    const versions = await write(tree, recipients > 1 ? [slip, counter] : [slip]);
    // It has just been read.
    if (versions === undefined) continue;
    removed++;
    if (recipients === 1 || (recipients > 1 && versions[1]! >= recipients)) await remove(tree, taken, [message]);
  }
  return removed;
}

/** The versions that are left behind; undefined if it was refused. */
function write(tree: Tree, operations: readonly WriteOperation[]): Promise<readonly number[] | undefined> {
  return new Promise((done) =>
    tree.write(operations, (error, results) => done(error ? undefined : results?.map(({ version }) => version))),
  );
}

/**
 * Removes messages with the slips that name them; their branches find out, and have their credits back. Returns how
 * many: a retained message that another one has replaced meanwhile stays.
 */
async function remove(tree: Tree, { slips }: Snapshot, messages: readonly StoredMessage[]): Promise<number> {
  const bySlips = new Map<string, string[]>();
  for (const { path, messagePath } of slips) {
    const paths = bySlips.get(messagePath) ?? [];
    bySlips.set(messagePath, paths);
    paths.push(path);
  }
  let removed = 0;
  for (const message of messages) {
    if (message.isRetained && !(await clearRetained(tree, message))) continue;
    removed++;
    if (message.isRetained) continue;
    const { path, parts } = message;
    const pieces = Array.from({ length: parts?.count ?? 0 }, (_, number) => partPath(parts!.id, number));
    // What is read meanwhile is gone already; the message goes after its slips, and before the pieces of its payload.
    for (const at of [...(bySlips.get(path) ?? []), `${path}/left`, path, ...pieces.reverse()])
      await write(tree, [{ kind: "delete", path: at, version: -1 }]);
  }
  return removed;
}

/** Does what the teller does by itself every now and then. */
export async function sweep(flags: TreeFlags): Promise<void> {
  await withTree(flags, "write", async (tree) => {
    const taken = await snapshotOf(tree);
    const isOver = ({ expiresAt }: StoredMessage): boolean => expiresAt !== 0 && expiresAt < taken.takenAt;
    printRows([{ swept: await remove(tree, taken, taken.messages.filter(isOver)) }], flags.json === true);
  });
}

interface Removal {
  readonly taken: Snapshot;
  readonly messages: readonly StoredMessage[];
  readonly client: string;
}

export function topicOf({ path, isRetained }: Pick<StoredMessage, "path" | "isRetained">): string {
  return isRetained ? topicOfPath(retainedPath, path) : topicOfPath(topicsPath, parentPath(path));
}

export function clientOf(slipPath: string): string {
  return decodeName(nameOf(parentPath(parentPath(slipPath))));
}
