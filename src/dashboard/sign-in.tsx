/** The form for name and password, or for the operator's token; and what is shown where nobody can sign in. */
import { useState } from "preact/hooks";
import { type Api, whyOf } from "./api.ts";
import { Icon } from "./icons.tsx";
import { Field, Notice } from "./parts.tsx";
import { words } from "./words.ts";

const { signIn } = words;

function Frame({ title, children }: { readonly title: string; readonly children: preact.ComponentChildren }) {
  return (
    <main class="sign-in">
      <div class="card">
        <p class="brand">
          <span class="mark">
            <Icon name="now" />
          </span>
          {words.product}
        </p>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}

export interface SignInProps {
  readonly api: Api;
  /** The reason why he is asked again. */
  readonly why: string | undefined;
  readonly onDone: () => void;
}

/** Asks the user who he is. */
export function SignIn({ api, why, onDone }: SignInProps) {
  const [byToken, setByToken] = useState(false);
  const [error, setError] = useState(why);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.target as HTMLFormElement);
    const text = (name: string): string => String(data.get(name) ?? "");
    setBusy(true);
    setError(undefined);
    try {
      if (byToken) api.useToken(text("token").trim());
      else await api.signIn(text("name"), text("password"));
      await api.ask("/me");
      onDone();
    } catch (failure) {
      api.useToken(undefined);
      setError(whyOf(failure));
      setBusy(false);
    }
  };
  return (
    <Frame title={signIn.title}>
      <p class="quiet">{signIn.lead}</p>
      {error === undefined ? null : <Notice kind="bad">{error}</Notice>}
      <form onSubmit={submit}>
        {byToken ? (
          <Field key="token" label={signIn.token}>
            <input name="token" type="password" autocomplete="off" required />
          </Field>
        ) : (
          <>
            <Field label={signIn.name}>
              <input name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required />
            </Field>
            <Field label={signIn.password}>
              <input name="password" type="password" autocomplete="current-password" required />
            </Field>
          </>
        )}
        <button type="submit" class="primary" disabled={isBusy}>
          {isBusy ? signIn.going : signIn.go}
        </button>
        <button type="button" class="link" onClick={() => setByToken(!byToken)}>
          {byToken ? signIn.withPassword : signIn.withToken}
        </button>
      </form>
    </Frame>
  );
}

/** Says why nobody can sign in here, and how that is changed. */
export function Closed({ why }: { readonly why: string }) {
  return (
    <Frame title={signIn.closed}>
      <p>{why}</p>
      <p class="quiet">{signIn.closedHelp}</p>
      <pre>{signIn.closedCommands.join("\n")}</pre>
    </Frame>
  );
}
