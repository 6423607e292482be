/** `mqttzoo bank mail` and `bank sweep`: the stored messages themselves. */

import { Command, Option } from "commander";
import { type Emptied, removeMailOf, removeMessages } from "../../src/audit/remove-mail.ts";
import { type FoundMessage, findMail, topicOf, waitingFor } from "../../src/audit/stored-mail.ts";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { read } from "../../src/coordinator/mirror.ts";
import { retainedPath } from "../../src/coordinator/paths.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import { decodeStored, readPieces } from "../../src/mail/parts.ts";
import type { Publish } from "../../src/mqtt/publish.ts";
import { parseFilter } from "../../src/mqtt/topic.ts";
import { walkedOf, withTree } from "../cluster/open-tree.ts";
import { type ApiInstead, withApiInstead } from "../flags/api-flags.ts";
import { addCommand, type TreeFlags } from "../flags/tree-flags.ts";
import { sayLines } from "../output/print.ts";
import { inCredits, printRows, type Row } from "../output/table.ts";
import { dropOverApi, mailOverApi, sweepOverApi } from "./over-api.ts";

/** Messages that are removed in one go: for them all mailboxes are gone through once. */
const removedAtOnce = 50_000;

interface MailFlags extends TreeFlags, ApiInstead {
  readonly client?: string;
}

export function mailCommand(): Command {
  const mail = new Command("mail")
    .description("stored messages")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  const forClient = (): Option => new Option("--client <ID>", "only what waits for this client");
  withApiInstead(addCommand(mail, "list", "stored messages whose topic matches a filter"))
    .argument("[FILTER]", "topic filter", "#")
    .addOption(forClient())
    .action(list);
  addCommand(mail, "show", "the payload of one stored message")
    .argument("<PATH>", "its znode, as list prints it")
    .action(show);
  const drops = "remove stored messages whose topic matches a filter; their credits come back";
  withApiInstead(addCommand(mail, "drop", drops))
    .argument("<FILTER>", "topic filter")
    .addOption(forClient())
    .action(drop);
  return mail;
}

async function list(filter: string, flags: MailFlags): Promise<void> {
  const choice = { levels: levelsOf(filter), clientId: flags.client };
  if (flags.api !== undefined) return printRows(await mailOverApi(flags, filter, flags.client), flags.json === true);
  const rows = await withTree(flags, "read", async (tree) => {
    const walked = await walkedOf(tree);
    const rows: Row[] = [];
    for await (const { messages } of findMail(walked, choice)) {
      const waiting = await waitingFor(walked, messages);
      for (const message of messages) rows.push(rowOf(message, waiting.get(message.path)!));
    }
    return rows;
  });
  printRows(rows, flags.json === true);
}

function rowOf({ topic, bytes, credits, expiresAt, branch, path }: FoundMessage, waiting: number): Row {
  const expires = expiresAt === 0 ? null : new Date(expiresAt).toISOString();
  return { topic, bytes, credits: inCredits(credits), expires, waiting, branch, path };
}

/** Returns the levels of a topic filter. Throws `OperatingError`. */
function levelsOf(text: string): readonly string[] {
  const filter = parseFilter(text);
  if (filter === undefined) throw new OperatingError("EUSAGE", `${JSON.stringify(text)} is no topic filter`);
  return filter.levels;
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

async function drop(filter: string, { client: clientId, ...flags }: MailFlags): Promise<void> {
  const levels = levelsOf(filter);
  if (flags.api !== undefined) return printRows(await dropOverApi(flags, filter, clientId), flags.json === true);
  await withTree(flags, "write", async (tree) => {
    const emptied = await walkedOf(tree);
    const dropped =
      clientId === undefined
        ? await removeAll(emptied, { levels })
        : await removeMailOf(emptied, { clientId, levels, max: Infinity });
    printRows([{ dropped }], flags.json === true);
  });
}

/** Does what the teller does by itself every now and then. */
export async function sweep(flags: TreeFlags & ApiInstead): Promise<void> {
  if (flags.api !== undefined) return printRows(await sweepOverApi(flags), flags.json === true);
  await withTree(flags, "write", async (tree) => {
    const now = systemClock.wall();
    const isOver = ({ expiresAt }: FoundMessage): boolean => expiresAt !== 0 && expiresAt < now;
    const swept = await removeAll(await walkedOf(tree), { levels: undefined, isWanted: isOver });
    printRows([{ swept }], flags.json === true);
  });
}

/** Removes all messages that are wanted, and returns how many. */
async function removeAll(
  emptied: Emptied,
  {
    levels,
    isWanted = () => true,
  }: { levels: readonly string[] | undefined; isWanted?: (message: FoundMessage) => boolean },
): Promise<number> {
  let removed = 0;
  let found: FoundMessage[] = [];
  const removeFound = async (): Promise<void> => {
    removed += await removeMessages(emptied, found);
    found = [];
  };
  for await (const { messages } of findMail(emptied, { levels })) {
    found.push(...messages.filter(isWanted));
    if (found.length >= removedAtOnce) await removeFound();
  }
  await removeFound();
  return removed;
}
