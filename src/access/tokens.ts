/**
 * JSON Web Tokens as passwords, checked by jose: HS, RS, PS, ES and EdDSA. The key's kind says which algorithms are
 * taken, so that a public key can never serve as a secret.
 */
import { createPublicKey, createSecretKey, X509Certificate } from "node:crypto";
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, type JWTPayload, jwtVerify } from "jose";
import { messageOf, OperatingError } from "../base/errors.ts";
import { tokenLeewayMs } from "../base/limits.ts";
import type { Topics } from "./acl.ts";

const symmetric = ["HS256", "HS384", "HS512"];
const asymmetric = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

export interface TokenFacts {
  readonly username: string | undefined;
  /** The token is for this client id alone. */
  readonly clientId: string | undefined;
  /** Undefined: the token says nothing of topics. */
  readonly topics: Topics | undefined;
  /** ms since 1970; Infinity: never. */
  readonly expiresAt: number;
}

type Keys =
  | { readonly kind: "one"; readonly key: ReturnType<typeof createPublicKey>; readonly algorithms: string[] }
  | { readonly kind: "set"; readonly set: ReturnType<typeof createLocalJWKSet> };

export class Tokens {
  readonly #keys: Keys;

  /** `text`: a JWKS, a public key or certificate in PEM, or a secret. Throws `OperatingError`. */
  constructor(text: string) {
    this.#keys = readKeys(text);
  }

  /** Rejects with an error that says why, without the token. */
  async verify(token: string, wall: number): Promise<TokenFacts> {
    const options = { currentDate: new Date(wall), clockTolerance: tokenLeewayMs / 1000 };
    const { payload } =
      this.#keys.kind === "one"
        ? await jwtVerify(token, this.#keys.key, { ...options, algorithms: this.#keys.algorithms })
        : await jwtVerify(token, this.#keys.set, { ...options, algorithms: algorithmsFor(token) });
    return factsOf(payload);
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

/**
 * The algorithms that a token may use. In a key set each key says so itself; a token that no key is for is not taken.
 */
function algorithmsFor(token: string): string[] {
  const { alg } = decodeProtectedHeader(token);
  return alg !== undefined && [...symmetric, ...asymmetric].includes(alg) ? [alg] : [];
}

function readKeys(text: string): Keys {
  const trimmed = text.trim();
  try {
    if (trimmed.startsWith("{")) return { kind: "set", set: createLocalJWKSet(readSet(trimmed)) };
    if (trimmed.startsWith("-----BEGIN")) {
      const isCertificate = trimmed.startsWith("-----BEGIN CERTIFICATE");
      const key = isCertificate ? new X509Certificate(trimmed).publicKey : createPublicKey(trimmed);
      return { kind: "one", key, algorithms: asymmetric };
    }
  } catch (error) {
    throw new OperatingError("EFILE", `the key for tokens cannot be read: ${messageOf(error)}`);
  }
  // RFC 7518 3.2: a secret as long as the hash.
  if (Buffer.byteLength(trimmed) < 32)
    throw new OperatingError("EFILE", "the secret for tokens is shorter than 32 bytes, so it could be guessed");
  return { kind: "one", key: createSecretKey(Buffer.from(trimmed)), algorithms: symmetric };
}

function readSet(text: string): JSONWebKeySet {
  const set = JSON.parse(text) as JSONWebKeySet;
  if (!Array.isArray(set.keys) || set.keys.length === 0) throw new Error("there are no keys in it");
  return set;
}

function factsOf(payload: JWTPayload): TokenFacts {
  const { sub, exp } = payload;
  const clientId = textIn(payload, "client_id") ?? textIn(payload, "clientid");
  return {
    username: textIn(payload, "username") ?? sub,
    clientId,
    topics: topicsIn(payload.acl),
    expiresAt: exp === undefined ? Infinity : exp * 1000,
  };
}

function textIn(payload: JWTPayload, name: string): string | undefined {
  const value = payload[name];
  return typeof value === "string" ? value : undefined;
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
