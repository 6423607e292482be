/** Retained messages by a filter, and how many of them are cleared at once. */
import { useState } from "preact/hooks";
import type { RetainedRow } from "../api/rows.ts";
import { whyOf } from "./api.ts";
import { bytes, dateTime } from "./format.ts";
import { hashOf, useCalm, useIsOperator, useSession } from "./hooks.ts";
import { usePaged } from "./paged.ts";
import { Card, Field, Notice, State, Tag } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.retained;

interface Cleared {
  readonly matched: number;
  readonly cleared: number;
  readonly remaining: number;
  readonly refused: readonly string[];
}

export function RetainedBrowser() {
  const [filter, setFilter] = useState("#");
  const calm = useCalm(filter, 250);
  const retained = usePaged<RetainedRow>("/retained", { query: { filter: calm }, limit: 50, ms: 5000 });
  return (
    <Card title={said.title}>
      <div class="stack">
        <Field label={said.filter}>
          <input
            value={filter}
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
        </Field>
        <State live={retained} />
        {retained.value !== undefined && retained.rows.length === 0 ? <p class="quiet">{said.none}</p> : null}
        <ul class="plain">
          {retained.rows.map((row) => (
            <li key={row.topic}>
              <a href={hashOf("topics", row.topic)}>{row.topic}</a> <Tag>{words.qos(row.qos)}</Tag>{" "}
              <span class="quiet">
                {bytes(row.payload_bytes)} {originOf(row)}
              </span>
            </li>
          ))}
        </ul>
        <div class="row">
          {retained.value?.next == null ? null : (
            <button type="button" onClick={retained.more}>
              {words.more}
            </button>
          )}
          {filter === calm ? <ClearMany key={calm} filter={calm} onDone={retained.again} /> : null}
        </div>
      </div>
    </Card>
  );
}

/** Tells who has set a retained message, where and when, as far as it is known. */
export function originOf({ user, client_id, broker, retained_at }: RetainedRow): string {
  // A broker of an earlier version does not tell, nor is it told of what is the broker's own.
  if ((broker ?? null) === null) return "";
  const who = [client_id === null ? [] : said.client(client_id), user === null ? [] : said.user(user)].flat();
  const words = said.by(who.length === 0 ? said.nobody : who.join(", "), broker!);
  return retained_at === null ? words : `${words}, ${dateTime(retained_at)}`;
}

/** First tells how many match, and then clears them. */
function ClearMany({ filter, onDone }: { readonly filter: string; readonly onDone: () => void }) {
  const { api, tell } = useSession();
  const [matched, setMatched] = useState<number | undefined>();
  if (!useIsOperator() || filter === "") return null;
  const clear = async (isDry: boolean): Promise<void> => {
    try {
      for (let cleared = 0; ; ) {
        const query = { filter, dry_run: isDry };
        const told = await api.ask<Cleared>("/retained", { method: "DELETE", query });
        if (isDry) return setMatched(told.matched);
        cleared += told.cleared;
        if (told.remaining > 0 && told.cleared > 0) continue;
        tell(told.refused[0] ?? said.cleared(cleared), told.refused.length > 0 ? "bad" : "good");
        setMatched(undefined);
        return onDone();
      }
    } catch (error) {
      tell(whyOf(error), "bad");
    }
  };
  if (matched === undefined)
    return (
      <button type="button" class="danger" onClick={() => void clear(true)}>
        {said.clear}
      </button>
    );
  return (
    <Notice kind="bad">
      <p>{said.sure(matched, filter)}</p>
      <div class="row">
        <button type="button" class="danger" disabled={matched === 0} onClick={() => void clear(false)}>
          {said.clearSure(matched)}
        </button>
        <button type="button" onClick={() => setMatched(undefined)}>
          {words.cancel}
        </button>
      </div>
    </Notice>
  );
}
