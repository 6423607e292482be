/** `mqttzoo completion SHELL`: a completion script; and the hidden command that the scripts call. */
import { Argument, type Command, Command as CommandClass } from "commander";
import { candidatesFor } from "./completion/candidates.ts";
import { completeCommandName, type Shell, scriptFor, shells } from "./completion/scripts.ts";
import { topicsBeginning } from "./completion/topics.ts";
import { print } from "./output/standard-output.ts";

export function completionCommand(): Command {
  return new CommandClass("completion")
    .description("Print a completion script for a shell.")
    .helpOption("--help", "print this help")
    .addArgument(new Argument("<shell>", "the shell").choices(shells))
    .option(
      "--topics",
      "have topics completed, too: each Tab asks the broker that the line names for retained messages",
    )
    .addHelpText(
      "after",
      `
Examples:
  mqttzoo completion bash > /etc/bash_completion.d/mqttzoo
  mqttzoo completion zsh > "\${fpath[1]}/_mqttzoo"
  mqttzoo completion fish > ~/.config/fish/completions/mqttzoo.fish
  source <(mqttzoo completion bash --topics)     for this shell only`,
    )
    .action((shell: Shell, { topics }: { readonly topics?: boolean }) => {
      print(`${scriptFor(shell, { asksBroker: topics === true })}\n`);
    });
}

/** Prints what may stand in place of the last word, for the scripts. */
export function completeCommand(program: Command): Command {
  return new CommandClass(completeCommandName)
    .argument("[words...]")
    .option("--topics")
    .action(async (words: readonly string[], { topics }: { readonly topics?: boolean }) => {
      const { words: found, takes } = candidatesFor(program, words);
      const present = words.at(-1) ?? "";
      const asked = takes === "topics" && topics === true ? await topicsBeginning(present, words.slice(0, -1)) : [];
      const lines = [...found.map(({ word, help }) => `${word}\t${help.split("\n")[0]}`), ...asked];
      if (takes === "files") lines.push(":files");
      print(lines.map((line) => `${line}\n`).join(""));
    });
}
