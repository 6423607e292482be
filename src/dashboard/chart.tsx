/** A chart of an hour. For who cannot see it, it is told in a sentence. */
import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { now } from "./browser.ts";
import { timeOfDay } from "./format.ts";
import { words } from "./words.ts";

/** A line of a chart. */
export interface Line {
  readonly name: string;
  /** The colour, by the name of its variable in the style. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
}

const height = 180;
/** A chart shows as much time, though less is known. */
const leastSeconds = 600;

function colourOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Returns the time that is shown: of what is known, or the last minutes. */
function rangeOf(first: number | null, last: number | null): [number, number] {
  const end = last ?? now() / 1000;
  return [Math.min(first ?? end, end - leastSeconds), end];
}

function optionsOf({ lines, format }: ChartProps, width: number): uPlot.Options {
  const axis = {
    stroke: colourOf("--quiet"),
    font: `12px ${colourOf("--font")}`,
    grid: { stroke: colourOf("--line"), width: 1 },
    ticks: { show: false },
  };
  const time = (seconds: number): string => timeOfDay(seconds).slice(0, 5);
  return {
    ...{ width, height, padding: [8, 26, 0, 0] },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    legend: { live: true },
    hooks: { setCursor: [showLast] },
    scales: {
      x: { range: (_, first, last) => rangeOf(first, last) },
      y: { range: (_, __, most) => [0, Math.max(1, most * 1.15)] },
    },
    axes: [
      { ...axis, values: (_, splits) => splits.map(time), space: 70, size: 32 },
      { ...axis, size: 56, values: (_, splits) => splits.map(format), space: 36 },
    ],
    series: [
      { value: (_, seconds) => (seconds === null ? words.none : timeOfDay(seconds)), label: "" },
      ...lines.map(
        ({ name, colour }, index): uPlot.Series => ({
          label: name,
          stroke: colourOf(colour),
          width: 2,
          ...(index === 0 && lines.length < 3 ? { fill: colourOf(`${colour}-soft`) } : {}),
          points: { show: false },
          value: (_, value) => (value === null ? words.none : format(value)),
        }),
      ),
    ],
  };
}

/** Has the legend tell the last values, unless the mouse is at others. */
function showLast(chart: uPlot | undefined): void {
  const last = (chart?.data[0].length ?? 0) - 1;
  if (chart !== undefined && last >= 0 && (chart.cursor.left ?? -1) < 0) chart.setLegend({ idx: last });
}

/** Draws a chart as wide as its place; anew when the colours change. */
export function Chart(props: ChartProps) {
  const { title, times, lines, format } = props;
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const data: uPlot.AlignedData = [[...times], ...lines.map(({ values }) => [...values])] as uPlot.AlignedData;
  const latest = useRef({ props, data });
  latest.current = { props, data };
  useLayoutEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = (): void => {
      chart.current?.destroy();
      const { props: latestProps, data: drawn } = latest.current;
      chart.current = new uPlot(optionsOf(latestProps, place.current!.clientWidth), drawn, place.current!);
      showLast(chart.current);
    };
    draw();
    const watch = new ResizeObserver(() => chart.current?.setSize({ width: place.current!.clientWidth, height }));
    watch.observe(place.current!);
    dark.addEventListener("change", draw);
    return () => {
      watch.disconnect();
      dark.removeEventListener("change", draw);
      chart.current?.destroy();
      chart.current = undefined;
    };
  }, []);
  useLayoutEffect(() => {
    chart.current?.setData(data);
    showLast(chart.current);
  }, [times, lines]);
  const told = lines.map(({ name, values }) => {
    const known = values.filter((value) => value !== null);
    return words.chart.series(name, format(known.at(-1) ?? 0), format(Math.max(0, ...known)));
  });
  return (
    <div class="chart" role="img" aria-label={words.chart.told(title, told.join(". "))}>
      <p class="chart-title">{title}</p>
      <div ref={place} aria-hidden="true" />
    </div>
  );
}
