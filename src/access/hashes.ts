/**
 * Passwords as they are kept: argon2id (RFC 9106), PostgreSQL's form of SCRAM-SHA-256 verifiers (RFC 5803), and
 * mosquitto's $7$ (PBKDF2 with SHA-512) and $6$ (one round of SHA-512).
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from "node:crypto";

/** OWASP's least: 19 MiB, two passes. A device that comes back is found in a cache, see `Passwords`. */
const argon2 = { algorithm: "argon2id", memoryCost: 19_456, timeCost: 2 } as const;
/** RFC 7677 asks for 4096 at least. */
export const scramIterations = 10_000;
export const scramSaltBytes = 16;

export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const base64 = "[A-Za-z0-9+/]+={0,2}";
const scramForm = new RegExp(`^SCRAM-SHA-256\\$(\\d{1,8}):(${base64})\\$(${base64}):(${base64})$`);
const sevenForm = new RegExp(`^\\$7\\$(\\d{1,8})\\$(${base64})\\$(${base64})$`);
const sixForm = new RegExp(`^\\$6\\$(${base64})\\$(${base64})$`);
const argonForm = /^\$argon2(id|i|d)\$v=\d+\$[^$]+\$[^$]+\$[^$]+$/;

export function isHash(hash: string): boolean {
  return [argonForm, scramForm, sevenForm, sixForm].some((form) => form.test(hash));
}

/** Rejects if argon2 cannot read its own parameters. */
export async function isPasswordOf(hash: string, password: Uint8Array): Promise<boolean> {
  if (argonForm.test(hash)) return await Bun.password.verify(password, hash);
  const scram = scramVerifierOf(hash);
  if (scram !== undefined) return timingSafeEqual((await scramKeys(password, scram)).storedKey, scram.storedKey);
  const seven = sevenForm.exec(hash);
  if (seven !== null) {
    const wanted = Buffer.from(seven[3]!, "base64");
    const salt = Buffer.from(seven[2]!, "base64");
    return isSame(await derive(password, salt, { iterations: Number(seven[1]), digest: "sha512" }), wanted);
  }
  const six = sixForm.exec(hash);
  if (six === null) return false;
  const salt = Buffer.from(six[1]!, "base64");
  return isSame(createHash("sha512").update(password).update(salt).digest(), Buffer.from(six[2]!, "base64"));
}

export function hashPassword(password: string): Promise<string> {
  return Bun.password.hash(password, argon2);
}

/** Hashes a password for clients that prove it without sending it (SCRAM); the hash serves for others as well. */
export async function hashForScram(
  password: string,
  { iterations, salt } = { iterations: scramIterations, salt: randomBytes(scramSaltBytes) },
): Promise<string> {
  const keys = await scramKeys(Buffer.from(password), { iterations, salt });
  const text = (bytes: Buffer): string => bytes.toString("base64");
  return `SCRAM-SHA-256$${iterations}:${text(salt)}$${text(keys.storedKey)}:${text(keys.serverKey)}`;
}

export function scramVerifierOf(hash: string): ScramVerifier | undefined {
  const match = scramForm.exec(hash);
  if (match === null) return undefined;
  const [salt, storedKey, serverKey] = match.slice(2).map((text) => Buffer.from(text, "base64"));
  if (storedKey!.length !== 32 || serverKey!.length !== 32) return undefined;
  return { iterations: Number(match[1]), salt: salt!, storedKey: storedKey!, serverKey: serverKey! };
}

async function scramKeys(password: Uint8Array, { iterations, salt }: Pick<ScramVerifier, "iterations" | "salt">) {
  const salted = await derive(password, salt, { iterations, digest: "sha256" });
  const clientKey = createHmac("sha256", salted).update("Client Key").digest();
  const serverKey = createHmac("sha256", salted).update("Server Key").digest();
  return { storedKey: createHash("sha256").update(clientKey).digest(), serverKey };
}

function derive(
  password: Uint8Array,
  salt: Uint8Array,
  { iterations, digest }: { iterations: number; digest: "sha256" | "sha512" },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const bytes = digest === "sha256" ? 32 : 64;
    pbkdf2(password, salt, Math.max(1, iterations), bytes, digest, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
