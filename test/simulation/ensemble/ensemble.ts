/**
 * A simulated ZooKeeper ensemble: servers that apply what a leader has had committed, each in its own time. What is
 * proposed when the leader is lost may be committed later or never; sessions live as long as the leader hears of them;
 * and a transaction that no server could read again is the ensemble's end, as it is ZooKeeper's.
 */
import type { Random } from "../../../src/base/random.ts";
import type { Scheduler } from "../keeper.ts";
import { Err, type Operation, type Prepared, prepare } from "./requests.ts";
import { KeeperServer } from "./server.ts";
import { type Change, type When, Znodes } from "./znodes.ts";

export interface EnsembleOptions {
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** How long one message takes, in ms; asked for each. */
  readonly latency: () => number;
  /** The time that the servers' clocks show at a time of the scheduler, in ms since 1970. */
  readonly wall: (time: number) => number;
  readonly voters: number;
  readonly observers: number;
  /** jute.maxbuffer: a larger request closes its connection. */
  readonly packetBytesMax: number;
  /** A larger transaction can be written by a server, and not be read again. */
  readonly transactionBytesMax: number;
  /** How long a server that is alone goes on before it notices, in ms. */
  readonly syncMs: number;
  /** Where the numbers of sequential names begin below what is made at the beginning; they end at 2^31 - 1. */
  readonly sequenceStart: number;
}

export interface Part {
  readonly operation: Operation | undefined;
  readonly done: Prepared;
}

/** A transaction, which all servers apply in the same order. */
export interface Transaction extends When {
  readonly parts: readonly Part[];
  /** The operation that was refused, and with which code: then nothing happens. */
  readonly refused: { readonly index: number; readonly code: number } | undefined;
  /** The keeper session that begins or ends with it. */
  readonly session: { readonly id: bigint; readonly isOver: boolean } | undefined;
  readonly from: Forwarded | undefined;
  readonly undo: () => void;
  /** True if the leader was alone when it proposed it: no other server has heard of it. */
  readonly isLonely: boolean;
}

/** A write on its way from the server that it was sent to. */
export interface Forwarded {
  readonly server: KeeperServer;
  readonly session: bigint;
  readonly kind: "begin" | "end" | "write";
  readonly operations: readonly Operation[];
  /** The timeout of the session that begins. */
  readonly timeoutMs: number;
}

interface KeeperSessionRecord {
  readonly id: bigint;
  readonly timeoutMs: number;
  /** The server that it is connected to; undefined: not known to this leader. */
  owner: KeeperServer | undefined;
  expiresAt: number;
  isClosing: boolean;
}

/** Sessions expire at multiples of it, as ZooKeeper has it in buckets. */
const bucketMs = 50;
const epochZxids = 2 ** 32;
/** Bytes that a path needs in the transaction that ends its session, besides its text. */
const pathHeaderBytes = 4;

export class Ensemble {
  readonly options: EnsembleOptions;
  readonly servers: readonly KeeperServer[];
  /** Everything that was proposed has been done here. */
  readonly head: Znodes;
  readonly log: Transaction[] = [];
  /** How many of the log are committed. */
  committed = 0;
  leader: KeeperServer | undefined;
  /** The reason why it is lost for good. */
  destroyed: string | undefined;
  /** Called when the leader proposes something. */
  readonly onProposed: ((transaction: Transaction) => void)[] = [];
  readonly #sessions = new Map<bigint, KeeperSessionRecord>();
  #epoch = 0;
  #counter = 0;
  #lastSession = 0n;
  #commitAt = 0;
  /** Counts leaders: what was on its way to an earlier one is lost. */
  generation = 0;
  #isElecting = false;

  constructor(options: EnsembleOptions) {
    this.options = options;
    this.head = new Znodes(options.sequenceStart);
    const names = Array.from({ length: options.voters + options.observers }, (_, at) => `zk${at + 1}`);
    this.servers = names.map((name, at) => new KeeperServer(this, { name, isVoter: at < options.voters }));
    this.#elect();
    this.#expire();
  }

  /** As clients are told it. */
  get connect(): string {
    return this.servers.map(({ name }) => `${name}:2181`).join(",");
  }

