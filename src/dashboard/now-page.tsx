/** How the cluster is now, and how it was in the last hour. */
import { useMemo } from "preact/hooks";
import type { BrokerRow, Overview } from "../api/broker-rows.ts";
import { Chart } from "./chart.tsx";
import { brief, bytes, count, milliseconds } from "./format.ts";
import type { Hour } from "./hour.ts";
import { type Glance, useGlance, useHour } from "./overview.ts";
import { Card, Figure, Notice, PageHead, State } from "./parts.tsx";
import { Troubles } from "./troubles.tsx";
import { words } from "./words.ts";

const said = words.now;

export function NowPage() {
  const glance = useGlance();
  const brokers = glance.value?.overview.brokers;
  const hour = useHour(brokers?.map(({ broker }) => broker));
  return (
    <>
      <PageHead title={words.pages.now} />
      <State live={glance} />
      {glance.value === undefined ? null : (
        <>
          <Readiness of={glance.value.overview} />
          <Figures of={glance.value} hour={hour.value} />
          <Charts hour={hour.value} />
          <Reasons brokers={glance.value.overview.brokers} />
        </>
      )}
    </>
  );
}

/** Readiness in words: what is not well first. */
function Readiness({ of: { brokers, unanswered } }: { readonly of: Overview }) {
  const ill = brokers.filter(({ ready }) => !ready);
  return (
    <section class="readiness" aria-label={said.checks}>
      {ill.map(({ broker, checks }) => (
        <Notice key={broker} kind="bad">
          <strong>{said.notReady(broker)}</strong>
          {checks
            .filter(({ ok }) => !ok)
            .map(({ name, why }) => (
              <p key={name}>
                {name}: {why}
              </p>
            ))}
        </Notice>
      ))}
      {unanswered.map(({ broker, why }) => (
        <Notice key={broker} kind="bad">
          <strong>{said.missing(broker)}</strong>
          <p>{why}</p>
        </Notice>
      ))}
      {ill.length + unanswered.length > 0 ? null : (
        <Notice kind="good">
          <strong>{said.ready(brokers.length)}</strong>
          <p>{said.readyHelp}</p>
        </Notice>
      )}
      {brokers.map((row) => (
        <Troubles key={row.broker} of={row} />
      ))}
      <details>
        <summary>{said.checks}</summary>
        <div class="checks">
          {brokers.map(({ broker, checks }) => (
            <div key={broker}>
              <h3>{broker}</h3>
              <dl>
                {checks.map(({ name, ok, why }) => (
                  <div key={name} class={ok ? "" : "bad"}>
                    <dt>{name}</dt>
                    <dd>{why}</dd>
                  </div>
                ))}
              </dl>
            </div>
          ))}
        </div>
      </details>
    </section>
  );
}

function Figures({ of: { overview, rates }, hour }: { readonly of: Glance; readonly hour: Hour | undefined }) {
  const last = hour?.samples.at(-1);
  const { totals, brokers } = overview;
  const perSecond = (value: number | undefined): string => (value === undefined ? words.none : brief(value));
  const memory = brokers.reduce((sum, { memory_bytes }) => sum + memory_bytes, 0);
  const settled = [last?.settle_p50_ms ?? null, last?.settle_p99_ms ?? null].map(milliseconds);
  const lost = [perSecond(rates?.dropped), perSecond(rates?.refused)];
  return (
    <dl class="figures">
      <Figure name={said.messagesIn} value={perSecond(rates?.received)} help={words.perSecond} />
      <Figure name={said.messagesOut} value={perSecond(rates?.sent)} help={words.perSecond} />
      <Figure name={said.connections} value={count(totals.connections)} help={said.sessions(totals.sessions)} />
      <Figure name={said.settle} value={settled.join(" · ")} help={said.settleHelp} />
      <Figure
        name={said.lost}
        value={lost.join(" · ")}
        help={said.lostHelp}
        isBad={(rates?.dropped ?? 0) + (rates?.refused ?? 0) > 0}
      />
      <Figure name={said.memory} value={bytes(memory)} help={said.memoryHelp} />
    </dl>
  );
}

function Charts({ hour }: { readonly hour: Hour | undefined }) {
  const lines = useMemo(() => {
    const samples = hour?.samples ?? [];
    return {
      rate: [
        { name: said.received, colour: "--series-1", values: samples.map(({ received }) => received) },
        { name: said.sent, colour: "--series-2", values: samples.map(({ sent }) => sent) },
      ],
      open: [{ name: said.open, colour: "--series-1", values: samples.map(({ connections }) => connections) }],
      settled: [
        { name: said.half, colour: "--series-1", values: samples.map(({ settle_p50_ms }) => settle_p50_ms) },
        { name: said.most, colour: "--series-3", values: samples.map(({ settle_p99_ms }) => settle_p99_ms) },
      ],
      troubles: [
        { name: said.dropped, colour: "--series-3", values: samples.map(({ dropped }) => dropped) },
        { name: said.refusedRate, colour: "--series-4", values: samples.map(({ refused }) => refused) },
        { name: said.turnedAway, colour: "--series-5", values: samples.map(({ turned_away }) => turned_away) },
      ],
    };
  }, [hour]);
  const times = hour?.times ?? [];
  return (
    <Card title={said.lastHour}>
      {times.length === 0 ? <p class="quiet">{said.noHistory}</p> : null}
      <div class="charts">
        <Chart title={said.rate} times={times} lines={lines.rate} format={brief} />
        <Chart title={said.connections} times={times} lines={lines.open} format={brief} />
        <Chart title={said.settled} times={times} lines={lines.settled} format={brief} />
        <Chart title={said.troubles} times={times} lines={lines.troubles} format={brief} />
      </div>
    </Card>
  );
}

type Group = keyof typeof said.groups;

/** Lists what was dropped and refused, by reason, the most first. */
function Reasons({ brokers }: { readonly brokers: readonly BrokerRow[] }) {
  const rows = (Object.keys(said.groups) as Group[]).flatMap((group) => {
    const sums = new Map<string, number>();
    for (const row of brokers)
      for (const [cause, times] of Object.entries(row[group] ?? {})) sums.set(cause, (sums.get(cause) ?? 0) + times);
    return [...sums].map(([cause, times]) => ({ group, cause, times }));
  });
  const failed = brokers.reduce((sum, { logins_failed }) => sum + logins_failed, 0);
  const all = [...rows, { group: "turned_away" as Group, cause: "logins_failed", times: failed }]
    .filter(({ times }) => times > 0)
    .sort((a, b) => b.times - a.times);
  return (
    <Card title={said.reasons}>
      {all.length === 0 ? (
        <p class="quiet">{said.nothingRefused}</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">{said.reason}</th>
              <th scope="col" class="number">
                {said.times}
              </th>
            </tr>
          </thead>
          <tbody>
            {all.map(({ group, cause, times }) => (
              <tr key={`${group} ${cause}`}>
                <td>
                  {said.causes[cause] ?? cause} <small class="quiet">{said.groups[group]}</small>
                </td>
                <td class="number">{count(times)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Card>
  );
}
