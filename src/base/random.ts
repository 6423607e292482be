/** The door to chance, so that a simulation can replay it from a seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `count` random bytes as hex, unguessable in production. */
  hex(count: number): string;
}

export const systemRandom: Random = {
  next: () => Math.random(),
  hex: (count) =>
    Array.from(crypto.getRandomValues(new Uint8Array(count)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
};
