/**
 * The last answers to one client, by what it had asked. A client whose answer was lost asks again, and the network may
 * double what it sends: it is answered once more, and nothing is done twice.
 */
import { hashBytes } from "../base/bytes.ts";
import { snAgainMs, snAnswersMax, snDoubledMs } from "../base/sn-limits.ts";

interface Answer {
  readonly messageId: number;
  readonly question: number;
  readonly reply: Uint8Array;
  readonly at: number;
}

export class Answers {
  #answers: Answer[] = [];

  /** Remembers the answer to a question, which `hashOf` has made a number of. `now` in ms. */
  add(messageId: number, question: number, reply: Uint8Array, now: number): void {
    this.#answers = this.#answers.filter((answer) => answer.messageId !== messageId).slice(1 - snAnswersMax);
    this.#answers.push({ messageId, question, reply, at: now });
  }

  /** Returns the answer if the same was asked before. `isAgain`: the client says so, or it could not. */
  find(messageId: number, question: number, isAgain: boolean, now: number): Uint8Array | undefined {
    const answer = this.#answers.find((one) => one.messageId === messageId);
    if (answer === undefined || answer.question !== question) return undefined;
    return now - answer.at <= (isAgain ? snAgainMs : snDoubledMs) ? answer.reply : undefined;
  }

  clear(): void {
    this.#answers = [];
  }
}

/** Returns a number for a message's bytes that is the same whether DUP is set or not. `hasFlags`: it has such a bit. */
export function hashOf(bytes: Uint8Array, hasFlags: boolean): number {
  const flagsAt = bytes[0] === 1 ? 4 : 2;
  if (!hasFlags) return hashBytes(bytes, 0, bytes.length);
  return (
    (hashBytes(bytes, 0, flagsAt) ^ (hashBytes(bytes, flagsAt + 1, bytes.length) + (bytes[flagsAt]! & 0x7f))) >>> 0
  );
}
