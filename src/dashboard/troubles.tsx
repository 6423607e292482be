/** The troubles of a broker, as it tells them itself. */
import type { BrokerRow } from "../api/broker-rows.ts";
import { Notice } from "./parts.tsx";
import { words } from "./words.ts";

export function Troubles({ of: { broker, troubles } }: { readonly of: BrokerRow }) {
  // A broker of an earlier version tells none.
  return (
    <>
      {(troubles ?? []).map(({ name, text }) => (
        <Notice key={name + text} kind="info">
          <strong>{words.now.troubleOf(broker, name)}</strong>
          <p>{text}</p>
        </Notice>
      ))}
    </>
  );
}
