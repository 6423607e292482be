/** The bank's console: the same commands at a prompt, with help and history. What holds a slash is quoted: "home/#". */
import { CLI } from "cliffy";
import { messageOf } from "../src/base/errors.ts";

export interface BankActions {
  balance(): Promise<void>;
  audit(): Promise<void>;
  statement(by: string | undefined): Promise<void>;
  quote(bytes: number, ttl: number | undefined): void;
  list(filter: string | undefined): Promise<void>;
  show(path: string): Promise<void>;
  drop(filter: string): Promise<void>;
  change(credits: number): Promise<void>;
}

const names = ["balance", "audit", "statement", "quote", "mail", "deposit", "withdraw", "help", "quit"];

/** Cliffy keeps its line editor to itself; completion is set on it. */
interface LineEditor {
  readonly readline: { completer: (line: string) => [string[], string] };
}

export function startConsole(actions: BankActions): void {
  /** What goes wrong is said in one line, and the prompt comes again. */
  const safely = (run: () => void | Promise<void>) => async (): Promise<void> => {
    try {
      await run();
    } catch (error) {
      console.log(messageOf(error));
    }
  };
  const number = (label: string) => ({ label, type: "number" as const });
  const cli = new CLI({ quietBlank: true })
    .setName("mqttzoo bank")
    .setInfo('The bank that pays for stored messages. Quote what holds a slash: mail list "home/#". Ctrl-C ends.')
    .setDelimiter("bank> ")
    .addCommand("balance", { description: "capital, vault, and each branch", action: safely(actions.balance) })
    .addCommand("audit", { description: "prove that it balances", action: safely(actions.audit) })
    .addCommand("statement", {
      description: "who holds the credits: by topic, client, branch or age",
      parameters: [{ label: "by", optional: true }],
      action: ({ by }) => safely(() => actions.statement(by))(),
    })
    .addCommand("quote", {
      description: "what it costs to store a message",
      parameters: [number("bytes"), { ...number("ttl"), optional: true }],
      action: ({ bytes, ttl }) => safely(() => actions.quote(bytes, ttl))(),
    })
    .addCommand("mail", {
      description: "stored messages: mail list, mail show, mail drop",
      action: () => console.log('mail list ["FILTER"], mail show "PATH", mail drop "FILTER"'),
      subcommands: {
        list: {
          description: "stored messages whose topic matches a filter",
          parameters: [{ label: "filter", optional: true }],
          action: ({ filter }) => safely(() => actions.list(filter))(),
        },
        show: {
          description: "the payload of one",
          parameters: ["path"],
          action: ({ path }) => safely(() => actions.show(path))(),
        },
        drop: {
          description: "remove those whose topic matches a filter",
          parameters: ["filter"],
          action: ({ filter }) => safely(() => actions.drop(filter))(),
        },
      },
    });
  for (const [name, sign] of [
    ["deposit", 1],
    ["withdraw", -1],
  ] as const) {
    cli.addCommand(name, {
      description: sign > 0 ? "raise the capital" : "lower the capital",
      parameters: [number("credits")],
      action: ({ credits }) => safely(() => actions.change(sign * credits))(),
    });
  }
  cli.addCommand("quit", { description: "end", action: () => process.exit(0) });
  (cli as unknown as LineEditor).readline.completer = (line) => {
    const fitting = names.filter((name) => name.startsWith(line));
    return [fitting.length > 0 ? fitting : names, line];
  };
  cli.showHelp();
  cli.show();
}
