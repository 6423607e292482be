/** HTTP on Bun's server, and on its client: for probes, metrics, the API and hooks. Knows nothing of what is asked. */

import { hookAnswerBytesMax } from "../base/access-limits.ts";
import { ignoreTheWorld, messageOf, OperatingError } from "../base/errors.ts";
import { httpAnswerMs, httpBodyBytesMax, httpBodyMs } from "../base/limits.ts";
import { type AnswerStream, bodyOfStream } from "./http-stream.ts";
import { closeToOthers, removeSocket } from "./tcp.ts";
import type { TlsIdentity } from "./tls.ts";

export interface Question {
  readonly method: string;
  readonly path: string;
  /** The query behind the path, without its question mark. */
  readonly query: string;
  readonly body: string;
  /** The address from which it has come; "": that is not known any more. */
  readonly address: string;
  /** Returns a header by its name; null: there is none. */
  readonly header: (name: string) => string | null;
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Record<string, string>;
  /** The texts that are sent in place of the body, as they come. */
  readonly stream?: AnswerStream | undefined;
}

export interface HttpServer {
  readonly port: number;
  /**
   * Shows the certificate as it is now: what is being answered is answered to its end, connections that stand idle are
   * closed, and one that is being made in this moment may be reset: Bun's server cannot change its certificate, so that
   * the port is closed and opened again. Throws `OperatingError` if that fails; the next call tries once more.
   */
  renew(): void;
  close(): void;
}

/** The address that is listened on, and the certificate that is shown; undefined: plain HTTP. */
export interface HttpPlace {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsIdentity | undefined;
}

/** Answers a request. */
export type AnswerHttp = (question: Question) => Promise<Answer>;

/** Throws `OperatingError` with the system's code. */
export function serveHttp({ tls, ...place }: HttpPlace, answer: AnswerHttp): HttpServer {
  let shown = tls?.serverOptions;
  const first = listen(place, answer, shown);
  const port = first.port!;
  let server: Bun.Server<undefined> | undefined = first;
  /** Servers that still answer what they were asked before the certificate was renewed. */
  const leaving = new Set<Bun.Server<undefined>>();
  return {
    port,
    renew() {
      const now = tls?.serverOptions;
      if (now === undefined || (server !== undefined && now.cert === shown?.cert && now.key === shown.key)) return;
      // Bun's server keeps the certificate that it was made with.
      if (server !== undefined) leave(server, leaving);
      server = undefined;
      server = listen({ host: place.host, port }, answer, now);
      shown = now;
    },
    close() {
      for (const one of [...leaving, ...(server === undefined ? [] : [server])]) void one.stop(true);
    },
  };
}

/** Has a server take nobody in any more, and end with its last answer. */
function leave(server: Bun.Server<undefined>, leaving: Set<Bun.Server<undefined>>): void {
  leaving.add(server);
  void server.stop(false).then(() => leaving.delete(server));
}

function listen(
  { host, port }: HttpPlace,
  answer: AnswerHttp,
  tls: TlsIdentity["serverOptions"] | undefined,
): Bun.Server<undefined> {
  try {
    const secure = tls === undefined ? {} : { tls };
    // Bun would share the port otherwise with whoever has it.
    return Bun.serve({ hostname: host, port, reusePort: false, ...secure, ...handlersOf(answer) });
  } catch (error) {
    const { code } = error as { code?: string };
    const what = code === "EADDRINUSE" ? "the port is in use; choose another with --http-port" : messageOf(error);
    throw new OperatingError("ELISTEN", `cannot listen on ${host}:${port} for HTTP: ${what}`);
  }
}

/** Serves HTTP on a Unix socket that only its owner may open. Throws `OperatingError`. */
export function serveHttpOnSocket(path: string, answer: AnswerHttp): Pick<HttpServer, "close"> {
  try {
    removeSocket(path);
    const server = Bun.serve({ unix: path, ...handlersOf(answer) });
    closeToOthers(path);
    const close = (): void => {
      void server.stop(true);
      removeSocket(path);
    };
    return { close };
  } catch (error) {
    throw new OperatingError("ELISTEN", `cannot listen on ${path}: ${messageOf(error)}`);
  }
}

