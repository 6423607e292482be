/**
 * The coordinator on ZooKeeper. What is submitted while a commit is under way goes into the next `multi`
 * together (group commit). Every multi also sets this broker's `/commits/<id>`, whose version counts them: after
 * lost contact that number tells whether the multi in doubt has happened, so nothing is lost or done twice. And it
 * fences: whoever writes under the same name makes the other one's multis fail.
 */
import { noBytes } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import {
  keeperGroupBytesMax,
  keeperGroupOperationsMax,
  keeperPacketBytesMax,
  keeperReadOperationsMax,
} from "../base/limits.ts";
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorState,
  type ReadDone,
  type ReadOperation,
  type ReadResult,
  type Repair,
  type WatchEvent,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { commitPath, commitsPath } from "../coordinator/paths.ts";
import { ZooKeeperClient } from "./client.ts";
import { ZooKeeperError } from "./codes.ts";
import { Group, type Write } from "./group.ts";
import type { ZooKeeperOptions } from "./options.ts";
import type { WriteRequest, WriteResponse } from "./records.ts";
import { isDoubtful, sizeOf, toCode, toReadRequest, toReadResult, toStat } from "./translate.ts";
import { ZooKeeper } from "./zookeeper.ts";

interface Read {
  readonly kind: "read";
  readonly operations: readonly ReadOperation[];
  readonly done: ReadDone;
}

interface Sync {
  readonly kind: "sync";
  readonly done: () => void;
}

type Submission = Write | Read | Sync;

export interface ZooKeeperCoordinatorOptions extends ZooKeeperOptions {
  /** Hosts and chroot. */
  readonly connect: string;
  /** The broker's name. */
  readonly id: string;
  /** The broker must end: somebody else commits under its name, or ZooKeeper refuses it. */
  readonly onFatal: (error: OperatingError) => void;
}

export class ZooKeeperCoordinator implements Coordinator {
  readonly submissionBytesMax: number;
  readonly #client: ZooKeeperClient;
  readonly #commitPath: string;
  readonly #onFatal: (error: OperatingError) => void;
  readonly #stateListeners: ((state: CoordinatorState, why: string | undefined) => void)[] = [];
  #queue: Submission[] = [];
  /** The group whose answer is awaited, or whose outcome is in doubt. */
  #group: Group | undefined;
  /** Reads whose answers are awaited. */
  #reading: (Read | Sync)[] = [];
  /** Grows and shrinks: a server may take less at once than it should. */
  #groupBytesMax = keeperGroupBytesMax;
  #commits = 0;
  #inDoubt = false;
  #scheduled = false;
  #closing: (() => void) | undefined;

