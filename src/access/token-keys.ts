/**
 * The keys that JSON Web Tokens are verified with: a JWKS, a public key or certificate in PEM, or a secret. The key's
 * kind says which algorithms are taken. Invariant: no text that is, or holds, a public key is ever taken for a secret.
 */
import { createHash, createPublicKey, createSecretKey, KeyObject, X509Certificate } from "node:crypto";
import { createLocalJWKSet, errors, type JWK, type JWTHeaderParameters } from "jose";
import { tokenSecretBytesMin } from "../base/access-limits.ts";
import { messageOf, OperatingError } from "../base/errors.ts";

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

/** Keys, and the algorithms that a token may have been signed with. */
export interface TokenKeys {
  readonly algorithms: string[];
  /** Returns the key for a token's header. Rejects if there is none. */
  readonly find: (header: JWTHeaderParameters) => Promise<KeyObject | CryptoKey>;
  /** The ids of all of them, as `keyIdOf` says: whose key is not among them any more has been let in by mistake. */
  readonly ids: ReadonlySet<string>;
}

/** Where keys come from: a file, or a service that exchanges them now and then. */
export interface KeySource {
  /** Returns the keys as they are now. Rejects with `KeysUnavailable` if nobody has told them yet. */
  current(now: number): Promise<TokenKeys>;
  /** Returns newer keys, after a token was signed with one that is not known; undefined: there are none. */
  renewed(now: number): Promise<TokenKeys | undefined>;
  /** Returns the keys that were told last; undefined: none yet. */
  latest(): TokenKeys | undefined;
}

/** The keys cannot be had just now: nothing is decided about a token. */
export class KeysUnavailable extends Error {
  override readonly name = "KeysUnavailable";
}

/** Returns a source whose keys stay as they are. */
export function fixedKeys(keys: TokenKeys): KeySource {
  return { current: async () => keys, renewed: async () => undefined, latest: () => keys };
}

/** True if a token was not verified because no key is there that is meant for it. */
export function isUnknownKey(error: unknown): boolean {
  return error instanceof errors.JWKSNoMatchingKey;
}

/** Reads a JWKS, a key or certificate in PEM, or a secret. Throws `OperatingError` that says what is wrong with it. */
export function readTokenKeys(text: string): TokenKeys {
  const trimmed = text.trim();
  try {
    if (trimmed.startsWith("{")) return readSet(trimmed);
    const pem = findPem(trimmed);
    if (pem !== undefined) return only(publicKeyIn(pem), asymmetric);
  } catch (error) {
    throw new OperatingError("EFILE", `the key for tokens cannot be read: ${messageOf(error)}`);
  }
  const why = whyNoSecret(trimmed);
  if (why !== undefined) throw new OperatingError("EFILE", `the secret for tokens ${why}`);
  return only(createSecretKey(Buffer.from(trimmed)), symmetric);
}

/** Reads a key set. Throws an error in words, or `OperatingError`, if it holds nothing that can verify a token. */
export function readSet(text: string): TokenKeys {
  const parsed = JSON.parse(text) as { keys?: unknown };
  // One key alone stands for a set of it.
  const list = "kty" in parsed ? [parsed as JWK] : parsed.keys;
  if (!Array.isArray(list) || list.length === 0) throw new Error("there are no keys in it");
  const keys = list.filter((key): key is JWK => typeof key === "object" && key !== null && isForVerifying(key));
  if (keys.length === 0) throw new Error("there are no keys in it that are for verifying");
  const isSecret = ({ kty }: JWK): boolean => kty === "oct";
  const secrets = keys.filter(isSecret).map(readSecretKey);
  const shown = keys.filter((key) => !isSecret(key)).map(withoutPrivatePart);
  const publicKeyFor = createLocalJWKSet({ keys: shown });
  return {
    algorithms: [...symmetric, ...asymmetric],
    // jose chooses among public keys alone: a secret is found here, and only for an algorithm of secrets.
    find: async (header) => (symmetric.includes(header.alg) ? secretFor(secrets, header) : publicKeyFor(header)),
    ids: new Set([...secrets.map(({ key }) => keyIdOf(key)), ...shown.flatMap(publicKeyId)]),
  };
}

/** Returns what names a key, whatever else stands beside it in a set. */
export function keyIdOf(key: KeyObject | CryptoKey): string {
  const parts = (key instanceof KeyObject ? key : KeyObject.from(key)).export({ format: "jwk" });
  return createHash("sha256")
    .update(JSON.stringify(Object.entries(parts).sort()))
    .digest("base64");
}

