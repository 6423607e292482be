/**
 * How often this broker has committed: the data version of its `/commits` node, which every group sets, expecting what
 * the last one left. Its data says who has set it last, and with which attempt: so a commit in doubt is resolved by
 * what stands there, and nobody is taken for a rival without proof.
 *
 * A doubt is ended by a write of our own with the version that the group in doubt expects. It is not enough to read:
 * what an earlier connection has sent may still be on its way to the leader, or proposed and not committed, and a
 * server that has been cut off from the others says what was. Of the two writes only one can happen, whichever server
 * they come through; the other's version is wrong then, and its answer comes after the first one is seen there.
 */
import { decodeUtf8, encodeUtf8 } from "../base/bytes.ts";
import { brokerPath, commitPath, commitsPath } from "../coordinator/paths.ts";
import type { ZooKeeperClient } from "./client.ts";
import { ZooKeeperError } from "./codes.ts";
import type { ReadResponse, WriteRequest } from "./records.ts";
import type { ZooKeeper } from "./zookeeper.ts";

/** The outcome of an attempt. unknown: the answer was lost, or ZooKeeper would not answer; to be asked again. */
export type Verdict =
  | { readonly kind: "committed"; readonly zxid: number }
  /** The attempt has not happened and never will. */
  | { readonly kind: "never" }
  | { readonly kind: "unknown"; readonly error: ZooKeeperError }
  /** Another broker, or somebody who is none, commits under this name. */
  | { readonly kind: "rival"; readonly why: string };

export interface Asked {
  readonly attempt: number;
  /** True if its answer was lost; otherwise it was refused. */
  readonly inDoubt: boolean;
}

type Found = Extract<ReadResponse, { data: Uint8Array }>;

export class CommitCount {
  readonly path: string;
  readonly #client: ZooKeeperClient;
  readonly #brokerPath: string;
  /** The name of this life of the broker. */
  readonly #incarnation: string;
  /** Attempts are numbered, so that the one that has happened is known from its number. */
  #attempt = 0;
  #version = 0;

  constructor(client: ZooKeeperClient, { id, incarnation }: { readonly id: string; readonly incarnation: string }) {
    this.#client = client;
    this.#incarnation = incarnation;
    this.path = commitPath(id);
    this.#brokerPath = brokerPath(id);
  }

  /** The number of the last attempt. */
  get attempt(): number {
    return this.#attempt;
  }

  /**
   * Begins where earlier lives have ended. What they have sent and the server has not yet handled is refused from here
   * on.
   */
  async begin(zookeeper: ZooKeeper): Promise<void> {
    for (const node of [commitsPath, this.path]) {
      await zookeeper.create(node).catch((error) => {
        if (error.code !== "NodeExists") throw error;
      });
    }
    this.#version = (await zookeeper.set(this.path, this.#stamp())).version;
  }

  /** The write that is committed with a group. */
  next(): WriteRequest {
    return { kind: "setData", path: this.path, data: this.#stamp(), version: this.#version };
  }

  /** The last attempt has happened. ZooKeeper counts in 32 bits: after 2^31 - 1 comes -2^31. */
  counted(): void {
    this.#version = (this.#version + 1) | 0;
  }

  /** Ends the doubt whether an attempt has happened. */
  resolve(attempt: number, done: (verdict: Verdict) => void): void {
    this.#client.submitWrite([this.next()], (error) => {
      if (error === undefined) {
        this.counted();
        return done({ kind: "never" });
      }
      if (error.code === "BadVersion") return this.look({ attempt, inDoubt: true }, done);
      if (error.code !== "NoNode") return done({ kind: "unknown", error });
      this.#restore((trouble) => {
        if (trouble === undefined) this.resolve(attempt, done);
        else done({ kind: "unknown", error: trouble });
      });
    });
  }

  /** Finds out who has written the version that was not expected. */
  look(asked: Asked, done: (verdict: Verdict) => void): void {
    let owner: bigint | undefined;
    let failed: ZooKeeperError | undefined;
    // The server has caught up with the leader when the reads come to it.
    this.#client.submitSync((error) => {
      failed = error;
    });
    this.#client.submitExists(this.#brokerPath, undefined, (error, stat) => {
      failed ??= error;
      owner = stat?.ephemeralOwner;
    });
    this.#client.submitRead([{ kind: "getData", path: this.path }], (refused, responses) => {
      const error = failed ?? refused;
      if (error !== undefined) return done({ kind: "unknown", error });
      const [found] = responses;
      if (typeof found === "string") return done({ kind: "unknown", error: new ZooKeeperError(found, this.path) });
      done(this.#judge(asked, found as Found, owner));
    });
  }

  #judge({ attempt, inDoubt }: Asked, { data, stat }: Found, owner: bigint | undefined): Verdict {
    const writer = readStamp(data);
    if (writer?.incarnation === this.#incarnation) {
      this.#version = stat.version;
      return writer.attempt === attempt ? { kind: "committed", zxid: stat.mzxid } : { kind: "never" };
    }
    const isTaken = owner !== undefined && owner !== this.#client.sessionId;
    if (writer !== undefined || isTaken)
      return { kind: "rival", why: `another broker uses the name of this one (${this.path}); give each its own --id` };
    return this.#adopt(stat.version, inDoubt || owner === undefined);
  }

  /**
   * Takes over a version that no broker has written. An attempt in doubt has not happened if the stranger wrote once:
   * it was his version.
   */
  #adopt(version: number, isOnce: boolean): Verdict {
    const expected = this.#version;
    this.#version = version;
    if (!isOnce || version === ((expected + 1) | 0)) return { kind: "never" };
    const why = `somebody who is no broker writes to ${this.path}: what has been committed cannot be known any more`;
    return { kind: "rival", why };
  }

  /** Makes the node anew: somebody has removed it. */
  #restore(done: (error: ZooKeeperError | undefined) => void): void {
    const create = { kind: "create", path: this.path, data: this.#stamp(), mode: "persistent" } as const;
    this.#client.submitWrite([create], (error) => {
      if (error !== undefined && error.code !== "NodeExists") return done(error);
      this.#version = 0;
      done(undefined);
    });
  }

  #stamp(): Uint8Array {
    return encodeUtf8(`${this.#incarnation} ${++this.#attempt}`);
  }
}

function readStamp(data: Uint8Array): { readonly incarnation: string; readonly attempt: number } | undefined {
  if (data.length > stampBytesMax) return undefined;
  try {
    const [, incarnation, attempt] = /^([0-9a-f]{32}) (\d+)$/.exec(decodeUtf8(data)) ?? [];
    return incarnation === undefined ? undefined : { incarnation, attempt: Number(attempt) };
  } catch {
    return undefined;
  }
}

const stampBytesMax = 64;
