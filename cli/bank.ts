/** `mqttzoo bank`: what the bank has, who holds it, whether it balances; and the mail that it pays for. */
import { Command, Option } from "commander";
import { audit, boundBy, type Snapshot } from "../src/audit/audit.ts";
import { holderKinds } from "../src/audit/statement.ts";
import { Accounts, type CapitalChange } from "../src/bank/accounts.ts";
import { milli, quotesOf } from "../src/bank/price.ts";
import { type Repair, repairAccounts } from "../src/bank/repair.ts";
import { bankCapitalCreditsMax, sweepMs } from "../src/base/bank-limits.ts";
import { OperatingError } from "../src/base/errors.ts";
import { defaultOptions } from "../src/broker/core/options.ts";
import { describeStrangers } from "../src/mail/record-reader.ts";
import { mailCommand, sweep } from "./bank/mail.ts";
import { balanceOverApi, changeOverApi } from "./bank/over-api.ts";
import { statement } from "./bank/statement.ts";
import { watchBank } from "./bank/watch.ts";
import { snapshotOf, weighedSnapshotOf, withTree } from "./cluster/open-tree.ts";
import { type ApiInstead, withApiInstead } from "./flags/api-flags.ts";
import { integer } from "./flags/parsers.ts";
import { addCommand, type TreeFlags, withPlace } from "./flags/tree-flags.ts";
import { complain, say, sayJson } from "./output/print.ts";
import { inCredits, printRows, type Row } from "./output/table.ts";

/** The tree may change while it is read: what is wrong must be wrong every time. */
const auditTries = 5;

