/** HTTP on Bun's server: for probes and metrics. Knows nothing of what is asked. */
import { ignoreTheWorld, messageOf, OperatingError } from "../base/errors.ts";
import { hookAnswerBytesMax, httpBodyBytesMax } from "../base/limits.ts";

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

/** Asks; undefined if nobody answers within `ms`. */
export async function getHttp(url: string, ms: number): Promise<{ status: number; body: string } | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ms) });
    return { status: response.status, body: await response.text() };
  } catch {
    return undefined;
  }
}

/** Posts JSON; undefined if nobody answers within `ms`, or with more than is taken. */
export async function postHttp(
  url: string,
  body: string,
  ms: number,
): Promise<{ status: number; body: string } | undefined> {
  try {
    const signal = AbortSignal.timeout(ms);
    const headers = { "content-type": "application/json" };
    const response = await fetch(url, { method: "POST", body, headers, signal, redirect: "error" });
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > hookAnswerBytesMax) return undefined;
      chunks.push(chunk);
    }
    return { status: response.status, body: Buffer.concat(chunks).toString("utf8") };
  } catch {
    return undefined;
  }
}
