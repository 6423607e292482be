/** The hidden command that prints manual pages, for packages. */
import { Command } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { version } from "../src/broker/core/version.ts";
import { manPage, pagesOf } from "./man/page.ts";
import { print } from "./output/standard-output.ts";

/** The name of the command: whoever makes packages calls it. */
export const manCommandName = "__man";

/** Prints one page, or without a name the names of all. */
export function manCommand(program: Command): Command {
  return new Command(manCommandName).argument("[page]").action((name: string | undefined) => {
    if (name === undefined) return print(`${pagesOf(program).join("\n")}\n`);
    const page = manPage(program, name, version);
    if (page === undefined)
      throw new OperatingError("EUSAGE", `no page ${name}; there are ${pagesOf(program).join(", ")}`);
    print(page);
  });
}