export function bankCommand(): Command {
  const bank = new Command("bank")
    .description("The bank that pays for stored messages: balance, audit, who holds the credits, and the mail.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  withApiInstead(addCommand(bank, "balance", "capital, vault, and each branch")).action(printBalance);
  addCommand(bank, "audit", "prove that it balances; exit code 1 and what is wrong, if it does not")
    .addOption(
      new Option("--share <PERCENT>", "also that no user holds more than that of the capital").argParser(
        parsed("--share", 100),
      ),
    )
    .action(runAudit);
  const groups = new Option("--by <WHAT>", "who holds the credits").choices(holderKinds).default("topic");
  withApiInstead(addCommand(bank, "statement", "who holds the credits"))
    .addOption(groups)
    .addOption(new Option("--top <N>", "the largest only").default(20).argParser(parsed("--top", 1_000_000)))
    .action(statement);
  bank
    .command("quote")
    .description("what it costs to store a message")
    .helpOption("--help", "print this help")
    .argument("<BYTES>", "topic, properties and payload together", bytesOf)
    .addOption(new Option("--topic <TOPIC>", "its topic: each of its levels is a znode").default("topic"))
    .addOption(new Option("--ttl <SECONDS>", "Message Expiry Interval").argParser(ttlOf))
    .option("--json", "print one JSON object a line")
    .action(quote);
  bank.addCommand(mailCommand());
  const sweeps = "remove what has outlived its time now, as brokers do now and then";
  withApiInstead(addCommand(bank, "sweep", sweeps)).action(sweep);
  withPlace(bank).enablePositionalOptions().action(openConsole);
  withApiInstead(addCommand(bank, "deposit", "raise the capital"))
    .argument("<CREDITS>", "credits", creditsOf)
    .action((credits: number, flags: ChangeFlags) => change("deposit", credits, flags));
  withApiInstead(addCommand(bank, "withdraw", "lower the capital, by credits that the vault holds"))
    .argument("<CREDITS>", "credits", creditsOf)
    .option("--force", "if the vault holds fewer, all that it holds")
    .action((credits: number, flags: ChangeFlags) => change("withdraw", credits, flags));
  addCommand(bank, "repair", "mend accounts that the audit has found damaged, or not to balance")
    .addOption(
      new Option("--capital <CREDITS>", "the capital, if the tree does not tell any more").argParser(creditsOf),
    )
    .action(repair);
  addCommand(bank, "watch", "a live view: balance over time, the next expiries").action((flags: TreeFlags) =>
    watchBank(flags),
  );
  return bank.addHelpText(
    "after",
    `
Examples:
  mqttzoo bank balance --zk zk1:2181,zk2:2181,zk3:2181
  mqttzoo bank audit --data mqttzoo-data && echo it balances
  mqttzoo bank statement --by client --top 5
  mqttzoo bank quote 256 --ttl 3600 --topic home/kitchen/temperature
  mqttzoo bank mail list 'home/#' --zk zk1:2181
  mqttzoo bank mail drop '#' --client old-sensor --zk zk1:2181
  mqttzoo bank deposit 1000000 --zk zk1:2181
  mqttzoo bank statement --by user --api http://olga:PASSWORD@broker.example.org:8080`,
  );
}

interface ChangeFlags extends TreeFlags, ApiInstead {
  readonly force?: boolean;
}

const bytesOf = parsed("BYTES", 268_435_460);
const ttlOf = parsed("--ttl", 0xffff_ffff);
const creditsOf = parsed("CREDITS", bankCapitalCreditsMax);

/** Without a command, on a terminal. */
async function openConsole(where: TreeFlags): Promise<void> {
  if (!process.stdin.isTTY)
    throw new OperatingError("EUSAGE", "name a command; without one the console needs a terminal");
  const { startConsole } = await import("./bank/console.ts");
  startConsole(() => bankCommand().action(nameCommand), where);
}

function nameCommand(): never {
  throw new OperatingError("EUSAGE", "name a command; see help");
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

async function printBalance(flags: TreeFlags & ApiInstead): Promise<void> {
  if (flags.api !== undefined) return printRows(await balanceOverApi(flags), flags.json === true);
  printRows(balance(await withTree(flags, "read", snapshotOf)), flags.json === true);
}

function balance(taken: Snapshot): Row[] {
  const { damaged, capital, vault, grants, messages, refused } = taken;
  if (damaged.size > 0)
    throw new OperatingError("EBANK", `damaged: ${[...damaged.keys()].join(", ")}; "mqttzoo bank audit" says more`);
  const bound = boundBy(taken);
  const count = (branch: string): number => messages.filter((message) => message.branch === branch).length;
  const branches = [...grants].sort().map(([branch, grant]) => {
    const used = bound.get(branch) ?? 0;
    return {
      account: branch,
      granted: inCredits(grant),
      bound: inCredits(used),
      free: inCredits(grant - used),
      messages: count(branch),
      refused: refused.get(branch) ?? 0,
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
      refused: [...refused.values()].reduce((sum, count) => sum + count, 0),
    },
    { account: "(vault)", granted: inCredits(vault), bound: 0, free: inCredits(vault), messages: 0, refused: 0 },
    ...branches,
  ];
}

async function runAudit(flags: TreeFlags & { readonly share?: number }): Promise<void> {
  let strangers: ReadonlyMap<string, string> = new Map();
  const wrong = await withTree(flags, "read", async (tree) => {
    const damage = tree.damage();
    if (damage.length > 0) return [...damage];
    let persistent: string[] | undefined;
    for (let tries = 0; tries < auditTries; tries++) {
      const taken = await weighedSnapshotOf(tree);
      ({ strangers } = taken);
      const found = audit(taken, { graceMs: 2 * sweepMs, sharePercent: flags.share });
      persistent = persistent === undefined ? found : persistent.filter((what) => found.includes(what));
      if (persistent.length === 0) break;
    }
    return persistent!;
  });
  tellStrangers(strangers);
  if (flags.json === true) sayJson({ balances: wrong.length === 0, wrong, strangers: Object.fromEntries(strangers) });
  else for (const line of wrong.length === 0 ? ["it balances"] : wrong) say(line);
  if (wrong.length > 0) throw new OperatingError("EFAILED", `the audit has found ${wrong.length} faults`);
}

/** Names what others have put into the tree, on standard error: it is no fault of the bank's. */
function tellStrangers(strangers: ReadonlyMap<string, string>): void {
  const words = describeStrangers(strangers);
  if (words !== undefined) complain(words);
}

function quote(bytes: number, { ttl, topic, json }: { ttl?: number; topic: string; json?: boolean }): void {
  const { bankTtlMin, bankTtlMax, bankTtl } = defaultOptions;
  const pricing = { ttlMinMs: bankTtlMin * 1000, ttlMaxMs: bankTtlMax * 1000, ttl: bankTtl };
  const words = { mailbox: "for a session", drop: "in a mail drop" };
  const rows = quotesOf(bytes, { ttl, topic }, pricing).map(({ keeping, ttlMin, ttlMax, least, most }) => ({
    ...(keeping === undefined ? {} : { kept: words[keeping] }),
    ...{ bytes, ttl: ttlMin === ttlMax ? ttlMin : `${ttlMin}..${ttlMax}` },
    ...{ least: inCredits(least), most: inCredits(most) },
  }));
  printRows(rows, json === true);
}

async function change(how: "deposit" | "withdraw", credits: number, flags: ChangeFlags): Promise<void> {
  if (flags.api !== undefined && flags.force === true)
    throw new OperatingError("EUSAGE", "--force is for --zk or --data: over --api say how many credits");
  if (flags.api !== undefined) return printRows(await changeOverApi(flags, how, credits), flags.json === true);
  const asFarAs = flags.force === true ? "possible" : "asked";
  await withTree(flags, "write", async (tree) => {
    const change = await new Promise<CapitalChange>((done) =>
      new Accounts(tree).changeCapital((how === "deposit" ? milli : -milli) * credits, { asFarAs }, done),
    );
    if ("refused" in change) throw new OperatingError("EBANK", change.refused);
    const { changed, capital } = change;
    printRows([{ changed: inCredits(changed), capital: inCredits(capital) }], flags.json === true);
  });
}

async function repair(flags: TreeFlags & { readonly capital?: number }): Promise<void> {
  const capital = flags.capital === undefined ? undefined : flags.capital * milli;
  await withTree(flags, "write", async (tree) => {
    const bound = boundBy(await snapshotOf(tree));
    const done = await new Promise<Repair>((told) => repairAccounts(tree, { bound, capital }, told));
    if ("refused" in done) throw new OperatingError("EBANK", done.refused);
    const rows = [...done.mended].map(([account, amount]) => ({ account, holds: inCredits(amount) }));
    printRows(rows, flags.json === true);
  });
}
