/** Looks at a cluster of this kind of brokers over its API: all brokers together, and its busiest clients. */
import type { Overview } from "../../src/api/broker-rows.ts";
import type { ClientRow } from "../../src/api/rows.ts";
import { systemClock } from "../../src/base/clock.ts";
import { type ApiPlace, askApi } from "../../src/server/api-client.ts";
import type { Look } from "./look.ts";

type Totals = Overview["totals"];

export class ApiSource {
  readonly #place: ApiPlace;
  readonly #clients: number;
  #before: { readonly totals: Totals; readonly at: number } | undefined;

  /** `clients`: how many of the busiest are looked at. */
  constructor(place: ApiPlace, { clients }: { readonly clients: number }) {
    this.#place = place;
    this.#clients = clients;
  }

  /** Rejects with `OperatingError`. */
  async look(): Promise<Look> {
    const { totals, brokers, unanswered } = (await askApi(this.#place, "GET", "/overview")) as Overview;
    const now = systemClock.now();
    const rate = (name: keyof Totals): number | undefined => {
      if (this.#before === undefined) return undefined;
      const grown = totals[name] - this.#before.totals[name];
      // A broker that was started anew, or is missing, makes it less.
      return grown < 0 ? undefined : grown / ((now - this.#before.at) / 1000);
    };
    const [first] = brokers;
    const missing = unanswered.length === 0 ? "" : `, ${unanswered.length} without an answer`;
    const sum = (of: "subscriptions" | "memory_bytes"): number => brokers.reduce((all, one) => all + one[of], 0);
    const look: Look = {
      at: systemClock.wall(),
      where: `${brokers.length} ${brokers.length === 1 ? "broker" : "brokers"}${missing}`,
      version: first && `mqttzoo ${first.version}`,
      uptime: first && `${Math.floor((systemClock.wall() - Date.parse(first.started_at)) / 1000)} seconds`,
      clients: totals.connections,
      sessions: totals.sessions,
      subscriptions: sum("subscriptions"),
      // All brokers have the same.
      retained: first?.retained,
      memoryBytes: sum("memory_bytes"),
      rates: {
        ...{ received: rate("messages_received"), sent: rate("messages_sent") },
        ...{ dropped: rate("messages_dropped"), refused: rate("refused") },
        ...{ bytesReceived: undefined, bytesSent: undefined },
      },
      topics: undefined,
      busiestClients: await this.#busiestClients(),
    };
    this.#before = { totals, at: now };
    return look;
  }

  async #busiestClients() {
    const query = new URLSearchParams({ connected: "true", limit: String(this.#clients) });
    const page = async (sort: string): Promise<readonly ClientRow[]> => {
      query.set("sort", sort);
      return ((await askApi(this.#place, "GET", `/clients?${query}`)) as { items: readonly ClientRow[] }).items;
    };
    const found = [...(await page("-messages_in_per_second")), ...(await page("-messages_out_per_second"))];
    const busy = (row: ClientRow): number => (row.messages_in_per_second ?? 0) + (row.messages_out_per_second ?? 0);
    return [...new Map(found.map((row) => [`${row.broker} ${row.client_id}`, row])).values()]
      .sort((a, b) => busy(b) - busy(a))
      .slice(0, this.#clients)
      .map((row) => ({
        ...{ "in/s": row.messages_in_per_second, "out/s": row.messages_out_per_second },
        ...{ "bytes in/s": row.bytes_in_per_second, "bytes out/s": row.bytes_out_per_second },
        ...{ unacknowledged: row.in_flight, client: row.client_id, user: row.user, from: row.address },
      }));
  }
}
