/** `mqttzoo retained`: the retained messages that are stored, whose they are, and which of them are to go. */
import { Command, Option } from "commander";
import { Acl } from "../src/access/acl.ts";
import { parsePasswordFile } from "../src/access/password-file.ts";
import type { RetainedMessageRow } from "../src/api/rows.ts";
import { clearRetained, type SeenMessage } from "../src/audit/remove-mail.ts";
import { walkRetained } from "../src/audit/scan.ts";
import { OperatingError } from "../src/base/errors.ts";
import { finish } from "../src/base/slices.ts";
import { retainedPath, topicOfPath } from "../src/coordinator/paths.ts";
import { refuseNewer } from "../src/coordinator/tree-format.ts";
import { describeStrangers, notingReader } from "../src/mail/record-reader.ts";
import { filterMatches, parseFilter } from "../src/mqtt/topic.ts";
import { type ApiPlace, askApi } from "../src/server/api-client.ts";
import { readText } from "../src/server/operator-files.ts";
import { type Tree, withTree } from "./cluster/open-tree.ts";
import { withPlace } from "./flags/api-flags.ts";
import { addCommand, type TreeFlags } from "./flags/tree-flags.ts";
import { complain, say } from "./output/print.ts";
import { inCredits, printRows, type Row } from "./output/table.ts";

interface Flags extends TreeFlags {
  readonly user?: string;
  readonly notAllowed?: boolean;
  readonly aclFile?: string;
  readonly passwordFile?: string;
  readonly dryRun?: boolean;
}

/** A retained message as it stands in the tree. */
interface Retained extends SeenMessage {
  readonly topic: string;
  /** The user who has published it; "": a client without a user name, or a broker of a version that did not say. */
  readonly user: string;
  readonly bytes: number;
  readonly credits: number;
  /** Milliseconds since 1970; Infinity: it stays until it is cleared. */
  readonly keepUntil: number;
  readonly branch: string;
  /** When it was published, in ms since 1970; undefined: the store does not say. */
  readonly at: number | undefined;
}

/** Messages that are cleared at once. */
const clearedAtOnce = 64;

