/** Topics as text: the same ones come again and again, so that decoding each would be most of the work. */
import { decodeUtf8, equalRange, hashBytes, ownBytes } from "../base/bytes.ts";
import { topicTextsMax } from "../base/client-limits.ts";

interface Known {
  readonly bytes: Uint8Array;
  readonly text: string;
}

export class TopicTexts {
  /** Slots by hash; the newest of those topics that share one stays. */
  readonly #slots: (Known | undefined)[] = new Array(topicTextsMax);
  #last: Known | undefined;

  of(bytes: Uint8Array, start: number, end: number): string {
    const last = this.#last;
    if (last !== undefined && isSame(last, bytes, start, end)) return last.text;
    const slot = hashBytes(bytes, start, end) % topicTextsMax;
    let known = this.#slots[slot];
    if (known === undefined || !isSame(known, bytes, start, end)) {
      known = { bytes: ownBytes(bytes, start, end), text: decodeUtf8(bytes, start, end) };
      this.#slots[slot] = known;
    }
    this.#last = known;
    return known.text;
  }
}

function isSame(known: Known, bytes: Uint8Array, start: number, end: number): boolean {
  return known.bytes.length === end - start && equalRange(known.bytes, 0, bytes, start, end - start);
}
