/** `mqttzoo clients`: lists clients, shows one, and ends a connection. */
import { Command, Option } from "commander";
import type { ClientDetail, ClientRow, RefusalRow } from "../src/api/rows.ts";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { type ApiPlace, askApi } from "../src/server/api-client.ts";
import { listAll, rowsMax, withPlace } from "./flags/api-flags.ts";
import { argument, integer } from "./flags/parsers.ts";
import { say, sayJson } from "./output/print.ts";
import { printRows, type Row } from "./output/table.ts";

interface Flags extends ApiPlace {
  readonly json?: boolean;
}

interface ListFlags extends Flags {
  readonly connected?: boolean;
  readonly away?: boolean;
  readonly search?: string;
  readonly user?: string;
  readonly broker?: string;
  readonly sort?: string;
  readonly top: number;
}

export function clientsCommand(): Command {
  const clients = new Command("clients")
    .description("The clients of a broker or a cluster: connected or not, one in detail, and disconnecting one.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  withPlace(clients.command("list").description("list clients"))
    .option("--connected", "only those that are connected")
    .option("--away", "only those that are not")
    .option("--search <TEXT>", "only those with this in their ids, users or addresses")
    .option("--user <NAME>", "only those of this user")
    .option("--broker <ID>", "only those of this broker")
    .option(
      "--sort <COLUMN>",
      "client_id, connected_at, mailbox, in_flight, queued_bytes, subscriptions, credits, user, messages_in_per_second, " +
        "messages_out_per_second, bytes_in_per_second, bytes_out_per_second; -mailbox: most first",
    )
    .addOption(
      new Option("--top <N>", "so many at most").default(rowsMax, "all").argParser(argument(integer(1, rowsMax))),
    )
    .action(list);
  withPlace(clients.command("show").description("print all that is known of a client"))
    .argument("<CLIENT-ID>", "the client")
    .action(show);
  withPlace(clients.command("disconnect").description("disconnect a client; one of MQTT 5 is told 0x98"))
    .argument("<CLIENT-ID>", "the client")
    .action(disconnect);
  return clients.addHelpText(
    "after",
    `
A broker that runs alone is asked over a socket in its --data folder, by its own user; any other by the URL of its
--http-port. Any broker of a cluster answers for all. A user is named in the URL, or his token is in --token-file.

Examples:
  mqttzoo clients list
  mqttzoo clients list --connected --sort -mailbox --top 20
  mqttzoo clients list --api http://olga:PASSWORD@broker.example.org:8080 --search sensor- --json
  mqttzoo clients list --api https://broker.example.org:8080 --cafile ca.pem --token-file token
  mqttzoo clients show sensor-7 --data /var/lib/mqttzoo
  mqttzoo clients disconnect sensor-7 --api http://localhost:8080 --token-file token`,
  );
}

async function list(flags: ListFlags): Promise<void> {
  const { connected, away, search, user, broker, sort, top, json } = flags;
  const isAsked = connected === away ? undefined : String(connected === true);
  const rows = await listAll<ClientRow>(flags, "/clients", {
    query: { search, user, broker, sort, connected: isAsked },
    top,
  });
  if (json === true) for (const row of rows) sayJson(row);
  else printRows(rows.map(columnsOf), false);
}

/** Returns what a table shows of a client. */
function columnsOf(row: ClientRow): Row {
  return {
    ...{ client: row.client_id, user: row.user, broker: row.broker, from: row.address, by: row.listener },
    ...{ protocol: row.protocol, state: row.state, since: row.connected_at, filters: row.subscriptions },
    ...{ "in/s": row.messages_in_per_second, "out/s": row.messages_out_per_second },
    ...{ unacknowledged: row.in_flight, mailbox: row.mailbox, refused: row.last_refusal?.reason ?? null },
  };
}

async function show(clientId: string, flags: Flags): Promise<void> {
  const detail = (await askApi(flags, "GET", `/clients/${nameInPath(clientId)}`).catch((error) =>
    whyNot(flags, clientId, error),
  )) as ClientDetail;
  if (flags.json === true) return sayJson(detail);
  const { refusals, last_refusal: _, ...facts } = detail;
  printRows(
    Object.entries(facts).map(([name, value]) => ({ what: name.replaceAll("_", " "), value: value as Row[string] })),
    false,
  );
  if (refusals.length === 0) return;
  say("");
  printRows(
    refusals.map(({ at, kind, times, reason }) => ({ refused: at, what: kind, times, reason })),
    false,
  );
}

/** Throws the error that there is no such session, with the last refusal of the client, if one is remembered. */
async function whyNot(flags: Flags, clientId: string, error: unknown): Promise<never> {
  if (!messageOf(error).includes("no session")) throw error;
  const query = new URLSearchParams({ client_id: clientId, sort: "-at", limit: "1" });
  const { items } = (await askApi(flags, "GET", `/refusals?${query}`)) as { items: readonly RefusalRow[] };
  const [last] = items;
  if (last === undefined) throw error;
  const { at, broker, kind, reason } = last;
  throw new OperatingError(
    "EFAILED",
    `${messageOf(error)}; it was refused at ${at} (${kind}, broker ${broker}): ${reason}`,
  );
}

async function disconnect(clientId: string, flags: Flags): Promise<void> {
  await askApi(flags, "POST", `/clients/${nameInPath(clientId)}/disconnect`);
  if (flags.json === true) sayJson({ client_id: clientId, disconnected: true });
  else say(`disconnected ${clientId}`);
}

function nameInPath(clientId: string): string {
  return encodeURIComponent(clientId);
}
