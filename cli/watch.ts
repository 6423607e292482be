/** `mqttzoo bank watch`: the bank in the terminal, drawn anew every second, until Ctrl-C. */

import { boundBy, type Picture } from "../src/bank/audit.ts";
import { milli } from "../src/bank/price.ts";
import { systemClock } from "../src/base/clock.ts";
import { OperatingError } from "../src/base/errors.ts";
import { takePicture } from "../src/broker/picture.ts";
import { tableOf } from "./table.ts";
import { openTree, type Where } from "./tree.ts";

const lookMs = 1000;
const bars = " ▁▂▃▄▅▆▇█";
const expiriesShown = 5;

export async function watchBank(flags: Where & { readonly json?: boolean }): Promise<void> {
  const tree = await openTree(flags, "read");
  const past: number[] = [];
  for (;;) {
    const taken = await takePicture(tree, systemClock.wall());
    if (taken === undefined)
      throw new OperatingError("EBANK", "there is no bank here: no broker has been started on it yet");
    const bound = [...boundBy(taken.messages).values()].reduce((sum, credits) => sum + credits, 0);
    past.push(bound / Math.max(1, taken.capital));
    if (flags.json === true)
      console.log(
        JSON.stringify({ at: taken.takenAt, capital: taken.capital, bound, messages: taken.messages.length }),
      );
    else draw(taken, bound, past.slice(-(process.stdout.columns ?? 80)));
    await Bun.sleep(lookMs);
  }
}

function draw(taken: Picture, bound: number, past: readonly number[]): void {
  const credits = (amount: number): string => Math.round(amount / milli).toLocaleString("en");
  const plot = past.map((part) => bars[Math.min(bars.length - 1, Math.ceil(part * (bars.length - 1)))]).join("");
  const next = taken.messages.filter(({ expiresAt }) => expiresAt > 0).sort((a, b) => a.expiresAt - b.expiresAt);
  const rows = next.slice(0, expiriesShown).map(({ path, expiresAt, credits: price }) => ({
    "ends in": `${Math.max(0, Math.round((expiresAt - taken.takenAt) / 1000))} s`,
    credits: credits(price),
    message: path,
  }));
  const lines = [
    `bound ${credits(bound)} of ${credits(taken.capital)} credits by ${taken.messages.length} messages; vault ${credits(taken.vault)}`,
    "",
    plot,
    "",
    "next to end:",
    ...tableOf(rows),
  ];
  process.stdout.write(`\x1b[H\x1b[2J${lines.join("\n")}\n`);
}
