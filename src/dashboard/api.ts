/**
 * The API as the dashboard asks it. A name and a password are given once, for a token; each request shows that itself,
 * and nothing else of the browser's goes with it: no cookie, so no other page can ask in the user's name.
 */
import { after, kept } from "./browser.ts";
import { words } from "./words.ts";

/** An answer that is none of what was asked for: the status, and why, in the broker's words. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

export interface Me {
  readonly name: string;
  readonly role: "viewer" | "operator";
  readonly from: string;
}

/** A page of a list. */
export interface PageOf<Row> {
  readonly items: readonly Row[];
  readonly next: string | null;
  readonly unanswered: readonly { readonly broker: string; readonly why: string }[];
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Asked {
  readonly query?: Query;
  readonly body?: unknown;
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly signal?: AbortSignal | undefined;
}

/** How often something is asked that the broker has no time for, and how long it is left alone in between, in ms. */
const attemptsMax = 8;
const againMs = 700;

const tokenName = "mqttzoo-token";

/** Asks the broker that has served the page. */
export class Api {
  /** Called when the broker does not know any more who asks. */
  onStranger: () => void = () => {};
  #token = kept.get(tokenName);

  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  /** Takes a name and a password to the broker. Rejects with `Refusal`. */
  async signIn(name: string, password: string): Promise<void> {
    const pair = new TextEncoder().encode(`${name}:${password}`);
    const authorization = `Basic ${btoa(String.fromCharCode(...pair))}`;
    const { token } = await this.#ask<{ token: string }>("/tokens", { method: "POST" }, authorization);
    this.useToken(token);
  }

  /** Shows this token from now on. */
  useToken(token: string | undefined): void {
    this.#token = token;
    kept.set(tokenName, token);
  }

  /** Gives the token back. */
  async signOut(): Promise<void> {
    const given = this.#authorization;
    this.useToken(undefined);
    await this.#ask("/tokens/current", { method: "DELETE" }, given).catch(() => {});
  }

  /** Asks. Rejects with `Refusal`. */
  async ask<Answer>(path: string, asked: Asked = {}): Promise<Answer> {
    try {
      return await this.#ask<Answer>(path, asked, this.#authorization);
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) {
        this.useToken(undefined);
        this.onStranger();
      }
      throw error;
    }
  }

  /** Listens to Server-Sent Events until the signal, or their end; returns why they ended. Rejects with `Refusal`. */
  async listen(path: string, asked: Asked, told: (name: string, data: unknown) => void): Promise<string> {
    const response = await this.#fetch(path, asked, this.#authorization);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let unread = "";
    let why: string = words.streamEnded;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return why;
      const events = (unread + value).split("\n\n");
      unread = events.pop()!;
      for (const event of events) {
        const field = (name: string): string | undefined =>
          event
            .split("\n")
            .find((line) => line.startsWith(`${name}: `))
            ?.slice(name.length + 2);
        const data = field("data");
        if (data === undefined) continue;
        if (field("event") === "end") {
          why = (JSON.parse(data) as { reason: string }).reason;
          void reader.cancel();
          return why;
        }
        told(field("event") ?? "", JSON.parse(data));
      }
    }
  }

  get #authorization(): string | undefined {
    return this.#token === undefined ? undefined : `Bearer ${this.#token}`;
  }

  async #ask<Answer>(path: string, asked: Asked, authorization: string | undefined): Promise<Answer> {
    return (await (await this.#fetch(path, asked, authorization)).json()) as Answer;
  }

  async #fetch(
    path: string,
    { query, body, method = "GET", signal }: Asked,
    authorization: string | undefined,
    attempt = 1,
  ): Promise<Response> {
    const headers: Record<string, string> = {};
    if (authorization !== undefined) headers.authorization = authorization;
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await fetch(`/api/v1${path}${textOf(query)}`, {
      ...{ method, headers, credentials: "omit", cache: "no-store", redirect: "error" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    }).catch((error: unknown) => {
      if (signal?.aborted === true) throw error;
      throw new Refusal(0, words.unreachable);
    });
    if (response.ok) return response;
    // Too much is asked at once: the broker says so, and is asked again a little later.
    if (response.status === 503 && method === "GET" && attempt < attemptsMax && signal?.aborted !== true) {
      await new Promise<void>((resolve) => after(againMs, resolve));
      return this.#fetch(path, { ...(query === undefined ? {} : { query }), signal }, authorization, attempt + 1);
    }
    const problem = (await response.json().catch(() => ({}))) as { detail?: string };
    throw new Refusal(response.status, problem.detail ?? words.statusOnly(response.status));
  }
}

function textOf(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/** Returns what went wrong, for people. */
export function whyOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
