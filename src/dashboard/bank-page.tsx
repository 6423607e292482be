/** The bank: its balance over time, who holds the credits, what it refuses, what is stored, what storing costs. */
import { useMemo, useState } from "preact/hooks";
import type { Overview } from "../api/broker-rows.ts";
import type { BankRow, HolderRow, RefusalRow } from "../api/rows.ts";
import { type Api, type PageOf, whyOf } from "./api.ts";
import { Chart } from "./chart.tsx";
import { brief, count, credits } from "./format.ts";
import { useIsOperator, useLive, useSession } from "./hooks.ts";
import { MailBrowser } from "./mail-browser.tsx";
import { useHour } from "./overview.ts";
import { Card, Field, Figure, PageHead, State } from "./parts.tsx";
import { QuoteForm } from "./quote-form.tsx";
import { RefusalItem } from "./refused-page.tsx";
import { words } from "./words.ts";

const said = words.bank;

/** Asks every broker for its branch. */
async function branches(api: Api, signal: AbortSignal): Promise<readonly BankRow[]> {
  const { brokers } = await api.ask<Overview>("/overview", { signal });
  return Promise.all(brokers.map(({ broker }) => api.ask<BankRow>("/bank", { query: { broker }, signal })));
}

export function BankPage() {
  const { api } = useSession();
  const bank = useLive((signal) => branches(api, signal), { ms: 5000 });
  return (
    <>
      <PageHead title={words.pages.bank} />
      <State live={bank} />
      {bank.value === undefined ? null : (
        <>
          <Balance of={bank.value} />
          <Over brokers={bank.value.map(({ broker }) => broker)} />
          <div class="columns">
            <Branches of={bank.value} />
            <Statement />
            <Capital again={bank.again} />
            <QuoteForm />
            <Refusals />
            <MailBrowser />
          </div>
        </>
      )}
    </>
  );
}

function Balance({ of }: { readonly of: readonly BankRow[] }) {
  const sum = (what: "bound" | "granted" | "messages"): number => of.reduce((total, row) => total + row[what], 0);
  const { capital, vault } = of[0]!;
  const part = capital === 0 ? 0 : (100 * sum("bound")) / capital;
  return (
    <dl class="figures">
      <Figure name={said.capital} value={brief(capital)} help={said.credits} />
      <Figure name={said.bound} value={brief(sum("bound"))} help={said.part(credits(part))} isBad={part > 90} />
      <Figure name={said.vault} value={brief(vault)} help={said.vaultHelp} />
      <Figure name={said.granted} value={brief(sum("granted"))} help={said.grantedHelp} />
      <Figure name={said.messages} value={count(sum("messages"))} help={said.messagesHelp} />
    </dl>
  );
}

function Over({ brokers }: { readonly brokers: readonly string[] }) {
  const hour = useHour(brokers);
  const lines = useMemo(() => {
    const samples = hour.value?.samples ?? [];
    return [
      { name: said.lines.bound, colour: "--series-1", values: samples.map(({ bound }) => bound) },
      { name: said.lines.granted, colour: "--series-2", values: samples.map(({ granted }) => granted) },
    ];
  }, [hour.value]);
  return (
    <Card>
      <Chart title={said.overTime} times={hour.value?.times ?? []} lines={lines} format={brief} />
    </Card>
  );
}

function Branches({ of }: { readonly of: readonly BankRow[] }) {
  const { columns } = said;
  return (
    <Card title={said.branches}>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">{columns.broker}</th>
              <th scope="col" class="number">
                {columns.bound}
              </th>
              <th scope="col" class="number">
                {columns.granted}
              </th>
              <th scope="col" class="number">
                {columns.messages}
              </th>
            </tr>
          </thead>
          <tbody>
            {of.map((row) => (
              <tr key={row.broker}>
                <td>{row.open ? row.broker : said.closed(row.broker)}</td>
                <td class="number">{credits(row.bound)}</td>
                <td class="number">{credits(row.granted)}</td>
                <td class="number">{count(row.messages)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

const holderKinds = ["topic", "client", "user", "branch", "age"] as const;
const statementMs = 30_000;

/** Tells who holds the credits. The store is walked over for it, so it is not asked for often. */
function Statement() {
  const { api } = useSession();
  const [by, setBy] = useState<(typeof holderKinds)[number]>("topic");
  const statement = useLive(
    (signal) => api.ask<PageOf<HolderRow>>("/bank/statement", { query: { by, limit: 20 }, signal }),
    { ms: statementMs, on: [by] },
  );
  const rows = statement.value?.items ?? [];
  return (
    <Card
      title={said.holders}
      tools={
        <select
          aria-label={said.holdersBy}
          value={by}
          onChange={(event) => setBy(event.currentTarget.value as typeof by)}
        >
          {holderKinds.map((kind) => (
            <option key={kind} value={kind}>
              {said.holderKinds[kind]}
            </option>
          ))}
        </select>
      }
    >
      <State live={statement} />
      {statement.value !== undefined && rows.length === 0 ? <p class="quiet">{said.noHolders}</p> : null}
      <ul class="bars">
        {rows.map(({ holder, credits: held, percent, messages }) => (
          <li key={holder ?? ""}>
            <span class="bar-name">{holder === null ? said.brokersOwn : holder === "" ? said.anonymous : holder}</span>
            <span class="number">{credits(held)}</span>
            <meter min={0} max={100} value={percent} aria-label={said.percent(credits(percent))} />
            <small class="number">{said.ofMessages(messages)}</small>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** Raises the capital, or lowers it. */
function Capital({ again }: { readonly again: () => void }) {
  const { api, tell } = useSession();
  const [amount, setAmount] = useState("");
  if (!useIsOperator()) return null;
  const change = async (what: "deposit" | "withdraw"): Promise<void> => {
    try {
      const body = { credits: Number(amount) };
      const { capital } = await api.ask<{ capital: number }>(`/bank/${what}`, { method: "POST", body });
      tell(said.changed(credits(capital)));
      again();
    } catch (error) {
      tell(whyOf(error), "bad");
    }
  };
  return (
    <Card title={said.change}>
      <div class="row">
        <Field label={said.amount}>
          <input
            type="number"
            min={1}
            step={1}
            value={amount}
            onInput={(event) => setAmount(event.currentTarget.value)}
          />
        </Field>
        <button type="button" class="primary" disabled={amount === ""} onClick={() => void change("deposit")}>
          {said.deposit}
        </button>
        <button type="button" disabled={amount === ""} onClick={() => void change("withdraw")}>
          {said.withdraw}
        </button>
      </div>
    </Card>
  );
}

/** The last refusals that are the bank's. */
function Refusals() {
  const { api } = useSession();
  const refusals = useLive(
    (signal) => api.ask<PageOf<RefusalRow>>("/refusals", { query: { sort: "-at", limit: 500 }, signal }),
    { ms: 5000 },
  );
  const rows = (refusals.value?.items ?? []).filter(({ cause }) => /^(bank|share)$|Quota exceeded/.test(cause));
  return (
    <Card title={said.refused}>
      <State live={refusals} />
      {refusals.value !== undefined && rows.length === 0 ? <p class="quiet">{said.nothingRefused}</p> : null}
      <ul class="plain">
        {rows.slice(0, 10).map((row) => (
          <RefusalItem key={`${row.broker} ${row.number}`} of={row} withClient />
        ))}
      </ul>
    </Card>
  );
}
