/** Views of the same kinds as a broker tells them over its API: of a broker alone, too. */
import type { BrokerRow, Overview } from "../../src/api/broker-rows.ts";
import type { ClientRow, RefusalRow, SubscriptionRow } from "../../src/api/rows.ts";
import type { PublisherRow } from "../../src/api/topic-rows.ts";
import { type ApiPlace, askApi } from "../../src/server/api-client.ts";
import { listAll, rowsMax as top } from "../flags/api-flags.ts";
import { complain } from "../output/print.ts";
import type { Row } from "../output/table.ts";

/** The views, by their names. Each rejects with `OperatingError`. */
export const apiViews = {
  async brokers(place: ApiPlace): Promise<Row[]> {
    const { brokers, unanswered } = (await askApi(place, "GET", "/overview")) as Overview;
    for (const one of unanswered) complain(`broker ${one.broker} is missing: ${one.why}`);
    return brokers.map(brokerOf).sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1));
  },

  async clients(place: ApiPlace): Promise<Row[]> {
    const rows = await listAll<ClientRow>(place, "/clients", { query: { sort: "client_id" }, top });
    return rows.flatMap(({ client_id, broker, connected, mailbox, session_ends_at }) =>
      // A session that ends with its connection has none.
      mailbox === null ? [] : [{ client: client_id, broker, connected, waiting: mailbox, expires: session_ends_at }],
    );
  },

  async subscriptions(place: ApiPlace): Promise<Row[]> {
    const rows = await listAll<SubscriptionRow>(place, "/subscriptions", { query: { sort: "filter" }, top });
    return rows.map(({ filter, client_id, broker }) => ({ filter, client: client_id, broker }));
  },

  async publishers(place: ApiPlace): Promise<Row[]> {
    return (await listAll<PublisherRow>(place, "/publishers", { query: {}, top })).map(({ topic, broker }) => ({
      topic,
      broker,
    }));
  },

  troubles,
  refusals,
};

/** Tells what is not well: who does not answer, what keeps a broker from being ready, and what it names besides. */
async function troubles(place: ApiPlace): Promise<Row[]> {
  const { brokers, unanswered } = (await askApi(place, "GET", "/overview")) as Overview;
  const rows: Row[] = unanswered.map(({ broker, why }) => ({ broker, what: "broker", trouble: `is missing: ${why}` }));
  for (const row of brokers) {
    const { broker, checks } = row;
    for (const { name, why } of checks.filter(({ ok }) => !ok)) rows.push({ broker, what: name, trouble: why });
    // A broker of an earlier version names none.
    for (const { name, text } of row.troubles ?? []) rows.push({ broker, what: name, trouble: text });
  }
  const versions = [...new Set(brokers.map(({ version }) => version))].sort();
  if (versions.length > 1)
    rows.push({ broker: "*", what: "versions", trouble: `brokers of several versions: ${versions.join(", ")}` });
  return rows;
}

async function refusals(place: ApiPlace): Promise<Row[]> {
  const rows = await listAll<RefusalRow>(place, "/refusals", { query: { sort: "-at" }, top });
  return rows.map(({ at, broker, kind, times, client_id, address, reason }) => ({
    ...{ at, broker, kind, times, client: client_id, address, reason },
  }));
}

function brokerOf(row: BrokerRow): Row {
  const { broker, host, port, link_port, version, started_at, draining, epoch, clock_ahead_ms = null, links } = row;
  const facts = { id: broker, host, port, linkPort: link_port, version, startedAt: started_at, draining, epoch };
  const linksDown = links.filter(({ member, up }) => member && !up).map((link) => link.broker);
  return { ...facts, clockAheadMs: clock_ahead_ms, linksDown: linksDown.length === 0 ? null : linksDown.join(" ") };
}
