/** `mqttzoo bank statement`: who holds the credits. */
import type { HolderRow } from "../../src/api/rows.ts";
import type { Holding } from "../../src/audit/audit.ts";
import { type HolderKind, holdingsIn } from "../../src/audit/statement.ts";
import { decodeVault } from "../../src/bank/account-records.ts";
import { milli } from "../../src/bank/price.ts";
import { systemClock } from "../../src/base/clock.ts";
import { read } from "../../src/coordinator/mirror.ts";
import { bankPath } from "../../src/coordinator/paths.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import { type Tree, walkedOf, withTree } from "../cluster/open-tree.ts";
import { type ApiInstead, listAll } from "../flags/api-flags.ts";
import type { TreeFlags } from "../flags/tree-flags.ts";
import { inCredits, printRows, type Row } from "../output/table.ts";

export interface StatementFlags extends TreeFlags, ApiInstead {
  readonly by: HolderKind;
  readonly top: number;
}

/** Prints who holds the credits. */
export async function statement({ by, top, ...flags }: StatementFlags): Promise<void> {
  if (flags.api !== undefined) return printRows(await overApi({ by, top, ...flags }), flags.json === true);
  const rows = await withTree(flags, "read", async (tree) => {
    const walked = await walkedOf(tree);
    const capital = await capitalOf(tree);
    let largest: (Holding & { readonly holder: string | null })[] = [];
    for await (const holdings of holdingsIn(walked, { by, now: systemClock.wall() })) {
      const more = [...holdings].map(([holder, holding]) => ({ holder, ...holding }));
      largest = [...largest, ...more].sort((a, b) => b.credits - a.credits).slice(0, top);
    }
    return largest.map(({ holder, ...holding }) =>
      by === "user" ? userRow(holder, holding, capital) : holderRow(by, holder!, holding),
    );
  });
  printRows(rows, flags.json === true);
}

function holderRow(by: HolderKind, holder: string, { credits, messages }: Holding): Row {
  return { [by]: holder, credits: inCredits(credits), messages };
}

/** Returns how much of the capital a user holds, whatever binds it: messages, sessions, subscriptions, wills. */
function userRow(user: string | null, { credits, messages, others }: Holding, capital: number): Row {
  const name =
    user === null ? "(brokers)" : user === "" ? "(anonymous)" : user.startsWith("(") ? JSON.stringify(user) : user;
  const percent = capital === 0 ? 0 : Math.round((1000 * credits) / capital) / 10;
  return { user: name, credits: inCredits(credits), percent, messages, others };
}

/** Asks a broker, which reads the store for it. */
async function overApi({ by, top, ...place }: StatementFlags): Promise<Row[]> {
  const rows = await listAll<HolderRow>(place, "/bank/statement", { query: { by }, top });
  return rows.map(({ holder, credits, percent, messages, others }) => {
    const holding = { credits: credits * milli, messages, others };
    return by === "user" ? { ...userRow(holder, holding, 0), percent } : holderRow(by, holder!, holding);
  });
}

/** Reads the capital in milli-credits; 0 if the account is damaged. */
async function capitalOf(tree: Tree): Promise<number> {
  const [bank] = await read(tree, [{ kind: "get", path: bankPath }]);
  return (hasData(bank) ? decodeVault(bank.data)?.capital : undefined) ?? 0;
}
