/** `mqttzoo bank`: what the bank has, who holds it, whether it balances; and the mail that it pays for. */
import { Command, Option } from "commander";
import { Accounts } from "../src/bank/accounts.ts";
import { audit, boundBy, type Picture, type StoredMessage } from "../src/bank/audit.ts";
import { milli, priceOf } from "../src/bank/price.ts";
import { decodeUtf8 } from "../src/base/bytes.ts";
import { systemClock } from "../src/base/clock.ts";
import { OperatingError } from "../src/base/errors.ts";
import { sweepMs } from "../src/base/limits.ts";
import { read } from "../src/broker/mirror.ts";
import { defaultOptions } from "../src/broker/options.ts";
import { takePicture } from "../src/broker/picture.ts";
import {
  decodeName,
  nameOf,
  parentPath,
  partPath,
  retainedPath,
  topicOfPath,
  topicsPath,
} from "../src/coordinator/paths.ts";
import { isData, readStored } from "../src/mail/parts.ts";
import type { Publish } from "../src/mqtt/publish.ts";
import { filterMatches, parseFilter } from "../src/mqtt/topic.ts";
import { integer } from "./options.ts";
import { printRows, type Row } from "./table.ts";
import { openTree, type Tree, type Where } from "./tree.ts";
import { watchBank } from "./watch.ts";

interface Flags extends Where {
  readonly json?: boolean;
}

const holders = ["topic", "client", "branch", "age"];

/** The tree may change while it is read: what is wrong must be wrong every time. */
const auditTries = 5;

