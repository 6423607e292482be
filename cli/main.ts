/** `mqttzoo`: one executable, one subcommand a file. What is not needed is not loaded. */
import { Command, CommanderError } from "commander";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { createLog } from "../src/base/log.ts";
import { version } from "../src/broker/core/version.ts";
import { ConnectionRefused } from "../src/client/closing-reason.ts";
import { aclCommand } from "./acl.ts";
import { bankCommand } from "./bank.ts";
import { benchCommand, benchWorkerCommand } from "./bench.ts";
import { brokerCommand } from "./broker.ts";
import { clientsCommand } from "./clients.ts";
import { completeCommand, completionCommand } from "./completion.ts";
import { doctorCommand } from "./doctor.ts";
import { explainCommand } from "./explain.ts";
import { isLogJson } from "./flags/broker-config.ts";
import { addConnectionOptions, ownArguments } from "./flags/client-flags.ts";
import { applyProfile } from "./flags/profiles.ts";
import { commandLine, refuseBytes } from "./flags/raw-words.ts";
import { healthCommand } from "./health.ts";
import { importCommand } from "./import.ts";
import { manCommand } from "./man.ts";
import { withHint } from "./output/hints.ts";
import { innermost, textOf, useOneLine } from "./output/one-line.ts";
import { complain } from "./output/print.ts";
import { printError, ReaderGone } from "./output/standard-output.ts";
import { passwdCommand } from "./passwd.ts";
import { profileCommand } from "./profile.ts";
import { pubCommand } from "./pub.ts";
import { recordCommand } from "./record.ts";
import { repairCommand } from "./repair.ts";
import { replayCommand } from "./replay.ts";
import { retainedCommand } from "./retained.ts";
import { showCommand } from "./show.ts";
import { simulateCommand } from "./simulate.ts";
import { subCommand } from "./sub.ts";
import { topCommand } from "./top.ts";
import { topicsCommand } from "./topics.ts";
import { traceCommand } from "./trace.ts";

/** Bad usage ends with this code, as with the shell's own commands; what failed while running ends with 1. */
const usageExitCode = 2;

const program = new Command("mqttzoo")
  .description("An MQTT broker that never loses an acknowledged message, and its clients.")
  .version(version, "--version", "print the version")
  .helpOption("--help", "print this help")
  .helpCommand(false)
  // What stands behind a command belongs to it, also where the command above has an option of that name.
  .enablePositionalOptions()
  .addHelpText(
    "after",
    `
Examples:
  mqttzoo broker                                   start a broker on port 1883
  mqttzoo sub -t 'home/#' -v                       print what is published below home
  mqttzoo pub -t home/kitchen/temp -m 21.5 -q 1    publish one message
  mqttzoo record session.jsonl -t 'home/#'         keep messages in a file, with times; mqttzoo replay publishes them
  mqttzoo simulate devices.yaml --duration 10m     devices that a YAML file describes
  mqttzoo top                                      watch how much comes and goes, and on which topics
  mqttzoo bench e2e -c 10 -I 0                     how much goes through
  mqttzoo doctor broker.example.org                what any broker can do, and what is wrong
  mqttzoo profile add home -h broker.example.org   keep a connection under a name, for --profile home
  mqttzoo clients list                             print who is connected
  mqttzoo explain --client sensor-7 --topic home/set   why it does not get that
  mqttzoo trace --client sensor-7                  follow what happens to a client
  mqttzoo topics list home --depth 2               print which topics there are
  mqttzoo show brokers --zk zk1:2181               print who is in a cluster
  mqttzoo bank balance                             print what may still be stored
  mqttzoo retained list --user alice               print what a user has retained
  mqttzoo acl check alice home/temp write --acl-file acl   may she, and by which rule
  mqttzoo import /etc/mosquitto/mosquitto.conf     come from mosquitto with what is set there
  mqttzoo repair --data mqttzoo-data               keep what is whole of a damaged store
  mqttzoo health --http-port 8080                  ask a broker how it is

mqttzoo COMMAND --help tells more.`,
  );
program.addCommand(brokerCommand()).addCommand(pubCommand()).addCommand(subCommand()).addCommand(showCommand());
program.addCommand(benchCommand()).addCommand(benchWorkerCommand(), { hidden: true }).addCommand(doctorCommand());
program.addCommand(recordCommand()).addCommand(replayCommand()).addCommand(simulateCommand()).addCommand(topCommand());
program.addCommand(bankCommand()).addCommand(healthCommand()).addCommand(passwdCommand()).addCommand(repairCommand());
program.addCommand(clientsCommand()).addCommand(topicsCommand()).addCommand(retainedCommand());
program.addCommand(aclCommand()).addCommand(explainCommand()).addCommand(traceCommand());
program.addCommand(importCommand()).addCommand(profileCommand());
program.addCommand(completionCommand()).addCommand(completeCommand(program), { hidden: true });
program.addCommand(manCommand(program), { hidden: true });

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
