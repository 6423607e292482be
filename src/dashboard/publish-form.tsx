/** A form by which the operator publishes a message. */
import { useState } from "preact/hooks";
import { whyOf } from "./api.ts";
import { useSession } from "./hooks.ts";
import { Card, Field } from "./parts.tsx";
import { words } from "./words.ts";

const said = words.publish;

export function PublishForm({ topic }: { readonly topic: string }) {
  const { api, tell } = useSession();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.target as HTMLFormElement);
    const text = (name: string): string => String(data.get(name) ?? "");
    setBusy(true);
    try {
      const body = {
        ...{ topic: text("topic"), payload: text("payload"), qos: Number(text("qos")) },
        retain: data.has("retain"),
      };
      await api.ask("/publish", { method: "POST", body });
      tell(said.done(text("topic")));
    } catch (error) {
      tell(whyOf(error), "bad");
    }
    setBusy(false);
  };
  return (
    <Card title={said.title}>
      <form class="stack" onSubmit={submit}>
        <Field label={said.topic}>
          <input name="topic" defaultValue={topic} autocapitalize="none" spellcheck={false} required />
        </Field>
        <Field label={said.payload}>
          <textarea name="payload" spellcheck={false} />
        </Field>
        <div class="row">
          <Field label={said.qos}>
            <select name="qos">
              {[0, 1, 2].map((qos) => (
                <option key={qos} value={qos} selected={qos === 1}>
                  {words.qos(qos)}
                </option>
              ))}
            </select>
          </Field>
          <label class="check">
            <input type="checkbox" name="retain" />
            <span>{said.retain}</span>
          </label>
          <button type="submit" class="primary" disabled={isBusy}>
            {isBusy ? said.going : said.go}
          </button>
        </div>
      </form>
    </Card>
  );
}
