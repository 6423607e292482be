/** Faults in what is printed: each would let somebody outside speak to the operator's terminal, or write his log. */
import type { Fault } from "./faults.ts";

const printing = "test/unit/printable.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "printing: a stranger writes lines of his own into the log",
    file: "src/base/log.ts",
    find: "printable(String(msg))",
    replace: "String(msg)",
    tests: printing,
  },
  {
    what: "printing: JSON passes C1 and bidi controls on",
    file: "src/base/printable.ts",
    find: "  return json.replace(unprintable, (character) =>",
    replace: "  return json.replace(/[\\0-\\x1f]/g, (character) =>",
    tests: printing,
  },
  {
    what: "printing: only the oldest controls are escaped",
    file: "src/base/printable.ts",
    find: "/[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}]/gu",
    replace: "/\\p{Cc}/gu",
    tests: printing,
  },
  {
    what: "printing: a cell of a table begins a row",
    file: "cli/output/table.ts",
    find: 'printable(String(row[column] ?? "-"))',
    replace: 'String(row[column] ?? "-")',
    tests: printing,
  },
  {
    what: "printing: a line of the log is as long as a client likes",
    file: "src/base/log.ts",
    find: "if (json.length <= logLineCharactersMax) return json;",
    replace: "if (json.length > 0) return json;",
    tests: printing,
  },
];
