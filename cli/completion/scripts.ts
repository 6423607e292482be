/**
 * The scripts that shells load. All that they know is how their shell asks and answers: what may stand somewhere says
 * the executable itself, in lines of a word, a tab and what it means; `:files`: names of files may stand there.
 */

/** The hidden command that they call, with the words up to the one behind which Tab was pressed. */
export const completeCommandName = "__complete";

export type Shell = "bash" | "zsh" | "fish";
export const shells: readonly Shell[] = ["bash", "zsh", "fish"];

/** Returns the script for a shell. `asksBroker`: topics are asked of the broker that the line names. */
export function scriptFor(shell: Shell, { asksBroker }: { readonly asksBroker: boolean }): string {
  const call = asksBroker ? `${completeCommandName} --topics` : completeCommandName;
  return { bash, zsh, fish }[shell](call);
}

const bash = (call: string): string => `# bash completion for mqttzoo
_mqttzoo() {
  local word help
  COMPREPLY=()
  while IFS=$'\\t' read -r word help; do
    if [[ $word == :files ]]; then compopt -o default 2> /dev/null; else COMPREPLY+=("$word"); fi
  done < <("\${COMP_WORDS[0]}" ${call} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
  # Bash takes what stands behind = for a word of its own.
  if [[ \${COMP_WORDS[COMP_CWORD]} == = || \${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
    COMPREPLY=("\${COMPREPLY[@]#*=}")
  fi
  # A topic goes on behind its last slash.
  if [[ \${#COMPREPLY[@]} == 1 && \${COMPREPLY[0]} == */ ]]; then compopt -o nospace 2> /dev/null; fi
}
complete -F _mqttzoo mqttzoo`;

const zsh = (call: string): string => `#compdef mqttzoo
_mqttzoo() {
  local word help files
  local -a found
  while IFS=$'\\t' read -r word help; do
    if [[ $word == :files ]]; then files=1; else found+=("\${word//:/\\\\:}:$help"); fi
  done < <("\${words[1]}" ${call} -- "\${(@)words[2,$CURRENT]}" 2> /dev/null)
  (( $#found )) && _describe -V mqttzoo found -S ''
  [[ -n $files ]] && _files
}
if [[ $funcstack[1] == _mqttzoo ]]; then _mqttzoo "$@"; else compdef _mqttzoo mqttzoo; fi`;

const fish = (call: string): string => `# fish completion for mqttzoo
function __mqttzoo_complete
  set -l words (commandline -opc) (commandline -ct)
  $words[1] ${call} -- $words[2..-1] 2> /dev/null
end
complete -c mqttzoo -f -a '(__mqttzoo_complete | string match -v ":files")'
complete -c mqttzoo -F -n '__mqttzoo_complete | string match -q ":files"'`;
