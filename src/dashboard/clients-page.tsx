/** All clients of the cluster, connected or not, as many as they are. */
import { useState } from "preact/hooks";
import type { ClientRow } from "../api/rows.ts";
import { ClientDialog } from "./client-dialog.tsx";
import { ago, count, dateTime } from "./format.ts";
import { hashOf, useCalm } from "./hooks.ts";
import { usePaged } from "./paged.ts";
import { PageHead, State, Tag, Unanswered } from "./parts.tsx";
import { Cell, HeadCell, VirtualList } from "./virtual-list.tsx";
import { words } from "./words.ts";

const said = words.clients;
/** Between the keys of a fast typist: each search looks through all clients, some 25 ms for 100,000. */
const calmMs = 50;
const againMs = 5000;

const sorts = ["client_id", "-connected_at", "-mailbox", "-in_flight", "-queued_bytes", "-subscriptions", "-credits"];
const states = { all: undefined, connected: true, away: false } as const;

export function ClientsPage({ name }: { readonly name: string | undefined }) {
  const [search, setSearch] = useState("");
  const [state, setState] = useState<keyof typeof states>("all");
  const [sort, setSort] = useState(sorts[0]!);
  const calm = useCalm(search.trim(), calmMs);
  const query = { search: calm, connected: states[state], sort };
  const clients = usePaged<ClientRow>("/clients", { query, limit: 500, ms: againMs });
  return (
    <>
      <PageHead title={words.pages.clients}>
        <p class="quiet" role="status">
          {clients.value === undefined ? "" : said.found(clients.rows.length, clients.isWhole)}
        </p>
      </PageHead>
      <search class="row">
        <label class="field wide">
          <span>{said.search}</span>
          <input
            type="search"
            value={search}
            placeholder={said.searchHint}
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>{said.which}</span>
          <select value={state} onChange={(event) => setState(event.currentTarget.value as keyof typeof states)}>
            {(Object.keys(states) as (keyof typeof states)[]).map((one) => (
              <option key={one} value={one}>
                {said.states[one]}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>{said.sort}</span>
          <select value={sort} onChange={(event) => setSort(event.currentTarget.value)}>
            {sorts.map((one) => (
              <option key={one} value={one}>
                {said.sorts[one]}
              </option>
            ))}
          </select>
        </label>
      </search>
      <State live={clients} />
      <Unanswered of={clients.value?.unanswered} />
      {clients.value !== undefined && clients.rows.length === 0 ? <p class="quiet">{said.nobody}</p> : null}
      <VirtualList
        key={JSON.stringify(query)}
        label={words.pages.clients}
        rows={clients.rows}
        total={clients.isWhole ? clients.rows.length : undefined}
        head={<Head />}
        keyOf={({ client_id }) => client_id}
        cells={(row) => <Cells of={row} />}
        onEnd={clients.more}
      />
      {name === undefined ? null : <ClientDialog key={name} id={name} onChange={clients.again} />}
    </>
  );
}

function Head() {
  const { columns } = said;
  return (
    <>
      <HeadCell>{columns.client}</HeadCell>
      <HeadCell>{columns.user}</HeadCell>
      <HeadCell>{columns.from}</HeadCell>
      <HeadCell>{columns.since}</HeadCell>
      <HeadCell class="number">{columns.subscriptions}</HeadCell>
      <HeadCell class="number">{columns.inFlight}</HeadCell>
      <HeadCell class="number">{columns.mailbox}</HeadCell>
    </>
  );
}

function Cells({ of }: { readonly of: ClientRow }) {
  const { client_id, user, connected, address, protocol, connected_at, last_refusal, broker } = of;
  return (
    <>
      <Cell class="who-cell" title={client_id}>
        <span class={`dot ${connected ? "on" : ""}`} aria-hidden="true" />
        <a href={hashOf("clients", client_id)}>{client_id}</a>
        {last_refusal === null ? null : <Tag kind="bad">{said.refused}</Tag>}
        <span class="hidden">{connected ? said.connected : said.away}</span>
      </Cell>
      <Cell title={user ?? ""}>{user ?? words.none}</Cell>
      <Cell title={`${broker} ${protocol}`}>{address ?? said.awayAt(broker)}</Cell>
      <Cell title={connected_at === null ? "" : dateTime(connected_at)}>
        {connected_at === null ? words.none : ago(connected_at)}
      </Cell>
      <Cell class="number">{count(of.subscriptions)}</Cell>
      <Cell class="number">{count(of.in_flight)}</Cell>
      <Cell class="number">{of.mailbox === null ? words.none : count(of.mailbox)}</Cell>
    </>
  );
}