  get now(): number {
    return this.options.scheduler.now();
  }

  after(ms: number, run: () => void): void {
    this.options.scheduler.after(ms, run);
  }

  server(name: string): KeeperServer {
    return this.servers.find((server) => server.name === name)!;
  }

  takeSessionId(): bigint {
    this.#lastSession++;
    return (BigInt(this.#epoch) << 40n) | this.#lastSession;
  }

  /** Whether a session lives, or its end is not committed yet. */
  hasSession(id: bigint): boolean {
    return this.#sessions.has(id);
  }

  /** The leader has been asked whether a session lives that has come to another server; if so it is there now. */
  moveSession(id: bigint, server: KeeperServer): number {
    const session = this.#sessions.get(id);
    if (session === undefined || session.isClosing) return 0;
    session.owner = server;
    this.touch(id);
    return session.timeoutMs;
  }

  touch(id: bigint): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) session.expiresAt = Math.ceil((this.now + session.timeoutMs) / bucketMs + 1) * bucketMs;
  }

  /** Whether the leader hears what a server says, and the other way round. */
  isInTouch(server: KeeperServer): boolean {
    const { leader } = this;
    return leader !== undefined && !server.isCutOff && (server === leader || !leader.isCutOff);
  }

  /** The leader makes a transaction of a write, and proposes it. */
  propose(from: Forwarded): void {
    const code = from.kind === "begin" ? Err.ok : this.#whyNot(from);
    if (code !== Err.ok) return this.#append(from, { parts: [], refused: { index: 0, code } });
    if (from.kind === "begin") {
      const session = {
        id: from.session,
        timeoutMs: from.timeoutMs,
        owner: from.server,
        expiresAt: 0,
        isClosing: false,
      };
      this.#sessions.set(from.session, session);
      this.touch(from.session);
      return this.#append(from, { session: { id: from.session, isOver: false } });
    }
    if (from.kind === "end") return this.#end(from.session, from);
    const when = this.#when();
    const parts: Part[] = [];
    const undo: (() => void)[] = [];
    for (const [index, operation] of from.operations.entries()) {
      const done = prepare(this.head, operation, from.session);
      if (typeof done === "number") {
        for (const step of undo.reverse()) step();
        return this.#append(from, { parts: [], refused: { index, code: done } });
      }
      if (done !== "nothing") undo.push(this.head.apply(done, when));
      parts.push({ operation, done });
    }
    this.#append(from, { parts, undo });
  }

  /** Removes containers that had children and have none any more. */
  sweepContainers(): void {
    if (this.leader === undefined) return;
    for (const [path, { isContainer, children, created }] of [...this.head.nodes]) {
      if (!isContainer || children.size > 0 || created === 0 || created === this.options.sequenceStart) continue;
      const done: Change = { kind: "delete", path };
      this.#append(undefined, {
        parts: [{ operation: undefined, done }],
        undo: [this.head.apply(done, this.#when())],
      });
    }
  }

  /** A server has become alone, or is not any more, or has come or gone: there is a leader if most are in touch. */
  reconsider(): void {
    const { leader } = this;
    if (leader !== undefined && (leader.isDown || leader.isOut || !this.#hasQuorum())) this.#loseLeader();
    if (this.leader === undefined && !this.#isElecting && this.destroyed === undefined) {
      this.#isElecting = true;
      this.after(50 + this.options.random.next() * 500, () => {
        this.#isElecting = false;
        this.#elect();
      });
    }
    if (this.leader !== undefined) this.#commitSoon();
  }

  /** The next transaction's number, and its time. */
  #when(): When {
    return { zxid: this.#epoch * epochZxids + this.#counter + 1, time: this.options.wall(this.now) };
  }

  #whyNot({ session: id, server }: Forwarded): number {
    const session = this.#sessions.get(id);
    if (session === undefined || session.isClosing) return Err.sessionExpired;
    session.owner ??= server;
    return session.owner === server ? Err.ok : Err.sessionMoved;
  }

  #append(
    from: Forwarded | undefined,
    what: Partial<Pick<Transaction, "parts" | "refused" | "session">> & { undo?: readonly (() => void)[] },
  ): void {
    const { parts = [], refused, session, undo = [] } = what;
    const when = this.#when();
    this.#counter++;
    const transaction: Transaction = {
      ...when,
      parts,
      refused,
      session,
      from,
      undo: () => {
        for (const step of undo.toReversed()) step();
        if (session === undefined) return;
        if (!session.isOver) this.#sessions.delete(session.id);
        else this.#sessions.get(session.id)!.isClosing = false;
      },
      isLonely: this.leader!.isCutOff,
    };
    this.log.push(transaction);
    for (const listener of this.onProposed) listener(transaction);
    this.#commitSoon();
  }

