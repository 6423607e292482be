/** The report of a load as a page that stands alone: figures, and charts in SVG, without scripts. */
import type { Latencies } from "../../src/load/latencies.ts";
import { brokenPromise, inMs, type Report, type Sample, shownPercents, thousands, toJson } from "./report.ts";

const width = 720;
const height = 200;
const margin = { left: 80, right: 10, top: 10, bottom: 30 };
const points = 600;

/** A curve in a chart. */
interface Curve {
  readonly name: string;
  readonly colour: string;
  readonly of: (sample: Sample) => number;
}

const curves: readonly Curve[] = [
  { name: "sent/s", colour: "#1f6feb", of: ({ sent }) => sent },
  { name: "received/s", colour: "#2da44e", of: ({ received }) => received },
];
const connections: readonly Curve[] = [{ name: "connected", colour: "#8250df", of: ({ connected }) => connected }];

const style = `
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2em auto; padding: 0 1em; color: #1f2328; }
  table { border-collapse: collapse; margin: 1em 0; } td, th { padding: .2em .8em; border-bottom: 1px solid #d1d9e0; }
  th { text-align: left; font-weight: 600; } td { text-align: right; font-variant-numeric: tabular-nums; }
  svg { width: 100%; height: auto; } text { font-size: 12px; fill: currentColor; } .broken { color: #b42318; }
  @media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3; } .broken { color: #ff9492; } }`;

/** Returns the page. `at`: when the load ended, ISO 8601. */
export function toHtml(report: Report, at: string): string {
  const { name, plan, samples, connecting, acking, delivering } = report;
  const broken = brokenPromise(report);
  const facts = Object.entries(toJson(report)).filter(
    ([, value]) => value !== undefined && typeof value !== "object",
  ) as [string, string | number][];
  const latencies: readonly [string, Latencies][] = [
    ["connect", connecting],
    ["acknowledge", acking],
    ["deliver", delivering],
  ];
  const measured = latencies.filter(([, one]) => one.count > 0);
  const title = `mqttzoo bench ${name}: QoS ${plan.qos}, ${thousands(plan.payloadBytes)} bytes`;
  return [
    `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">`,
    `<meta name="viewport" content="width=device-width">\n<title>${escaped(title)}</title>\n<style>${style}</style>`,
    `</head>\n<body>\n<h1>${escaped(title)}</h1>\n<p>${escaped(at)}</p>`,
    ...(broken === undefined ? [] : [`<p class="broken">${escaped(broken)}</p>`]),
    ...chart("Messages a second", samples, curves),
    ...chart("Connections", samples, connections),
    ...(measured.length === 0 ? [] : [percentiles(measured)]),
    ...measured.flatMap(([what, one]) => bars(what, one)),
    `<h2>All figures</h2>\n<table>`,
    ...facts.map(([key, value]) => `<tr><th>${escaped(key)}</th><td>${escaped(shown(value))}</td></tr>`),
    `</table>\n</body>\n</html>\n`,
  ].join("\n");
}

function shown(value: string | number): string {
  return typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 3 }) : value;
}

/** Rates over time; nothing for a load that was over before there were two samples. */
function chart(title: string, samples: readonly Sample[], all: readonly Curve[]): string[] {
  const drawn = all.filter(({ of }) => samples.some((sample) => of(sample) > 0));
  if (samples.length < 2 || drawn.length === 0) return [];
  const step = Math.max(1, Math.ceil(samples.length / points));
  const kept = samples.filter((_, index) => index % step === 0);
  const most = Math.max(...drawn.flatMap(({ of }) => kept.map(of)));
  const [from, to] = [kept[0]!.at, kept.at(-1)!.at];
  const x = (at: number): number => margin.left + ((at - from) / (to - from)) * (width - margin.left - margin.right);
  const y = (value: number): number => height - margin.bottom - (value / most) * (height - margin.top - margin.bottom);
  const lines = drawn.map(({ of, colour }) => {
    const path = kept.map((sample) => `${x(sample.at).toFixed(1)},${y(of(sample)).toFixed(1)}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  });
  const legend = drawn.map(
    ({ name, colour }, index) =>
      `<text x="${margin.left + 8 + index * 110}" y="${margin.top + 10}" style="fill:${colour}">${name}</text>`,
  );
  return [`<h2>${title}</h2>`, svg(title, [...axes(thousands(most), from, to), ...lines, ...legend])];
}

function axes(most: string, from: number, to: number): string[] {
  const [left, bottom] = [margin.left, height - margin.bottom];
  return [
    `<path d="M${left},${margin.top}V${bottom}H${width - margin.right}" fill="none" stroke="#8c959f"/>`,
    `<text x="${left - 6}" y="${margin.top + 10}" text-anchor="end">${most}</text>`,
    `<text x="${left - 6}" y="${bottom}" text-anchor="end">0</text>`,
    `<text x="${left}" y="${height - 10}">${from.toFixed(0)} s</text>`,
    `<text x="${width - margin.right}" y="${height - 10}" text-anchor="end">${to.toFixed(0)} s</text>`,
  ];
}

function percentiles(measured: readonly [string, Latencies][]): string {
  const head = ["", ...shownPercents.map((percent) => `p${percent}`), "mean", "max"];
  const rows = measured.map(([what, one]) => {
    const values = [...shownPercents.map((percent) => one.percentile(percent)), one.mean, one.max];
    return `<tr><th>${what}</th>${values.map((value) => `<td>${inMs(value)}</td>`).join("")}</tr>`;
  });
  const cells = head.map((cell) => `<th>${cell}</th>`).join("");
  return `<h2>Latencies, ms</h2>\n<table>\n<tr>${cells}</tr>\n${rows.join("\n")}\n</table>`;
}

/** A bar for each doubling of the time. */
function bars(what: string, latencies: Latencies): string[] {
  const all: { readonly to: number; readonly count: number }[] = [];
  for (let to = 0.001; to / 2 < latencies.max; to *= 2) all.push({ to, count: latencies.between(to / 2, to) });
  const shownBars = all.slice(all.findIndex(({ count }) => count > 0));
  const most = Math.max(...shownBars.map(({ count }) => count));
  const room = (width - margin.left - margin.right) / shownBars.length;
  const drawn = shownBars.flatMap(({ to, count }, index) => {
    const tall = (count / most) * (height - margin.top - margin.bottom);
    const left = margin.left + index * room;
    const top = height - margin.bottom - tall;
    return [
      `<rect x="${(left + 2).toFixed(1)}" y="${top.toFixed(1)}" width="${(room - 4).toFixed(1)}" height="${tall.toFixed(1)}" fill="#1f6feb"/>`,
      `<text x="${(left + room / 2).toFixed(1)}" y="${height - 10}" text-anchor="middle">≤ ${inMs(to)}</text>`,
    ];
  });
  const title = `How long it took to ${what}, ms`;
  return [`<h2>${title}</h2>`, svg(title, [`<text x="4" y="20">${thousands(most)}</text>`, ...drawn])];
}

function svg(title: string, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">\n${parts.join("\n")}\n</svg>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[one]!);
}
