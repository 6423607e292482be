/** Views of the same kinds as a broker tells them over its API: of a broker alone, too. */
import type { BrokerRow, ClientRow, Overview, SubscriptionRow } from "../../src/api/rows.ts";
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
};

function brokerOf({ broker, host, port, link_port, version, started_at, draining, epoch }: BrokerRow): Row {
  return { id: broker, host, port, linkPort: link_port, version, startedAt: started_at, draining, epoch };
}
