/** Topics, level by level, with what is retained on them; publishing and clearing. */
import { useState } from "preact/hooks";
import type { RetainedMessageRow } from "../api/rows.ts";
import type { TopicRow } from "../api/topic-rows.ts";
import { type PageOf, Refusal, whyOf } from "./api.ts";
import { bytes, dateTime } from "./format.ts";
import { hashOf, useIsOperator, useLive, useSession } from "./hooks.ts";
import { Icon } from "./icons.tsx";
import { Card, PageHead, State, Tag } from "./parts.tsx";
import { PublishForm } from "./publish-form.tsx";
import { originOf, RetainedBrowser } from "./retained-browser.tsx";
import { TopicWatch } from "./topic-watch.tsx";
import { words } from "./words.ts";

const said = words.topics;
const treeMs = 10_000;
/** Levels of a topic that are listed at once; more are found by a filter. */
const levelsMax = 500;

export function TopicsPage({ name }: { readonly name: string | undefined }) {
  const isOperator = useIsOperator();
  return (
    <>
      <PageHead title={words.pages.topics} />
      <div class="columns">
        <div class="stack">
          <Card title={said.tree}>
            <Level below={undefined} selected={name} />
          </Card>
        </div>
        <div class="stack">
          {name === undefined ? null : <Topic key={name} topic={name} />}
          {isOperator ? <PublishForm key={`publish ${name}`} topic={name ?? ""} /> : null}
          <TopicWatch />
          <RetainedBrowser />
        </div>
      </div>
    </>
  );
}

/** The levels below a topic. */
function Level({ below, selected }: { readonly below: string | undefined; readonly selected: string | undefined }) {
  const { api } = useSession();
  const levels = useLive(
    (signal) => api.ask<PageOf<TopicRow>>("/topics", { query: { below, limit: levelsMax }, signal }),
    { ms: treeMs },
  );
  const rows = levels.value?.items ?? [];
  return (
    <>
      <State live={levels} />
      {levels.value !== undefined && rows.length === 0 && below === undefined ? (
        <p class="quiet">{said.noTopics}</p>
      ) : null}
      <ul class="tree">
        {rows.map((row) => (
          <Branch key={row.level} of={row} selected={selected} />
        ))}
        {levels.value?.next != null ? <li class="quiet">{said.more(levelsMax)}</li> : null}
      </ul>
    </>
  );
}

function Branch({ of, selected }: { readonly of: TopicRow; readonly selected: string | undefined }) {
  const { level, topic, retained, published } = of;
  const [isOpen, setOpen] = useState(selected?.startsWith(`${topic}/`) === true);
  const name = level === "" ? said.emptyLevel : level;
  // A topic by itself has nothing below it.
  const isLeaf = retained + published <= 1 && selected?.startsWith(`${topic}/`) !== true;
  return (
    <li>
      <div class={`branch ${topic === selected ? "selected" : ""}`}>
        <button
          type="button"
          class="icon-button"
          aria-expanded={isOpen}
          aria-label={isOpen ? said.fold(topic) : said.unfold(topic)}
          onClick={() => setOpen(!isOpen)}
        >
          <Icon name="next" />
        </button>
        <a href={hashOf("topics", topic)} aria-current={topic === selected ? "true" : undefined}>
          {name}
        </a>
        {retained > 0 ? <Tag kind="good">{said.retainedHere(retained)}</Tag> : null}
        {published > 0 ? <Tag>{said.publishedHere(published)}</Tag> : null}
        {isLeaf ? null : <span class="hidden">{said.hasMore}</span>}
      </div>
      {isOpen ? <Level below={topic} selected={selected} /> : null}
    </li>
  );
}

/** One topic: its retained message, and who subscribes to just that. */
function Topic({ topic }: { readonly topic: string }) {
  const { api, tell } = useSession();
  const isOperator = useIsOperator();
  const path = `/retained/${encodeURIComponent(topic)}`;
  const message = useLive(
    async (signal) => {
      try {
        return await api.ask<RetainedMessageRow>(path, { signal });
      } catch (error) {
        if (error instanceof Refusal && error.status === 404) return null;
        throw error;
      }
    },
    { ms: 3000 },
  );
  const clear = async (): Promise<void> => {
    try {
      await api.ask(path, { method: "DELETE" });
      tell(said.cleared(topic));
      message.again();
    } catch (error) {
      tell(whyOf(error), "bad");
    }
  };
  const { value } = message;
  return (
    <Card
      title={topic}
      tools={
        value == null || !isOperator ? null : (
          <button type="button" class="danger" onClick={() => void clear()}>
            {said.clear}
          </button>
        )
      }
    >
      <State live={message.value === null ? { ...message, value: {} } : message} />
      {value === null ? <p class="quiet">{said.nothingRetained}</p> : null}
      {value == null ? null : <Retained of={value} />}
    </Card>
  );
}

/** A retained message with its payload. */
export function Retained({ of }: { readonly of: RetainedMessageRow }) {
  const { qos, payload, payload_base64, payload_bytes, expires_at } = of;
  return (
    <div class="stack-small">
      <p class="quiet">
        <Tag>{words.qos(qos)}</Tag> {bytes(payload_bytes)}
        {expires_at === null ? "" : `, ${said.expires(dateTime(expires_at))}`}
        {payload === null ? `, ${said.base64}` : ""}
      </p>
      <p class="quiet">{originOf(of)}</p>
      <pre>{payload ?? payload_base64}</pre>
    </div>
  );
}
