/**
 * The operator's files: they are read at the start, and again when they change or SIGHUP comes. If a file is malformed,
 * the log names it, and what was read before stays in use. Files are looked at by name, so that Kubernetes' swap of a
 * link is seen as well.
 */
import {
  appendFileSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { filesLookMs } from "../base/access-limits.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { sliceShareMs } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { finish, nothing, type Work, workUntil } from "../base/slices.ts";
import type { ZooKeeperOptions } from "../zookeeper/options.ts";

/**
 * A call that takes a group's files, their texts (decoded as UTF-8) and their bytes, step by step. Throws
 * `OperatingError`.
 */
type Use = (texts: readonly string[], bytes: readonly Uint8Array[]) => Work;

/** A group of files that are read together. */
interface Followed {
  readonly paths: readonly string[];
  readonly use: Use;
  /** The number of times that they have been read again. */
  readings: number;
  /** The state of the files (inode, size, times) when they were read, and at the last look. */
  readStamp: string;
  lastStamp: string;
}

/** Follows groups of files, and hands over their texts. */
export class OperatorFiles {
  readonly #log: Log;
  readonly #followed: Followed[] = [];
  readonly #alongside: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Hands over the texts of files that belong together, now and whenever they have changed. Throws `OperatingError` if
   * they cannot be read, or `use` refuses them.
   */
  follow(paths: readonly string[], use: (...files: Parameters<Use>) => void): void {
    this.followInSteps(paths, (...files) => {
      use(...files);
      return nothing();
    });
  }

  /** Like `follow`, of files that may be long: when they have changed, a few steps are done in a turn. */
  followInSteps(paths: readonly string[], use: Use): void {
    const stamp = stampOf(paths);
    finish(read(paths, use));
    this.#followed.push({ paths, use, readings: 0, readStamp: stamp, lastStamp: stamp });
    this.#start();
  }

  /** Has something else looked after as often as the files are. */
  alongside(look: () => void): void {
    this.#alongside.push(look);
    this.#start();
  }

  /** Reads all files again; what fails is logged. Resolves when that is done. */
  async reload(): Promise<void> {
    await Promise.all(this.#followed.map((followed) => this.#readAgain(followed, stampOf(followed.paths))));
  }

  /** Stops following. */
  close(): void {
    clearInterval(this.#timer);
  }

  /**
   * Reads changed files again, once the change has stood for one look: a file may be caught while it is being written.
   */
  #look(): void {
    for (const followed of this.#followed) {
      const stamp = stampOf(followed.paths);
      const isSettled = stamp === followed.lastStamp;
      followed.lastStamp = stamp;
      if (isSettled && stamp !== followed.readStamp) void this.#readAgain(followed, stamp);
    }
  }

  #start(): void {
    this.#timer ??= setInterval(() => {
      this.#look();
      for (const look of this.#alongside) look();
    }, filesLookMs);
    this.#timer.unref();
  }

  /** Resolves when they have been read, or could not be. */
  #readAgain(followed: Followed, stamp: string): Promise<void> {
    followed.readStamp = stamp;
    const reading = ++followed.readings;
    const work = read(followed.paths, followed.use);
    // They may have changed once more meanwhile.
    const isCurrent = (): boolean => reading === followed.readings;
    return new Promise((done) => this.#goOn(followed, work, { isCurrent, done }));
  }

  #goOn(followed: Followed, work: Work, reading: { isCurrent(): boolean; done(): void }): void {
    if (!reading.isCurrent()) return reading.done();
    try {
      if (!workUntil(work, systemClock, systemClock.now() + sliceShareMs))
        return void setImmediate(() => this.#goOn(followed, work, reading));
      this.#log.info({ files: followed.paths }, "read again");
    } catch (error) {
      this.#log.error(
        { files: followed.paths },
        `not read again, what was read before stays in use: ${messageOf(error)}`,
      );
    }
    reading.done();
  }
}

/** Reads files and hands them over. Throws `OperatingError` that names the files. */
function* read(paths: readonly string[], use: Use): Work {
  const bytes = paths.map((path) => readBytes(path));
  try {
    yield* use(bytes.map(decode), bytes);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw new OperatingError("EUSAGE", `${paths.join(", ")}: ${error.message}`);
  }
}

/** Returns a file's text, decoded as UTF-8. Throws `OperatingError` (EUSAGE) if it cannot be read. */
export function readText(path: string): string {
  return decode(readBytes(path));
}

function decode(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** Returns a file's bytes. Throws `OperatingError` (EUSAGE) if it cannot be read. */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot read ${path}: ${messageOf(error)}`);
  }
}

/** Returns the texts of all files in a folder. Throws `OperatingError`. */
export function listTexts(folder: string): string[] {
  return listNames(folder).map((name) => readText(`${folder}/${name}`));
}

/** Returns the names of all that is in a folder. Throws `OperatingError`. */
export function listNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot read ${folder}: ${messageOf(error)}`);
  }
}

/** Returns the state of files, by which a change is seen. */
function stampOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat === undefined ? "-" : `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
    })
    .join("\n");
}

/** The words in place of a secret in the manifests, which everybody can read. */
const placeholder = "change-me";

