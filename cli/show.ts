/** `mqttzoo show`: brokers, sessions, subscriptions and publishers: as ZooKeeper knows them, or a broker tells them. */
import { Argument, Command } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { describeStrangers } from "../src/mail/record-reader.ts";
import type { ZooKeeper } from "../src/zookeeper/zookeeper.ts";
import { withCluster } from "./cluster/open-tree.ts";
import { type ApiInstead, withApiInstead } from "./flags/api-flags.ts";
import { type TreeFlags, withPlace } from "./flags/tree-flags.ts";
import type { Style } from "./output/colours.ts";
import { complain } from "./output/print.ts";
import { printRows, type Row } from "./output/table.ts";
import { apiViews } from "./show/api-views.ts";
import { treeViews } from "./show/tree-views.ts";

type View = keyof typeof apiViews;
type Flags = TreeFlags & ApiInstead & { readonly data?: string };

export function showCommand(): Command {
  const command = new Command("show")
    .description(
      "Print who is in a cluster, or at a broker alone, who subscribes and publishes there, what is not well.",
    )
    .helpOption("--help", "print this help")
    .addArgument(new Argument("<what>", "what to print").choices(Object.keys(apiViews)));
  return withApiInstead(withPlace(command))
    .option("--json", "print one JSON object a line")
    .addHelpText(
      "after",
      `
brokers        who is in the cluster, and where it is reached; a broker tells as well by how many ms the clock of
               each machine is ahead of ZooKeeper's, and to which others it has no link
clients        persistent sessions: who serves them, what waits for them
subscriptions  who subscribes to what; in ZooKeeper * stands for a broker's clients whose sessions end with their
               connections, where a broker names each
publishers     at which brokers clients publish on which topics; new topics appear within seconds
troubles       what is not well, in words, and what helps: brokers, links, clocks, certificates, disk, bank, clients that
               are slow or share a client id, what was refused within ten minutes; told by brokers alone
refusals       the last 500 refusals of each broker, with their reasons, the newest first; told by brokers alone

With --zk ZooKeeper is asked, which needs no broker; else a broker: by the URL of its --http-port, or, where it runs
alone, over a socket in its --data folder.

Examples:
  mqttzoo show brokers --zk zk1:2181,zk2:2181,zk3:2181
  mqttzoo show troubles --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo show clients --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo show publishers --data /var/lib/mqttzoo
  MQTTZOO_ZK=zk1:2181/mqttzoo mqttzoo show subscriptions --json`,
    )
    .action(run);
}

async function run(what: View, { zk, json, api, data, cafile, tokenFile, ...files }: Flags): Promise<void> {
  if (api !== undefined || zk === undefined) {
    const rows = await apiViews[what]({ api, data, cafile, tokenFile }).catch(alsoInZooKeeper);
    return printRows(rows, json === true, styleOf);
  }
  if (!isOfTree(what))
    throw new OperatingError("EUSAGE", `ZooKeeper knows no ${what}: ask a broker with --api http://HOST:PORT`);
  const strangers = new Map<string, string>();
  const view = (zookeeper: ZooKeeper): Promise<Row[]> => treeViews[what](zookeeper, strangers);
  printRows(await withCluster({ zk, what: "cluster", ...files }, view), json === true, styleOf);
  const words = describeStrangers(strangers);
  if (words !== undefined) complain(words);
}

/** Returns a style for the cells that somebody should look at. */
function styleOf(column: string, value: Row[string]): Style | undefined {
  if (column === "linksDown") return value === null ? undefined : "red";
  if (column === "draining") return value === true ? "yellow" : undefined;
  return column === "trouble" || column === "reason" ? "yellow" : undefined;
}

function isOfTree(what: View): what is keyof typeof treeViews {
  return Object.hasOwn(treeViews, what);
}

/** Says that a cluster may be named, too, where nobody is named who could be asked. */
function alsoInZooKeeper(error: unknown): never {
  if (!(error instanceof OperatingError) || error.code !== "EUSAGE") throw error;
  throw new OperatingError("EUSAGE", `${error.message}, or ZooKeeper with --zk zk1:2181,zk2:2181,zk3:2181`);
}
