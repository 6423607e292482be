/** The last refusals of the cluster: each with its reason, the rule's line where there is one, and what to do. */
import { useState } from "preact/hooks";
import type { RefusalRow } from "../api/rows.ts";
import type { PageOf } from "./api.ts";
import { ago, count, dateTime } from "./format.ts";
import { hashOf, useLive, useSession } from "./hooks.ts";
import { PageHead, State, Tag, Unanswered } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.refused;
const againMs = 3000;
const refusalKinds: readonly RefusalRow["kind"][] = ["connect", "publish", "subscribe", "will", "protocol"];

export function RefusedPage({ name }: { readonly name: string | undefined }) {
  const { api } = useSession();
  const [kind, setKind] = useState("");
  const [search, setSearch] = useState(name ?? "");
  const refusals = useLive(
    (signal) => api.ask<PageOf<RefusalRow>>("/refusals", { query: { sort: "-at", limit: 500, kind }, signal }),
    { ms: againMs, on: [kind] },
  );
  const needle = search.trim().toLowerCase();
  const shown = (refusals.value?.items ?? []).filter(({ client_id, reason, address, cause }) =>
    [client_id, reason, address, cause].some((text) => text?.toLowerCase().includes(needle)),
  );
  return (
    <>
      <PageHead title={words.pages.refused}>
        <p class="quiet" role="status">
          {refusals.value === undefined ? "" : said.found(shown.length)}
        </p>
      </PageHead>
      <search class="row">
        <label class="field wide">
          <span>{said.search}</span>
          <input
            type="search"
            value={search}
            placeholder={said.searchHint}
            spellcheck={false}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>{said.kind}</span>
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            <option value="">{said.allKinds}</option>
            {refusalKinds.map((one) => (
              <option key={one} value={one}>
                {said.kinds[one]}
              </option>
            ))}
          </select>
        </label>
      </search>
      <State live={refusals} />
      <Unanswered of={refusals.value?.unanswered} />
      {refusals.value !== undefined && shown.length === 0 ? <p class="quiet">{said.nothing}</p> : null}
      <ul class="cards">
        {shown.map((row) => (
          <RefusalItem key={`${row.broker} ${row.number}`} of={row} withClient />
        ))}
      </ul>
    </>
  );
}

/** One refusal. `withClient`: its client is named, since others are beside it. */
export function RefusalItem({ of, withClient }: { readonly of: RefusalRow; readonly withClient?: boolean }) {
  const { at, times, kind, cause, reason, client_id, address, broker } = of;
  const remedy = said.remedies[cause] ?? said.remedyOfKind[kind];
  return (
    <li class="refusal">
      <div class="refusal-head">
        <Tag kind="bad">{said.kinds[kind]}</Tag>
        {withClient === true && client_id !== null ? <a href={hashOf("clients", client_id)}>{client_id}</a> : null}
        {withClient === true && client_id === null ? <span>{said.nobody}</span> : null}
        {times > 1 ? <Tag kind="warn">{said.times(count(times))}</Tag> : null}
        <time class="quiet" dateTime={at} title={dateTime(at)}>
          {ago(at)}
        </time>
      </div>
      <p>{reason}</p>
      <p class="remedy">{remedy}</p>
      <p class="quiet small">{[cause, address, said.at(broker)].filter((part) => part !== null).join(" · ")}</p>
    </li>
  );
}
