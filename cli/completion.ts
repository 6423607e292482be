/** `mqttzoo completion SHELL`: a completion script, made from the commands as they are. */
import { Argument, type Command, Command as CommandClass } from "commander";
import { print } from "./output/standard-output.ts";

interface Words {
  readonly name: string;
  readonly help: string;
  readonly flags: readonly { readonly flag: string; readonly help: string }[];
}

export function completionCommand(program: Command): Command {
  return new CommandClass("completion")
    .description("Print a completion script for a shell.")
    .helpOption("--help", "print this help")
    .addArgument(new Argument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      `
Examples:
  mqttzoo completion bash > /etc/bash_completion.d/mqttzoo
  mqttzoo completion zsh > "\${fpath[1]}/_mqttzoo"
  mqttzoo completion fish > ~/.config/fish/completions/mqttzoo.fish`,
    )
    .action((shell: string) => {
      // As the help has them: those that only we call are hidden.
      const commands = program.createHelp().visibleCommands(program).map(wordsOf);
      const write = { bash, zsh, fish }[shell]!;
      print(`${write(commands)}\n`);
    });
}

function wordsOf(command: Command): Words {
  const flags = command.options.flatMap((option) =>
    [option.short, option.long].flatMap((flag) => (flag === undefined ? [] : [{ flag, help: option.description }])),
  );
  return {
    name: command.name(),
    help: command.description(),
    flags: [...flags, { flag: "--help", help: "print help" }],
  };
}

function bash(commands: readonly Words[]): string {
  const cases = commands.map(({ name, flags }) => `    ${name}) words="${flags.map(({ flag }) => flag).join(" ")}" ;;`);
  return `# bash completion for mqttzoo
_mqttzoo() {
  local words="${commands.map(({ name }) => name).join(" ")} --help --version"
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${commands.map(({ name }) => name).join(" ")} --help --version"; fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mqttzoo mqttzoo`;
}

function zsh(commands: readonly Words[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(":", "\\:").replaceAll(/[[\]]/g, "");
  const cases = commands.map(
    ({ name, flags }) =>
      `    ${name}) _arguments ${flags.map(({ flag, help }) => `'${flag}[${quote(help)}]'`).join(" ")} ;;`,
  );
  return `#compdef mqttzoo
_mqttzoo() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map(({ name, help }) => `'${name}:${quote(help)}'`).join(" ")})
    _describe command commands
    return
  fi
  case "$words[2]" in
${cases.join("\n")}
  esac
}
_mqttzoo "$@"`;
}

function fish(commands: readonly Words[]): string {
  const quote = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("'", "\\'");
  const lines = commands.flatMap(({ name, help, flags }) => [
    `complete -c mqttzoo -n __fish_use_subcommand -f -a ${name} -d '${quote(help)}'`,
    ...flags.map(({ flag, help: about }) => {
      const [kind, word] = flag.startsWith("--") ? ["l", flag.slice(2)] : ["s", flag.slice(1)];
      return `complete -c mqttzoo -n '__fish_seen_subcommand_from ${name}' -${kind} ${word} -d '${quote(about)}'`;
    }),
  ]);
  return lines.join("\n");
}