export function retainedCommand(): Command {
  const retained = new Command("retained")
    .description("Retained messages: whose they are, and clearing those that are not to stay.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  withChoice(addCommand(retained, "list", "print retained messages"))
    .argument("[FILTER]", "topic filter (default: all topics)")
    .action(list);
  withPlace(retained.command("get").description("print the message of one topic, and who has set it, when and where"))
    .argument("<TOPIC>", "the topic")
    .action(get);
  withChoice(addCommand(retained, "clear", "remove retained messages; their credits come back"))
    .argument("[FILTER]", "topic filter; may be left out where --user or --not-allowed chooses")
    .option("--dry-run", "print what would be cleared, and clear nothing")
    .action(clear);
  return retained.addHelpText(
    "after",
    `
New subscribers are not sent what has been cleared, at no broker; those who have it already are not told. A message
that another one replaces meanwhile is left alone.

--not-allowed chooses what its user may not publish there any more, by the access list as it is in --acl-file now, and
with --password-file what is of users who are not in that file any more. With which client id something was published
only the broker knows at which it was, until that restarts (retained get): what a rule with %c allows to any client of
the user counts as allowed. Rights that a token or a hook has given are not in the access list, so name such users'
topics there first, or choose by --user.

Examples:
  mqttzoo retained list 'home/#' --data mqttzoo-data
  mqttzoo retained get home/kitchen/set --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo retained list --user mallory --zk zk1:2181,zk2:2181,zk3:2181
  mqttzoo retained clear --not-allowed --acl-file acl --password-file users --dry-run --zk zk1:2181
  mqttzoo retained clear 'home/#' --user mallory --zk zk1:2181
  mqttzoo retained clear --user '' --data mqttzoo-data      what clients without a user name have left`,
  );
}

function withChoice(command: Command): Command {
  const file = (flags: string, help: string, variable: string): Option => new Option(flags, help).env(variable);
  return command
    .option("--user <NAME>", "only what this user has published; '': clients without a user name")
    .option("--not-allowed", "only what its user may not publish there any more")
    .addOption(file("--acl-file <FILE>", "the brokers' access list, for --not-allowed", "MQTTZOO_ACL_FILE"))
    .addOption(file("--password-file <FILE>", "the brokers' users, for --not-allowed", "MQTTZOO_PASSWORD_FILE"));
}

async function list(filter: string | undefined, flags: Flags): Promise<void> {
  const isChosen = chooserOf(filter, flags);
  const found = await withTree(flags, "read", (tree) => find(tree, isChosen));
  printRows(
    found.map((message) => ({ ...rowOf(message), branch: message.branch, retained: timeOf(message.at) })),
    flags.json === true,
  );
}

async function get(topic: string, flags: ApiPlace & { readonly json?: boolean }): Promise<void> {
  const message = (await askApi(flags, "GET", `/retained/${encodeURIComponent(topic)}`)) as RetainedMessageRow;
  if (flags.json === true) return printRows([{ ...message }], true);
  const { payload, payload_base64, ...facts } = message;
  for (const [name, value] of Object.entries(facts)) say(`${name.replaceAll("_", " ").padEnd(14)} ${value ?? "-"}`);
  say(payload === null ? `payload in base64: ${payload_base64}` : `payload: ${payload}`);
}

async function clear(filter: string | undefined, flags: Flags): Promise<void> {
  if (filter === undefined && flags.user === undefined && flags.notAllowed !== true)
    throw new OperatingError("EUSAGE", "say what to clear: a topic filter ('#': all), --user or --not-allowed");
  const isChosen = chooserOf(filter, flags);
  if (flags.dryRun === true) {
    const found = await withTree(flags, "read", (tree) => find(tree, isChosen));
    printRows(
      found.map((message) => ({ ...rowOf(message), cleared: "no: dry run" })),
      flags.json === true,
    );
    return;
  }
  await withTree(flags, "write", async (tree) => {
    const found = await find(tree, isChosen);
    const rows: Row[] = [];
    for (let at = 0; at < found.length; at += clearedAtOnce) {
      const page = found.slice(at, at + clearedAtOnce);
      const done = await Promise.all(page.map((message) => clearRetained(tree, message)));
      page.forEach((message, index) => {
        rows.push({ ...rowOf(message), cleared: done[index] ? "yes" : "no: replaced or gone meanwhile" });
      });
    }
    printRows(rows, flags.json === true);
  });
}

function rowOf({ topic, user, bytes, credits, keepUntil }: Retained): Row {
  const expires = keepUntil === Infinity ? null : new Date(keepUntil).toISOString();
  return { topic, user: user === "" ? null : user, bytes, credits: inCredits(credits), expires };
}

function timeOf(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString();
}

/** Returns what is retained and chosen, by topic. Rejects with `OperatingError`. */
async function find(tree: Tree, isChosen: (message: Retained) => boolean): Promise<Retained[]> {
  await refuseNewer(tree);
  const strangers = new Map<string, string>();
  const found: Retained[] = [];
  await walkRetained(
    { store: tree, reader: notingReader(strangers) },
    (path, head, { data, stat: { version, mtime: at } }) => {
      const { credits, keepUntil, branch, parts, payer: user = "" } = head;
      const topic = topicOfPath(retainedPath, path);
      const message = { path, version, topic, user, bytes: data.length, credits, keepUntil, branch, parts, at };
      if (isChosen(message)) found.push(message);
    },
  );
  const words = describeStrangers(strangers);
  if (words !== undefined) complain(words);
  return found.sort((a, b) => (a.topic < b.topic ? -1 : 1));
}

/** Returns what tells the messages that the flags choose. Throws `OperatingError`. */
function chooserOf(filter: string | undefined, flags: Flags): (message: Retained) => boolean {
  const levels = filter === undefined ? undefined : parseFilter(filter)?.levels;
  if (filter !== undefined && levels === undefined)
    throw new OperatingError("EUSAGE", `${JSON.stringify(filter)} is no topic filter`);
  const mayPublish = flags.notAllowed === true ? ruleOf(flags) : () => false;
  return ({ topic, user }) =>
    (levels === undefined || filterMatches(levels, topic.split("/"))) &&
    (flags.user === undefined || flags.user === user) &&
    !mayPublish(user, topic);
}

/** Returns what tells who may publish where by the operator's files. Throws `OperatingError`. */
function ruleOf({ aclFile, passwordFile }: Flags): (user: string, topic: string) => boolean {
  if (aclFile === undefined && passwordFile === undefined)
    throw new OperatingError("EUSAGE", "--not-allowed needs the brokers' --acl-file, --password-file or both");
  const acl = aclFile === undefined ? undefined : inFile(aclFile, (text) => finish(Acl.read(text)));
  const users = passwordFile === undefined ? undefined : inFile(passwordFile, (text) => parsePasswordFile(text));
  return (user, topic) => {
    const isUser = user === "" || users === undefined || users.has(user);
    return isUser && acl?.mayUserPublish(user === "" ? undefined : user, topic) !== false;
  };
}

/** Reads a file of the operator's. Throws `OperatingError` that names it. */
function inFile<Read>(path: string, use: (text: string) => Read): Read {
  const text = readText(path);
  try {
    return use(text);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw new OperatingError(error.code, `${path}: ${error.message}`);
  }
}
