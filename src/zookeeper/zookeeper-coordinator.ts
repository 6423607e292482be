/**
 * The coordinator on ZooKeeper. What is submitted while a commit is under way goes into the next `multi`
 * together (group commit). Every multi also sets this broker's `/commits/<id>`, whose version counts them: so after
 * lost contact it can be found out whether the multi in doubt has happened (`commit-count.ts`), and nothing is lost or
 * done twice. And it fences: whoever writes under the same name makes the other one's multis fail.
 */
import type { Alarm } from "../base/alarm.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { OperatingError } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import {
  keeperGroupBytesMax,
  keeperGroupOperationsMax,
  keeperInsistMax,
  keeperPacketBytesMax,
  keeperRefusedMs,
} from "../base/store-limits.ts";
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorState,
  type ReadDone,
  type ReadOperation,
  type Repair,
  type StoreTime,
  type WatchEvent,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { commitsPath } from "../coordinator/paths.ts";
import { ZooKeeperClient } from "./client.ts";
import { ZooKeeperError } from "./codes.ts";
import { type Asked, CommitCount, type Verdict } from "./commit-count.ts";
import { answer, nodesOf, repairAll } from "./foresight.ts";
import { Group, type Write } from "./group.ts";
import { systemDoors, type ZooKeeperOptions } from "./options.ts";
import { lookAt, readAll } from "./reads.ts";
import type { WriteResponse } from "./records.ts";
import { makeWrite, pathOf, type Read, refuse, renewed, type Submission, type Sync } from "./submissions.ts";
import { isDoubtful, toCode } from "./translate.ts";
import { ZooKeeper } from "./zookeeper.ts";

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
  /** The clock of the server that leads: it stamps each transaction. */
  storeTime: StoreTime | undefined;
  readonly #clock: Clock;
  readonly #client: ZooKeeperClient;
  readonly #count: CommitCount;
  readonly #onFatal: (error: OperatingError) => void;
  readonly #stateListeners: ((state: CoordinatorState, why: string | undefined) => void)[] = [];
  #queue: Submission[] = [];
  /** The group whose answer is awaited, or whose outcome is in doubt. */
  #group: Group | undefined;
  /** Reads whose answers are awaited. */
  #reading: (Read | Sync)[] = [];
  /** The first submission that is not tried before those in front of it are committed. */
  #groupEnd: Write | undefined;
  /** How often one after the other was refused. */
  #refusals = 0;
  /** Grows and shrinks: a server may take less at once than it should. */
  #groupBytesMax = keeperGroupBytesMax;
  /** The attempt whose outcome must be found out, as soon as there is contact. */
  #doubt: Asked | undefined;
  /**
   * The time at which requests that ZooKeeper has refused for a reason of its own are sent again, in the clock's ms;
   * undefined: there are none.
   */
  #retryAt: number | undefined;
  readonly #alarm: Alarm;
  #scheduled = false;
  #closing: (() => void) | undefined;

  private constructor(client: ZooKeeperClient, options: ZooKeeperCoordinatorOptions) {
    this.#client = client;
    this.#clock = options.clock ?? systemClock;
    const incarnation = (options.random ?? systemRandom).hex(16);
    this.#count = new CommitCount(client, { id: options.id, incarnation });
    this.#onFatal = options.onFatal;
    const nextDeadline = (): number => (this.#doubt === undefined ? Infinity : (this.#retryAt ?? Infinity));
    this.#alarm = (options.doors ?? systemDoors).setAlarm({ nextDeadline, tick: () => this.#askAgain() }, this.#clock);
    // Room for headers and for the operation that every group has besides.
    this.submissionBytesMax = (options.packetBytesMax ?? keeperPacketBytesMax) - 16 * 1024;
    client.onState((state, why) => {
      this.#hasRetried();
      this.#report(state, why);
      if (state === "CONNECTED") this.#resume();
    });
  }

  /** Rejects with `OperatingError`: unreachable, too old, refused. */
  static async open(options: ZooKeeperCoordinatorOptions): Promise<ZooKeeperCoordinator> {
    const client = await ZooKeeperClient.connect(options.connect, options);
    try {
      const zookeeper = new ZooKeeper(client);
      await insist(() => zookeeper.ensureChroot());
      const coordinator = new ZooKeeperCoordinator(client, options);
      await insist(() => coordinator.#count.begin(zookeeper));
      // Known since 3.6, as are the watches of whole trees.
      await insist(() => zookeeper.multiRead([{ kind: "getData", path: commitsPath }]));
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
    return this.#retryAt === undefined ? this.#client.state : "SUSPENDED";
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
    this.#alarm.stop();
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
    this.#alarm.stop();
    void this.#client.close().then(closed);
  }

  #takeGroup(): Write[] {
    const group: Write[] = [];
    let bytes = 0;
    let operations = 0;
    for (const submission of this.#queue) {
      if (submission.kind !== "write" || (submission === this.#groupEnd && group.length > 0)) break;
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
    const requests = [this.#count.next(), ...group.requests];
    const { attempt } = this.#count;
    const from = this.#clock.now();
    this.#client.submitWrite(requests, (error, responses, zxid) => {
      if (error === undefined) {
        const { stat } = responses[0]!;
        if (stat !== undefined) this.storeTime = { wall: stat.mtime, from, to: this.#clock.now() };
        this.#count.counted();
        this.#committed(group, responses.slice(1), zxid);
      } else if (isDoubtful(error)) {
        this.#wait({ attempt, inDoubt: true }, error);
      } else {
        this.#refused(group, attempt, error);
      }
    });
  }

  #committed(group: Group, responses: readonly WriteResponse[] | undefined, zxid: number): void {
    this.#group = undefined;
    this.#refusals = 0;
    if (this.#hasRetried()) this.#report(this.#client.state, undefined);
    this.#groupBytesMax = Math.min(keeperGroupBytesMax, this.#groupBytesMax + keeperGroupBytesMax / 64);
    // The next group leaves before the callbacks of this one: network and event loop work side by side.
    this.#pump();
    const results = responses && group.resultsOf(responses);
    group.writes.forEach(({ done }, at) => {
      done(undefined, results?.[at], zxid);
    });
  }

  /** One submission of a group is refused: it hears of it, the others are tried again without it, in their order. */
  #refused(group: Group, attempt: number, error: ZooKeeperError): void {
    const isTooLarge = error.code === "PacketTooLarge";
    const isOfCount = !isTooLarge && error.index < 1;
    if (isOfCount && error.code === "BadVersion")
      return this.#count.look({ attempt, inDoubt: false }, (verdict) => this.#judged(attempt, verdict));
    const code = toCode(error);
    if (isOfCount || code === undefined) return this.#wait({ attempt, inDoubt: true }, error);
    const { write: guilty, index } = group.placeOf(isTooLarge ? 0 : error.index - 1);
    const write = group.writes[guilty]!;
    const refusal = new CoordinatorError(code, write.operations[index]!.path, index);
    const instead = write.repair?.(refusal);
    // One that stays refused is answered in its turn.
    const repaired = instead === undefined ? answer(write, refusal) : makeWrite(instead, write.done, write.repair);
    const again = group.writes.with(guilty, repaired);
    this.#refusals++;
    // Where two fail there are often many.
    if (this.#refusals < 2 || isTooLarge) return this.#tryAgain(again);
    lookAt(this.#client, [...nodesOf(again)], (found) => {
      const { now, later } = found === undefined ? { now: again, later: [] } : repairAll(again, found);
      this.#groupEnd = later[0];
      this.#tryAgain([...now, ...later]);
    });
  }

  /** Before everything else. */
  #tryAgain(writes: readonly Submission[]): void {
    this.#group = undefined;
    this.#queue.unshift(...writes);
    this.#pump();
  }

  /** Contact again: first the outcome of the group in doubt, then everything else. */
  #resume(): void {
    this.#queue = [...this.#reading.splice(0), ...this.#queue.map(renewed)];
    if (this.#doubt === undefined) this.#pump();
    else this.#endDoubt();
  }

  #endDoubt(): void {
    const { attempt } = this.#doubt!;
    this.#doubt = undefined;
    this.#count.resolve(attempt, (verdict) => this.#judged(attempt, verdict));
  }

  #judged(attempt: number, verdict: Verdict): void {
    const group = this.#group!;
    switch (verdict.kind) {
      case "committed":
        return this.#committed(group, undefined, verdict.zxid);
      case "unknown":
        return this.#wait({ attempt, inDoubt: true }, verdict.error);
      case "rival":
        this.#client.terminate();
        return this.#onFatal(new OperatingError("EFENCED", verdict.why));
      case "never":
        // A server whose packet limit is lower than ours hangs up on what is too large for it, again and again.
        this.#groupBytesMax = Math.min(this.#groupBytesMax, group.bytes) / 2;
        this.#tryAgain(group.writes.map(renewed));
    }
  }

  /**
   * The outcome of an attempt is found out when there is contact again. Where there is, ZooKeeper would not, for a
   * reason of its own (a quota, say, or that it is overloaded): that is said, and it is asked again in a while.
   */
  #wait(doubt: Asked, error: ZooKeeperError): void {
    this.#doubt = doubt;
    if (this.#client.state !== "CONNECTED") return;
    this.#retryAt = this.#clock.now() + keeperRefusedMs;
    this.#alarm.wake();
    this.#report("SUSPENDED", `ZooKeeper refuses what it is asked: ${error.message}`);
  }

  /** True if there was something refused, which is to be asked again or is done. */
  #hasRetried(): boolean {
    if (this.#retryAt === undefined) return false;
    this.#retryAt = undefined;
    return true;
  }

  #askAgain(): void {
    if (this.#doubt !== undefined && this.#client.state === "CONNECTED") this.#endDoubt();
  }

  #report(state: CoordinatorState, why: string | undefined): void {
    for (const listener of this.#stateListeners) listener(state, why);
  }

  #ask(submission: Read | Sync): void {
    this.#reading.push(submission);
    const answer = (error: ZooKeeperError | undefined, settle: () => void): void => {
      // What waits for contact is asked again, in its order.
      if (error !== undefined && isDoubtful(error)) return;
      const code = error && toCode(error);
      // Another server may answer; what is on its way to this one is asked again there.
      if (error !== undefined && code === undefined)
        return this.#client.leave(`it refuses what it is asked: ${error.message}`);
      this.#reading.splice(this.#reading.indexOf(submission), 1);
      if (code !== undefined) refuse(submission, new CoordinatorError(code, error!.path, 0));
      else settle();
      if (this.#closing !== undefined) this.#pump();
    };
    if (submission.kind === "sync") {
      return this.#client.submitSync((error) => answer(error, submission.done));
    }
    readAll(this.#client, submission.operations, (error, results) =>
      answer(error, () => submission.done(undefined, results)),
    );
  }
}

/** Asks again what may be done twice, as long as contact is lost over it: it waits for contact then. */
async function insist<Result>(ask: () => Promise<Result>, tries = keeperInsistMax): Promise<Result> {
  try {
    return await ask();
  } catch (error) {
    if (tries === 0 || !(error instanceof ZooKeeperError) || !isDoubtful(error)) throw error;
    return insist(ask, tries - 1);
  }
}
