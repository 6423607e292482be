/** The price of a message before it is published. */
import { useState } from "preact/hooks";
import type { QuoteRow } from "../api/rows.ts";
import { credits, duration } from "./format.ts";
import { useCalm, useLive, useSession } from "./hooks.ts";
import { Card, Field, State } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.quote;

export function QuoteForm() {
  const { api } = useSession();
  const [bytes, setBytes] = useState("256");
  const [topic, setTopic] = useState("home/kitchen");
  const [ttl, setTtl] = useState("");
  const asked = useCalm([bytes, topic, ttl].join("\n"), 250);
  const quote = useLive(
    (signal) => {
      const [size, on, expiry] = asked.split("\n");
      const query = { bytes: size, topic: on, ttl: expiry };
      return api.ask<{ items: readonly QuoteRow[] }>("/bank/quote", { query, signal });
    },
    { ms: 3_600_000, on: [asked] },
  );
  return (
    <Card title={said.title}>
      <div class="stack">
        <div class="row">
          <Field label={said.bytes}>
            <input type="number" min={0} value={bytes} onInput={(event) => setBytes(event.currentTarget.value)} />
          </Field>
          <Field label={said.topic}>
            <input value={topic} spellcheck={false} onInput={(event) => setTopic(event.currentTarget.value)} />
          </Field>
          <Field label={said.ttl}>
            <input
              type="number"
              min={0}
              value={ttl}
              placeholder={said.noTtl}
              onInput={(event) => setTtl(event.currentTarget.value)}
            />
          </Field>
        </div>
        <State live={quote} />
        <dl class="facts">
          {(quote.value?.items ?? []).map(({ kept, least, most, ttl_min, ttl_max }) => (
            <div key={kept}>
              <dt>{said.kept[kept ?? "any"]}</dt>
              <dd>
                {said.price(credits(least), credits(most))}
                <br />
                <small>{said.stays(duration(ttl_min), duration(ttl_max))}</small>
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </Card>
  );
}
