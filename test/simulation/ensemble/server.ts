/** One server of the simulated ensemble: what it has applied, and who is connected to it. */
import type { Transport } from "../../../src/net/transport.ts";
import { EventType } from "../../../src/zookeeper/codes.ts";
import { KeeperConnection } from "./connection.ts";
import type { Ensemble, Forwarded, Part, Transaction } from "./ensemble.ts";
import { type Change, Znodes } from "./znodes.ts";

interface Waiting {
  readonly index: number;
  readonly run: () => void;
}

/** A request that is answered when its write has been applied here. */
export interface Awaiting {
  /** A part of it was just applied. */
  applied(part: Part, tree: Znodes): void;
  done(transaction: Transaction): void;
}

/** Signs of life are passed on to the leader no more often. */
const touchMs = 30;

export class KeeperServer {
  readonly name: string;
  readonly isVoter: boolean;
  readonly ensemble: Ensemble;
  readonly tree: Znodes;
  /** The last transaction that was applied. */
  lastZxid = 0;
  /** How far behind it applies what it hears, in ms. */
  lagMs = 0;
  /** The other servers cannot be reached; its clients can. */
  isCutOff = false;
  isDown = false;
  /** True if it has noticed that there is no leader, or that it has none: it serves nobody. */
  isOut = true;
  readonly connections = new Set<KeeperConnection>();
  /** How many of the log were applied. */
  #applied = 0;
  #heardAt = 0;
  #saidAt = 0;
  /** Requests that wait until it has applied so many transactions. */
  #waiting: Waiting[] = [];
  /** Words that could not be said to the leader yet. */
  #held: (() => void)[] = [];
  readonly #touched = new Map<bigint, number>();
  readonly #awaiting = new Map<Forwarded, Awaiting>();
  /** The leader that it has joined. */
  #generation = -1;

  constructor(ensemble: Ensemble, { name, isVoter }: { name: string; isVoter: boolean }) {
    this.ensemble = ensemble;
    this.name = name;
    this.isVoter = isVoter;
    this.tree = new Znodes(ensemble.options.sequenceStart);
  }

  get isServing(): boolean {
    return !this.isDown && !this.isOut;
  }

  /** A client has dialled. */
  accept(transport: Transport): KeeperConnection {
    const connection = new KeeperConnection(this, transport);
    this.connections.add(connection);
    return connection;
  }

  /** Tells the leader, after what was told before; lost, if there is another leader by then. */
  tellLeader(run: () => void): void {
    const { ensemble } = this;
    const { generation } = ensemble;
    this.#saidAt = Math.max(this.#saidAt, ensemble.now + (this === ensemble.leader ? 0 : ensemble.options.latency()));
    ensemble.after(this.#saidAt - ensemble.now, () => {
      if (ensemble.generation !== generation || !this.isServing) return;
      if (ensemble.isInTouch(this) && this.#held.length === 0) run();
      else this.#held.push(run);
    });
  }

  /** The answer of the leader, which does not wait for what is being applied. */
  hearAnswer(run: () => void): void {
    const { generation } = this.ensemble;
    this.ensemble.after(this.ensemble.options.latency(), () => {
      if (this.ensemble.generation === generation && this.isServing) run();
    });
  }

  /** Has a transaction made of a write; its answer is known when this server applies that. */
  forward(request: Omit<Forwarded, "server">, awaiting: Awaiting): void {
    const forwarded: Forwarded = { ...request, server: this };
    this.#awaiting.set(forwarded, awaiting);
    this.tellLeader(() => this.ensemble.propose(forwarded));
  }

  /** Calls back when it has caught up with the leader. */
  sync(done: () => void): void {
    this.tellLeader(() => {
      const index = this.ensemble.log.length;
      this.hearAnswer(() => {
        this.#waiting.push({ index, run: done });
        this.#release();
      });
    });
  }

