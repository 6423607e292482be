/** The whole cluster at a glance, and what its brokers remember of the last hour, added up. */
import { useRef } from "preact/hooks";
import type { BrokerRow, Overview, SampleRow } from "../api/broker-rows.ts";
import type { Api } from "./api.ts";
import { now } from "./browser.ts";
import { type Live, useLive, useSession } from "./hooks.ts";
import { type Hour, merge, stepSeconds } from "./hour.ts";

/** Rates since the overview before, per second; undefined: there is only one yet. */
export interface Rates {
  readonly received: number;
  readonly sent: number;
  readonly dropped: number;
  readonly refused: number;
}

export interface Glance {
  readonly overview: Overview;
  readonly rates: Rates | undefined;
}

const glanceMs = 2000;

/** Returns the overview, kept up to date. */
export function useGlance(): Live<Glance> {
  const { api } = useSession();
  const before = useRef<{ at: number; brokers: readonly BrokerRow[] } | undefined>(undefined);
  return useLive(
    async (signal) => {
      const overview = await api.ask<Overview>("/overview", { signal });
      const at = now();
      const rates =
        before.current && ratesOf(before.current.brokers, overview.brokers, (at - before.current.at) / 1000);
      before.current = { at, brokers: overview.brokers };
      return { overview, rates };
    },
    { ms: glanceMs },
  );
}

/** Adds up what each broker has counted since; one that has started anew, or was not there, counts from then on. */
function ratesOf(before: readonly BrokerRow[], brokers: readonly BrokerRow[], seconds: number): Rates {
  const rate = (of: "messages_received" | "messages_sent" | "messages_dropped" | "refused"): number => {
    const grown = brokers.reduce((sum, row) => {
      const old = before.find(({ broker, started_at }) => broker === row.broker && started_at === row.started_at);
      return sum + (old === undefined ? 0 : Math.max(0, row[of] - old[of]));
    }, 0);
    return grown / Math.max(0.1, seconds);
  };
  return {
    ...{ received: rate("messages_received"), sent: rate("messages_sent") },
    ...{ dropped: rate("messages_dropped"), refused: rate("refused") },
  };
}

const hourSeconds = 3600;

/** Asks brokers for what they remember, and after the first time for what is new. */
export class HourReader {
  readonly #byBroker = new Map<string, readonly SampleRow[]>();

  async read(api: Api, brokers: readonly string[], signal: AbortSignal): Promise<Hour> {
    await Promise.all(
      brokers.map(async (broker) => {
        const known = this.#byBroker.get(broker) ?? [];
        const query = { broker, after: known.at(-1)?.at };
        const { items } = await api.ask<{ items: readonly SampleRow[] }>("/history", { query, signal });
        const since = now() - hourSeconds * 1000;
        this.#byBroker.set(
          broker,
          [...known, ...items].filter(({ at }) => Date.parse(at) >= since),
        );
      }),
    );
    return merge([...this.#byBroker.values()]);
  }
}

/** Returns the last hour of brokers, kept up to date. `brokers`: undefined while they are not known. */
export function useHour(brokers: readonly string[] | undefined): Live<Hour | undefined> {
  const { api } = useSession();
  const reader = useRef(new HourReader());
  const on = brokers?.join("\n");
  return useLive(async (signal) => (brokers === undefined ? undefined : reader.current.read(api, brokers, signal)), {
    ms: stepSeconds * 1000,
    on: [on],
  });
}
