/**
 * Colours on terminals: the one place that knows escape sequences for them. Invariant: a text is made printable first
 * and coloured then, so that all sequences are ours; and nothing but a terminal gets one, unless it is asked for.
 */
import { isatty } from "node:tty";
import { type Command, InvalidArgumentError, Option } from "commander";

export const colourings = ["auto", "always", "never"] as const;
type Colouring = (typeof colourings)[number];

/** Parameters of SGR, Select Graphic Rendition (ECMA-48): those that 16-colour terminals have, dark and light ones. */
const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof codes;

/** Standard output and standard error. */
export type Stream = 1 | 2;

let colouring: Colouring = "auto";

/** Adds `--color` to all commands below one. */
export function addColourOption(command: Command): void {
  for (const child of command.commands) {
    const option = new Option("--color <WHEN>", "colours: auto (on terminals), always or never");
    child.addOption(option.choices(colourings).argParser(read));
    addColourOption(child);
  }
}

function read(text: string): Colouring {
  const said = colourings.find((one) => one === text);
  if (said === undefined) throw new InvalidArgumentError(`Allowed choices are ${colourings.join(", ")}.`);
  useColours(said);
  return said;
}

export function useColours(when: Colouring): void {
  colouring = when;
}

/** Returns the line of a log in which warnings and errors stand out. */
export function paintedLogLine(line: string): string {
  return line.replace(
    /^(\S+ )(WARN|ERROR|FATAL)\b/,
    (_, time, level) => `${time}${painted(level, level === "WARN" ? "yellow" : "red", 2)}`,
  );
}

/** Returns true if a stream gets colours. What the command line says goes before https://no-color.org. */
export function isColoured(stream: Stream): boolean {
  if (colouring !== "auto") return colouring === "always";
  const { NO_COLOR: no = "", TERM: terminal = "dumb" } = process.env;
  return no === "" && terminal !== "dumb" && isatty(stream);
}

/** Returns a printable text in a style, as it is written to a stream. */
export function painted(text: string, style: Style | undefined, stream: Stream = 1): string {
  return style === undefined || text === "" || !isColoured(stream) ? text : `\x1b[${codes[style]}m${text}\x1b[0m`;
}
