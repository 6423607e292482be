/**
 * `mqttzoo repair`: says what is damaged in the store of a broker that runs alone, and makes a whole one of what is
 * left.
 */
import { Command, Option } from "commander";
import { defaultOptions } from "../src/broker/core/options.ts";
import { examine, repair } from "../src/embedded/repair.ts";
import { say } from "./output/print.ts";

interface RepairFlags {
  readonly data: string;
  readonly dryRun?: boolean;
}

export function repairCommand(): Command {
  return new Command("repair")
    .description("Say what is damaged in a broker's embedded store, and keep the rest.")
    .helpOption("--help", "print this help")
    .addOption(
      new Option("--data <DIR>", "folder of a broker that has ended").env("MQTTZOO_DATA").default(defaultOptions.data),
    )
    .option("--dry-run", "only say what is damaged; exit code 1 if anything is")
    .addHelpText(
      "after",
      `
The damaged files are kept, in a folder of their own beside the store.

Examples:
  mqttzoo repair --data mqttzoo-data --dry-run
  mqttzoo repair --data /var/lib/mqttzoo`,
    )
    .action(run);
}

function run({ data, dryRun }: RepairFlags): void {
  if (dryRun === true) {
    const damage = examine(data);
    if (damage === undefined) return say(`the store in ${data} is whole`);
    for (const finding of damage.findings) say(`damaged: ${finding}`);
    for (const what of damage.lost) say(`lost: ${what}`);
    process.exitCode = 1;
    return;
  }
  const report = repair(data);
  if (report === undefined) return say(`the store in ${data} is whole: nothing was changed`);
  for (const finding of report.findings) say(`damaged: ${finding}`);
  for (const what of report.lost) say(`lost: ${what}`);
  say(`${report.kept} records are kept; the damaged files are in ${report.aside}`);
}
