/** Templates of messages: each kind of place, and what cannot be meant. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Filling, parseTemplate, TemplateError } from "../../cli/pubsub/template.ts";

/** Chance that gives the same number each time. */
const fixed = (next: number) => ({ next: () => next, hex: (count: number) => "f7".repeat(count) });
const filling = (count: number, next: number): Filling => ({
  count,
  clock: { wall: () => Date.UTC(2026, 0, 31, 12, 0, 0, 5) },
  random: fixed(next),
});

test.each([
  ["plain {text} }}", 0, "plain {text} }}"],
  ["{{count}}/{{ count 10 }}/{{count -5}}", 0, "3/12/-3"],
  ["{{random 1 100}}", 0, "1"],
  ["{{random 1 100}}", 0.999_999_9, "100"],
  ["{{random -1 1}}", 0.5, "0"],
  ["{{random 18.0 24.55}}", 0, "18.00"],
  ["{{random 18.0 24.55}}", 0.999_999_9, "24.55"],
  ["{{random 5 5}}", 0.7, "5"],
  ["{{choice on off}}", 0.5, "off"],
  ["{{time}} {{time unix}} {{time ms}}", 0, "2026-01-31T12:00:00.005Z 1769860800 1769860800005"],
  ["{{uuid}}", 0, "f7f7f7f7-f7f7-47f7-b7f7-f7f7f7f7f7f7"],
  ['{"a": {"b": {{count}}}}', 0, '{"a": {"b": 3}}'],
  ["{{", 0, "{{"],
])("%s", (template, next, text) => {
  expect(parseTemplate(template)(filling(3, next))).toBe(text);
});

test.each([
  ["{{cuont}}", /^\{\{cuont\}\}: there are \{\{count\}\}/],
  ["{{}}", /^\{\{\}\}: there are/],
  ["{{toString}}", /there are/],
  ["{{__proto__}}", /there are/],
  ["{{count x}}", /it is \{\{count\}\}, or/],
  ["{{random 1}}", /it is \{\{random MIN MAX\}\}/],
  ["{{random 2 1}}", /2 is more than 1/],
  ["{{random 1e3 2e3}}", /it is \{\{random/],
  ["{{random 0 999999999999999.999999999}}", /too many numbers/],
  ["{{choice}}", /it is \{\{choice A B/],
  ["{{time constructor}}", /it is \{\{time\}\}/],
  ["{{uuid 4}}", /it is \{\{uuid\}\}/],
  ["{{count}}".repeat(10_001), /10000 places are the most/],
])("what cannot be meant is refused, case %#", (template, words) => {
  expect(() => parseTemplate(template)).toThrow(words);
});

test("numbers at random lie between their bounds, with as many digits as are said", () => {
  const bound = fc
    .tuple(fc.integer({ min: -1000, max: 1000 }), fc.nat(99))
    .map(([a, b]) => `${a}.${String(b).padStart(2, "0")}`);
  fc.assert(
    fc.property(
      bound,
      bound,
      fc.nat(9999).map((part) => part / 10_000),
      (a, b, next) => {
        const [low, high] = Number(a) <= Number(b) ? [a, b] : [b, a];
        const text = parseTemplate(`{{random ${low} ${high}}}`)(filling(1, next));
        expect(text).toMatch(/^-?\d+\.\d\d$/);
        expect(Number(text)).toBeGreaterThanOrEqual(Number(low));
        expect(Number(text)).toBeLessThanOrEqual(Number(high));
      },
    ),
  );
});

test("whatever is written is a template, or is refused in words", () => {
  const pieces = fc.constantFrom(
    "{{",
    "}}",
    "count",
    "random",
    " ",
    "1",
    "-",
    ".5",
    "choice",
    "time",
    "{",
    "\n",
    "uuid",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (words) => {
      try {
        expect(typeof parseTemplate(words.join(""))(filling(1, 0.5))).toBe("string");
      } catch (error) {
        expect(error).toBeInstanceOf(TemplateError);
      }
    }),
  );
});
