/** The door to chance, so that a simulation can replay it from a seed. */
export interface Random {
  /** Uniform in [0, 1); unguessable in production. */
  next(): number;
  /** `count` random bytes as hex, unguessable in production. */
  hex(count: number): string;
}

/** Words that were drawn ahead: to ask for each number alone would take a hundred times as long. */
const words = new Uint32Array(512);
let left = 0;

/**
 * Invariant: nobody can work out the next numbers from those that he has seen, as he can with Math.random: topic ids of
 * MQTT-SN, packet ids and nonces come from here.
 */
export const systemRandom: Random = {
  next() {
    // One word may be left, since hex takes them one by one.
    if (left < 2) left = crypto.getRandomValues(words).length;
    const high = words[--left]! >>> 5;
    const low = words[--left]! >>> 6;
    // 53 bits, all that such a number has.
    return (high * 2 ** 26 + low) / 2 ** 53;
  },
  hex(count) {
    let text = "";
    for (; text.length < 2 * count; text += words[left]!.toString(16).padStart(8, "0")) {
      if (left === 0) left = crypto.getRandomValues(words).length;
      left--;
    }
    return text.length === 2 * count ? text : text.slice(0, 2 * count);
  },
};
