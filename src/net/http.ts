/** HTTP on Bun's server: for probes and metrics. Knows nothing of what is asked. */

import { hookAnswerBytesMax } from "../base/access-limits.ts";
import { ignoreTheWorld, messageOf, OperatingError } from "../base/errors.ts";
import { httpBodyBytesMax } from "../base/limits.ts";

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly authorization: string | null;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Record<string, string>;
}

export interface HttpServer {
  readonly port: number;
  close(): void;
}

/** Throws `OperatingError` with the system's code. */
export function serveHttp(host: string, port: number, answer: (question: Question) => Promise<Answer>): HttpServer {
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      maxRequestBodySize: httpBodyBytesMax,
      // Or an error would be shown with its source.
      development: false,
      // Bun would share the port then with whoever has it.
      reusePort: false,
      error: () => new Response("the broker could not answer\n", { status: 500 }),
      async fetch(request) {
        const question = {
          method: request.method,
          path: new URL(request.url).pathname,
          body: await request.text(),
          authorization: request.headers.get("authorization"),
        };
        const { status, type, body, headers } = await answer(question).catch((error) => {
          // Whoever has asked is told that there is no answer; an error of our own is more than that.
          ignoreTheWorld(error);
          throw error;
        });
        return new Response(body, { status, headers: { "content-type": type, ...headers } });
      },
    });
    return { port: server.port!, close: () => void server.stop(true) };
  } catch (error) {
    const { code } = error as { code?: string };
    const what = code === "EADDRINUSE" ? "the port is in use; choose another with --http-port" : messageOf(error);
    throw new OperatingError("ELISTEN", `cannot listen on ${host}:${port} for HTTP: ${what}`);
  }
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Asks; undefined if nobody answers within `ms`, or with more bytes than `bytesMax`, or sends us elsewhere. */
export function getHttp(url: string, ms: number, bytesMax = hookAnswerBytesMax): Promise<Reply | undefined> {
  return exchange(url, { ms, bytesMax });
}

/** Posts JSON; undefined if nobody answers within `ms`, or with more than is taken. */
export function postHttp(url: string, body: string, ms: number): Promise<Reply | undefined> {
  const headers = { "content-type": "application/json" };
  return exchange(url, { ms, bytesMax: hookAnswerBytesMax, init: { method: "POST", body, headers } });
}

async function exchange(
  url: string,
  { ms, bytesMax, init = {} }: { readonly ms: number; readonly bytesMax: number; readonly init?: RequestInit },
): Promise<Reply | undefined> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(ms), redirect: "error" });
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > bytesMax) return undefined;
      chunks.push(chunk);
    }
    return { status: response.status, body: Buffer.concat(chunks).toString("utf8") };
  } catch {
    return undefined;
  }
}
