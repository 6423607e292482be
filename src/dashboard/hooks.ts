/** The things that components share: the API, answers that are asked for again and again, the page's address. */
import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { type Api, type Me, type Query, Refusal, whyOf } from "./api.ts";
import { after, whileSeen } from "./browser.ts";

/** The API, who is signed in, and how he is told of something. */
export interface Session {
  readonly api: Api;
  readonly me: Me;
  readonly tell: (words: string, kind?: "good" | "bad") => void;
}

const SessionContext = createContext<Session | undefined>(undefined);
export const SessionProvider = SessionContext.Provider;

/** Returns the session; there is one wherever pages are shown. */
export function useSession(): Session {
  return useContext(SessionContext)!;
}

/** Returns true if the user may change things. */
export function useIsOperator(): boolean {
  return useSession().me.role === "operator";
}

/** An answer that is kept up to date. */
export interface Live<Value> {
  /** The last answer; undefined: there is none yet. */
  readonly value: Value | undefined;
  /** The reason why the last request had no answer. */
  readonly error: string | undefined;
  readonly again: () => void;
}

export interface LiveOptions {
  readonly ms: number;
  /** Asked anew, without what there was, when one of these is another. */
  readonly on?: readonly unknown[];
}

/** Asks at once and then every `ms` while the tab is seen; one request at a time. */
export function useLive<Value>(
  load: (signal: AbortSignal) => Promise<Value>,
  { ms, on = [] }: LiveOptions,
): Live<Value> {
  const [state, setState] = useState<{ value?: Value; error?: string }>({});
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const leaving = new AbortController();
    let isAsking = false;
    setState((before) => (round > 0 ? before : {}));
    const ask = async (): Promise<void> => {
      if (isAsking) return;
      isAsking = true;
      try {
        const value = await latest.current(leaving.signal);
        if (!leaving.signal.aborted) setState({ value });
      } catch (error) {
        const isOver = leaving.signal.aborted || (error instanceof Refusal && error.status === 401);
        if (!isOver) setState((before) => ({ ...before, error: whyOf(error) }));
      } finally {
        isAsking = false;
      }
    };
    const stop = whileSeen(ms, () => void ask());
    return () => {
      stop();
      leaving.abort();
    };
  }, [ms, round, ...on]);
  return { value: state.value, error: state.error, again: () => setRound((before) => before + 1) };
}

/** The address behind `#`: a page, the name of what is shown on it, and no more. */
export interface Place {
  readonly page: string;
  readonly name: string | undefined;
}

export function placeOf(hash: string): Place {
  const [page = "", name] = hash.replace(/^#\/?/, "").split("/", 2);
  try {
    return { page, name: name === undefined || name === "" ? undefined : decodeURIComponent(name) };
  } catch {
    return { page, name: undefined };
  }
}

export function hashOf(page: string, name?: string): string {
  return `#/${page}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}

/** Returns where the user is. */
export function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const look = (): void => setPlace(placeOf(location.hash));
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return place;
}

/** Returns a value once it has stood still for a while. */
export function useCalm<Value>(value: Value, ms: number): Value {
  const [calm, setCalm] = useState(value);
  useEffect(() => after(ms, () => setCalm(() => value)), [value, ms]);
  return calm;
}

/** A stream of events, as far as they are shown. */
export interface Stream<Row> {
  /** The newest first; each is numbered, for its place in the list. */
  readonly seen: readonly (Row & { readonly number: number })[];
  /** The reason of its end; undefined: it goes on, or has not begun. */
  readonly ended: string | undefined;
}

/** Listens to a stream while there is a query, which must be the same object for as long; shows `most` events. */
export function useStream<Row>(
  path: string,
  { query, most }: { readonly query: Query | undefined; readonly most: number },
): Stream<Row> {
  const { api } = useSession();
  const [seen, setSeen] = useState<Stream<Row>["seen"]>([]);
  const [ended, setEnded] = useState<string | undefined>();
  useEffect(() => {
    if (query === undefined) return;
    const leaving = new AbortController();
    let number = 0;
    setSeen([]);
    setEnded(undefined);
    const told = (_: string, data: unknown): void => {
      const row = { ...(data as Row), number: ++number };
      setSeen((before) => [row, ...before].slice(0, most));
    };
    api
      .listen(path, { query, signal: leaving.signal }, told)
      .catch((error) => whyOf(error))
      .then((why) => {
        if (!leaving.signal.aborted) setEnded(why);
      });
    return () => leaving.abort();
  }, [query]);
  return { seen, ended };
}
