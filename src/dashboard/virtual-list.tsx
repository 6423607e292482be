/**
 * A list of any length of which only what is seen is in the page. Its rows are as high as each other; arrow keys go
 * from one to the next, and more is asked for shortly before the end is seen.
 */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface VirtualListProps<Row> {
  readonly label: string;
  readonly rows: readonly Row[];
  /** How many there are in all; undefined: that is not known. */
  readonly total: number | undefined;
  readonly head: ComponentChildren;
  readonly keyOf: (row: Row) => string;
  /** The cells of a row; the first has a link, which is as large as the row. */
  readonly cells: (row: Row) => ComponentChildren;
  /** Called when the end is near. */
  readonly onEnd: () => void;
}

/** Rows that are in the page before the first one and after the last one that is seen. */
const spare = 8;

/** Returns the first row that is drawn, and how many are. */
function drawn(top: number, height: number, rowHeight: number): readonly [number, number] {
  const first = Math.max(0, Math.floor(top / rowHeight) - spare);
  return [first, Math.ceil(height / rowHeight) + 2 * spare];
}

export function VirtualList<Row>(props: VirtualListProps<Row>) {
  const { label, rows, total, head, keyOf, cells, onEnd } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600, rowHeight: 48 });
  useLayoutEffect(() => {
    const look = (): void => {
      const { scrollTop: top, clientHeight: height } = box.current!;
      const rowHeight = Number.parseFloat(getComputedStyle(box.current!).getPropertyValue("--row-height"));
      setView({ top, height, rowHeight });
    };
    look();
    const watch = new ResizeObserver(look);
    watch.observe(box.current!);
    box.current!.addEventListener("scroll", look, { passive: true });
    return () => watch.disconnect();
  }, []);
  const { top, height, rowHeight } = view;
  const [first, many] = drawn(top, height, rowHeight);
  const isNearEnd = first + many >= rows.length;
  useLayoutEffect(() => {
    if (isNearEnd && rows.length > 0) onEnd();
  }, [isNearEnd, rows.length]);
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = Number((event.target as HTMLElement).closest<HTMLElement>("[data-at]")?.dataset.at ?? -1);
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.min(rows.length - 1, Math.max(0, at + step));
    const [above, below] = [next * rowHeight, (next + 1) * rowHeight];
    if (above < box.current!.scrollTop) box.current!.scrollTop = above;
    if (below > box.current!.scrollTop + height) box.current!.scrollTop = below - height;
    box.current!.querySelector<HTMLElement>(`[data-at="${next}"] a`)?.focus();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table cannot leave out rows that are not seen.
    <div class="virtual" role="table" aria-label={label} aria-rowcount={total ?? -1}>
      {/* biome-ignore lint/a11y/useSemanticElements: as above. */}
      {/* biome-ignore lint/a11y/useFocusableInteractive: heads of columns are read, not used. */}
      <div class="virtual-head" role="row">
        {head}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: as above. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys. */}
      <div class="virtual-box" role="rowgroup" ref={box} tabIndex={0} onKeyDown={move}>
        <div class="virtual-all" style={{ height: `${rows.length * rowHeight}px` }}>
          {rows.slice(first, first + many).map((row, index) => (
            // biome-ignore lint/a11y/useSemanticElements: as above.
            // biome-ignore lint/a11y/useFocusableInteractive: its link is.
            <div
              key={keyOf(row)}
              class="virtual-row"
              role="row"
              aria-rowindex={first + index + 2}
              data-at={first + index}
              style={{ top: `${(first + index) * rowHeight}px` }}
            >
              {cells(row)}
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

/** A cell of such a list. */
export function Cell(props: {
  readonly class?: string;
  readonly title?: string;
  readonly children: ComponentChildren;
}) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: as in the list.
    <span role="cell" class={props.class} title={props.title}>
      {props.children}
    </span>
  );
}

/** The head of a column. */
export function HeadCell(props: { readonly class?: string; readonly children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: as in the list.
    // biome-ignore lint/a11y/useFocusableInteractive: heads are read, not used.
    <span role="columnheader" class={props.class}>
      {props.children}
    </span>
  );
}