function only(key: KeyObject, algorithms: string[]): TokenKeys {
  return { algorithms, find: async () => key, ids: new Set([keyIdOf(key)]) };
}

/** The first key or certificate in a text; words around it, as `openssl x509 -text` prints them, are skipped. */
function findPem(text: string): string | undefined {
  if (!/-----\s*BEGIN/i.test(text)) return undefined;
  const blocks = text.match(/-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g) ?? [];
  const found = blocks.find((block) => /^-----BEGIN [A-Z0-9 ]*(KEY|CERTIFICATE)-----/.test(block));
  if (found === undefined) throw new Error("there is a BEGIN in it, and no whole key or certificate");
  return found;
}

function publicKeyIn(pem: string): KeyObject {
  return pem.includes("CERTIFICATE-----") ? new X509Certificate(pem).publicKey : createPublicKey(pem);
}

/** Says why a text cannot be a secret: what anybody may know of a key pair must not become one. */
function whyNoSecret(text: string): string | undefined {
  if (/[\r\n]/.test(text)) return "has line breaks: a secret is one line, and a public key is a JWKS or PEM";
  if (/[\p{Cc}\ufffd]/u.test(text)) return "is not text: encode it, say in base64";
  if (/^(ssh-|ecdsa-|sk-)\S+ /.test(text))
    return "is an SSH key, which is public: give it in PEM (ssh-keygen -e -m PKCS8)";
  if (isDer(text)) return "is a key or certificate in base64, which is public: give it in PEM";
  // RFC 7518 3.2: a secret as long as the hash.
  if (Buffer.byteLength(text) < tokenSecretBytesMin)
    return `is shorter than ${tokenSecretBytesMin} bytes, so it could be guessed`;
  return undefined;
}

/** True if a text is a key, or a certificate, in base64 and without its frame: DER begins with a SEQUENCE. */
function isDer(text: string): boolean {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return false;
  const bytes = Buffer.from(text, "base64");
  if (bytes[0] !== 0x30) return false;
  const reads = [
    () => new X509Certificate(bytes),
    () => createPublicKey({ key: bytes, format: "der", type: "spki" }),
    () => createPublicKey({ key: bytes, format: "der", type: "pkcs1" }),
    () => createPublicKey({ key: bytes, format: "der", type: "pkcs8" } as never),
  ];
  return reads.some((read) => {
    try {
      return read() !== undefined;
    } catch {
      return false;
    }
  });
}

/** RFC 7517 4.2, 4.3: a key that says what it is for, and is not for signatures, verifies none. */
function isForVerifying({ use, key_ops: operations }: JWK): boolean {
  return (use === undefined || use === "sig") && (operations === undefined || operations.includes("verify"));
}

interface SecretKey {
  readonly kid: string | undefined;
  readonly alg: string | undefined;
  readonly key: KeyObject;
}

function readSecretKey({ k, kid, alg }: JWK): SecretKey {
  const bytes = Buffer.from(k ?? "", "base64url");
  if (bytes.length < tokenSecretBytesMin)
    throw new Error(`an oct key in it is shorter than ${tokenSecretBytesMin} bytes, so it could be guessed`);
  return { kid, alg, key: createSecretKey(bytes) };
}

/** Chooses as jose does among public keys: a `kid` or `alg` that is given must be the same. */
function secretFor(secrets: readonly SecretKey[], { kid, alg }: JWTHeaderParameters): KeyObject {
  const fitting = secrets.filter(
    (secret) => (kid === undefined || secret.kid === kid) && (secret.alg === undefined || secret.alg === alg),
  );
  if (fitting.length === 0) throw new errors.JWKSNoMatchingKey();
  if (fitting.length > 1) throw new errors.JWKSMultipleMatchingKeys();
  return fitting[0]!.key;
}

/** Returns the id of a key in a set; nothing for one of a kind that is not known here, which jose never chooses. */
function publicKeyId(key: JWK): string[] {
  try {
    return [keyIdOf(createPublicKey({ key: key as never, format: "jwk" }))];
  } catch {
    return [];
  }
}

/** A private key verifies by its public part. */
function withoutPrivatePart({ d, p, q, dp, dq, qi, oth, key_ops, ...shown }: JWK): JWK {
  return shown as JWK;
}
