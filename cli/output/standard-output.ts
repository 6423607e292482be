/**
 * Standard output: what a command prints is written to its end, however slow the reader is, or the command says that
 * it could not. The runtime's own ways do not see to that: the console keeps a full disk to itself, and a process
 * that exits loses what `process.stdout` holds back for a slow pipe.
 */
import { write, writeSync } from "node:fs";
import { OperatingError } from "../../src/base/errors.ts";
import { systemWords } from "./hints.ts";

const standardOutput = 1;
const standardError = 2;
/** Bytes that are written at once: a reader that takes anything is seen to. */
const pieceBytes = 65_536;
/** A pipe that others have set so that it does not wait, and that is full, is tried again after so long. */
const fullPipeMs = 5;

/** Thrown when the reader has had enough, as in `mqttzoo sub ... | head -1`: the command ends, and nothing is wrong. */
export class ReaderGone extends Error {}

/** Writes to standard output, and waits until it is taken. Throws `ReaderGone`, or `OperatingError` (EOUTPUT). */
export function print(output: string | Uint8Array): void {
  try {
    writeAll(standardOutput, output);
  } catch (error) {
    throw failureOf(error);
  }
}

/** Writes to standard error, and waits until it is taken; where that fails there is nobody to be told. */
export function printError(text: string): void {
  try {
    writeAll(standardError, text);
  } catch {}
}

function writeAll(descriptor: number, output: string | Uint8Array): void {
  let left = Buffer.from(output as string);
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(descriptor, left, 0, Math.min(left.length, pieceBytes)));
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      Bun.sleepSync(fullPipeMs);
    }
  }
}

/**
 * Output that is written while its command goes on with something else: a connection is to be kept alive, though the
 * reader of what comes over it is slow.
 */
export class OutputQueue {
  /** Rejects with `ReaderGone` or `OperatingError` (EOUTPUT) when nothing can be written any more. */
  readonly failed: Promise<never>;
  #fail!: (error: Error) => void;
  readonly #onDrained: () => void;
  #chunks: Uint8Array[] = [];
  #unwritten = 0;
  #isWriting = false;
  #whenWritten: (() => void)[] = [];

  /** `onDrained` is called whenever all has been written. */
  constructor(onDrained: () => void) {
    this.#onDrained = onDrained;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
  }

  /** Bytes that are not written yet. */
  get unwritten(): number {
    return this.#unwritten;
  }

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#unwritten += bytes.length;
    if (this.#isWriting) return;
    this.#isWriting = true;
    // What comes in the same turn goes out as one piece.
    setImmediate(() => void this.#writeChunks().catch((error) => this.#fail(failureOf(error))));
  }

  /** Resolves when all is written. Rejects as `failed` does. */
  written(): Promise<void> {
    if (this.#unwritten === 0) return Promise.resolve();
    return Promise.race([this.failed, new Promise<void>((resolve) => this.#whenWritten.push(resolve))]);
  }

  /** From now on a reader that takes nothing for `stallMs` is given up: `failed` rejects. */
  async hurry(stallMs: number): Promise<void> {
    for (let before = Infinity; this.#unwritten > 0; ) {
      if (this.#unwritten === before)
        return this.#fail(new OperatingError("EOUTPUT", `nobody reads the last ${before} bytes of the output`));
      before = this.#unwritten;
      await Bun.sleep(stallMs);
    }
  }

  async #writeChunks(): Promise<void> {
    while (this.#chunks.length > 0) {
      const [first] = this.#chunks;
      let left = this.#chunks.length === 1 ? first! : Buffer.concat(this.#chunks);
      this.#chunks = [];
      while (left.length > 0) {
        const count = await writePiece(left.subarray(0, pieceBytes));
        left = left.subarray(count);
        this.#unwritten -= count;
      }
    }
    this.#isWriting = false;
    this.#onDrained();
    for (const resolve of this.#whenWritten.splice(0)) resolve();
  }
}

/** Resolves with the number of bytes written; the event loop goes on. Rejects with the system's error. */
async function writePiece(piece: Uint8Array): Promise<number> {
  for (;;) {
    try {
      return await new Promise<number>((resolve, reject) =>
        write(standardOutput, piece, 0, piece.length, null, (error, count) => (error ? reject(error) : resolve(count))),
      );
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      await Bun.sleep(fullPipeMs);
    }
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

/** Says in words why nothing can be written. */
function failureOf(error: unknown): Error {
  const code = codeOf(error);
  if (code === undefined) return error as Error;
  if (code === "EPIPE") return new ReaderGone("nobody reads the output");
  return new OperatingError("EOUTPUT", `cannot write the output: ${systemWords(error)}`);
}