/**
 * Returns the secret in a file; undefined if no file is named. Throws `OperatingError`, also if it is empty, or is the
 * one that the manifests are published with.
 */
export function readSecret(path: string): string | undefined {
  if (path === "") return undefined;
  const secret = readText(path).trim();
  if (secret === "") throw new OperatingError("EUSAGE", `the secret in ${path} is empty`);
  if (secret.includes(placeholder)) {
    const instead = "write one of your own there, for example: openssl rand -hex 32";
    throw new OperatingError("EUSAGE", `the secret in ${path} is the published "${placeholder}": ${instead}`);
  }
  return secret;
}

/** Appends to a file, which can be read by its owner alone if it is new. Throws `OperatingError`. */
export function appendLine(path: string, line: string): void {
  try {
    appendFileSync(path, line, { mode: 0o600 });
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot write ${path}: ${messageOf(error)}`);
  }
}

/** Replaces a file's text atomically; a new file can be read by its owner alone. Throws `OperatingError`. */
export function replaceText(path: string, text: string): void {
  // Nobody who may write the folder can guess the name, and have us write through a link of his.
  const next = `${path}.${systemRandom.hex(16)}.new`;
  try {
    const before = statSync(path, { throwIfNoEntry: false });
    writeFileSync(next, text, { flag: "wx", mode: before === undefined ? 0o600 : before.mode & 0o777 });
    if (before !== undefined) chownSync(next, before.uid, before.gid);
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw new OperatingError("EUSAGE", `cannot write ${path}: ${messageOf(error)}`);
  }
}

/** Reads a file of somebody else's, of `bytesMax` bytes at most. Throws `OperatingError` that names it. */
export function readForeign(path: string, bytesMax: number): Uint8Array {
  let size = 0;
  try {
    const about = statSync(path);
    if (!about.isFile()) throw new Error("it is no file");
    size = about.size;
    if (size <= bytesMax) return readFileSync(path);
  } catch (error) {
    throw new OperatingError("EFILE", `cannot read ${path}: ${messageOf(error)}`);
  }
  throw new OperatingError("EFILE", `${path} has ${size} bytes; up to ${bytesMax} are read`);
}

/** Returns the paths of what lies in a folder, in the order of their names. Throws `OperatingError`. */
export function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder)
      .sort()
      .map((name) => join(folder, name));
  } catch (error) {
    throw new OperatingError("EFILE", `cannot read ${folder}: ${messageOf(error)}`);
  }
}

/** Gives a folder another name, where none is yet, or an empty one. Throws `OperatingError`. */
export function moveFolder(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    throw new OperatingError("EFILE", `cannot make ${to} of ${from}: ${messageOf(error)}`);
  }
}

/** Makes a folder, which its owner alone can read, unless it is there. Throws `OperatingError`. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new OperatingError("EFILE", `cannot make ${folder}: ${messageOf(error)}`);
  }
}

/**
 * Makes a file that its owner alone can read, whole or not at all; returns false if there is one. Throws
 * `OperatingError`.
 */
export function createText(path: string, text: string): boolean {
  const next = `${path}.${systemRandom.hex(16)}.new`;
  try {
    writeFileSync(next, text, { flag: "wx", mode: 0o600 });
    linkSync(next, path);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") return false;
    throw new OperatingError("EUSAGE", `cannot write ${path}: ${messageOf(error)}`);
  } finally {
    rmSync(next, { force: true });
  }
}

/** Removes a file; returns false if there was none. Throws `OperatingError`. */
export function removeFile(path: string): boolean {
  if (!isThere(path)) return false;
  try {
    rmSync(path, { force: true });
  } catch (error) {
    throw new OperatingError("EUSAGE", `cannot remove ${path}: ${messageOf(error)}`);
  }
  return true;
}

/** Returns true if there is a file or folder with that path. */
export function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Paths of the files with credentials and certificates for ZooKeeper; "" or undefined: none. */
export interface KeeperFiles {
  readonly zkAuthFile?: string | undefined;
  readonly zkTlsCa?: string | undefined;
  readonly zkTlsCert?: string | undefined;
  readonly zkTlsKey?: string | undefined;
}

/** Reads what a client shows to ZooKeeper. Throws `OperatingError`. */
export function readKeeperFiles(files: KeeperFiles): Pick<ZooKeeperOptions, "credentials" | "tls"> {
  const { zkAuthFile = "", zkTlsCa = "", zkTlsCert = "", zkTlsKey = "" } = files;
  const credentials = readSecret(zkAuthFile);
  if (credentials !== undefined && !/^[^:]+:.+$/.test(credentials))
    throw new OperatingError("EUSAGE", `${zkAuthFile} must hold user:password`);
  if ((zkTlsCert === "") !== (zkTlsKey === ""))
    throw new OperatingError("EUSAGE", "--zk-tls-cert and --zk-tls-key go together");
  if (zkTlsCa === "") {
    if (zkTlsCert !== "") throw new OperatingError("EUSAGE", "--zk-tls-cert needs --zk-tls-ca");
    return { credentials };
  }
  const shown = zkTlsCert === "" ? {} : { cert: readText(zkTlsCert), key: readText(zkTlsKey) };
  return { credentials, tls: { ca: readText(zkTlsCa), ...shown } };
}
