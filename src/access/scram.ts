/**
 * SCRAM-SHA-256 (RFC 5802, 7677), the server's side: a client proves its password without sending it. No IO, no time.
 */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { decodedMemoryBytes } from "../base/memory-limits.ts";
import { type ScramVerifier, scramIterations, scramSaltBytes, scramVerifierOf } from "./hashes.ts";
import type { Users } from "./password-file.ts";

export const scramMethod = "SCRAM-SHA-256";

export type ScramStep =
  | { readonly kind: "continue"; readonly data: Buffer }
  | { readonly kind: "done"; readonly username: string; readonly data: Buffer }
  | { readonly kind: "refused"; readonly why: string };

/** How users that are not there are made to look. */
export interface ScramDecoys {
  /** The key for their salts: the same at all brokers of a cluster and at each start, and unguessable. */
  readonly secret: Uint8Array;
  /** The iterations, and the length of the salt in bytes, that most users have. */
  readonly iterations: number;
  readonly saltBytes: number;
}

/** Returns the iterations and the length of the salt that most entries have. */
export function commonShape(users: Users): Omit<ScramDecoys, "secret"> {
  const counts = new Map<string, number>();
  for (const hash of users.values()) {
    const verifier = scramVerifierOf(hash);
    if (verifier === undefined) continue;
    const shape = `${verifier.iterations} ${verifier.salt.length}`;
    counts.set(shape, (counts.get(shape) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  const [iterations, saltBytes] =
    most === undefined ? [scramIterations, scramSaltBytes] : most[0].split(" ").map(Number);
  return { iterations: iterations!, saltBytes: saltBytes! };
}

function decoyOf(username: string, { secret, iterations, saltBytes }: ScramDecoys): ScramVerifier {
  const derived = (what: string, bytes: number): Buffer =>
    Buffer.from(hkdfSync("sha256", secret, what, Buffer.from(username), bytes));
  const keys = { storedKey: derived("stored key", 32), serverKey: derived("server key", 32) };
  return { salt: derived("salt", saltBytes), iterations, ...keys };
}

/** One exchange: `first`, then `final`. */
export class ScramExchange {
  readonly #users: Users;
  readonly #decoys: ScramDecoys;
  readonly #nonce: string;
  #username = "";
  #gs2Header = "";
  #clientFirstBare = "";
  #serverFirst = "";
  #verifier: ScramVerifier | undefined;
  #isDecoy = false;

  constructor(users: Users, { decoys, nonce }: { decoys: ScramDecoys; nonce: string }) {
    this.#users = users;
    this.#decoys = decoys;
    this.#nonce = nonce;
  }

  /** The user that the client says it is; undefined: it has not said so yet. */
  get username(): string | undefined {
    return this.#username === "" ? undefined : this.#username;
  }

  /** The memory of what was said so far, in bytes: each part is kept in what it was cut out of. */
  get memoryBytes(): number {
    const { length } = this.#clientFirstBare;
    return decodedMemoryBytes * (this.#gs2Header.length + length + this.#serverFirst.length);
  }

  first(data: Uint8Array): ScramStep {
    const match = /^((?:n|y),(?:a=([^,]*))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/.exec(textOf(data));
    if (match === null)
      return { kind: "refused", why: "the client's first message is none of SCRAM without channel binding" };
    const [, gs2Header, authorization, bare, name, nonce] = match;
    this.#gs2Header = gs2Header!;
    this.#clientFirstBare = bare!;
    this.#username = unescapeName(name!);
    if (authorization !== undefined && unescapeName(authorization) !== this.#username)
      return { kind: "refused", why: "one user for another" };
    const hash = this.#users.get(this.#username);
    const own = hash === undefined ? undefined : scramVerifierOf(hash);
    // Who is not there, or has no such entry, looks like everybody else, and takes as long.
    this.#isDecoy = own === undefined;
    this.#verifier = own ?? decoyOf(this.#username, this.#decoys);
    const { salt, iterations } = this.#verifier;
    this.#serverFirst = `r=${nonce}${this.#nonce},s=${salt.toString("base64")},i=${iterations}`;
    return { kind: "continue", data: Buffer.from(this.#serverFirst) };
  }

  final(data: Uint8Array): ScramStep {
    const refused: ScramStep = { kind: "refused", why: `the proof of ${JSON.stringify(this.#username)} is wrong` };
    const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/.exec(textOf(data));
    if (match === null) return { kind: "refused", why: "the client's final message is none of SCRAM" };
    const [, withoutProof, binding, nonce, proofText] = match;
    if (Buffer.from(binding!, "base64").toString("latin1") !== this.#gs2Header) return refused;
    if (!this.#serverFirst.startsWith(`r=${nonce},`)) return refused;
    const proof = Buffer.from(proofText!, "base64");
    if (this.#verifier === undefined || proof.length !== 32) return refused;
    const message = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`;
    const signature = createHmac("sha256", this.#verifier.storedKey).update(message).digest();
    const clientKey = signature.map((byte, at) => byte ^ proof[at]!);
    const isProven = timingSafeEqual(createHash("sha256").update(clientKey).digest(), this.#verifier.storedKey);
    if (!isProven || this.#isDecoy) return refused;
    const answer = createHmac("sha256", this.#verifier.serverKey).update(message).digest("base64");
    return { kind: "done", username: this.#username, data: Buffer.from(`v=${answer}`) };
  }
}

function textOf(data: Uint8Array): string {
  return Buffer.from(data).toString("utf8");
}

/** 5.1: =2C is a comma, =3D an equals sign. */
function unescapeName(name: string): string {
  return name.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
