/** The brokers of the cluster, their links and versions, how the store is, and how a broker is emptied. */
import { useState } from "preact/hooks";
import type { BrokerRow, Overview } from "../api/broker-rows.ts";
import type { CertificateRow } from "../api/rows.ts";
import { whyOf } from "./api.ts";
import { ago, bytes, count, dateTime, milliseconds } from "./format.ts";
import { useIsOperator, useLive, useSession } from "./hooks.ts";
import { Card, Notice, PageHead, State, Tag } from "./parts.tsx";
import { Troubles } from "./troubles.tsx";
import { words } from "./words.ts";

const said = words.cluster;

export function ClusterPage() {
  const { api } = useSession();
  const cluster = useLive((signal) => api.ask<Overview>("/overview", { signal }), { ms: 3000 });
  const { brokers = [], unanswered = [] } = cluster.value ?? {};
  const versions = new Set(brokers.map(({ version }) => version));
  return (
    <>
      <PageHead title={words.pages.cluster}>
        {cluster.value === undefined ? null : <p class="quiet">{words.count.brokers(brokers.length)}</p>}
      </PageHead>
      <State live={cluster} />
      {unanswered.map(({ broker, why }) => (
        <Notice key={broker} kind="bad">
          {words.unanswered(broker, why)}
        </Notice>
      ))}
      {versions.size > 1 ? <Notice kind="info">{said.mixed([...versions].sort().join(", "))}</Notice> : null}
      <div class="columns">
        {brokers.map((row) => (
          <Broker key={row.broker} of={row} again={cluster.again} />
        ))}
      </div>
    </>
  );
}

function Broker({ of, again }: { readonly of: BrokerRow; readonly again: () => void }) {
  const { facts } = said;
  const store = of.checks.find(({ name }) => name === "store");
  const sessions = of.checks.find(({ name }) => name === "sessions");
  const rows = [
    [facts.version, of.version],
    [facts.started, `${dateTime(of.started_at)}, ${ago(of.started_at)}`],
    [facts.clients, `${of.host}:${of.port}`],
    [said.stores[of.store], store?.why ?? words.none],
    [facts.sessions, sessions?.why ?? words.none],
    [facts.connections, count(of.connections)],
    [facts.kept, count(of.sessions)],
    [facts.subscriptions, count(of.subscriptions)],
    [facts.retained, count(of.retained)],
    [facts.memory, bytes(of.memory_bytes)],
    [facts.log, of.log_level],
    ...(of.store === "zookeeper" ? [[facts.clock, clockWords(of)] as const] : []),
  ] as const;
  return (
    <Card
      title={of.broker}
      tools={
        <span>
          {of.draining ? <Tag kind="warn">{said.draining}</Tag> : null}{" "}
          <Tag kind={of.ready ? "good" : "bad"}>{of.ready ? said.ready : said.notReady}</Tag>
        </span>
      }
    >
      <div class="stack">
        {of.checks
          .filter(({ ok }) => !ok)
          .map(({ name, why }) => (
            <Notice key={name} kind="bad">
              {name}: {why}
            </Notice>
          ))}
        <Troubles of={of} />
        <dl class="facts">
          {rows.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
        <Links of={of} />
        <Certificates broker={of.broker} />
        <Drain of={of} again={again} />
      </div>
    </Card>
  );
}

function Links({ of: { links } }: { readonly of: BrokerRow }) {
  return (
    <section class="stack-small">
      <h3>{said.links}</h3>
      {links.length === 0 ? <p class="quiet">{said.noLinks}</p> : null}
      <ul class="plain">
        {links.map(({ broker, version, member, up, draining, unsettled, ...link }) => (
          <li key={broker}>
            <b>{broker}</b> <Tag kind={up ? "good" : "bad"}>{up ? said.up : said.down}</Tag>{" "}
            {member ? null : <Tag kind="warn">{said.gone}</Tag>}{" "}
            {draining ? <Tag kind="warn">{said.draining}</Tag> : null}
            <p class="quiet small">
              {[
                version === null ? said.noVersion : said.version(version),
                said.unsettled(count(unsettled)),
                said.clock(clockWords(link)),
              ].join(" · ")}
            </p>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** By how much a machine's clock is ahead. */
function clockWords({ clock_ahead_ms, clock_within_ms }: Clock): string {
  // A broker of an earlier version does not tell.
  const [ahead, within] = [clock_ahead_ms ?? null, clock_within_ms ?? null];
  if (ahead === null || within === null) return said.noClock;
  return (ahead < 0 ? said.behind : said.ahead)(milliseconds(Math.abs(ahead)), milliseconds(within));
}

type Clock = Pick<BrokerRow, "clock_ahead_ms" | "clock_within_ms">;

const hourMs = 3_600_000;

function Certificates({ broker }: { readonly broker: string }) {
  const { api } = useSession();
  const certificates = useLive(
    (signal) => api.ask<{ items: readonly CertificateRow[] }>("/certificates", { query: { broker }, signal }),
    { ms: hourMs },
  );
  const rows = certificates.value?.items ?? [];
  if (rows.length === 0) return null;
  return (
    <section class="stack-small">
      <h3>{said.certificates}</h3>
      <ul class="plain">
        {rows.map(({ what, expires_at, days_left }) => (
          <li key={what}>
            {what} {expires_at === null ? words.never : dateTime(expires_at)}{" "}
            {days_left === null ? null : <Tag kind={days_left < 14 ? "bad" : ""}>{said.daysLeft(days_left)}</Tag>}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Has a broker send its clients to the others, once the operator is sure. */
function Drain({ of, again }: { readonly of: BrokerRow; readonly again: () => void }) {
  const { api, tell } = useSession();
  const [isSure, setSure] = useState(false);
  if (!useIsOperator() || of.draining) return null;
  const drain = async (): Promise<void> => {
    try {
      await api.ask("/drain", { method: "POST", query: { broker: of.broker } });
      tell(said.drained(of.broker));
    } catch (error) {
      tell(whyOf(error), "bad");
    }
    setSure(false);
    again();
  };
  if (!isSure)
    return (
      <div>
        <button type="button" class="danger" onClick={() => setSure(true)}>
          {said.drain}
        </button>
      </div>
    );
  return (
    <Notice kind="bad">
      <p>{said.drainHelp(of.broker)}</p>
      <div class="row">
        <button type="button" class="danger" onClick={() => void drain()}>
          {said.drainSure}
        </button>
        <button type="button" onClick={() => setSure(false)}>
          {words.cancel}
        </button>
      </div>
    </Notice>
  );
}
