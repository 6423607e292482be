/** The broker's configuration file, what `--print-config` prints, and errors at the start in the form of the log. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { yamlOf } from "../../cli/flags/config-file.ts";
import { runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-config-"));
const file = join(folder, "mqttzoo.yaml");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function printed(words: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const { code, out, err } = await runExecutable(["broker", "--print-config", ...words], { env });
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return out;
}

describe("a file in which something is wrong is refused, and the line is named", () => {
  test.each([
    [
      "a key twice",
      "port: 1\nid: a\nport: 2\n",
      "port in FILE, line 1: it stands in line 3, too; leave one of them away",
    ],
    ["a key twice, once in quotes", '"port": 1\nport: 1\n', "port in FILE, line 1: it stands in line 2, too"],
    [
      "an unknown key",
      "# a comment\n\nport: 1\nprot: 1\n",
      "unknown option prot in FILE, line 4; known are host, port",
    ],
    ["no value", "id: a\nport:\n", "port in FILE, line 2: there is no value; leave the line away for the default"],
    ["no value, said", "port: ~\n", "port in FILE, line 1: there is no value"],
    ["an empty text where one is due", "bank-ttl: ''\n", 'bank-ttl in FILE, line 1: "" is none of'],
    ["a list", "port: [1, 2]\n", "port in FILE, line 1: one value is due, not a list"],
    [
      "a list with a hole",
      "mail-drop:\n  - a\n  -\n",
      "mail-drop in FILE, line 1: a value, or a list of values, is due",
    ],
    ["options of an option", "id: a\nport:\n  tls: 1\n", "port in FILE, line 2: a value, or a list of values, is due"],
    ["a bad value", "\nport: high\n", 'port in FILE, line 2: "high" is not a whole number'],
    ["all in one line", "{port: 1, port: 2}\n", "port in FILE: write each option on a line of its own"],
    ["a list of options", "- port: 1\n", 'the configuration FILE must be lines of "option: value"'],
    ["what is no YAML", "port: [\n", "cannot read the configuration FILE: YAML Parse error"],
  ])("%s", async (_, text, said) => {
    writeFileSync(file, text);
    const { code, out, err } = await runExecutable(["broker", "--config", file]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toStartWith(`mqttzoo: ${said.replaceAll("FILE", file)}`);
    expect(err.trim().split("\n").length).toBe(1);
  });
});

test("a file may be indented, say nothing, and set an option to the empty text that it is by default", async () => {
  writeFileSync(file, "  # mine\n  port: 7\n  password-file: ''\n  mail-drop:\n    - a/#\n    - port/b\n");
  const out = await printed(["--config", file]);
  expect(out).toMatch(/^port: 7 +# file$/m);
  expect(out).toMatch(/^password-file: "" +# file$/m);
  expect(out).toMatch(/^mail-drop: \["a\/#","port\/b"\] +# file$/m);
  writeFileSync(file, "# nothing\n");
  expect(await printed(["--config", file])).toBe(await printed([]));
});

test("--config reads what --print-config prints", async () => {
  const valuesOf = (text: string): string[] => text.split("\n").map((line) => line.replace(/ +# \w+$/, ""));
  const odd = ["--id", "007", "--password-file", "a: b # c", "--tls-cert", "yes", "--data", '"~"', "--ws-port", "none"];
  const more = ["--mail-drop", "a/#", "--mail-drop", "ü b/+", "--bank-ttl-max", "24h", "--link-secret-file", "\\x'y"];
  for (const words of [[], [...odd, ...more]]) {
    const first = await printed(words);
    writeFileSync(file, first);
    const second = await printed(["--config", file]);
    expect(valuesOf(second)).toEqual(valuesOf(first));
  }
});

test("any value is read from YAML as it was written", () => {
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.constantFrom("007", "0x1", "1e3", "null", "~", "on"),
  );
  fc.assert(
    fc.property(value, (text) => {
      const { a } = Bun.YAML.parse(`a: ${yamlOf(text)} # file`) as { a: unknown };
      expect(String(a)).toBe(text);
      expect(a).not.toBeNull();
    }),
    { numRuns: 1000 },
  );
});

describe("what is wrong at the start is said in the form of the log", () => {
  async function fatal(
    words: readonly string[],
    env: Record<string, string> = {},
  ): Promise<{ code: number; msg: string }> {
    const { code, err } = await runExecutable(["broker", ...words], { env });
    const { level, time, msg } = JSON.parse(err) as Record<string, string>;
    expect(level).toBe("fatal");
    expect(time).toBeString();
    return { code, msg: msg! };
  }

  test.each([
    ["an option that is none", ["--prot", "1"], 2, /^unknown option '--prot'/],
    ["a value that is none", ["--port", "x"], 2, /^--port: "x" is not a whole number/],
    [
      "a configuration that is not there",
      ["--config", "/none.yaml"],
      2,
      /^cannot read the configuration \/none.yaml: .*no such file/,
    ],
    ["a folder that cannot be used", ["--port", "0", "--data", "/dev/null/x"], 1, /cannot use the data folder/],
  ] as const)("%s", async (_, words, code, said) => {
    for (const asked of [["--log-format", "json"], ["--log-format=json"]]) {
      const told = await fatal([...asked, ...words]);
      expect(told.code).toBe(code);
      expect(told.msg).toMatch(said);
    }
  });

  test("said by a variable, or in the file, too; a flag beats both", async () => {
    writeFileSync(file, "log-format: json\nport:\n");
    expect((await fatal(["--config", file])).msg).toContain("there is no value");
    expect((await fatal(["--port", "x"], { MQTTZOO_LOG_FORMAT: "json" })).msg).toContain("--port");
    const { err } = await runExecutable(["broker", "--config", file, "--log-format", "text"]);
    expect(err).toStartWith("mqttzoo: port in");
  });
});
