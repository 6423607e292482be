/**
 * Asks a service of the operator's whether a client may come in: POST with JSON. Whatever is not a clear yes is a no:
 * no answer in time, another status, an answer that is not understood.
 */
import { createHmac, randomBytes } from "node:crypto";
import { hookCacheMs, hookPatienceMs, loginsCachedMax } from "../base/access-limits.ts";
import type { Topics } from "./acl.ts";
import { topicsIn } from "./tokens.ts";

export interface HookQuestion {
  readonly clientid: string;
  readonly username: string | null;
  readonly password: string | null;
  readonly address: string;
  /** Common name of a certificate that has been verified. */
  readonly certificate: string | null;
}

/** ignore: the others decide. */
export type HookAnswer =
  | { readonly result: "allow"; readonly username: string | undefined; readonly topics: Topics | undefined }
  | { readonly result: "deny" | "ignore"; readonly why: string };

/** The door to HTTP: undefined if nobody answers in time. */
export type Post = (url: string, body: string, ms: number) => Promise<{ status: number; body: string } | undefined>;

export class Hook {
  readonly #url: string;
  readonly #post: Post;
  /** Answers that were given a moment ago, by a hash of the question: it holds a password. */
  readonly #remembered = new Map<string, { readonly answer: HookAnswer; readonly until: number }>();
  readonly #secret = randomBytes(32);

  constructor(url: string, post: Post) {
    this.#url = url;
    this.#post = post;
  }

  async ask(question: HookQuestion, now: number): Promise<HookAnswer> {
    const body = JSON.stringify(question);
    const key = createHmac("sha256", this.#secret).update(body).digest("base64");
    const before = this.#remembered.get(key);
    if (before !== undefined && before.until > now) return before.answer;
    const reply = await this.#post(this.#url, body, hookPatienceMs);
    const answer = readAnswer(reply);
    if (answer.result === "allow") {
      if (this.#remembered.size >= loginsCachedMax) this.#remembered.clear();
      this.#remembered.set(key, { answer, until: now + hookCacheMs });
    }
    return answer;
  }

  /** The next client is asked for anew. */
  forget(): void {
    this.#remembered.clear();
  }
}

function readAnswer(reply: { status: number; body: string } | undefined): HookAnswer {
  const deny = (why: string): HookAnswer => ({ result: "deny", why: `the authentication hook ${why}` });
  if (reply === undefined) return deny("does not answer");
  if (reply.status === 204) return { result: "allow", username: undefined, topics: undefined };
  if (reply.status !== 200) return deny(`answers with status ${reply.status}`);
  try {
    const { result, username, acl } = JSON.parse(reply.body) as Record<string, unknown>;
    if (result === "deny") return deny("says no");
    if (result === "ignore") return { result, why: "the authentication hook does not know the client" };
    if (result !== "allow") return deny("answers with neither allow, deny nor ignore");
    return { result, username: typeof username === "string" ? username : undefined, topics: topicsIn(acl) };
  } catch {
    return deny("answers with what is not understood");
  }
}
