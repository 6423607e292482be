/** The bank's console: the same commands at a prompt, with help and history. What holds a slash is quoted: "home/#". */
import { CLI, type Commands } from "cliffy";
import { messageOf } from "../../src/base/errors.ts";
import { say } from "../output/print.ts";

export interface BankActions {
  /** The kinds of holders that a statement may be by. */
  readonly holders: readonly string[];
  balance(): Promise<void>;
  audit(): Promise<void>;
  statement(by: string | undefined): Promise<void>;
  quote(bytes: string, ttl: string | undefined): void;
  list(filter: string | undefined, client: string | undefined): Promise<void>;
  show(path: string): Promise<void>;
  drop(filter: string, client: string | undefined): Promise<void>;
  sweep(): Promise<void>;
  watch(): Promise<void>;
  /** As typed: whoever takes it says what is wrong with it. */
  change(how: "deposit" | "withdraw", credits: string): Promise<void>;
}

/** Returns the commands, as Tab completes them. */
const namesOf = (holders: readonly string[]): string[] => [
  "balance",
  "audit",
  "statement",
  ...holders.map((by) => `statement ${by}`),
  "quote",
  "mail",
  "mail list",
  "mail show",
  "mail drop",
  "sweep",
  "watch",
  "deposit",
  "withdraw",
  "help",
  "quit",
];

/** Cliffy keeps its line editor to itself; completion is set on it. */
interface LineEditor {
  readonly readline: { completer: (line: string, done: (error: null, found: [string[], string]) => void) => void };
}

export function startConsole(actions: BankActions): void {
  const cli = new CLI({ quietBlank: true })
    .setName("mqttzoo bank")
    .setInfo('The bank that pays for stored messages. Quote what holds a slash: mail list "home/#". Ctrl-C ends.')
    .setDelimiter("bank> ")
    .addCommand("balance", { description: "capital, vault, and each branch", action: safely(actions.balance) })
    .addCommand("audit", { description: "prove that it balances", action: safely(actions.audit) })
    .addCommand("statement", {
      description: "who holds the credits: by topic, client, user, branch or age",
      parameters: [{ label: "by", optional: true }],
      action: ({ by }) => safely(() => actions.statement(by))(),
    })
    .addCommand("quote", {
      description: "what it costs to store a message",
      parameters: ["bytes", { label: "ttl", optional: true }],
      action: ({ bytes, ttl }) => safely(() => actions.quote(bytes, ttl))(),
    })
    .addCommand("mail", {
      description: "stored messages: mail list, mail show, mail drop",
      action: () => say('mail list ["FILTER" [CLIENT]], mail show "PATH", mail drop "FILTER" [CLIENT]'),
      subcommands: mailCommands(actions),
    });
  for (const name of ["deposit", "withdraw"] as const) {
    cli.addCommand(name, {
      description: name === "deposit" ? "raise the capital" : "lower the capital",
      parameters: ["credits"],
      action: ({ credits }) => safely(() => actions.change(name, credits))(),
    });
  }
  cli.addCommand("sweep", { description: "remove what has outlived its time now", action: safely(actions.sweep) });
  cli.addCommand("watch", {
    description: "a live view, until Ctrl-C: it ends the console too",
    action: safely(actions.watch),
  });
  cli.addCommand("quit", { description: "end", action: () => process.exit(0) });
  const names = namesOf(actions.holders);
  (cli as unknown as LineEditor).readline.completer = (line, done) => {
    const fitting = names.filter((name) => name.startsWith(line));
    done(null, [fitting, line]);
  };
  cli.showHelp();
  cli.show();
}

function mailCommands(actions: BankActions): Commands {
  return {
    list: {
      description: "stored messages whose topic matches a filter, and that wait for a client if one is named",
      parameters: [
        { label: "filter", optional: true },
        { label: "client", optional: true },
      ],
      action: ({ filter, client }) => safely(() => actions.list(filter, client))(),
    },
    show: {
      description: "the payload of one",
      parameters: ["path"],
      action: ({ path }) => safely(() => actions.show(path))(),
    },
    drop: {
      description: "remove those whose topic matches a filter, or what of them waits for one client",
      parameters: ["filter", { label: "client", optional: true }],
      action: ({ filter, client }) => safely(() => actions.drop(filter, client))(),
    },
  };
}

/** Wraps a command of the console: its error is said in one line, and the prompt comes again. */
function safely(run: () => void | Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await run();
    } catch (error) {
      say(messageOf(error));
    }
  };
}
