/**
 * The lines of a `mosquitto.conf` and of the files that its `include_dir` names, as mosquitto reads them: a name, a
 * space, and the rest of the line. What they mean is not known here.
 */

import { OperatingError } from "../base/errors.ts";
import { foreignConfigLinesMax, foreignConfigsMax } from "../base/foreign-limits.ts";

/** A line that sets something. */
export interface Directive {
  readonly name: string;
  readonly value: string;
  /** File and line, as `mosquitto.conf:12`. */
  readonly place: string;
}

/** The operator's files. Both functions throw `OperatingError`. */
export interface ForeignFiles {
  readonly readText: (path: string) => string;
  /** Returns the paths of what lies in a folder, in their order. */
  readonly list: (folder: string) => readonly string[];
}

/**
 * Reads a configuration. Files of an included folder stand in place of its line, as far as their names end in `.conf`;
 * they include nothing themselves. Throws `OperatingError` if a file cannot be read, or there are too many lines.
 */
export function readDirectives(path: string, files: ForeignFiles): Directive[] {
  const found: Directive[] = [];
  readInto(found, path, files, (directive) => {
    const included = files.list(directive.value).filter((name) => name.endsWith(".conf"));
    if (included.length > foreignConfigsMax)
      throw new OperatingError("EFILE", `${directive.place}: more than ${foreignConfigsMax} files are included`);
    for (const one of included)
      readInto(found, one, files, ({ place }) => {
        throw new OperatingError("EFILE", `${place}: include_dir stands in an included file; mosquitto refuses that`);
      });
  });
  return found;
}

function readInto(
  found: Directive[],
  path: string,
  files: ForeignFiles,
  include: (directive: Directive) => void,
): void {
  for (const [index, line] of files.readText(path).split(/\r?\n/).entries()) {
    const words = line.trim();
    if (words === "" || words.startsWith("#")) continue;
    const [, name = "", value = ""] = /^(\S+)\s*(.*)$/s.exec(words)!;
    const directive = { name, value, place: `${path}:${index + 1}` };
    if (name === "include_dir") include(directive);
    else found.push(directive);
    if (found.length > foreignConfigLinesMax)
      throw new OperatingError("EFILE", `${directive.place}: there are more than ${foreignConfigLinesMax} settings`);
  }
}
