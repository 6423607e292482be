/** The bank's console reads its lines as a shell does, and completes what the command line has. */
import { describe, expect, test } from "bun:test";
import { completionsOf, wordsOf } from "../../cli/bank/console.ts";
import { bankCommand } from "../../cli/bank.ts";
import { innermost } from "../../cli/output/one-line.ts";

describe("a line", () => {
  test.each([
    ["", []],
    ["  mail  list home/# ", ["mail", "list", "home/#"]],
    [`mail list 'a b/#' "it's"`, ["mail", "list", "a b/#", "it's"]],
    [`a"b c"'d' ''`, ["ab cd", ""]],
  ])("%s", (line, words) => {
    expect(wordsOf(line)).toEqual(words);
  });

  test.each(["mail list 'home", 'it"s', `"a' b`])("%s is refused", (line) => {
    expect(() => wordsOf(line)).toThrow("a quote is not closed");
  });
});

test.each([
  ["bal", ["balance "], "bal"],
  ["mail ", ["list ", "show ", "drop "], ""],
  ["mail d", ["drop "], "d"],
  [
    "statement --",
    [
      "--zk ",
      "--zk-auth-file ",
      "--zk-tls-ca ",
      "--zk-tls-cert ",
      "--zk-tls-key ",
      "--data ",
      "--json ",
      "--api ",
      "--cafile ",
      "--token-file ",
      "--by ",
      "--top ",
      "--help ",
    ],
    "--",
  ],
  ["statement --by ", ["topic ", "client ", "user ", "branch ", "age "], ""],
  ["statement --by c", ["client "], "c"],
  ["statement --json --b", ["--by "], "--b"],
  ["statement --top ", [], ""],
  ["help ma", ["mail "], "ma"],
  ["help mail s", ["show "], "s"],
  ["q", ["quote ", "quit "], "q"],
  ["nonsense", [], "nonsense"],
])("Tab after %p", (line, found, word) => {
  expect(completionsOf(bankCommand(), line)).toEqual([found, word]);
});

test.each([
  [
    ["mail", "list", "--client", "drop"],
    ["mail", "list"],
  ],
  [["--data", "audit", "mail", "--json"], ["mail"]],
  [["balance", "audit"], ["balance"]],
  [["--zk", "a"], []],
])("the page that tells of %p", (words, names) => {
  expect(innermost(bankCommand(), words).names).toEqual(names);
});
