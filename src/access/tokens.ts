/**
 * JSON Web Tokens as passwords, checked by jose: HS, RS, PS, ES and EdDSA, by the keys of `token-keys.ts`.
 */
import { decodeProtectedHeader, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import { tokenLeewayMs } from "../base/access-limits.ts";
import type { Topics } from "./acl.ts";
import { isUnknownKey, type KeySource, keyIdOf, type TokenKeys } from "./token-keys.ts";

/** The terms that a token must meet besides being signed. */
export interface TokenTerms {
  /** One of the token's audiences (`aud`), and its issuer (`iss`); "": any, or none. */
  readonly audience: string;
  readonly issuer: string;
  /** Claims that must be there: `NAME`, or `NAME=VALUE` for one that is, or holds, that value. */
  readonly claims: readonly string[];
}

const noTerms: TokenTerms = { audience: "", issuer: "", claims: [] };

/** The time, in ms: of the monotonic clock, and since 1970. */
interface Moment {
  readonly now: number;
  readonly wall: number;
}

export interface TokenFacts {
  /** Undefined: the token names nobody. */
  readonly username: string | undefined;
  /** The token is for this client id alone. */
  readonly clientId: string | undefined;
  /** Undefined: the token says nothing of topics. */
  readonly topics: Topics | undefined;
  /** ms since 1970; Infinity: never. */
  readonly expiresAt: number;
  /** The key that has signed it, as `keyIdOf` says. */
  readonly keyId: string;
}

export class Tokens {
  readonly #keys: KeySource;
  readonly #terms: TokenTerms;

  constructor(keys: KeySource, terms = noTerms) {
    this.#keys = keys;
    this.#terms = terms;
  }

  /** True unless it is known that a key has been withdrawn. */
  stillKnows(keyId: string): boolean {
    return this.#keys.latest()?.ids.has(keyId) !== false;
  }

  /** Rejects with an error that says why, without the token; with `KeysUnavailable` if it cannot be decided now. */
  async verify(token: string, { now, wall }: Moment): Promise<TokenFacts> {
    try {
      return await this.#verifyBy(await this.#keys.current(now), token, wall);
    } catch (error) {
      const renewed = isUnknownKey(error) ? await this.#keys.renewed(now) : undefined;
      if (renewed === undefined) throw error;
      return await this.#verifyBy(renewed, token, wall);
    }
  }

  async #verifyBy({ algorithms, find }: TokenKeys, token: string, wall: number): Promise<TokenFacts> {
    const { audience, issuer, claims } = this.#terms;
    const options: JWTVerifyOptions = { algorithms, currentDate: new Date(wall), clockTolerance: tokenLeewayMs / 1000 };
    if (audience !== "") options.audience = audience;
    if (issuer !== "") options.issuer = issuer;
    let keyId = "";
    const { payload } = await jwtVerify(
      token,
      async (header) => {
        const key = await find(header);
        keyId = keyIdOf(key);
        return key;
      },
      options,
    );
    for (const claim of claims) checkClaim(payload, claim);
    return { ...factsOf(payload), keyId };
  }
}

/** True if it may be a token: three parts in base64url, the first of which is a header with an algorithm. */
export function looksLikeToken(text: string): boolean {
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(text)) return false;
  try {
    return decodeProtectedHeader(text).alg !== undefined;
  } catch {
    return false;
  }
}

/** Throws if a claim is not as it must be. */
function checkClaim(payload: JWTPayload, wanted: string): void {
  const at = wanted.indexOf("=");
  const name = at === -1 ? wanted : wanted.slice(0, at);
  const value = Object.hasOwn(payload, name) ? payload[name] : undefined;
  if (value === undefined || value === null) throw new Error(`it has no claim ${JSON.stringify(name)}`);
  if (at === -1) return;
  const held = Array.isArray(value) ? value : [value];
  if (!held.some((one) => typeof one !== "object" && String(one) === wanted.slice(at + 1)))
    throw new Error(`its claim ${JSON.stringify(name)} is not the one that must be`);
}

function factsOf(payload: JWTPayload): Omit<TokenFacts, "keyId"> {
  const { exp } = payload;
  const clientId = textIn(payload, "client_id") ?? textIn(payload, "clientid");
  return {
    username: textIn(payload, "username") ?? textIn(payload, "sub"),
    clientId,
    topics: topicsIn(payload.acl),
    expiresAt: exp === undefined ? Infinity : exp * 1000,
  };
}

function textIn(payload: JWTPayload, name: string): string | undefined {
  const value = payload[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** `{"pub": ["a/#"], "sub": ["b/+"], "all": ["c/%c"]}`, as EMQX has it. Throws if it is there and is not that. */
export function topicsIn(acl: unknown): Topics | undefined {
  if (acl === undefined || acl === null) return undefined;
  if (typeof acl !== "object" || Array.isArray(acl)) throw new Error("acl is no object of lists of topic filters");
  const listOf = (name: string): string[] => {
    const list = (acl as Record<string, unknown>)[name] ?? [];
    if (!Array.isArray(list) || list.some((item) => typeof item !== "string"))
      throw new Error(`acl.${name} is no list of topic filters`);
    return list.map((text: string) => text.replace(/\$\{username\}/g, "%u").replace(/\$\{clientid\}/g, "%c"));
  };
  const all = listOf("all");
  return { publish: [...listOf("pub"), ...all], subscribe: [...listOf("sub"), ...all] };
}
