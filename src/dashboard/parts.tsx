/** The small parts that all pages are made of. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { PageOf } from "./api.ts";
import type { Live } from "./hooks.ts";
import { Icon } from "./icons.tsx";
import { words } from "./words.ts";

/** The head of a page. */
export function PageHead({ title, children }: { readonly title: string; readonly children?: ComponentChildren }) {
  return (
    <header class="page-head">
      <h1>{title}</h1>
      <div class="page-tools">{children}</div>
    </header>
  );
}

/** A box with a heading. */
export function Card(props: {
  readonly title?: string;
  readonly class?: string;
  readonly tools?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  const { title, tools, children } = props;
  return (
    <section class={`card ${props.class ?? ""}`} aria-label={title}>
      {title === undefined ? null : (
        <div class="card-head">
          <h2>{title}</h2>
          {tools}
        </div>
      )}
      {children}
    </section>
  );
}

/** A figure with its name. */
export function Figure(props: {
  readonly name: string;
  readonly value: string;
  readonly help?: string;
  readonly isBad?: boolean;
}) {
  const { name, value, help, isBad = false } = props;
  return (
    <div class={`figure ${isBad ? "bad" : ""}`}>
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong>
        {help === undefined ? null : <small>{help}</small>}
      </dd>
    </div>
  );
}

/** Words about a state; their kind is told by an icon as well as by a colour. */
export function Notice({
  kind,
  children,
}: {
  readonly kind: "good" | "bad" | "info";
  readonly children: ComponentChildren;
}) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {kind === "info" ? null : <Icon name={kind} />}
      <div>{children}</div>
    </div>
  );
}

/** Says that something is being loaded, or is not up to date. */
export function State({ live }: { readonly live: Pick<Live<unknown>, "value" | "error" | "again"> }) {
  if (live.error !== undefined)
    return (
      <Notice kind="bad">
        {live.value === undefined ? live.error : words.stale(live.error)}{" "}
        <button type="button" class="link" onClick={live.again}>
          {words.retry}
        </button>
      </Notice>
    );
  return live.value === undefined ? <p class="quiet">{words.loading}</p> : null;
}

/** Names the brokers whose rows are missing. */
export function Unanswered({ of }: { readonly of: PageOf<unknown>["unanswered"] | undefined }) {
  return (
    <>
      {(of ?? []).map(({ broker, why }) => (
        <Notice key={broker} kind="bad">
          {words.unanswered(broker, why)}
        </Notice>
      ))}
    </>
  );
}

/** A short mark beside a name. */
export function Tag({ kind = "", children }: { readonly kind?: string; readonly children: ComponentChildren }) {
  return <span class={`tag ${kind}`}>{children}</span>;
}

/** A field with its label. */
export function Field({ label, children }: { readonly label: string; readonly children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is among the children.
    <label class="field">
      <span>{label}</span>
      {children}
    </label>
  );
}

/** A dialogue over the page; Escape closes it, and the focus goes back to where it was. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  readonly class?: string;
}) {
  const { title, onClose, children } = props;
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current!.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={box}
      class={props.class}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === box.current) onClose();
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.stopPropagation();
      }}
    >
      <div class="dialog-head">
        <h2>{title}</h2>
        <button type="button" class="icon-button" aria-label={words.close} onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}
