/** Finds, for one subscriber, messages that came twice, and messages that came behind what was sent after them. */
import { gapsPerStreamMax } from "../base/client-limits.ts";

interface Stream {
  /** The sequence that comes next, if nothing is lost. */
  next: number;
  /** Sequences below `next` that have not come. */
  readonly gaps: Set<number>;
}

export class Streams {
  readonly #streams = new Map<number, Stream>();
  readonly #isShared: boolean;
  /** Messages that came for the first time. */
  received = 0;
  duplicates = 0;
  /** Came after one that was sent after them. */
  outOfOrder = 0;

  /** `isShared`: the others of its group get the rest, so gaps say nothing. */
  constructor(isShared: boolean) {
    this.#isShared = isShared;
  }

  receive(publisher: number, sequence: number): void {
    let stream = this.#streams.get(publisher);
    if (stream === undefined) {
      stream = { next: 0, gaps: new Set() };
      this.#streams.set(publisher, stream);
    }
    if (sequence === stream.next) {
      stream.next++;
      this.received++;
      return;
    }
    if (sequence > stream.next) {
      if (!this.#isShared)
        for (let missing = stream.next; missing < sequence && stream.gaps.size < gapsPerStreamMax; missing++)
          stream.gaps.add(missing);
      stream.next = sequence + 1;
      this.received++;
    } else if (this.#isShared || stream.gaps.delete(sequence)) {
      this.outOfOrder++;
      this.received++;
    } else this.duplicates++;
  }
}
