/** The stored messages, by topic or client; and how they are dropped. */
import { useState } from "preact/hooks";
import type { StoredRow } from "../api/rows.ts";
import { whyOf } from "./api.ts";
import { bytes, count, credits, dateTime } from "./format.ts";
import { useCalm, useIsOperator, useSession } from "./hooks.ts";
import { usePaged } from "./paged.ts";
import { Card, Field, Notice, State, Tag } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.mail;

interface Asked {
  readonly filter: string;
  readonly client_id: string;
}

interface Dropped {
  readonly matched: number;
  readonly dropped: number;
  readonly remaining: number;
}

export function MailBrowser() {
  const [filter, setFilter] = useState("");
  const [client, setClient] = useState("");
  const calm = useCalm(JSON.stringify({ filter, client_id: client }), 300);
  const asked = JSON.parse(calm) as Asked;
  const mail = usePaged<StoredRow>("/bank/mail", { query: { ...asked }, limit: 20, ms: 30_000 });
  return (
    <Card title={said.title}>
      <div class="stack">
        <div class="row">
          <Field label={said.filter}>
            <input
              value={filter}
              placeholder="#"
              spellcheck={false}
              onInput={(event) => setFilter(event.currentTarget.value)}
            />
          </Field>
          <Field label={said.client}>
            <input value={client} spellcheck={false} onInput={(event) => setClient(event.currentTarget.value)} />
          </Field>
        </div>
        <State live={mail} />
        {mail.value !== undefined && mail.rows.length === 0 ? <p class="quiet">{said.none}</p> : null}
        <ul class="plain">
          {mail.rows.map((row) => (
            <Stored key={row.path} of={row} />
          ))}
        </ul>
        <div class="row">
          {mail.value?.next == null ? null : (
            <button type="button" onClick={mail.more}>
              {words.more}
            </button>
          )}
          {filter === asked.filter && client === asked.client_id ? (
            <Drop key={calm} asked={asked} onDone={mail.again} />
          ) : null}
        </div>
      </div>
    </Card>
  );
}

function Stored({ of }: { readonly of: StoredRow }) {
  const { topic, bytes: size, credits: bound, expires_at, waiting } = of;
  return (
    <li>
      <code>{topic}</code> {waiting === 0 ? null : <Tag>{said.waiting(count(waiting))}</Tag>}
      <p class="quiet">
        {[
          bytes(size),
          said.credits(credits(bound)),
          expires_at === null ? said.kept : said.until(dateTime(expires_at)),
        ].join(" · ")}
      </p>
    </li>
  );
}

/** First tells how many match, and then drops them. */
function Drop({ asked, onDone }: { readonly asked: Asked; readonly onDone: () => void }) {
  const { api, tell } = useSession();
  const [matched, setMatched] = useState<number | undefined>();
  if (!useIsOperator() || asked.filter === "") return null;
  const drop = async (isDry: boolean): Promise<void> => {
    try {
      for (let dropped = 0; ; ) {
        const query = { ...asked, dry_run: isDry };
        const told = await api.ask<Dropped>("/bank/mail", { method: "DELETE", query });
        if (isDry) return setMatched(told.matched);
        dropped += told.dropped;
        if (told.remaining > 0 && told.dropped > 0) continue;
        tell(said.dropped(dropped));
        setMatched(undefined);
        return onDone();
      }
    } catch (error) {
      tell(whyOf(error), "bad");
    }
  };
  if (matched === undefined)
    return (
      <button type="button" class="danger" onClick={() => void drop(true)}>
        {said.drop}
      </button>
    );
  return (
    <Notice kind="bad">
      <p>{said.sure(matched, asked.filter)}</p>
      <div class="row">
        <button type="button" class="danger" disabled={matched === 0} onClick={() => void drop(false)}>
          {said.dropSure(matched)}
        </button>
        <button type="button" onClick={() => setMatched(undefined)}>
          {words.cancel}
        </button>
      </div>
    </Notice>
  );
}
