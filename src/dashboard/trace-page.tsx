/** The answer to "why did my message not arrive?": what is known of it, and a client or topic that is followed. */
import { useMemo, useState } from "preact/hooks";
import type { Explanation } from "../api/explain-rows.ts";
import type { TraceRow } from "../api/trace-rows.ts";
import { type Query, whyOf } from "./api.ts";
import { timeOfDay } from "./format.ts";
import { hashOf, useIsOperator, useSession, useStream } from "./hooks.ts";
import { Card, Field, Notice, PageHead, Tag, Unanswered } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.trace;
/** Events that are shown; earlier ones are forgotten. */
const most = 500;
const payloadBytes = 64;

const weightKinds = { certain: "bad", possible: "warn", fact: "" } as const;
const subjects = ["client_id", "user", "address", "topic"] as const;
type Subject = (typeof subjects)[number];

export function TracePage({ name }: { readonly name: string | undefined }) {
  const isOperator = useIsOperator();
  return (
    <>
      <PageHead title={words.pages.trace} />
      <Explain clientId={name ?? ""} />
      {isOperator ? <Follow clientId={name ?? ""} /> : <p class="quiet">{said.operatorsOnly}</p>}
    </>
  );
}

function Explain({ clientId }: { readonly clientId: string }) {
  const { api } = useSession();
  const [client, setClient] = useState(clientId);
  const [topic, setTopic] = useState("");
  const [answer, setAnswer] = useState<Explanation | undefined>();
  const [failed, setFailed] = useState<string | undefined>();
  const ask = async (): Promise<void> => {
    setFailed(undefined);
    try {
      setAnswer(await api.ask<Explanation>("/explain", { query: { client_id: client, topic } }));
    } catch (error) {
      setAnswer(undefined);
      setFailed(whyOf(error));
    }
  };
  return (
    <Card title={said.explain}>
      <div class="stack">
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            void ask();
          }}
        >
          <Field label={said.client}>
            <input
              value={client}
              required
              spellcheck={false}
              onInput={(event) => setClient(event.currentTarget.value)}
            />
          </Field>
          <Field label={said.topic}>
            <input value={topic} required spellcheck={false} onInput={(event) => setTopic(event.currentTarget.value)} />
          </Field>
          <button type="submit" class="primary">
            {said.ask}
          </button>
        </form>
        {failed === undefined ? null : <Notice kind="bad">{failed}</Notice>}
        <Unanswered of={answer?.unanswered} />
        <ul class="cards" aria-live="polite">
          {(answer?.findings ?? []).map(({ broker, cause, weight, text }) => (
            <li key={`${broker} ${cause} ${text}`} class="refusal">
              <div class="refusal-head">
                <Tag kind={weightKinds[weight]}>{said.weights[weight]}</Tag>
                <span>{cause}</span>
              </div>
              <p>{text}</p>
              <p class="quiet small">{said.at(broker)}</p>
            </li>
          ))}
        </ul>
      </div>
    </Card>
  );
}

interface Wanted {
  readonly subject: Subject;
  readonly value: string;
  readonly seconds: string;
  readonly withPayload: boolean;
}

function Follow({ clientId }: { readonly clientId: string }) {
  const [wanted, setWanted] = useState<Wanted | undefined>();
  const { seen, ended } = useStream<TraceRow>("/trace", {
    query: useMemo(() => wanted && queryOf(wanted), [wanted]),
    most,
  });
  const isOn = wanted !== undefined && ended === undefined;
  return (
    <Card title={said.follow} tools={isOn ? <Tag kind="good">{said.on(wanted.value)}</Tag> : null}>
      <FollowForm clientId={clientId} isOn={isOn} onChange={setWanted} />
      {ended === undefined ? null : <Notice kind="good">{said.ended(ended)}</Notice>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys. */}
      <ul class="plain seen" role="log" aria-label={said.follow} tabIndex={0}>
        {seen.map((row) => (
          <Step key={row.number} of={row} />
        ))}
      </ul>
    </Card>
  );
}

interface FollowFormProps {
  readonly clientId: string;
  readonly isOn: boolean;
  /** Called with what is to be followed from now on. */
  readonly onChange: (wanted: Wanted | undefined) => void;
}

function FollowForm({ clientId, isOn, onChange }: FollowFormProps) {
  const begun: Wanted = { subject: "client_id", value: clientId, seconds: "60", withPayload: false };
  const [wanted, setWanted] = useState(begun);
  const change = (some: Partial<Wanted>): void => setWanted((before) => ({ ...before, ...some }));
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        onChange(isOn ? undefined : { ...wanted });
      }}
    >
      <Field label={said.what}>
        <select
          value={wanted.subject}
          disabled={isOn}
          onChange={(event) => change({ subject: event.currentTarget.value as Subject })}
        >
          {subjects.map((one) => (
            <option key={one} value={one}>
              {said.subjects[one]}
            </option>
          ))}
        </select>
      </Field>
      <Field label={said.which}>
        <input
          value={wanted.value}
          required
          disabled={isOn}
          autocapitalize="none"
          spellcheck={false}
          onInput={(event) => change({ value: event.currentTarget.value })}
        />
      </Field>
      <Field label={said.seconds}>
        <input
          type="number"
          min={1}
          max={3600}
          value={wanted.seconds}
          disabled={isOn}
          onInput={(event) => change({ seconds: event.currentTarget.value })}
        />
      </Field>
      <label class="check">
        <input
          type="checkbox"
          checked={wanted.withPayload}
          disabled={isOn}
          onChange={(event) => change({ withPayload: event.currentTarget.checked })}
        />
        <span>{said.payload}</span>
      </label>
      <button type="submit" class={isOn ? "" : "primary"}>
        {isOn ? said.stop : said.start}
      </button>
    </form>
  );
}

function queryOf({ subject, value, seconds, withPayload }: Wanted): Query {
  return { [subject]: value, seconds, payload_bytes: withPayload ? payloadBytes : undefined };
}

function Step({ of }: { readonly of: TraceRow }) {
  const { at, broker, kind, client_id, topic, text, payload_base64 } = of;
  return (
    <li>
      <Tag kind={kind === "refused" || kind === "dropped" ? "bad" : ""}>{kind}</Tag>{" "}
      {client_id === null ? null : <a href={hashOf("clients", client_id)}>{client_id}</a>}{" "}
      <span class="quiet small">
        {timeOfDay(Date.parse(at) / 1000)} · {broker}
        {topic === null ? "" : ` · ${topic}`}
      </span>
      <p>{text}</p>
      {payload_base64 === null ? null : <pre>{shownOf(payload_base64)}</pre>}
    </li>
  );
}

/** Returns the beginning of a payload as text, or as it came if it is none. */
function shownOf(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return base64;
  }
}