export function bankCommand(): Command {
  const bank = new Command("bank")
    .description("The bank that pays for stored messages: balance, audit, who holds the credits, and the mail.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  add(bank, "balance", "capital, vault, and each branch").action(withPicture(balance));
  add(bank, "audit", "prove that it balances; exit code 1 and what is wrong, if it does not").action(runAudit);
  const groups = new Option("--by <WHAT>", "who holds the credits").choices(holders).default("topic");
  add(bank, "statement", "who holds the credits")
    .addOption(groups)
    .addOption(new Option("--top <N>", "the largest only").default(20).argParser(parsed("--top", 1_000_000)))
    .action(withPicture(statement));
  bank
    .command("quote")
    .description("what it costs to store a message")
    .helpOption("--help", "print this help")
    .argument("<BYTES>", "topic, properties and payload together", parsed("BYTES", 268_435_460))
    .addOption(new Option("--ttl <SECONDS>", "Message Expiry Interval").argParser(parsed("--ttl", 0xffff_ffff)))
    .option("--json", "print one JSON object a line")
    .action(quote);
  bank.addCommand(mailCommand());
  add(bank, "sweep", "remove what has outlived its time now, as brokers do now and then").action(sweep);
  withPlace(bank).enablePositionalOptions().action(openConsole);
  for (const [name, sign] of [
    ["deposit", 1],
    ["withdraw", -1],
  ] as const) {
    add(bank, name, sign > 0 ? "raise the capital" : "lower the capital, as far as the vault holds it")
      .argument("<CREDITS>", "credits", parsed("CREDITS", 1_000_000_000_000))
      .action((credits: number, flags: Flags) => change(sign * credits, flags));
  }
  add(bank, "watch", "a live view: balance over time, the next expiries").action((flags: Flags) => watchBank(flags));
  return bank.addHelpText(
    "after",
    `
Examples:
  mqttzoo bank balance --zk zk1:2181,zk2:2181,zk3:2181
  mqttzoo bank audit --data mqttzoo-data && echo it balances
  mqttzoo bank statement --by client --top 5
  mqttzoo bank quote 256 --ttl 3600
  mqttzoo bank mail list 'home/#' --zk zk1:2181
  mqttzoo bank deposit 1000000 --zk zk1:2181`,
  );
}

function add(to: Command, name: string, description: string): Command {
  const command = to.command(name).description(description).helpOption("--help", "print this help");
  return withPlace(command).option("--json", "print one JSON object a line");
}

/** Where the tree is. */
function withPlace(command: Command): Command {
  return command
    .addOption(
      new Option("--zk <HOSTS>", "ZooKeeper servers, and the cluster's chroot (env: MQTTZOO_ZK)").env("MQTTZOO_ZK"),
    )
    .addOption(
      new Option("--data <DIR>", "folder of a broker that runs alone (default: mqttzoo-data; env: MQTTZOO_DATA)").env(
        "MQTTZOO_DATA",
      ),
    );
}

/** Without a command, on a terminal. */
async function openConsole(where: Flags): Promise<void> {
  if (!process.stdin.isTTY)
    throw new OperatingError("EUSAGE", "name a command; without one the console needs a terminal");
  const { startConsole } = await import("./console.ts");
  startConsole({
    balance: () => withPicture(balance)(where),
    audit: () => runAudit(where),
    statement: (by = "topic") => withPicture(statement)({ ...where, by, top: 20 }),
    quote: (bytes, ttl) => quote(bytes, ttl === undefined ? {} : { ttl }),
    list: (filter = "#") => list(filter, where),
    show: (path) => show(path, where),
    drop: (filter) => drop(filter, where),
    change: (credits) => change(credits, where),
  });
}

function parsed(what: string, max: number): (text: string) => number {
  return (text) => {
    try {
      return integer(0, max)(text);
    } catch (error) {
      throw new OperatingError("EUSAGE", `${what}: ${(error as Error).message}`);
    }
  };
}

async function withTree<Result>(
  where: Where,
  how: "read" | "write",
  use: (tree: Tree) => Promise<Result>,
): Promise<Result> {
  const tree = await openTree(where, how);
  try {
    return await use(tree);
  } finally {
    await tree.close();
  }
}

async function picture(tree: Tree): Promise<Picture> {
  const taken = await takePicture(tree, systemClock.wall());
  if (taken === undefined)
    throw new OperatingError("EBANK", "there is no bank here: no broker has been started on it yet");
  return taken;
}

function withPicture<Own extends Flags>(show: (picture: Picture, flags: Own) => Row[]): (flags: Own) => Promise<void> {
  return async (flags) => {
    const taken = await withTree(flags, "read", picture);
    printRows(show(taken, flags), flags.json === true);
  };
}

/** Credits with one digit behind the point. */
export function inCredits(amount: number): number {
  return Math.round(amount / (milli / 10)) / 10;
}

function balance({ capital, vault, grants, messages }: Picture): Row[] {
  const bound = boundBy(messages);
  const count = (branch: string): number => messages.filter((message) => message.branch === branch).length;
  const branches = [...grants].sort().map(([branch, grant]) => {
    const used = bound.get(branch) ?? 0;
    return {
      account: branch,
      granted: inCredits(grant),
      bound: inCredits(used),
      free: inCredits(grant - used),
      messages: count(branch),
    };
  });
  const all = [...bound.values()].reduce((sum, credits) => sum + credits, 0);
  return [
    {
      account: "(capital)",
      granted: inCredits(capital),
      bound: inCredits(all),
      free: inCredits(capital - all),
      messages: messages.length,
    },
    { account: "(vault)", granted: inCredits(vault), bound: 0, free: inCredits(vault), messages: 0 },
    ...branches,
  ];
}

async function runAudit(flags: Flags): Promise<void> {
  const wrong = await withTree(flags, "read", async (tree) => {
    let persistent: string[] | undefined;
    for (let tries = 0; tries < auditTries; tries++) {
      const found = audit(await picture(tree), { graceMs: 2 * sweepMs });
      persistent = persistent === undefined ? found : persistent.filter((what) => found.includes(what));
      if (persistent.length === 0) break;
    }
    return persistent!;
  });
  if (flags.json === true) console.log(JSON.stringify({ balances: wrong.length === 0, wrong }));
  else console.log(wrong.length === 0 ? "it balances" : wrong.join("\n"));
  if (wrong.length > 0) throw new OperatingError("EAUDIT", `the audit has found ${wrong.length} faults`);
}

function statement(taken: Picture, { by, top }: Flags & { by: string; top: number }): Row[] {
  if (!holders.includes(by))
    throw new OperatingError("EUSAGE", `${JSON.stringify(by)} is none of ${holders.join(", ")}`);
  const sums = new Map<string, { credits: number; messages: number }>();
  const note = (holder: string, credits: number): void => {
    const sum = sums.get(holder) ?? { credits: 0, messages: 0 };
    sums.set(holder, { credits: sum.credits + credits, messages: sum.messages + 1 });
  };
  if (by === "client") {
    const prices = new Map(taken.messages.map(({ path, credits }) => [path, credits]));
    for (const { path, messagePath } of taken.slips) note(clientOf(path), prices.get(messagePath) ?? 0);
  } else for (const message of taken.messages) note(holderOf(message, by, taken.takenAt), message.credits);
  const rows = [...sums].map(([holder, { credits, messages }]) => ({
    [by]: holder,
    credits: inCredits(credits),
    messages,
  }));
  return rows.sort((a, b) => Number(b.credits) - Number(a.credits)).slice(0, top);
}

function holderOf(message: StoredMessage, by: string, now: number): string {
  if (by === "branch") return message.branch;
  if (by === "topic") return topicOf(message);
  if (message.expiresAt === 0) return "no end";
  const hours = Math.max(0, (message.expiresAt - now) / 3_600_000);
  return hours < 1 ? "ends within 1 h" : `ends within ${2 ** Math.ceil(Math.log2(hours))} h`;
}

function topicOf({ path, isRetained }: StoredMessage): string {
  return isRetained ? topicOfPath(retainedPath, path) : topicOfPath(topicsPath, parentPath(path));
}

function clientOf(slipPath: string): string {
  return decodeName(nameOf(parentPath(parentPath(slipPath))));
}

function quote(bytes: number, { ttl, json }: { ttl?: number; json?: boolean }): void {
  const { bankTtlMin, bankTtlMax } = defaultOptions;
  const pricing = { ttlMinMs: bankTtlMin * 1000, ttlMaxMs: bankTtlMax * 1000, ttl: "random" } as const;
  const price = (seconds: number): number => inCredits(priceOf(bytes, seconds * 1000, pricing));
  const row =
    ttl === undefined
      ? { bytes, ttl: `${bankTtlMin}..${bankTtlMax}`, least: price(bankTtlMin), most: price(bankTtlMax) }
      : { bytes, ttl, least: price(ttl), most: price(ttl) };
  printRows([row], json === true);
}

async function change(credits: number, flags: Flags): Promise<void> {
  await withTree(flags, "write", async (tree) => {
    const before = await picture(tree);
    const changed = await new Promise<number>((done) => new Accounts(tree).deposit(credits * milli, done));
    if (changed !== credits * milli && changed === 0 && credits < 0)
      throw new OperatingError(
        "EBANK",
        "the vault is empty: what the branches hold comes back as messages are read or expire",
      );
    printRows([{ changed: inCredits(changed), capital: inCredits(before.capital + changed) }], flags.json === true);
  });
}

function mailCommand(): Command {
  const mail = new Command("mail")
    .description("stored messages")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  add(mail, "list", "stored messages whose topic matches a filter")
    .argument("[FILTER]", "topic filter", "#")
    .action(list);
  add(mail, "show", "the payload of one stored message")
    .argument("<PATH>", "its znode, as list prints it")
    .action(show);
  add(mail, "drop", "remove stored messages whose topic matches a filter; their credits come back")
    .argument("<FILTER>", "topic filter")
    .action(drop);
  return mail;
}

function matching({ messages }: Picture, text: string): StoredMessage[] {
  const filter = parseFilter(text);
  if (filter === undefined) throw new OperatingError("EUSAGE", `${JSON.stringify(text)} is no topic filter`);
  return messages.filter((message) => filterMatches(filter.levels, topicOf(message).split("/")));
}

async function list(filter: string, flags: Flags): Promise<void> {
  const taken = await withTree(flags, "read", picture);
  const waiting = new Map<string, number>();
  for (const { messagePath } of taken.slips) waiting.set(messagePath, (waiting.get(messagePath) ?? 0) + 1);
  const rows = matching(taken, filter).map((message) => ({
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

async function show(path: string, flags: Flags): Promise<void> {
  const publish = await withTree(flags, "read", async (tree) => {
    const [result] = await read(tree, [{ kind: "get", path }]);
    const message = isData(result)
      ? await new Promise<Publish | undefined>((done) => readStored(tree, "", result.data, done))
      : undefined;
    if (message === undefined) throw new OperatingError("EBANK", `there is no message ${path}`);
    return message;
  });
  console.log(decodeUtf8(publish.payloadBytes, publish.payloadStart, publish.payloadEnd));
}

async function drop(filter: string, flags: Flags): Promise<void> {
  await withTree(flags, "write", async (tree) => {
    const taken = await picture(tree);
    const dropped = await remove(tree, taken, matching(taken, filter));
    printRows([{ dropped }], flags.json === true);
  });
}

/** What the teller does by itself every now and then. */
async function sweep(flags: Flags): Promise<void> {
  await withTree(flags, "write", async (tree) => {
    const taken = await picture(tree);
    const isOver = ({ expiresAt }: StoredMessage): boolean => expiresAt !== 0 && expiresAt < taken.takenAt;
    printRows([{ swept: await remove(tree, taken, taken.messages.filter(isOver)) }], flags.json === true);
  });
}

/** Removes messages with the slips that name them; their branches find out, and have their credits back. */
async function remove(tree: Tree, { slips }: Picture, messages: readonly StoredMessage[]): Promise<number> {
  const bySlips = new Map<string, string[]>();
  for (const { path, messagePath } of slips) {
    const paths = bySlips.get(messagePath) ?? [];
    bySlips.set(messagePath, paths);
    paths.push(path);
  }
  for (const { path, parts } of messages) {
    const pieces = Array.from({ length: parts?.count ?? 0 }, (_, number) => partPath(parts!.id, number));
    // What is read meanwhile is gone already; the message goes after its slips, and before the pieces of its payload.
    for (const at of [...(bySlips.get(path) ?? []), `${path}/left`, path, ...pieces.reverse()])
      await new Promise<void>((done) => tree.write([{ kind: "delete", path: at, version: -1 }], () => done()));
  }
  return messages.length;
}
