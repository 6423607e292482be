/** The folder to which `sub --save-dir` writes each message, as a file of its own whose name nobody else chooses. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OperatingError } from "../../src/base/errors.ts";
import { systemWords } from "./hints.ts";

/** Characters of a topic that a file's name takes; a name has 255 bytes at most, with the time and number before it. */
const topicCharactersMax = 160;
const hashCharacters = 16;

export class MessageFolder {
  readonly #path: string;
  #number = 0;

  /** Makes the folder where there is none. Throws `OperatingError` (EUSAGE). */
  constructor(path: string) {
    this.#path = path;
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw new OperatingError("EUSAGE", `cannot make the folder ${path}: ${systemWords(error)}`);
    }
  }

  /**
   * Writes a payload to a new file, which is there whole or not at all; returns its path. Throws `OperatingError`
   * (EOUTPUT).
   */
  save(topic: string, payload: Uint8Array, now: Date): string {
    const time = now.toISOString().replaceAll(/[:-]/g, "");
    let path: string;
    // Another one may write there, too.
    do path = join(this.#path, `${time}-${String(++this.#number).padStart(6, "0")}-${nameOf(topic)}`);
    while (existsSync(path));
    const begun = `${path.slice(0, path.lastIndexOf("/") + 1)}.${process.pid}.part`;
    try {
      rmSync(begun, { force: true });
      writeFileSync(begun, payload, { flag: "wx" });
      renameSync(begun, path);
    } catch (error) {
      rmSync(begun, { force: true });
      throw new OperatingError("EOUTPUT", `cannot save a message of ${topic} as ${path}: ${systemWords(error)}`);
    }
    return path;
  }
}

/** Returns a topic as a part of a file's name: only what is harmless in every file system stays as it is. */
export function nameOf(topic: string): string {
  const name = Buffer.from(topic)
    .toString("latin1")
    .replaceAll(/[^A-Za-z0-9._-]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
  if (name.length <= topicCharactersMax) return name;
  const hash = createHash("sha256").update(topic).digest("hex").slice(0, hashCharacters);
  return `${name.slice(0, topicCharactersMax - hashCharacters - 1)}~${hash}`;
}
