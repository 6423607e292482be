/**
 * `bun test/simulation/main.ts [SEED [COUNT [drops] [large] [full] [jumps] | wide [mixed] [shrink]]]`: runs seeds of
 * the simulation, and says what was wrong with which. drops, large, full, jumps: with mail drops, messages that are too
 * large for one commit, mailboxes that are soon full, clocks that jump. wide: the wide world, with the faults that were
 * played; mixed: some brokers are of format 1 at first; shrink: which of the faults it takes.
 */
import { codeOfFormat1 } from "./broker-code.ts";
import { dropsOf, run, smallMailboxes } from "./scenario.ts";
import { simulationLog } from "./seeds.ts";
import { runWide, shrink } from "./wide.ts";

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1);
const has = (word: string): boolean => process.argv.includes(word);
const [hasLarge, hasJumps] = [has("large"), has("jumps")];
const wide = { log: simulationLog, older: has("mixed") ? await codeOfFormat1() : undefined };
const linesMax = 10;

let bad = 0;
for (let seed = first; seed < first + count; seed++) {
  const { sent, transactions, wrong, played } = has("wide") ? await runWide(seed, wide) : await runNarrow(seed);
  console.log(`seed ${seed}: ${sent} sent, ${transactions} transactions, ${wrong.length} wrong`);
  if (wrong.length === 0) continue;
  bad++;
  for (const line of wrong.slice(0, linesMax)) console.log(`  ${line}`);
  for (const line of played) console.log(`    ${line}`);
  if (!has("shrink")) continue;
  const smaller = await shrink(seed, wide);
  console.log(`  it takes ${smaller.played.length} of them: ${smaller.wrong[0]}`);
  for (const line of smaller.played) console.log(`    ${line}`);
}
console.log(`${count - bad} of ${count} seeds are right`);
process.exit(bad === 0 ? 0 : 1);

async function runNarrow(seed: number) {
  const mailDrop = has("drops") ? dropsOf(seed) : [];
  const full = has("full") ? smallMailboxes(seed) : {};
  const outcome = await run(seed, { log: simulationLog, mailDrop, hasLarge, hasJumps, ...full });
  return { ...outcome, played: [] };
}
