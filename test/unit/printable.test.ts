/** Texts from outside cannot speak to a terminal, nor begin a line of a log: in text, in JSON, in tables. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatMessage, parseFormat } from "../../cli/output/format.ts";
import { linesOf, tableOf } from "../../cli/output/table.ts";
import { linesPerCauseMax, logFieldCharactersMax, logLineCharactersMax, refusalsLogMs } from "../../src/base/limits.ts";
import { LineLimit, standingFor } from "../../src/base/line-limit.ts";
import { createLog, type LogFormat } from "../../src/base/log.ts";
import { cut, printable, printableJson, printableLines } from "../../src/base/printable.ts";

/** ESC, OSC, CR and LF, C1's CSI, bidi overrides and isolates, separators, zero width, tags, half a pair. */
const hostile = [
  "\x1b[2J\x1b]0;pwn\x07",
  "\r\n2026-01-01T00:00:00.000Z WARN  FORGED",
  "\u009b31m",
  "\u202egnp.exe",
  "\u2066x\u2069\u061c\u200f",
  "\u2028\u2029",
  "\u200b\u2060\ufeff\u00ad",
  "\u{e0041}\u{e007f}",
  "\u{2065}\u{e0002}",
  "\ud83d",
  "\0\x7f",
];
const speaks = new RegExp(
  "[\\u{0}-\\u{1f}\\u{7f}-\\u{9f}\\u{ad}\\u{61c}\\u{200b}-\\u{200f}\\u{2028}-\\u{202e}\\u{2060}-\\u{206f}" +
    "\\u{feff}\\u{fff9}-\\u{fffb}\\u{e0000}-\\u{e007f}\\p{Cs}]",
  "u",
);
const anyText = fc
  .array(fc.oneof(fc.constantFrom(...hostile), fc.string({ unit: "binary", maxLength: 5 })))
  .map((parts) => parts.join(""));

/** The lines that a log writes. */
function logged(format: LogFormat, write: (log: ReturnType<typeof createLog>) => void): string {
  let text = "";
  const take = (line: string): void => {
    text += line;
  };
  write(createLog({ level: "trace", format, write: take }));
  return text;
}

test("characters that speak to a terminal are written as escapes, all others as they are", () => {
  expect(printable("\x1b[31m\r\n\tπ 🎉 a\\nb\u009b\u202e\u{e0041}")).toBe(
    "\\x1b[31m\\r\\n\\tπ 🎉 a\\nb\\x9b\\u{202e}\\u{e0041}",
  );
  expect(printableLines("a\tb\r\n\x1bc\n")).toBe("a\tb\\r\n\\x1bc\n");
  expect(cut("abcdef", 4)).toBe("abcd… (2 more)");
  fc.assert(
    fc.property(anyText, (text) => {
      expect(printable(text)).not.toMatch(speaks);
      expect(printableLines(text).replaceAll(/[\n\t]/g, "")).not.toMatch(speaks);
      const json = printableJson(JSON.stringify({ text }));
      expect(json).not.toMatch(speaks);
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify({ text })));
    }),
  );
});

test("a line of the log is one line, in text and in JSON, whatever client ids and reasons hold", () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const write = (log: ReturnType<typeof createLog>): void =>
        log.info({ client: text, files: [text] }, `login refused: ${text}`);
      for (const format of ["text", "json"] as const) {
        const line = logged(format, write);
        expect(line.slice(0, -1)).not.toMatch(speaks);
        expect(line).toEndWith("\n");
      }
      const { level, client } = JSON.parse(logged("json", write));
      expect([level, client.toWellFormed()]).toEqual(["info", text.toWellFormed()]);
    }),
  );
});

test("long lines are cut, and lines of JSON stay JSON", () => {
  const long = "x".repeat(3 * logLineCharactersMax);
  const write = (log: ReturnType<typeof createLog>): void => log.warn({ client: long, peer: "b" }, long);
  for (const format of ["text", "json"] as const)
    expect(logged(format, write).length).toBeLessThan(logLineCharactersMax + 100);
  const { client, peer, msg } = JSON.parse(logged("json", write));
  expect(client).toBe(cut(long, logFieldCharactersMax));
  expect([peer, msg.startsWith("xxx")]).toEqual(["b", true]);
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`field${at}`, long]));
  const line = logged("json", (log) => log.warn(many, "many"));
  expect(JSON.parse(line)).toMatchObject({ level: "warn", msg: "many", cut: expect.any(Number) });
});

test("a cell of a table is one cell, and a row one line", () => {
  for (const text of hostile) {
    const lines = tableOf([{ client: `${text}FAKE ROW`, waiting: 1 }]);
    expect(lines.length).toBe(2);
    expect(lines.join("")).not.toMatch(speaks);
  }
  const rows = [{ topic: hostile.join("") }];
  const said = [...linesOf(rows, false), ...linesOf(rows, true)].map((line) => line.replace(/\n$/, ""));
  expect(said.length).toBe(3);
  expect(said.join("")).not.toMatch(speaks);
  expect(JSON.parse(said[2]!).topic).toBe(hostile.join(""));
});

test("a format's own escapes stay, what fields hold is made fit for a terminal", () => {
  const message = {
    topic: "t/\x1b[2J",
    payload: Buffer.from("\x1b[31m\n"),
    qos: 0,
    retain: false,
    dup: false,
  } as never;
  const show = (field: Uint8Array): Uint8Array => Buffer.from(printableLines(Buffer.from(field).toString()));
  const format = (options: object): string =>
    formatMessage(parseFormat("\\e[1m%t %p"), message, { isPretty: false, now: new Date(0), ...options }).toString();
  expect(format({ show })).toBe("\x1b[1mt/\\x1b[2J \\x1b[31m\n");
  expect(format({})).toBe("\x1b[1mt/\x1b[2J \x1b[31m\n");
});

test("of a flood of lines some are logged, of each address and in all, and the others are counted", () => {
  const limit = new LineLimit<string>();
  let stood = 0;
  const take = (source: string, now: number, cause = "login"): boolean => {
    const stands = limit.take(cause, now, source);
    stood += stands;
    return stands > 0;
  };
  const logged = (source: string, count: number): number =>
    Array.from({ length: count }, () => take(source, 0)).filter(Boolean).length;
  expect(logged("192.0.2.1", 1000)).toBe(linesPerCauseMax);
  expect(logged("192.0.2.2", 1000)).toBe(linesPerCauseMax);
  for (let at = 0; at < 1000; at++) logged(`198.51.100.${at}`, 1);
  expect([take("192.0.2.3", 0, "protocol"), take("203.0.113.1", 0)]).toEqual([true, false]);
  expect(take("192.0.2.1", refusalsLogMs)).toBe(true);
  // Each of them is told, in its own line or with another one.
  expect(stood).toBe(1000 + 1000 + 1000 + 1 + 1 + 1);
  expect(standingFor("x", 1)).toBe("x");
  expect(standingFor("x", 3)).toBe("x (and 2 more like it)");
});
