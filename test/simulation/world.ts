/**
 * A world in one thread, from one seed: simulated time, a network of connections that can be cut, a simulated keeper
 * and brokers that die, sleep and are cut off. The same seed gives the same world.
 */

import { type Log, silentLog } from "../../src/base/log.ts";
import type { Random } from "../../src/base/random.ts";
import { keeperPacketBytesMax } from "../../src/base/store-limits.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import type { BrokerCode } from "./broker-code.ts";
import { BrokerNode, wallStart } from "./broker-node.ts";
import { Ensemble, type EnsembleOptions } from "./ensemble/ensemble.ts";
import { SimulatedKeeper } from "./keeper.ts";
import type { MemoryTree } from "./memory-tree.ts";

const sessionTimeoutMs = 2000;
const lookEveryMs = 20;
/** Hardly more than what the broker keeps free in each. */
const smallSubmissionBytes = 96 * 1024;
/** Credits of a poor bank: it can keep some dozen messages. */
const poorCapital = 5000;
/** Promises that may follow from each other within one instant. */
const promiseSteps = 12;

/** Deterministic chance (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const byte = (): string =>
    Math.floor(next() * 256)
      .toString(16)
      .padStart(2, "0");
  return { next, hex: (count) => Array.from({ length: count }, byte).join("") };
}

interface Happening {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
}

export interface WorldOptions {
  readonly log?: Log | undefined;
  /** Filters of mail drops, for all brokers. */
  readonly mailDrop?: readonly string[] | undefined;
  /** In seconds. */
  readonly bankTtlMax?: number;
  /** In credits; chance decides, if it is not given. */
  readonly bankCapital?: number;
  /** Some messages are larger than what the keeper takes at once. */
  readonly hasLarge?: boolean | undefined;
  /** A broker's wall clock is hours ahead or behind for a while. */
  readonly hasJumps?: boolean | undefined;
  /** The store is an ensemble of servers, to which brokers speak as to ZooKeeper. */
  readonly ensemble?: Partial<EnsembleOptions> | undefined;
  /** Bytes that a connection takes until they are read; unlimited unless set. */
  readonly wireBytesMax?: number | undefined;
  /** Options of all brokers, besides those that the world sets. */
  readonly brokerOptions?: Partial<BrokerOptions> | undefined;
  /** True if clients have user names: each is who it says it is. */
  readonly hasUsers?: boolean;
  /** The code of brokers that have not been upgraded, where there are such. */
  readonly older?: BrokerCode | undefined;
  /** Turns of brokers end by this chance, and what has come while one slept comes in another order; see `uneven.ts`. */
  readonly uneven?: Random | undefined;
  /** Clients wait for CONNACK as long as this chance says, then connect anew, while the first CONNECT is handled. */
  readonly haste?: Random | undefined;
}

interface NodeView {
  readonly data: Uint8Array;
  readonly czxid: number;
  readonly children: ReadonlySet<string>;
}

/** The store's tree, as checkers look at it. */
export type TreeView = Pick<MemoryTree, "read"> & {
  readonly nodes: ReadonlyMap<string, NodeView>;
};

export class World {
  readonly random: Random;
  readonly keeper: SimulatedKeeper;
  /** Where it is, `keeper` is nobody's. */
  readonly ensemble: Ensemble | undefined;
  readonly sessionTimeoutMs = sessionTimeoutMs;
  readonly nodes = new Map<string, BrokerNode>();
  /** Brokers that have ended themselves, and why. */
  readonly ended: string[] = [];
  /** Starts that have failed, and why. */
  readonly failedStarts: string[] = [];
  /** Bytes that are written to a connection and not read, at most. */
  readonly wireBytesMax: number;
  readonly brokerOptions: Partial<BrokerOptions>;
  readonly hasUsers: boolean;
  readonly older: BrokerCode | undefined;
  readonly uneven: Random | undefined;
  readonly haste: Random | undefined;
  readonly log: Log;
  /** In a third of all worlds the bank is. */
  readonly isPoor: boolean;
  readonly bankCapital: number;
  readonly bankTtlMax: number;
  readonly hasLarge: boolean;
  readonly hasJumps: boolean;
  /** Filters of mail drops, for brokers that are started from now on. */
  mailDrop: readonly string[];
  /** How much the keeper's wall clock is ahead, in ms. */
  wallOffset = 0;
  #now = 1000;
  #happenings: Happening[] = [];
  #number = 0;

