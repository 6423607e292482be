/** The files of recordings: each message is written before it is acknowledged, and read without all the others. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { OperatingError } from "../../src/base/errors.ts";
import type { Message } from "../../src/client/connection-options.ts";
import { systemWords } from "../output/hints.ts";
import { type Heading, headingLine, messageLine, type RecordedMessage, readLine } from "./recorded-message.ts";

const pieceBytes = 65_536;
/** A line that is longer than the largest message can be is none of a recording. */
const lineBytesMax = 1_500_000_000;

/** A file that is being written. */
export class RecordingWriter {
  readonly path: string;
  readonly #descriptor: number;
  readonly #beganAt: number;

  /** Makes the file, or empties it where `replaces` allows that. Throws `OperatingError` (EUSAGE). */
  constructor(path: string, heading: Heading, { replaces, now }: { readonly replaces: boolean; readonly now: number }) {
    this.path = path;
    this.#beganAt = now;
    try {
      // What was recorded may be secret, as in any mailbox.
      this.#descriptor = openSync(path, replaces ? "w" : "wx", 0o600);
    } catch (error) {
      const isThere = (error as { code?: string }).code === "EEXIST";
      const why = isThere ? "there is such a file already; --replace takes its place" : systemWords(error);
      throw new OperatingError("EUSAGE", `cannot record to ${path}: ${why}`);
    }
    this.#write(headingLine(heading));
  }

  /** Writes a message that has come at `now`. Throws `OperatingError` (EOUTPUT). */
  add(message: Message, now: number): void {
    this.#write(messageLine(message, Math.max(0, now - this.#beganAt)));
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #write(line: string): void {
    let left = Buffer.from(line);
    try {
      while (left.length > 0) left = left.subarray(writeSync(this.#descriptor, left));
    } catch (error) {
      throw new OperatingError("EOUTPUT", `cannot record to ${this.path}: ${systemWords(error)}`);
    }
  }
}

/**
 * Reads a recording's messages from a file, or from standard input ("-"); `onCut` is told if its last line is cut off,
 * as when the recorder was killed. Throws `OperatingError`: EUSAGE for a file that cannot be read, EFORMAT for a line
 * that is none, with its number.
 */
export async function* readRecording(path: string, onCut: () => void): AsyncGenerator<RecordedMessage> {
  let number = 0;
  for await (const { text, isWhole } of linesOf(path, path === "-" ? process.stdin : piecesOf(path))) {
    number++;
    let message: RecordedMessage | undefined;
    try {
      message = readLine(text);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      if (!isWhole && number > 1) return onCut();
      const name = path === "-" ? "standard input" : path;
      throw new OperatingError("EFORMAT", `${name}, line ${number}: ${error.message}`);
    }
    if (message !== undefined) yield message;
  }
}

async function* linesOf(
  path: string,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly text: string; readonly isWhole: boolean }> {
  let rest: Uint8Array[] = [];
  let waiting = 0;
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf(10); end !== -1; end = piece.indexOf(10, from)) {
      yield { text: Buffer.concat([...rest, piece.subarray(from, end)]).toString("utf8"), isWhole: true };
      rest = [];
      waiting = 0;
      from = end + 1;
    }
    if (from < piece.length) rest.push(piece.slice(from));
    waiting += piece.length - from;
    if (waiting > lineBytesMax) throw new OperatingError("EFORMAT", `${path} holds a line that is no message's`);
  }
  if (waiting > 0) yield { text: Buffer.concat(rest).toString("utf8"), isWhole: false };
}

async function* piecesOf(path: string): AsyncGenerator<Uint8Array> {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    for (;;) {
      const piece = new Uint8Array(pieceBytes);
      const count = readSync(file, piece, 0, piece.length, null);
      if (count === 0) return;
      yield piece.subarray(0, count);
    }
  } catch (error) {
    if (!isOfSystem(error)) throw error;
    throw new OperatingError("EUSAGE", `cannot read ${path}: ${systemWords(error)}`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function isOfSystem(error: unknown): boolean {
  return typeof (error as { syscall?: unknown }).syscall === "string";
}
