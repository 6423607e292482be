/** Messages as they are published: those that match a filter, the newest first. */
import { useMemo, useState } from "preact/hooks";
import type { WatchedRow } from "../api/rows.ts";
import { bytes, timeOfDay } from "./format.ts";
import { hashOf, useStream } from "./hooks.ts";
import { Card, Field, Notice, Tag } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.watch;
/** Messages that are shown; earlier ones are forgotten. */
const most = 200;

export function TopicWatch() {
  const [text, setText] = useState("#");
  const [filter, setFilter] = useState<string | undefined>();
  const { seen, ended } = useStream<WatchedRow>("/watch", {
    query: useMemo(() => (filter === undefined ? undefined : { filter }), [filter]),
    most,
  });
  const isOn = filter !== undefined && ended === undefined;
  return (
    <Card title={said.title} tools={isOn ? <Tag kind="good">{said.on(filter)}</Tag> : null}>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          setFilter(isOn ? undefined : text);
        }}
      >
        <Field label={said.filter}>
          <input
            value={text}
            required
            disabled={isOn}
            autocapitalize="none"
            spellcheck={false}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </Field>
        <button type="submit" class={isOn ? "" : "primary"}>
          {isOn ? said.stop : said.start}
        </button>
      </form>
      {ended === undefined ? null : <Notice kind="bad">{ended}</Notice>}
      {isOn && seen.length === 0 ? <p class="quiet">{said.waiting}</p> : null}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys. */}
      <ul class="plain seen" role="log" aria-label={said.title} tabIndex={0}>
        {seen.map((message) => (
          <Message key={message.number} of={message} />
        ))}
      </ul>
    </Card>
  );
}

function Message({ of }: { readonly of: WatchedRow }) {
  const { at, topic, payload, payload_base64, payload_bytes, skipped } = of;
  return (
    <li>
      {skipped > 0 ? <p class="quiet small">{said.skipped(skipped)}</p> : null}
      <a href={hashOf("topics", topic)}>{topic}</a>{" "}
      <span class="quiet small">
        {timeOfDay(Date.parse(at) / 1000)}, {bytes(payload_bytes)}
      </span>
      {payload_bytes === 0 ? null : <pre>{payload ?? payload_base64}</pre>}
    </li>
  );
}
