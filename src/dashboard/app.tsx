/** The frame of all pages: who is signed in, the way from page to page, and what is told in passing. */
import type { ComponentType } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Api, type Me, Refusal, whyOf } from "./api.ts";
import { BankPage } from "./bank-page.tsx";
import { after } from "./browser.ts";
import { ClientsPage } from "./clients-page.tsx";
import { ClusterPage } from "./cluster-page.tsx";
import { hashOf, type Session, SessionProvider, usePlace } from "./hooks.ts";
import { Icon, type IconName } from "./icons.tsx";
import { NowPage } from "./now-page.tsx";
import { Notice } from "./parts.tsx";
import { RefusedPage } from "./refused-page.tsx";
import { Closed, SignIn } from "./sign-in.tsx";
import { TopicsPage } from "./topics-page.tsx";
import { TracePage } from "./trace-page.tsx";
import { words } from "./words.ts";

type PageName = IconName & keyof typeof words.pages;

const pages: readonly { readonly name: PageName; readonly Page: ComponentType<{ name: string | undefined }> }[] = [
  { name: "now", Page: NowPage },
  { name: "clients", Page: ClientsPage },
  { name: "topics", Page: TopicsPage },
  { name: "bank", Page: BankPage },
  { name: "refused", Page: RefusedPage },
  { name: "trace", Page: TracePage },
  { name: "cluster", Page: ClusterPage },
];

/** The user, as far as is known. */
type Who =
  | { readonly kind: "unknown" }
  | { readonly kind: "known"; readonly me: Me }
  | { readonly kind: "stranger"; readonly why: string | undefined }
  | { readonly kind: "closed"; readonly why: string }
  | { readonly kind: "silent"; readonly why: string };

/** How often a broker that does not answer is asked again, in ms. */
const againMs = 3000;

function useWho(api: Api): readonly [Who, () => void] {
  const [who, setWho] = useState<Who>({ kind: "unknown" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let cancel = (): void => {};
    api.onStranger = () => setWho({ kind: "stranger", why: words.signIn.ended });
    const hadToken = api.hasToken;
    const ask = async (): Promise<void> => {
      try {
        setWho({ kind: "known", me: await api.ask<Me>("/me") });
      } catch (error) {
        const status = error instanceof Refusal ? error.status : 0;
        if (status === 401) return setWho({ kind: "stranger", why: hadToken ? words.signIn.ended : undefined });
        if (status === 403) return setWho({ kind: "closed", why: whyOf(error) });
        setWho({ kind: "silent", why: whyOf(error) });
        cancel = after(againMs, () => void ask());
      }
    };
    void ask();
    return () => cancel();
  }, [api, round]);
  return [who, () => setRound((before) => before + 1)];
}

export function App() {
  const api = useMemo(() => new Api(), []);
  const [who, again] = useWho(api);
  if (who.kind === "known") return <Frame api={api} me={who.me} onSignedOut={again} />;
  if (who.kind === "stranger") return <SignIn key={who.why} api={api} why={who.why} onDone={again} />;
  if (who.kind === "closed") return <Closed why={who.why} />;
  return (
    <main class="sign-in">
      {who.kind === "silent" ? <Notice kind="bad">{who.why}</Notice> : <p class="quiet">{words.loading}</p>}
    </main>
  );
}

interface Told {
  readonly words: string;
  readonly kind: "good" | "bad";
}

/** How long it is shown, in ms. */
const toldMs = 6000;

interface FrameProps {
  readonly api: Api;
  readonly me: Me;
  readonly onSignedOut: () => void;
}

function Frame({ api, me, onSignedOut }: FrameProps) {
  const place = usePlace();
  const [told, setTold] = useState<Told | undefined>();
  const { name, Page } = pages.find((one) => one.name === place.page) ?? pages[0]!;
  const session = useMemo<Session>(
    () => ({ api, me, tell: (text, kind = "good") => setTold({ words: text, kind }) }),
    [api, me],
  );
  useEffect(() => after(toldMs, () => setTold(undefined)), [told]);
  useEffect(() => {
    document.title = `${words.pages[name]} · ${words.product}`;
  }, [name]);
  return (
    <SessionProvider value={session}>
      <button type="button" class="skip" onClick={() => document.getElementById("main")!.focus()}>
        {words.skip}
      </button>
      <div class="frame">
        <Navigation
          current={name}
          me={me}
          onSignOut={() => void api.signOut().then(onSignedOut)}
          hasToken={api.hasToken}
        />
        <main id="main" tabIndex={-1}>
          <Page key={name} name={place.name} />
        </main>
      </div>
      <div class="toasts" aria-live="polite">
        {told === undefined ? null : <Notice kind={told.kind}>{told.words}</Notice>}
      </div>
    </SessionProvider>
  );
}

function Navigation(props: {
  readonly current: PageName;
  readonly me: Me;
  readonly hasToken: boolean;
  readonly onSignOut: () => void;
}) {
  const { current, me, hasToken, onSignOut } = props;
  return (
    <header class="side">
      <p class="brand">
        <span class="mark">
          <Icon name="now" />
        </span>
        <span>{words.product}</span>
      </p>
      <nav aria-label={words.navigation}>
        {pages.map(({ name }) => (
          <a key={name} href={hashOf(name)} aria-current={name === current ? "page" : undefined}>
            <Icon name={name} />
            <span>{words.pages[name]}</span>
          </a>
        ))}
      </nav>
      <div class="who">
        <p title={words.roleHelp[me.role]}>
          <span class="who-name">{me.name}</span>
          <small>{words.roles[me.role]}</small>
        </p>
        {hasToken ? (
          <button
            type="button"
            class="icon-button"
            aria-label={words.signIn.out}
            title={words.signIn.out}
            onClick={onSignOut}
          >
            <Icon name="out" />
          </button>
        ) : null}
      </div>
    </header>
  );
}
