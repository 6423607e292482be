/** The bank's commands, asked of a broker over its HTTP port. */
import type { Overview } from "../../src/api/broker-rows.ts";
import type { BankRow, StoredRow } from "../../src/api/rows.ts";
import { milli } from "../../src/bank/price.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { type ApiPlace, askApi } from "../../src/server/api-client.ts";
import { listAll, rowsMax } from "../flags/api-flags.ts";
import { complain } from "../output/print.ts";
import { inCredits, type Row } from "../output/table.ts";

/** Tells the capital, the vault, and the branches of the brokers that answer. Rejects with `OperatingError`. */
export async function balanceOverApi(place: ApiPlace): Promise<Row[]> {
  const { brokers, unanswered } = (await askApi(place, "GET", "/overview")) as Overview;
  for (const { broker, why } of unanswered) complain(`broker ${broker} is missing: ${why}`);
  const branches = await Promise.all(
    brokers.map(async ({ broker, refused }) => {
      const row = (await askApi(place, "GET", `/bank?broker=${encodeURIComponent(broker)}`)) as BankRow;
      return { ...row, refused };
    }),
  );
  const [first] = branches;
  if (first === undefined) throw new OperatingError("EFAILED", "no broker has told of its branch");
  const sum = (of: "bound" | "messages" | "refused"): number => branches.reduce((total, row) => total + row[of], 0);
  const row = (account: string, granted: number, bound: number): Row => ({
    ...{ account, granted: credits(granted), bound: credits(bound), free: credits(granted - bound) },
  });
  return [
    { ...row("(capital)", first.capital, sum("bound")), messages: sum("messages"), refused: sum("refused") },
    { ...row("(vault)", first.vault, 0), messages: 0, refused: 0 },
    ...branches.map(({ broker, granted, bound, messages, refused }) => ({
      ...row(broker, granted, bound),
      ...{ messages, refused },
    })),
  ];
}

/** Lists stored messages. */
export async function mailOverApi(place: ApiPlace, filter: string, client: string | undefined): Promise<Row[]> {
  const query = { filter, client_id: client };
  const rows = await listAll<StoredRow>(place, "/bank/mail", { query, top: rowsMax });
  return rows.map(({ topic, bytes, credits: bound, expires_at: expires, waiting, branch, path }) => {
    return { topic, bytes, credits: credits(bound), expires, waiting, branch, path };
  });
}

/** Drops stored messages, as many as there are, and tells how many. */
export async function dropOverApi(place: ApiPlace, filter: string, client: string | undefined): Promise<Row[]> {
  const query = new URLSearchParams({
    filter,
    dry_run: "false",
    ...(client === undefined ? {} : { client_id: client }),
  });
  let dropped = 0;
  for (let isMore = true; isMore; ) {
    const told = (await askApi(place, "DELETE", `/bank/mail?${query}`)) as { dropped: number; remaining: number };
    dropped += told.dropped;
    isMore = told.remaining > 0 && told.dropped > 0;
  }
  return [{ dropped }];
}

/** Has the teller begin to sweep, and tells who that is. */
export async function sweepOverApi(place: ApiPlace): Promise<Row[]> {
  const { teller } = (await askApi(place, "POST", "/bank/sweep")) as { teller: string };
  return [{ teller, sweep: "has begun" }];
}

/** Raises the capital, or lowers it. */
export async function changeOverApi(place: ApiPlace, how: "deposit" | "withdraw", amount: number): Promise<Row[]> {
  const { capital } = (await askApi(place, "POST", `/bank/${how}`, { credits: amount })) as { capital: number };
  return [{ changed: credits(how === "deposit" ? amount : -amount), capital: credits(capital) }];
}

function credits(amount: number): number {
  return inCredits(amount * milli);
}
