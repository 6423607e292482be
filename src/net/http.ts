/** HTTP on Bun's server: for probes and metrics. Knows nothing of what is asked. */
import { messageOf, OperatingError } from "../base/errors.ts";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface HttpServer {
  readonly port: number;
  close(): void;
}

/** Answers GET and HEAD. Throws `OperatingError` with the system's code. */
export function serveHttp(host: string, port: number, answer: (path: string) => Promise<Answer>): HttpServer {
  try {
    const server = Bun.serve({
      hostname: host,
      port,
      async fetch(request) {
        if (request.method !== "GET" && request.method !== "HEAD")
          return new Response("only GET\n", { status: 405, headers: { allow: "GET, HEAD" } });
        const { status, type, body } = await answer(new URL(request.url).pathname);
        return new Response(body, { status, headers: { "content-type": type } });
      },
    });
    return { port: server.port!, close: () => void server.stop(true) };
  } catch (error) {
    const code = (error as { code?: string }).code ?? "EUNKNOWN";
    const what = code === "EADDRINUSE" ? "the port is in use; choose another with --http-port" : messageOf(error);
    throw new OperatingError(code, `cannot listen on ${host}:${port} for HTTP: ${what}`);
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
