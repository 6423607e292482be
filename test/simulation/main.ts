/**
 * `bun test/simulation/main.ts [SEED [COUNT [drops] [large] [jumps]]]`: runs seeds of the simulation, with mail drops, messages
 * that are too large for one commit or clocks that jump if asked for, and says what was wrong with which.
 */
import { createLog } from "../../src/base/log.ts";
import { dropsOf, run } from "./scenario.ts";

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1);
const log = process.env.MQTTZOO_SIM_LOG === undefined ? undefined : createLog({ level: "debug", format: "text" });
const hasDrops = process.argv.includes("drops");
const hasJumps = process.argv.includes("jumps");
const hasLarge = process.argv.includes("large");
let bad = 0;
for (let seed = first; seed < first + count; seed++) {
  const { sent, transactions, wrong } = await run(seed, {
    log,
    mailDrop: hasDrops ? dropsOf(seed) : [],
    hasLarge,
    hasJumps,
  });
  console.log(`seed ${seed}: ${sent} sent, ${transactions} transactions, ${wrong.length} wrong`);
  for (const line of wrong.slice(0, 10)) console.log(`  ${line}`);
  if (wrong.length > 0) bad++;
}
console.log(`${count - bad} of ${count} seeds are right`);
process.exit(bad === 0 ? 0 : 1);
