/**
 * The keys of a service that issues tokens, fetched from its URL (a JWKS) and kept for a while. Keys are exchanged
 * there without notice: a token with an unknown key has the set fetched again, now and then. The time is told.
 */

import { keySetAskMs, keySetFreshMs, keySetPatienceMs, keySetStaleMs } from "../base/access-limits.ts";
import { messageOf } from "../base/errors.ts";
import { type KeySource, KeysUnavailable, readSet, type TokenKeys } from "./token-keys.ts";

/** The door to HTTP: undefined if nobody answers in time. */
export type Get = (url: string, ms: number) => Promise<{ status: number; body: string } | undefined>;

interface Fetched {
  readonly keys: TokenKeys;
  readonly at: number;
}

/** The calls by which a key set tells of its changes. */
export interface KeySetTold {
  /** The keys could not be fetched. */
  readonly warn: (why: string) => void;
  /** A key that was there is not any more. */
  readonly withdrawn: () => void;
}

/** A key set behind a URL. */
export class KeySet implements KeySource {
  readonly #url: string;
  readonly #get: Get;
  readonly #told: KeySetTold;
  #fetched: Fetched | undefined;
  /** When it was last asked for, in ms of the clock: a service that is away is not asked for each login. */
  #askedAt = -Infinity;
  #renewedAt = -Infinity;
  #asking: Promise<Fetched | undefined> | undefined;

  constructor(url: string, get: Get, told: KeySetTold) {
    this.#url = url;
    this.#get = get;
    this.#told = told;
  }

  latest(): TokenKeys | undefined {
    return this.#fetched?.keys;
  }

  /** Has the keys fetched if they are old: those who are connected by a key that was withdrawn are to be told. */
  refresh(now: number): void {
    const fetched = this.#fetched;
    if (fetched === undefined || now - fetched.at < keySetFreshMs || now - this.#askedAt < keySetAskMs) return;
    void this.#fetch(now);
  }

  /**
   * Keys are fetched again when they are `keySetFreshMs` old: those that have been withdrawn count no longer than that.
   * While nobody answers, the old ones serve until they are `keySetStaleMs` old. Rejects with `KeysUnavailable`.
   */
  async current(now: number): Promise<TokenKeys> {
    const isFresh = this.#fetched !== undefined && now - this.#fetched.at < keySetFreshMs;
    if (!isFresh && (this.#asking !== undefined || now - this.#askedAt >= keySetAskMs)) await this.#fetch(now);
    const fetched = this.#fetched;
    if (fetched === undefined || now - fetched.at >= keySetStaleMs)
      throw new KeysUnavailable("the keys for tokens cannot be fetched");
    return fetched.keys;
  }

  /** The first unknown key has the set fetched at once, further ones no more often than every `keySetAskMs`. */
  async renewed(now: number): Promise<TokenKeys | undefined> {
    if (this.#asking === undefined && now - this.#renewedAt < keySetAskMs) return undefined;
    this.#renewedAt = now;
    return (await this.#fetch(now))?.keys;
  }

  #fetch(now: number): Promise<Fetched | undefined> {
    this.#askedAt = now;
    this.#asking ??= this.#ask(now).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(at: number): Promise<Fetched | undefined> {
    const reply = await this.#get(this.#url, keySetPatienceMs);
    try {
      if (reply === undefined) throw new Error("no answer");
      if (reply.status !== 200) throw new Error(`status ${reply.status}`);
      const before = this.#fetched?.keys.ids;
      this.#fetched = { keys: readSet(reply.body), at };
      const { ids } = this.#fetched.keys;
      if (before !== undefined && [...before].some((id) => !ids.has(id))) this.#told.withdrawn();
      return this.#fetched;
    } catch (error) {
      this.#told.warn(`the keys for tokens could not be fetched from ${this.#url}: ${messageOf(error)}`);
      return undefined;
    }
  }
}