  constructor(seed: number, options: WorldOptions = {}) {
    const { log = silentLog, mailDrop = [], bankTtlMax = defaultOptions.bankTtlMax } = options;
    this.bankTtlMax = bankTtlMax;
    this.wireBytesMax = options.wireBytesMax ?? Infinity;
    this.brokerOptions = options.brokerOptions ?? {};
    this.hasUsers = options.hasUsers === true;
    this.older = options.older;
    this.uneven = options.uneven;
    this.haste = options.haste;
    this.random = seeded(seed);
    this.log = log;
    this.mailDrop = mailDrop;
    this.isPoor = this.random.next() < 0.34;
    this.bankCapital = options.bankCapital ?? (this.isPoor ? poorCapital : defaultOptions.bankCapital);
    this.hasJumps = options.hasJumps === true;
    this.hasLarge = options.hasLarge === true;
    this.keeper = new SimulatedKeeper({
      scheduler: this,
      latency: () => this.latency(),
      sessionTimeoutMs,
      wall: (time) => wallStart + time + this.wallOffset,
      ...(this.hasLarge ? { submissionBytesMax: smallSubmissionBytes } : {}),
    });
    if (options.ensemble !== undefined) this.ensemble = this.#makeEnsemble(options.ensemble);
  }

  get tree(): TreeView {
    return this.ensemble?.head ?? this.keeper.tree;
  }

  now(): number {
    return this.#now;
  }

  #makeEnsemble(options: Partial<EnsembleOptions>): Ensemble {
    return new Ensemble({
      scheduler: this,
      random: this.random,
      latency: () => this.latency(),
      wall: (time) => wallStart + time + this.wallOffset,
      voters: 3,
      observers: 0,
      packetBytesMax: keeperPacketBytesMax,
      transactionBytesMax: 2 * keeperPacketBytesMax,
      syncMs: sessionTimeoutMs / 2,
      sequenceStart: 0,
      ...options,
    });
  }

  latency(): number {
    return 0.1 + this.random.next() * (this.random.next() < 0.02 ? 30 : 1);
  }

  after(ms: number, run: () => void): void {
    this.at(this.#now + ms, run);
  }

  at(time: number, run: () => void): void {
    const happening = { at: Math.max(this.#now, time), number: ++this.#number, run };
    const heap = this.#happenings;
    heap.push(happening);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!isBefore(happening, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      heap[parent] = happening;
      at = parent;
    }
  }

  /** Lets time pass until a condition holds, which is looked at now and then, or `ms` are over; true if it holds. */
  async pass(ms: number, until: () => boolean = () => false): Promise<boolean> {
    const end = this.#now + ms;
    let lookAt = this.#now;
    for (;;) {
      if (this.#now >= lookAt) {
        if (until()) return true;
        lookAt = this.#now + lookEveryMs;
      }
      const next = this.#happenings[0];
      if (next === undefined || next.at > end) {
        this.#now = Math.max(this.#now, end);
        return until();
      }
      this.#pop();
      this.#now = Math.max(this.#now, next.at);
      next.run();
      // Everything that was promised in this instant happens before the next.
      for (let step = 0; step < promiseSteps; step++) await undefined;
    }
  }

  node(id: string): BrokerNode {
    let node = this.nodes.get(id);
    if (node === undefined) {
      node = new BrokerNode(this, id);
      this.nodes.set(id, node);
    }
    return node;
  }

  #pop(): void {
    const heap = this.#happenings;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= heap.length) return;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) return;
      heap[at] = heap[child]!;
      heap[child] = last;
      at = child;
    }
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}
