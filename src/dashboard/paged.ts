/** A list of the API in the browser: its pages one after the other, as far as somebody looks. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type PageOf, type Query, Refusal, whyOf } from "./api.ts";
import { whileSeen } from "./browser.ts";
import { useSession } from "./hooks.ts";

export interface Paged<Row> {
  readonly rows: readonly Row[];
  readonly value: PageOf<Row> | undefined;
  readonly error: string | undefined;
  readonly isWhole: boolean;
  readonly again: () => void;
  readonly more: () => void;
}

interface State<Row> {
  readonly rows: readonly Row[];
  readonly last?: PageOf<Row>;
  readonly pages: number;
  readonly error?: string;
}

export interface PagedOptions {
  readonly query: Query;
  readonly limit: number;
  /** How often the first page is asked for again, in ms, as long as there is no other one. */
  readonly ms: number;
}

/** Asks for pages of a list. */
export function usePaged<Row>(path: string, { query, limit, ms }: PagedOptions): Paged<Row> {
  const { api } = useSession();
  const [state, setState] = useState<State<Row>>({ rows: [], pages: 0 });
  const [round, setRound] = useState(0);
  const latest = useRef(state);
  latest.current = state;
  const asking = useRef<AbortController | undefined>(undefined);
  const isMoreWanted = useRef(false);
  const on = JSON.stringify([path, query]);
  const load = async (cursor?: string): Promise<void> => {
    if (asking.current !== undefined) return;
    const leaving = new AbortController();
    asking.current = leaving;
    try {
      const page = await api.ask<PageOf<Row>>(path, { query: { ...query, limit, cursor }, signal: leaving.signal });
      if (leaving.signal.aborted) return;
      const { rows, pages } = latest.current;
      const isFirst = cursor === undefined;
      latest.current = {
        rows: isFirst ? page.items : [...rows, ...page.items],
        ...{ last: page, pages: isFirst ? 1 : pages + 1 },
      };
      setState(latest.current);
    } catch (error) {
      const isOver = leaving.signal.aborted || (error instanceof Refusal && error.status === 401);
      if (!isOver) setState((before) => ({ ...before, error: whyOf(error) }));
    } finally {
      if (asking.current === leaving) asking.current = undefined;
      const { last } = latest.current;
      if (isMoreWanted.current && !leaving.signal.aborted) more(last?.next ?? null);
    }
  };
  const more = (next: string | null): void => {
    // While the first page is asked for anew, the next one has to wait.
    isMoreWanted.current = asking.current !== undefined;
    if (next !== null) void load(next);
  };
  useEffect(() => {
    const stop = whileSeen(ms, () => {
      if (latest.current.pages <= 1) void load();
    });
    return () => {
      stop();
      asking.current?.abort();
      asking.current = undefined;
      latest.current = { rows: [], pages: 0 };
    };
  }, [on, ms, round]);
  const next = state.last?.next ?? null;
  return {
    ...{ rows: state.rows, value: state.last, error: state.error, isWhole: state.last !== undefined && next === null },
    again: () => setRound((before) => before + 1),
    more: () => more(next),
  };
}