  #commitSoon(): void {
    const { generation } = this;
    const until = this.log.length;
    this.#commitAt = Math.max(this.#commitAt, this.now + this.options.latency() + this.options.latency());
    this.after(this.#commitAt - this.now, () => {
      if (this.generation === generation && this.#hasQuorum()) this.#commit(until);
    });
  }

  #commit(until: number): void {
    if (until <= this.committed) return;
    for (const { session } of this.log.slice(this.committed, until))
      if (session?.isOver) this.#sessions.delete(session.id);
    this.committed = until;
    for (const server of this.servers) server.hear();
  }

  #hasQuorum(): boolean {
    const { leader } = this;
    if (leader === undefined || leader.isDown) return false;
    const inTouch = this.servers.filter((server) => server.isVoter && !server.isDown && this.isInTouch(server));
    return inTouch.length > this.options.voters / 2;
  }

  /**
   * Ends a leader: its proposals that are not committed may have come to enough servers all the same, up to some point.
   */
  #loseLeader(): void {
    this.generation++;
    this.leader = undefined;
    const lonely = this.log.findIndex(({ isLonely }, at) => at >= this.committed && isLonely);
    const most = (lonely === -1 ? this.log.length : lonely) - this.committed;
    const surviving = this.committed + Math.floor(this.options.random.next() * (most + 1));
    while (this.log.length > surviving) this.log.pop()!.undo();
    for (const server of this.servers) if (!server.isCutOff) server.stepOut("the leader is lost");
  }

  #elect(): void {
    const able = this.servers.filter(({ isVoter, isDown, isCutOff }) => isVoter && !isDown && !isCutOff);
    if (able.length <= this.options.voters / 2 || this.destroyed !== undefined) return;
    this.leader = able[Math.floor(this.options.random.next() * able.length)]!;
    this.#epoch++;
    this.#counter = 0;
    for (const session of this.#sessions.values()) {
      session.owner = undefined;
      this.touch(session.id);
    }
    for (const server of this.servers) server.join();
    this.leader.lastZxid = Math.max(this.leader.lastZxid, this.#epoch * epochZxids);
    this.#commitSoon();
  }

  #expire(): void {
    if (this.leader !== undefined && !this.leader.isDown)
      for (const session of [...this.#sessions.values()])
        if (session.expiresAt <= this.now && !session.isClosing) this.#end(session.id, undefined);
    this.after(bucketMs, () => this.#expire());
  }

  /** Ends a session: all its ephemeral nodes go in one transaction, which names them all. */
  #end(id: bigint, from: Forwarded | undefined): void {
    this.#sessions.get(id)!.isClosing = true;
    const paths = [...this.head.ephemeralsOf(id)];
    const bytes = paths.reduce((sum, path) => sum + pathHeaderBytes + Buffer.byteLength(path), 0);
    if (bytes > this.options.transactionBytesMax)
      return this.#destroy(`a transaction of ${bytes} bytes ended a session`);
    const when = this.#when();
    const parts = paths.map((path): Part => ({ operation: undefined, done: { kind: "delete", path } }));
    const undo = parts.map(({ done }) => this.head.apply(done as Change, when));
    this.#append(from, { parts, undo, session: { id, isOver: true } });
  }

  #destroy(why: string): void {
    this.destroyed = why;
    this.generation++;
    this.leader = undefined;
    for (const server of this.servers) server.crash();
  }
}
