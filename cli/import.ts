/** `mqttzoo import`: a broker of mosquitto's becomes one of ours: its configuration, and what it has kept. */
import { Command } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { foreignConfigBytesMax, foreignStoreBytesMax } from "../src/base/foreign-limits.ts";
import { isForeignDatabase } from "../src/mosquitto/database.ts";
import { readForeign } from "../src/server/operator-files.ts";
import { importConfig } from "./import/config.ts";
import { importStore, type StoreFlags } from "./import/store.ts";

interface Flags extends StoreFlags {
  readonly out?: string;
  readonly dryRun?: boolean;
}

export function importCommand(): Command {
  return new Command("import")
    .description("Come from mosquitto, with its configuration, sessions and messages.")
    .helpOption("--help", "print this help")
    .argument("<FILE>", "mosquitto.conf, or mosquitto.db")
    .option("--out <DIR>", "of mosquitto.conf: folder for mqttzoo.yaml, users and acl (default: this one)")
    .option("--config <FILE>", "of mosquitto.db: configuration of the broker that will have it")
    .option("--data <DIR>", "of mosquitto.db: folder of the store that is made (default: as the configuration says)")
    .option("--dry-run", "print what would be written, and write nothing")
    .addHelpText(
      "after",
      `
Of mosquitto.conf: each setting that has no counterpart is named with its file and line, and with what to do about it.
Nobody is let in who was kept out: where one broker cannot have what a listener had, that is left out. Paths in it are
taken from the folder in which this is run, as by mosquitto.

Of mosquitto.db (of mosquitto 1.6 and 2.x; end it first, so that it writes all): sessions, subscriptions, retained
messages, and what waits for sessions, with its packet ids at QoS 2. The bank pays for all of it. The time after which
sessions expire, --session-expiry-max at most, begins anew, and what waits for them is kept for --bank-ttl-max. That file
has no wills, and of mosquitto 2.0 no shared subscriptions: their clients subscribe to them again.

Nothing of mosquitto's is changed, and nothing that is there already. The exit code is 1 if something was refused.

Examples:
  mqttzoo import /etc/mosquitto/mosquitto.conf --dry-run
  mqttzoo import /etc/mosquitto/mosquitto.conf --out /etc/mqttzoo
  mqttzoo import /var/lib/mosquitto/mosquitto.db --config /etc/mqttzoo/mqttzoo.yaml
  mqttzoo broker --config /etc/mqttzoo/mqttzoo.yaml`,
    )
    .action(run);
}

async function run(path: string, { out, config, data, dryRun: isDry = false }: Flags): Promise<void> {
  const bytes = readForeign(path, foreignStoreBytesMax);
  if (isForeignDatabase(bytes)) {
    if (out !== undefined) throw new OperatingError("EUSAGE", "--out is for mosquitto.conf; say --config or --data");
    const how = { ...(config === undefined ? {} : { config }), ...(data === undefined ? {} : { data }), isDry };
    return importStore(bytes, path, how);
  }
  if (config !== undefined || data !== undefined)
    throw new OperatingError("EUSAGE", `${path} is no mosquitto.db: --config and --data are for that`);
  if (bytes.length > foreignConfigBytesMax)
    throw new OperatingError(
      "EFILE",
      `${path} has ${bytes.length} bytes; of a configuration ${foreignConfigBytesMax} are read`,
    );
  importConfig(path, { out: out ?? ".", isDry });
}
