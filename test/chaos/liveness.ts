/**
 * Nobody is forgotten: what has to heal goes on healing, however slow the machine. Where nothing moves any more for a
 * while, somebody waits for a message that nobody will send.
 */

export interface Patience {
  /** A number that grows or shrinks as long as it heals. */
  readonly progress: () => number;
  /** For so long nothing may stand still, in ms. */
  readonly stallMs: number;
  /** The longest that healing may take, in ms. */
  readonly mostMs: number;
}

/** Waits until a condition holds. Rejects when nothing moves any more, or it takes too long. */
export async function untilHealed(
  condition: () => boolean | Promise<boolean>,
  what: string,
  { progress, stallMs, mostMs }: Patience,
): Promise<void> {
  const begunAt = performance.now();
  let movedAt = begunAt;
  for (let last = progress(); !(await condition()); await Bun.sleep(5)) {
    const now = performance.now();
    if (progress() !== last) {
      last = progress();
      movedAt = now;
    }
    if (now - movedAt > stallMs) throw new Error(`nothing moves for ${stallMs} ms: ${what}`);
    if (now - begunAt > mostMs) throw new Error(`waited in vain: ${what}`);
  }
}
