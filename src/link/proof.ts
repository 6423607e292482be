/** Proofs that both sides of a link know the cluster's secret, without saying it. */

/** An HMAC over who speaks and both sides' nonces. Without a secret the proof is empty. */
export function proofOf(
  secret: string | undefined,
  speaker: "dialler" | "acceptor",
  nonces: readonly [string, string],
): string {
  if (secret === undefined) return "";
  return new Bun.CryptoHasher("sha256", secret).update(`${speaker} ${nonces[0]} ${nonces[1]}`).digest("hex");
}

/** Compares in a time that does not depend on where the texts differ. */
export function isSameProof(a: unknown, b: string): boolean {
  if (typeof a !== "string" || a.length !== b.length) return false;
  let difference = 0;
  for (let at = 0; at < a.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at);
  return difference === 0;
}