function handlersOf(answer: AnswerHttp) {
  return {
    maxRequestBodySize: httpBodyBytesMax,
    // Or an error would be shown with its source.
    development: false,
    error: () => new Response("the broker could not answer\n", { status: 500 }),
    async fetch(request: Request, server: Bun.Server<undefined>) {
      // Bun would close a connection that has been silent for 10 s, though its answer is being worked out.
      server.timeout(request, httpAnswerMs / 1000);
      // A request that has gone has no address any more.
      const question = await questionOf(request, server.requestIP(request)?.address ?? "");
      if ("status" in question) return responseOf(question);
      const answered = await answer(question).catch((error) => {
        // Whoever has asked is told that there is no answer; an error of our own is more than that.
        ignoreTheWorld(error);
        throw error;
      });
      return responseOf(request.method === "HEAD" ? { ...answered, stream: undefined } : answered);
    },
  } as const;
}

/** Returns what a request asks; the answer to one that is malformed, or whose body does not come. */
async function questionOf(request: Request, address: string): Promise<Question | Answer> {
  const host = request.headers.get("host");
  // Two of them come as one, with ", " between them (RFC 9112, 3.2); Bun refuses HTTP/1.1 without any.
  if (host !== null && !validHost.test(host)) return refusal(400, "Host is malformed, or there are two");
  const target = targetOf(request.url);
  if (target === undefined) return refusal(400, "the target is neither a path nor a URL");
  const body = await bodyOf(request);
  if (body === undefined) return refusal(408, `the body has not come within ${httpBodyMs / 1000} s`);
  return {
    ...{ method: request.method, path: target.pathname, query: target.search.slice(1), body, address },
    header: (name) => request.headers.get(name),
  };
}

/** A Host header: empty, or a name or address, maybe with a port (RFC 9110, 7.2). */
const validHost = /^(?:\[[\da-fA-F:.]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d*)?$/;

/**
 * Returns a request's target, without dots that lead up; undefined if it has no path, as CONNECT. Where there is no
 * host, as in HTTP/1.0, Bun gives the target as it came.
 */
function targetOf(url: string): URL | undefined {
  const whole = url.startsWith("/") ? `http://localhost${url}` : url;
  return /^https?:\/\//.test(whole) && URL.canParse(whole) ? new URL(whole) : undefined;
}

/** Returns a request's body; undefined if it has not come in time. */
async function bodyOf(request: Request): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, httpBodyMs, undefined);
  });
  // A client that leaves before all of it has come is answered all the same, and hears nothing.
  const whole = request.text().catch(() => undefined);
  try {
    return await Promise.race([whole, late]);
  } finally {
    clearTimeout(timer);
  }
}

function refusal(status: number, words: string): Answer {
  return { status, type: "text/plain", body: `${words}\n`, headers: { connection: "close" } };
}

function responseOf({ status, type, body, headers, stream }: Answer): Response {
  return new Response(stream === undefined ? body : bodyOfStream(stream), {
    status,
    headers: { "content-type": type, ...headers },
  });
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Asks; undefined if nobody answers within `ms`, or with more bytes than `bytesMax`, or sends us elsewhere. */
export function getHttp(url: string, ms: number, bytesMax = hookAnswerBytesMax): Promise<Reply | undefined> {
  return askHttp(url, { ms, bytesMax });
}

/** Posts JSON; undefined if nobody answers within `ms`, or with more than is taken. */
export function postHttp(url: string, body: string, ms: number): Promise<Reply | undefined> {
  const headers = { "content-type": "application/json" };
  return askHttp(url, { ms, bytesMax: hookAnswerBytesMax, init: { method: "POST", body, headers } });
}

export interface AskOptions {
  readonly ms: number;
  readonly bytesMax: number;
  readonly init?: BunFetchRequestInit;
  /** Told why nobody has answered. */
  readonly failed?: (why: string) => void;
}

/** The beginning of an answer that goes on: its status, and its body as it comes. */
export interface OpenReply {
  readonly status: number;
  readonly texts: AsyncIterable<string>;
}

/** Asks for an answer that goes on. Rejects with an error if nobody answers, or the connection is lost. */
export async function openHttp(url: string, init: BunFetchRequestInit): Promise<OpenReply> {
  const response = await fetch(url, { ...init, redirect: "error" });
  const decoder = new TextDecoder();
  const texts = async function* (): AsyncGenerator<string> {
    for await (const chunk of response.body ?? []) yield decoder.decode(chunk, { stream: true });
  };
  return { status: response.status, texts: texts() };
}

/** Asks over TCP, or over a Unix socket; undefined if nobody answers within `ms`, or with more than `bytesMax`. */
export async function askHttp(
  url: string,
  { ms, bytesMax, init = {}, failed = () => {} }: AskOptions,
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
  } catch (error) {
    failed(messageOf(error));
    return undefined;
  }
}