  private constructor(client: ZooKeeperClient, options: ZooKeeperCoordinatorOptions) {
    this.#client = client;
    this.#commitPath = commitPath(options.id);
    this.#onFatal = options.onFatal;
    // Room for headers and for the operation that every group has besides.
    this.submissionBytesMax = (options.packetBytesMax ?? keeperPacketBytesMax) - 16 * 1024;
    client.onState((state, why) => {
      for (const listener of this.#stateListeners) listener(state, why);
      if (state === "CONNECTED") this.#resume();
    });
  }

  /** Rejects with `OperatingError`: unreachable, too old, refused. */
  static async open(options: ZooKeeperCoordinatorOptions): Promise<ZooKeeperCoordinator> {
    const client = await ZooKeeperClient.connect(options.connect, options);
    try {
      const zookeeper = new ZooKeeper(client);
      await zookeeper.ensureChroot();
      const coordinator = new ZooKeeperCoordinator(client, options);
      coordinator.#commits = await countCommits(zookeeper, coordinator.#commitPath);
      // Known since 3.6, as are the watches of whole trees.
      await zookeeper.multiRead([{ kind: "getData", path: commitsPath }]);
      return coordinator;
    } catch (error) {
      client.terminate();
      if (!(error instanceof ZooKeeperError)) throw error;
      const isTooOld = error.code === "Unimplemented";
      const why = isTooOld ? "it is too old; MQTTZoo needs ZooKeeper 3.6 or later" : error.message;
      throw new OperatingError("EZOOKEEPER", `ZooKeeper at ${options.connect} refuses to be used: ${why}`);
    }
  }

  get state(): CoordinatorState {
    return this.#client.state;
  }

  get seenZxid(): number {
    return this.#client.seenZxid;
  }

  get leaseUntil(): number {
    return this.#client.leaseUntil;
  }

  get client(): ZooKeeperClient {
    return this.#client;
  }

  write(operations: readonly WriteOperation[], done: WriteDone, repair?: Repair): void {
    this.#submit(makeWrite(operations, done, repair));
  }

  read(operations: readonly ReadOperation[], done: ReadDone): void {
    this.#submit({ kind: "read", operations, done });
  }

  sync(done: () => void): void {
    this.#submit({ kind: "sync", done });
  }

  watch(path: string, listener: (event: WatchEvent) => void): () => void {
    return this.#client.watch(path, "recursive", ({ type, path: at }) => {
      if (type !== "childrenChanged") listener({ type, path: at });
    });
  }

  onState(listener: (state: CoordinatorState, why: string | undefined) => void): void {
    this.#stateListeners.push(listener);
  }

  close(done: () => void): void {
    this.#closing = done;
    this.#pump();
  }

  /** Vanishes without a word, as a crash would; for tests. */
  terminate(): void {
    this.#client.terminate();
  }

  #submit(submission: Submission): void {
    if (this.#closing !== undefined) {
      queueMicrotask(() => refuse(submission, new CoordinatorError("Closed", pathOf(submission), 0)));
      return;
    }
    this.#queue.push(submission);
    if (this.#scheduled) return;
    // Everything of this turn goes together.
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  /** While a group is under way nothing else is asked: what failed in it must be tried before what came later. */
  #pump(): void {
    while (this.#group === undefined && this.#queue.length > 0 && this.#client.state === "CONNECTED") {
      if (this.#queue[0]!.kind === "write") this.#commit(new Group(this.#takeGroup()));
      else this.#ask(this.#queue.shift() as Read | Sync);
    }
    const idle = this.#group === undefined && this.#queue.length === 0 && this.#reading.length === 0;
    // Without contact nothing more can be done for what waits.
    if (this.#closing === undefined || (!idle && this.#client.state === "CONNECTED")) return;
    const closed = this.#closing;
    this.#closing = () => {};
    void this.#client.close().then(closed);
  }

  #takeGroup(): Write[] {
    const group: Write[] = [];
    let bytes = 0;
    let operations = 0;
    for (const submission of this.#queue) {
      if (submission.kind !== "write") break;
      bytes += submission.bytes;
      operations += submission.operations.length;
      if (group.length > 0 && (bytes > this.#groupBytesMax || operations > keeperGroupOperationsMax)) break;
      group.push(submission);
    }
    this.#queue.splice(0, group.length);
    return group;
  }

  #commit(group: Group): void {
    this.#group = group;
    const count: WriteRequest = { kind: "setData", path: this.#commitPath, data: noBytes, version: this.#commits };
    const requests = [count, ...group.requests];
    this.#client.submitWrite(requests, (error, responses, zxid) => {
      if (error === undefined) return this.#committed(group, responses.slice(1), zxid);
      if (isDoubtful(error)) {
        this.#inDoubt = true;
        if (this.#client.state === "CONNECTED") this.#resume();
        return;
      }
      this.#refused(group, error);
    });
  }

  #committed(group: Group, responses: readonly WriteResponse[] | undefined, zxid: number): void {
    this.#commits++;
    this.#group = undefined;
    this.#groupBytesMax = Math.min(keeperGroupBytesMax, this.#groupBytesMax + keeperGroupBytesMax / 64);
    // The next group leaves before the callbacks of this one: network and event loop work side by side.
    this.#pump();
    const results = responses && group.resultsOf(responses);
    group.writes.forEach(({ done }, at) => {
      done(undefined, results?.[at], zxid);
    });
  }

  /** One submission of a group is refused: it hears of it, the others are tried again without it, in their order. */
  #refused(group: Group, error: ZooKeeperError): void {
    this.#group = undefined;
    const isTooLarge = error.code === "PacketTooLarge";
    if (!isTooLarge && error.index < 1) return this.#disown(error);
    const { write: guilty, index } = group.placeOf(isTooLarge ? 0 : error.index - 1);
    const { operations, done, repair } = group.writes[guilty]!;
    const refusal = new CoordinatorError(toCode(error), operations[index]!.path, index);
    const instead = repair?.(refusal);
    // One that stays refused is answered in its turn.
    const answer = makeWrite([], () => done(refusal, undefined, 0), undefined);
    const again = group.writes.map((write, at) => {
      if (at !== guilty) return write;
      return instead === undefined ? answer : makeWrite(instead, done, repair);
    });
    this.#queue.unshift(...again);
    this.#pump();
  }

  /** Somebody else commits under this name. */
  #disown(error: ZooKeeperError): void {
    const why = `another broker uses the name of this one (${this.#commitPath}: ${error.code}); give each its own --id`;
    this.#client.terminate();
    this.#onFatal(new OperatingError("EFENCED", why));
  }

  /** Contact again: first the outcome of the group in doubt, then everything else. */
  #resume(): void {
    this.#queue.unshift(...this.#reading.splice(0));
    if (!this.#inDoubt) return this.#pump();
    this.#inDoubt = false;
    const group = this.#group!;
    this.#client.submitRead([{ kind: "getData", path: this.#commitPath }], (error, responses) => {
      const [found] = responses ?? [];
      if (error !== undefined || typeof found !== "object" || !("data" in found)) {
        this.#inDoubt = true;
        return;
      }
      const { version, mzxid } = found.stat;
      if (version === this.#commits + 1) return this.#committed(group, undefined, mzxid);
      if (version !== this.#commits) return this.#disown(new ZooKeeperError("BadVersion", this.#commitPath));
      this.#group = undefined;
      // A server whose packet limit is lower than ours hangs up on what is too large for it, again and again.
      this.#groupBytesMax = Math.min(this.#groupBytesMax, group.bytes) / 2;
      this.#queue.unshift(...group.writes);
      this.#pump();
    });
  }

  #ask(submission: Read | Sync): void {
    this.#reading.push(submission);
    const answer = (error: ZooKeeperError | undefined, settle: () => void): void => {
      // What waits for contact is asked again, in its order.
      if (error !== undefined && isDoubtful(error)) return;
      this.#reading.splice(this.#reading.indexOf(submission), 1);
      if (error !== undefined) refuse(submission, new CoordinatorError(toCode(error), error.path, 0));
      else settle();
      if (this.#closing !== undefined) this.#pump();
    };
    if (submission.kind === "sync") {
      return this.#client.submitSync((error) => answer(error, submission.done));
    }
    this.#read(submission.operations, (error, results) => answer(error, () => submission.done(undefined, results)));
  }

  /** `exists` has no place in a multi-read, so it is asked beside it; all are pipelined. */
  #read(
    operations: readonly ReadOperation[],
    done: (error: ZooKeeperError | undefined, results: ReadResult[]) => void,
  ): void {
    const results: ReadResult[] = new Array(operations.length);
    let open = 1;
    let failed: ZooKeeperError | undefined;
    const settle = (error: ZooKeeperError | undefined): void => {
      failed ??= error;
      open--;
      if (open === 0) done(failed, results);
    };
    const indexes: number[] = [];
    operations.forEach((operation, index) => {
      if (operation.kind !== "exists") {
        indexes.push(index);
        return;
      }
      open++;
      this.#client.submitExists(operation.path, undefined, (error, stat) => {
        results[index] = stat === undefined ? "NoNode" : { stat: toStat(stat) };
        settle(error);
      });
    });
    for (let at = 0; at < indexes.length; at += keeperReadOperationsMax) {
      const page = indexes.slice(at, at + keeperReadOperationsMax);
      open++;
      this.#client.submitRead(
        page.map((index) => toReadRequest(operations[index]!)),
        (error, responses) => {
          if (error === undefined) {
            for (let index = 0; index < page.length; index++) results[page[index]!] = toReadResult(responses[index]!);
          }
          settle(error);
        },
      );
    }
    // Nothing is asked, but in its turn: who asks waits for the answers before it.
    if (operations.length === 0) this.#client.submitExists(this.#commitPath, undefined, settle);
    else settle(undefined);
  }
}

function makeWrite(operations: readonly WriteOperation[], done: WriteDone, repair: Repair | undefined): Write {
  let bytes = 0;
  for (const operation of operations) bytes += sizeOf(operation);
  return { kind: "write", operations, bytes, done, repair };
}

function refuse(submission: Submission, error: CoordinatorError): void {
  if (submission.kind === "write") submission.done(error, undefined, 0);
  else if (submission.kind === "read") submission.done(error, []);
}

function pathOf(submission: Submission): string {
  return submission.kind === "sync" ? "/" : (submission.operations[0]?.path ?? "/");
}

/** How often this broker has committed, in all its lives; and one more. */
async function countCommits(zookeeper: ZooKeeper, path: string): Promise<number> {
  for (const node of [commitsPath, path]) {
    await zookeeper.create(node).catch((error) => {
      if (error.code !== "NodeExists") throw error;
    });
  }
  // From here on what an earlier life has sent and the server has not yet handled is refused.
  return (await zookeeper.set(path, noBytes)).version;
}