  /** A session has given a sign of life. */
  touch(session: bigint): void {
    const { now } = this.ensemble;
    if (now - (this.#touched.get(session) ?? -Infinity) < touchMs) return;
    this.#touched.set(session, now);
    this.tellLeader(() => this.ensemble.touch(session));
  }

  /** More has been committed. */
  hear(): void {
    const { ensemble } = this;
    if (!this.isServing || !ensemble.isInTouch(this)) return;
    const until = ensemble.committed;
    const { latency } = ensemble.options;
    const lag = this === ensemble.leader ? 0 : latency() + this.lagMs * ensemble.options.random.next();
    this.#heardAt = Math.max(this.#heardAt, ensemble.now + lag);
    ensemble.after(this.#heardAt - ensemble.now, () => {
      if (this.isServing) this.#applyUpTo(until);
    });
  }

  /** There is a leader, and this server has found it. */
  join(): void {
    if (this.isDown || this.isCutOff) return;
    this.isOut = false;
    this.#generation = this.ensemble.generation;
    this.#heardAt = this.#saidAt = this.ensemble.now;
    // It begins to serve when it has what the others have.
    this.#applyUpTo(this.ensemble.committed);
  }

  /** Serves nobody until it has found the leader. */
  stepOut(why: string): void {
    this.isOut = true;
    this.#forget(why);
  }

  /** Cuts it off from the other servers: it notices after a while, and so do they if it leads them. */
  cutOff(): void {
    const { ensemble } = this;
    this.isCutOff = true;
    const { syncMs, random } = ensemble.options;
    ensemble.after(syncMs * (0.5 + random.next()), () => {
      if (!this.isCutOff || !this.isServing) return;
      this.stepOut("alone");
      ensemble.reconsider();
    });
    ensemble.after(syncMs * (0.5 + random.next()), () => {
      if (this.isCutOff && ensemble.leader === this) ensemble.reconsider();
    });
  }

  rejoin(): void {
    this.isCutOff = false;
    this.#comeBack();
  }

  crash(): void {
    this.isDown = true;
    this.#forget("crashed");
    this.ensemble.reconsider();
  }

  restart(): void {
    this.isDown = false;
    this.isOut = true;
    this.#comeBack();
  }

  #comeBack(): void {
    const { ensemble } = this;
    ensemble.reconsider();
    if (this.isServing && this.#generation !== ensemble.generation) this.stepOut("there is another leader");
    if (this.isServing) {
      // Nobody has noticed.
      const held = this.#held;
      this.#held = [];
      for (const run of held) run();
      return this.hear();
    }
    ensemble.after(20 + ensemble.options.random.next() * 200, () => {
      if (ensemble.leader !== undefined && ensemble.isInTouch(this) && !this.isServing) this.join();
    });
  }

  #forget(why: string): void {
    this.#held = [];
    this.#waiting = [];
    this.#awaiting.clear();
    this.#touched.clear();
    for (const connection of [...this.connections]) connection.hangUp(why);
  }

  #applyUpTo(until: number): void {
    const { log } = this.ensemble;
    for (; this.#applied < until; this.#applied++) this.#apply(log[this.#applied]!);
    this.#release();
  }

  #apply(transaction: Transaction): void {
    const { from, session, parts, zxid } = transaction;
    const awaiting = from?.server === this ? this.#awaiting.get(from) : undefined;
    for (const part of parts) {
      if (typeof part.done === "object") {
        this.tree.apply(part.done, transaction);
        this.#tell(part.done);
      }
      awaiting?.applied(part, this.tree);
    }
    this.lastZxid = zxid;
    if (awaiting !== undefined) {
      this.#awaiting.delete(from!);
      awaiting.done(transaction);
    }
    if (!session?.isOver) return;
    for (const connection of [...this.connections])
      if (connection.session === session.id) connection.hangUp("the session is over");
  }

  #tell(change: Change): void {
    const { kind, path } = change;
    const type = kind === "create" ? EventType.created : kind === "set" ? EventType.dataChanged : EventType.deleted;
    for (const connection of this.connections) connection.tell(type, path);
  }

  #release(): void {
    const ready = this.#waiting.filter(({ index }) => index <= this.#applied);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter(({ index }) => index > this.#applied);
    for (const { run } of ready) run();
  }
}
