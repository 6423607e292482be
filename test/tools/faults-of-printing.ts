/** Faults in what is printed: each would let somebody outside speak to the operator's terminal, or write his log. */
import type { Fault } from "./faults.ts";

const printing = "test/unit/printable.test.ts";
const output = "test/cli/output.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "printing: colours reach pipes and files",
    file: "cli/output/colours.ts",
    find: ' && terminal !== "dumb" && isatty(stream)',
    replace: ' && terminal !== "dumb"',
    tests: "test/cli/colours.test.ts",
    needsBuild: true,
  },
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
    find: "/[\\p{Cc}\\p{Cf}\\u{2065}\\u{e0000}-\\u{e007f}\\p{Zl}\\p{Zp}\\p{Cs}]/gu",
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
  {
    what: "printing: a flood from one address leaves no line for others",
    file: "src/base/line-limit.ts",
    find: "const logged = lines.sources.get(source) ?? 0;",
    replace: "const logged = lines.logged;",
    tests: printing,
  },
  {
    what: "printing: a flood from many addresses fills the log",
    file: "src/base/line-limit.ts",
    find: " || lines.logged >= linesOfCauseMax",
    replace: "",
    tests: printing,
  },
  {
    what: "printing: each refused login is a line",
    file: "src/broker/connect/admission.ts",
    find: 'const stands = this.#lines.take("login", clock.now(), networkOf(address));',
    replace: 'const stands = 1 + 0 * this.#lines.take("login", clock.now(), networkOf(address));',
    tests: "test/unit/rooms/connect.test.ts",
  },
  {
    what: "printing: that the disk is full nobody is told",
    file: "cli/output/standard-output.ts",
    find: "  } catch (error) {\n    throw failureOf(error);\n  }",
    replace: "  } catch {}",
    tests: output,
    needsBuild: true,
  },
  {
    what: "printing: sub ends before a slow reader has its output",
    file: "cli/pubsub/subscriber.ts",
    find: "await this.#output.written();",
    replace: "",
    tests: output,
    needsBuild: true,
  },
  {
    what: "printing: a reader that takes nothing keeps sub for ever",
    file: "cli/pubsub/subscriber.ts",
    find: "void this.#output.hurry(readerStallMs);",
    replace: "",
    tests: output,
    needsBuild: true,
  },
];
