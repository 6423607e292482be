/** The flags of commands that ask a broker over its API: which broker, and as whom; and lists that it answers with. */
import { type Command, Option } from "commander";
import { pageRowsMax } from "../../src/base/api-limits.ts";
import { type ApiPlace, askApi } from "../../src/server/api-client.ts";
import { complain } from "../output/print.ts";
import { argument, parseUrl } from "./parsers.ts";
import { dataOption } from "./tree-flags.ts";

/** Gives a command the flags of `ApiPlace`, and --json. */
export function withPlace(command: Command): Command {
  const option = new Option("--api <URL>", "a broker's --http-port").env("MQTTZOO_API");
  return withFiles(command.helpOption("--help", "print this help").addOption(option.argParser(argument(parseUrl))))
    .addOption(dataOption())
    .option("--json", "print one JSON object a line");
}

/** The broker that is asked in place of the store; no `api`: none is. */
export type ApiInstead = Omit<ApiPlace, "data">;

/** Gives a command that looks into the tree the flags by which a broker is asked instead, if the user says so. */
export function withApiInstead(command: Command): Command {
  const option = new Option("--api <URL>", "ask a broker's --http-port instead");
  return withFiles(command.addOption(option.argParser(argument(parseUrl))));
}

function withFiles(command: Command): Command {
  const file = (flags: string, help: string, variable: string): Option => new Option(flags, help).env(variable);
  return command
    .addOption(file("--cafile <FILE>", "who has signed its certificate, PEM, for https://", "MQTTZOO_CAFILE"))
    .addOption(file("--token-file <FILE>", "file with a token for it", "MQTTZOO_TOKEN_FILE"));
}

/** The most rows that are printed where nobody says how many. */
export const rowsMax = 10_000_000;

interface Listing<RowOfList> {
  readonly items: readonly RowOfList[];
  readonly next: string | null;
  readonly unanswered: readonly { readonly broker: string; readonly why: string }[];
}

/**
 * Lists all that the API has, `top` rows at most; brokers that are missing are named on standard error. Rejects with
 * `OperatingError`.
 */
export async function listAll<RowOfList>(
  place: ApiPlace,
  path: string,
  { query, top }: { readonly query: Readonly<Record<string, string | undefined>>; readonly top: number },
): Promise<RowOfList[]> {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) words.set(name, value);
  const rows: RowOfList[] = [];
  for (let cursor: string | null = ""; cursor !== null && rows.length < top; ) {
    words.set("limit", String(Math.min(pageRowsMax, top - rows.length)));
    if (cursor !== "") words.set("cursor", cursor);
    const page = (await askApi(place, "GET", `${path}?${words}`)) as Listing<RowOfList>;
    rows.push(...page.items);
    cursor = page.next;
    if (cursor === null || rows.length >= top)
      for (const one of page.unanswered) complain(`broker ${one.broker} is missing: ${one.why}`);
  }
  return rows;
}
