/**
 * SCRAM-SHA-256 (RFC 5802, 7677), the server's side: a client proves its password without sending it. No IO, no time.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { type ScramVerifier, scramVerifierOf } from "./hashes.ts";
import type { Users } from "./password-file.ts";

export const scramMethod = "SCRAM-SHA-256";

export type ScramStep =
  | { readonly kind: "continue"; readonly data: Buffer }
  | { readonly kind: "done"; readonly username: string; readonly data: Buffer }
  | { readonly kind: "refused"; readonly why: string };

/** One exchange: `first`, then `final`. */
export class ScramExchange {
  readonly #users: Users;
  /** The key for salts of users that are not there: always the same, and unguessable. */
  readonly #secret: Uint8Array;
  readonly #nonce: string;
  #username = "";
  #gs2Header = "";
  #clientFirstBare = "";
  #serverFirst = "";
  #verifier: ScramVerifier | undefined;

  constructor(users: Users, { secret, nonce }: { secret: Uint8Array; nonce: string }) {
    this.#users = users;
    this.#secret = secret;
    this.#nonce = nonce;
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
    this.#verifier = hash === undefined ? undefined : scramVerifierOf(hash);
    // Who is not there, or has no such entry, looks like everybody else until the end.
    const salt =
      this.#verifier?.salt ?? createHmac("sha256", this.#secret).update(this.#username).digest().subarray(0, 16);
    const iterations = this.#verifier?.iterations ?? 10_000;
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
    if (!timingSafeEqual(createHash("sha256").update(clientKey).digest(), this.#verifier.storedKey)) return refused;
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
