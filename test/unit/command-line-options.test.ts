/** Each option and argument of each command: a value that cannot be meant is bad usage, no fault of the program's. */
import { expect, test } from "bun:test";
import { type Command, CommanderError, InvalidArgumentError } from "commander";
import { makeProgram } from "../../cli/program.ts";
import { OperatingError } from "../../src/base/errors.ts";

/** Returns a command with all below it. */
function* allOf(command: Command, path = command.name()): Generator<[string, Command]> {
  yield [path, command];
  for (const child of command.commands) yield* allOf(child, `${path} ${child.name()}`);
}

const bad = ["", " ", "a/b", "-1", "1.5", "NaN", "9".repeat(400), "\u0001", "[", "%", "://", "x".repeat(70_000)];

test("bad values are told of in words", () => {
  const wrong: string[] = [];
  let parsers = 0;
  for (const [path, command] of allOf(makeProgram())) {
    for (const one of [...command.options, ...command.registeredArguments]) {
      if (one.parseArg === undefined) continue;
      parsers++;
      for (const value of bad) {
        try {
          one.parseArg(value, undefined as never);
        } catch (error) {
          const isInWords = error instanceof CommanderError || error instanceof OperatingError;
          if (!isInWords) wrong.push(`${path} ${one.name()} ${JSON.stringify(value).slice(0, 20)}: ${error}`);
          // Commander puts the flag before it.
          else if (error instanceof InvalidArgumentError) expect(error.message).toMatch(/^[A-Z"%\\\d(it]/);
        }
      }
    }
  }
  expect(parsers).toBeGreaterThan(200);
  expect(wrong).toEqual([]);
});
