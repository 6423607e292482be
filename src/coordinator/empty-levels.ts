/**
 * Levels that may have become empty, until they are looked at. A level that has just lost its last child is often used
 * again at once, so each waits for one look at least; then they come in the order in which they were noted, as many at
 * a time as are asked for: so nothing waits behind the removal of many.
 */
export class EmptyLevels {
  /** Noted since the last look. */
  #young = new Set<string>();
  /** Noted before the last look. */
  #due = new Set<string>();

  /** True if there are levels whose turn it is. */
  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** True if none is noted. */
  get isEmpty(): boolean {
    return this.#young.size + this.#due.size === 0;
  }

  /** True if a level waits for a look. */
  isNoted(path: string): boolean {
    return this.#young.has(path) || this.#due.has(path);
  }

  /** A level has lost a child. */
  note(path: string): void {
    this.#young.add(path);
  }

  /** Time has passed: what was noted until now may be looked at. */
  look(): void {
    if (this.#due.size === 0) [this.#young, this.#due] = [this.#due, this.#young];
    else for (const path of this.#young) this.#due.add(path);
    this.#young.clear();
  }

  /** Gives a level its turn at once: its last child was an empty level, or an earlier life has left it. */
  hurry(path: string): void {
    this.#due.add(path);
  }

  /** Takes the next ones, which are forgotten; what is hurried meanwhile is among them. */
  *take(most: number): Generator<string> {
    let taken = 0;
    for (const path of this.#due) {
      if (taken++ === most) return;
      this.#due.delete(path);
      yield path;
    }
  }
}
