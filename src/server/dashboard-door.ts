/**
 * The dashboard's door: the page at `/`, its program and its style, which are in the executable. The page holds nothing
 * secret: what it shows it asks the API for, as its user. It takes nothing from anywhere else, and no other page may
 * show it.
 */
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import type { Answer, Question } from "../net/http.ts";
import type { DashboardBundle, DashboardFile } from "./dashboard-bundle.ts";

/** No script but the own file, no request but to this broker; texts never become code. */
const policy = [
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'",
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
].join("; ");

const headers = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};
/** A file's name has its hash: it never changes. */
const forEver = "public, max-age=31536000, immutable";

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0f766e"/>
<g fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"><path d="M8 22a4 4 0 0 1 4 4"/><path d="M8 15.500
a10.500 10.500 0 0 1 10.500 10.500"/><path d="M8 9a17 17 0 0 1 17 17"/></g></svg>
`;

/** Answers requests for the dashboard. */
export class DashboardDoor {
  #files: Promise<ReadonlyMap<string, DashboardFile | string>> | undefined;

  /** Answers a request; undefined if its path is not the dashboard's. Rejects if it cannot be bundled from source. */
  async answer({ method, path, header }: Question): Promise<Answer | undefined> {
    const isAsked = path === "/" || path.startsWith("/dashboard");
    if (!isAsked || (method !== "GET" && method !== "HEAD")) return undefined;
    this.#files ??= readFiles();
    const file = (await this.#files).get(path);
    if (file === undefined) return undefined;
    if (typeof file !== "string") return packed(file, header("accept-encoding") ?? "");
    if (path !== "/") return { status: 200, type: "image/svg+xml", body: file, headers: cachedFor(forEver) };
    return { status: 200, type: "text/html; charset=utf-8", body: file, headers: cachedFor("no-cache") };
  }
}

async function readFiles(): Promise<ReadonlyMap<string, DashboardFile | string>> {
  const { readDashboard } = await import("./dashboard-bundle.ts");
  const { script, style } = await readDashboard();
  const names = {
    script: `/dashboard-${hashOf(script.gzip)}.js`,
    style: `/dashboard-${hashOf(style.gzip)}.css`,
    icon: `/dashboard-${hashOf(icon)}.svg`,
  };
  return new Map<string, DashboardFile | string>([
    [names.script, script],
    [names.style, style],
    [names.icon, icon],
    ["/", pageOf(names)],
  ]);
}

function pageOf({ script, style, icon }: Record<keyof DashboardBundle | "icon", string>): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>MQTTZoo</title>
<link rel="icon" href="${icon}" type="image/svg+xml">
<link rel="stylesheet" href="${style}">
<script type="module" src="${script}"></script>
</head>
<body><noscript>The dashboard is a program in JavaScript. The same is told by /api/v1 and by mqttzoo show.</noscript></body>
</html>
`;
}

/** Returns a file as the asking program can read it: few read neither of both. */
function packed({ type, gzip, brotli }: DashboardFile, accepted: string): Answer {
  const takes = (name: string): boolean =>
    accepted
      .split(",")
      .some((word) => word.split(";", 1)[0]!.trim().toLowerCase() === name && !/q=0(\.0*)?$/.test(word));
  const how = takes("br") ? "br" : takes("gzip") ? "gzip" : undefined;
  const body = how === "br" ? brotli : how === "gzip" ? gzip : new Uint8Array(gunzipSync(gzip));
  const encoding: Record<string, string> = how === undefined ? {} : { "content-encoding": how };
  return { status: 200, type, body, headers: { ...cachedFor(forEver), ...encoding, vary: "accept-encoding" } };
}

function cachedFor(control: string): Record<string, string> {
  return { ...headers, "cache-control": control };
}

function hashOf(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex").slice(0, 16);
}
