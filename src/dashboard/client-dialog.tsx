/** All of one client: how it is, what it subscribes to, what waits for it, what it was refused; and its end. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { ClientDetail, SubscriptionRow, WaitingRow } from "../api/rows.ts";
import { type PageOf, whyOf } from "./api.ts";
import { ago, bytes, count, credits, dateTime, duration } from "./format.ts";
import { hashOf, useIsOperator, useLive, useSession } from "./hooks.ts";
import { Dialog, Notice, State, Tag } from "./parts.tsx";
import { RefusalItem } from "./refused-page.tsx";
import { words } from "./words.ts";

const said = words.client;
const againMs = 3000;

interface Mailbox {
  readonly items: readonly WaitingRow[];
  readonly total: number;
}

export interface ClientDialogProps {
  readonly id: string;
  /** Called when the client was changed. */
  readonly onChange: () => void;
}

export function ClientDialog({ id, onChange }: ClientDialogProps) {
  const { api } = useSession();
  const path = `/clients/${encodeURIComponent(id)}`;
  const client = useLive((signal) => api.ask<ClientDetail>(path, { signal }), { ms: againMs });
  const subscriptions = useLive(
    (signal) => api.ask<PageOf<SubscriptionRow>>("/subscriptions", { query: { client_id: id, limit: 500 }, signal }),
    { ms: againMs },
  );
  const isKept = client.value !== undefined && client.value.mailbox !== null;
  const mailbox = useLive(
    async (signal) => (isKept ? api.ask<Mailbox>(`${path}/mailbox`, { signal }) : { items: [], total: 0 }),
    { ms: againMs, on: [isKept] },
  );
  const close = (): void => {
    location.hash = hashOf("clients");
  };
  return (
    <Dialog title={id} class="panel" onClose={close}>
      <State live={client} />
      {client.value === undefined ? null : (
        <>
          <Facts of={client.value} />
          <p>
            <a href={hashOf("trace", id)}>{words.trace.link}</a>
          </p>
          <Actions of={client.value} path={path} onDone={onChange} onGone={close} again={client.again} />
          <Part title={said.subscriptions} none={said.noSubscriptions} rows={subscriptions.value?.items}>
            {(rows) => rows.map((row) => <Subscription key={row.filter} of={row} />)}
          </Part>
          {isKept ? (
            <Part title={said.mailbox(mailbox.value?.total ?? 0)} none={said.noMail} rows={mailbox.value?.items}>
              {(rows) => rows.map((row) => <Waiting key={row.name} of={row} />)}
            </Part>
          ) : null}
          <Part title={said.refusals} none={said.noRefusals} rows={client.value.refusals}>
            {(rows) => rows.map((row) => <RefusalItem key={row.number} of={row} />)}
          </Part>
        </>
      )}
    </Dialog>
  );
}

function Part<Row>(props: {
  readonly title: string;
  readonly none: string;
  readonly rows: readonly Row[] | undefined;
  readonly children: (rows: readonly Row[]) => ComponentChildren;
}) {
  const { title, none, rows, children } = props;
  return (
    <section class="stack-small">
      <h3>{title}</h3>
      {rows === undefined || rows.length === 0 ? <p class="quiet">{none}</p> : <ul class="plain">{children(rows)}</ul>}
    </section>
  );
}

function Facts({ of }: { readonly of: ClientDetail }) {
  const { facts } = said;
  const rows: readonly (readonly [string, ComponentChildren])[] = [
    [facts.state, of.connected ? <Tag kind="good">{words.clients.connected}</Tag> : <Tag>{words.clients.away}</Tag>],
    [facts.broker, of.broker],
    [facts.user, of.user ?? words.none],
    [facts.address, of.address === null ? words.none : `${of.address} (${of.listener})`],
    [facts.protocol, of.protocol],
    [facts.since, of.connected_at === null ? words.none : `${dateTime(of.connected_at)}, ${ago(of.connected_at)}`],
    [facts.keepAlive, of.keep_alive === null ? words.none : duration(of.keep_alive)],
    [facts.expiry, of.session_expiry === null ? words.never : said.expiresAfter(of.session_expiry, duration)],
    [facts.inFlight, count(of.in_flight)],
    [facts.queued, bytes(of.queued_bytes)],
    [facts.memory, bytes(of.memory_bytes)],
    [facts.credits, credits(of.credits)],
    [facts.will, of.will_topic ?? words.none],
    [facts.certificate, of.certificate_expires_at === null ? words.none : dateTime(of.certificate_expires_at)],
  ];
  return (
    <>
      {of.receive_paused ? <Notice kind="info">{said.paused}</Notice> : null}
      <dl class="facts">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Actions(props: {
  readonly of: ClientDetail;
  readonly path: string;
  readonly onDone: () => void;
  readonly onGone: () => void;
  readonly again: () => void;
}) {
  const { of, path, onDone, onGone, again } = props;
  const { api, tell } = useSession();
  const [isSure, setSure] = useState(false);
  if (!useIsOperator()) return null;
  const act = async (what: "disconnect" | "end"): Promise<void> => {
    try {
      if (what === "disconnect") await api.ask(`${path}/disconnect`, { method: "POST" });
      else await api.ask(path, { method: "DELETE" });
      tell(what === "disconnect" ? said.disconnected(of.client_id) : said.ended(of.client_id));
      onDone();
      if (what === "end") onGone();
      else again();
    } catch (error) {
      tell(whyOf(error), "bad");
    }
  };
  return (
    <div class="row">
      {of.connected ? (
        <button type="button" onClick={() => void act("disconnect")}>
          {said.disconnect}
        </button>
      ) : null}
      {isSure ? (
        <>
          <button type="button" class="danger" onClick={() => void act("end")}>
            {said.endSure}
          </button>
          <button type="button" onClick={() => setSure(false)}>
            {words.cancel}
          </button>
        </>
      ) : (
        <button type="button" class="danger" onClick={() => setSure(true)}>
          {said.end}
        </button>
      )}
    </div>
  );
}

function Subscription({ of: { filter, qos, no_local, retain_handling } }: { readonly of: SubscriptionRow }) {
  return (
    <li>
      <code>{filter}</code> <Tag>{words.qos(qos)}</Tag> {no_local ? <Tag>{said.noLocal}</Tag> : null}{" "}
      {retain_handling === 2 ? <Tag>{said.noRetained}</Tag> : null}
    </li>
  );
}

function Waiting({ of: { topic, qos, payload, payload_bytes, kept_until, state } }: { readonly of: WaitingRow }) {
  return (
    <li>
      <code>{topic}</code> <Tag>{words.qos(qos)}</Tag> {state === "waiting" ? null : <Tag kind="warn">{state}</Tag>}
      <p class="quiet">
        {payload_bytes === null ? "" : `${bytes(payload_bytes)} `}
        {kept_until === null ? "" : said.keptUntil(dateTime(kept_until))}
      </p>
      {payload === null || payload === "" ? null : <pre>{payload}</pre>}
    </li>
  );
}
