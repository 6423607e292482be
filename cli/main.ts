/** `mqttzoo`: one executable, one subcommand a file. What is not needed is not loaded. */
import { Command, CommanderError } from "commander";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { createLog } from "../src/base/log.ts";
import { ConnectionRefused } from "../src/client/closing-reason.ts";
import { fromEmqttBench } from "./bench/emqtt-flags.ts";
import { isLogJson } from "./flags/broker-config.ts";
import { addConnectionOptions, ownArguments } from "./flags/client-flags.ts";
import { fromMqttx } from "./flags/mqttx-flags.ts";
import { asProtoFlags } from "./flags/payload-flags.ts";
import { applyProfile } from "./flags/profiles.ts";
import { commandLine, refuseBytes } from "./flags/raw-words.ts";
import { withHint } from "./output/hints.ts";
import { innermost, textOf, useOneLine } from "./output/one-line.ts";
import { complain } from "./output/print.ts";
import { printError, ReaderGone } from "./output/standard-output.ts";
import { makeProgram } from "./program.ts";

/** Bad usage ends with this code, as with the shell's own commands; what failed while running ends with 1. */
const usageExitCode = 2;

const program = makeProgram();

program.hook("preAction", (_, command) => {
  refuseBytes(command, ["message", "willPayload"]);
  if (command.name() !== "add") applyProfile(command, () => addConnectionOptions(new Command()));
});

/** Says on stderr in one line what was wrong; of a broker as its log is: whoever reads JSON gets nothing else. */
function complainInOneLine(text: string): void {
  const [command, ...words] = process.argv.slice(2);
  if (command !== "broker" || !isLogJson(words, process.env)) return complain(text);
  const log = createLog({ level: "info", format: "json", write: printError });
  log.fatal(withHint(text));
}

/** One line on stderr that says what was wrong and what to do; returns the exit code. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    const { names } = innermost(program, process.argv.slice(2));
    complainInOneLine(`${textOf(error)}; see ${["mqttzoo", ...names].join(" ")} --help`);
    return usageExitCode;
  }
  if (error instanceof ReaderGone) return 0;
  if (error instanceof OperatingError) {
    complainInOneLine(messageOf(error));
    // As mosquitto's clients end; the other commands have exit codes of their own.
    if (error instanceof ConnectionRefused && /^(pub|sub|record|replay)$/.test(process.argv[2]!))
      return error.returnCode;
    return error.code === "EUSAGE" ? usageExitCode : 1;
  }
  complainInOneLine(
    `a fault of its own: ${messageOf(error)}; please report it, with what MQTTZOO_STACK=1 has it print`,
  );
  if (process.env.MQTTZOO_STACK !== undefined) printError(`${(error as Error).stack}\n`);
  return 1;
}

/** Reads `help COMMAND` and `version` as the flags that mean the same. */
function asFlags([runtime = "", script = "", ...words]: readonly string[]): string[] {
  const [first, ...rest] = words;
  if (first === "help") return [runtime, script, ...rest, "--help"];
  return [runtime, script, ...(first === "version" ? ["--version"] : words)];
}

/** Puts the flags of a file of the user's before those of the command line, for pub and sub; a profile goes before. */
function withOwnArguments([runtime = "", script = "", command, ...words]: readonly string[]): string[] {
  if (command === undefined) return [runtime, script];
  const called = program.commands.find((one) => one.name() === command);
  if (command === "pub" || command === "sub") words = asProtoFlags(fromMqttx(called!, words));
  if (command === "bench" && /^(conn|pub|sub)$/.test(words[0] ?? ""))
    words = [words[0]!, ...fromEmqttBench(fromMqttx(called!, words.slice(1)))];
  const hasProfile = words.some((word) => /^--profile(=|$)/.test(word));
  const own = (command === "pub" || command === "sub") && !hasProfile ? ownArguments(command, process.env) : [];
  return [runtime, script, command, ...own, ...words];
}

/** Ends a command with one line when it has failed by a fault of its own; the broker logs it in its own way. */
function endInOneLine(): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const)
    process.on(event, (error: unknown) => process.exit(explain(error)));
}

async function main(): Promise<void> {
  useOneLine(program);
  if (process.argv[2] !== "broker") endInOneLine();
  try {
    if (process.argv.length <= 2) program.help();
    await program.parseAsync(withOwnArguments(asFlags([...process.argv.slice(0, 2), ...commandLine()])));
  } catch (error) {
    process.exit(explain(error));
  }
}

void main();
