/** `mqttzoo completion SHELL`: a completion script, made from the commands as they are. */
import { Argument, type Command, Command as CommandClass } from "commander";
import { print } from "./output/standard-output.ts";

interface Words {
  readonly name: string;
  readonly help: string;
  readonly flags: readonly { readonly flag: string; readonly help: string; readonly values: readonly string[] }[];
  /** The commands below it. */
  readonly commands: readonly Words[];
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
    [option.short, option.long].flatMap((flag) =>
      flag === undefined ? [] : [{ flag, help: option.description, values: option.argChoices ?? [] }],
    ),
  );
  return {
    name: command.name(),
    help: command.description(),
    flags: [...flags, { flag: "--help", help: "print help", values: [] }],
    commands: command.commands.map(wordsOf),
  };
}

/** Commands as they are named on the way to them, ` bank mail list`, each before those below it. */
function pathsOf(commands: readonly Words[], above = ""): [path: string, words: Words][] {
  return commands.flatMap((words) => {
    const path = `${above} ${words.name}`;
    return [[path, words] as [string, Words], ...pathsOf(words.commands, path)];
  });
}

function bash(commands: readonly Words[]): string {
  const paths = pathsOf(commands);
  const first = `${commands.map(({ name }) => name).join(" ")} --help --version`;
  const cases = paths.map(([path, { flags, commands: below }]) => {
    const words = [...below.map(({ name }) => name), ...flags.map(({ flag }) => flag)];
    return `    "${path}") words="${words.join(" ")}" ;;`;
  });
  const values = paths.flatMap(([path, { flags }]) =>
    flags
      .filter((one) => one.values.length > 0)
      .map((one) => `    "${path} ${one.flag}") words="${one.values.join(" ")}" ;;`),
  );
  return `# bash completion for mqttzoo
_mqttzoo() {
  local path="" words="${first}" at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "$path \${COMP_WORDS[at]}" in
      ${paths.map(([path]) => `"${path}"`).join(" | ")}) path="$path \${COMP_WORDS[at]}" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  case "$path \${COMP_WORDS[COMP_CWORD - 1]}" in
${values.join("\n")}
  esac
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
