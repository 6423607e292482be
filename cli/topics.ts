/** `mqttzoo topics`: the topics of a broker, level by level. */
import { Command, Option } from "commander";
import type { TopicRow } from "../src/api/topic-rows.ts";
import type { ApiPlace } from "../src/server/api-client.ts";
import { listAll, rowsMax, withPlace } from "./flags/api-flags.ts";
import { argument, integer } from "./flags/parsers.ts";
import { printRows } from "./output/table.ts";

interface ListFlags extends ApiPlace {
  readonly json?: boolean;
  readonly depth: number;
  readonly broker?: string;
  readonly top: number;
}

/** The most levels that are gone down. */
const depthMax = 200;

export function topicsCommand(): Command {
  const topics = new Command("topics")
    .description("Topics, level by level: where messages are retained, and where was lately published.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  withPlace(topics.command("list").description("list the levels below a topic"))
    .argument("[BELOW]", "the topic (default: the first levels)")
    .addOption(
      new Option("--depth <N>", "how many levels are gone down").default(1).argParser(argument(integer(1, depthMax))),
    )
    .option("--broker <ID>", "as this broker knows them")
    .addOption(
      new Option("--top <N>", "so many at most").default(rowsMax, "all").argParser(argument(integer(1, rowsMax))),
    )
    .action(list);
  return topics.addHelpText(
    "after",
    `
Retained messages are those of the whole cluster; what was published, the broker knows that is asked, of its own
clients. A broker that runs alone is asked over a socket in its --data folder, any other by the URL of its --http-port.

Examples:
  mqttzoo topics list
  mqttzoo topics list home/kitchen --depth 3
  mqttzoo topics list --api http://olga:PASSWORD@broker.example.org:8080 --top 50 --json`,
  );
}

async function list(below: string | undefined, flags: ListFlags): Promise<void> {
  const rows = await levelsBelow(below, flags, flags.top);
  const columns = rows.map(({ topic, retained, published }) => ({ topic, retained, published }));
  printRows(columns, flags.json === true);
}

/** Returns the levels below a topic, each followed by those below it. */
async function levelsBelow(below: string | undefined, flags: ListFlags, top: number): Promise<TopicRow[]> {
  const found: TopicRow[] = [];
  const { broker } = flags;
  for (const row of await listAll<TopicRow>(flags, "/topics", { query: { below, broker }, top })) {
    if (found.length >= top) break;
    found.push(row);
    // The level itself counts for one at most; below an empty first level nothing can be asked for.
    if (flags.depth > 1 && row.topic !== "" && row.retained + row.published > 0)
      found.push(...(await levelsBelow(row.topic, { ...flags, depth: flags.depth - 1 }, top - found.length)));
  }
  return found;
}
