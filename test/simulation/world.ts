/**
 * A world in one thread, from one seed: simulated time, a network of connections that can be cut, a simulated keeper and
 * brokers that die, sleep and are cut off. The same seed gives the same world.
 */
import { type Log, silentLog } from "../../src/base/log.ts";
import type { Random } from "../../src/base/random.ts";
import { Broker } from "../../src/broker/broker.ts";
import { Connection } from "../../src/broker/connection.ts";
import { LinkConnection } from "../../src/broker/links.ts";
import { defaultOptions } from "../../src/broker/options.ts";
import type { Transport } from "../../src/net/transport.ts";
import { Turn } from "../../src/net/writer.ts";
import { type KeeperClient, SimulatedKeeper } from "./keeper.ts";
import { type End, Wire } from "./wire.ts";

export const sessionTimeoutMs = 2000;
/** The world begins then, in ms since 1970. */
export const wallStart = 1_800_000_000_000;
const lookEveryMs = 20;
/** Hardly more than what the broker keeps free in each. */
const smallSubmissionBytes = 96 * 1024;
/** Credits of a poor bank: it can keep some dozen messages. */
const poorCapital = 3000;
/** Clocks of brokers run faster or slower than the world's by up to this part. */
const driftMax = 0.02;
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
  /** Brokers' wall clocks are set, by less than the shortest time to live. */
  readonly hasJumps?: boolean | undefined;
}

export class World {
  readonly random: Random;
  readonly keeper: SimulatedKeeper;
  readonly nodes = new Map<string, BrokerNode>();
  readonly log: Log;
  /** In a third of all worlds the bank is. */
  readonly isPoor: boolean;
  readonly bankCapital: number;
  readonly bankTtlMax: number;
  readonly hasLarge: boolean;
  readonly hasJumps: boolean;
  /** Filters of mail drops, for brokers that are started from now on. */
  mailDrop: readonly string[];
  #now = 1000;
  #happenings: Happening[] = [];
  #number = 0;

  constructor(seed: number, options: WorldOptions = {}) {
    const { log = silentLog, mailDrop = [], bankTtlMax = defaultOptions.bankTtlMax } = options;
    this.bankTtlMax = bankTtlMax;
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
      ...(this.hasLarge ? { submissionBytesMax: smallSubmissionBytes } : {}),
    });
  }

  now(): number {
    return this.#now;
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

/** A machine for a broker: the broker on it may die and be started again. */
export class BrokerNode {
  readonly id: string;
  readonly #world: World;
  broker: Broker | undefined;
  #keeperClient: KeeperClient | undefined;
  /** Counts lives: what an earlier one is still told is lost. */
  #life = 0;
  #asleep = false;
  #missed: (() => void)[] = [];
  readonly #wires = new Set<Wire>();
  readonly #clientWires = new Set<Wire>();
  readonly #rate: number;
  /** Other brokers that this one cannot reach. */
  readonly cutFrom = new Set<string>();

  constructor(world: World, id: string) {
    this.#world = world;
    this.id = id;
    this.#rate = 1 + (2 * world.random.next() - 1) * driftMax;
  }

  /** What the clock here says at a time of the world; and the reverse. */
  #local(time: number): number {
    return time * this.#rate;
  }

  #worldTime(local: number): number {
    return local / this.#rate;
  }

  /** How much the wall clock here is ahead, in ms. */
  wallOffset = 0;

  /** True if that is its session with the keeper. */
  owns(client: KeeperClient): boolean {
    return this.#keeperClient === client;
  }

  get isUp(): boolean {
    return this.broker !== undefined;
  }

  /** Starts, and lets the time pass that it takes: it reads the tree. */
  async startIn(world: World): Promise<void> {
    let started = false;
    void this.start().then(() => {
      started = true;
    });
    await world.pass(30_000, () => started);
  }

  async start(): Promise<void> {
    const life = ++this.#life;
    const world = this.#world;
    const keeperClient = world.keeper.connect((time) => this.#local(time));
    this.#keeperClient = keeperClient;
    const broker = await Broker.start({
      options: {
        ...defaultOptions,
        id: this.id,
        advertise: this.id,
        zkSessionTimeout: sessionTimeoutMs / 1000,
        bankCapital: world.bankCapital,
        bankTtlMax: world.bankTtlMax,
        mailDrop: world.mailDrop,
      },
      coordinator: keeperClient,
      clock: {
        now: () => this.#local(world.now()),
        wall: () => wallStart + this.#local(world.now()) + this.wallOffset,
      },
      random: world.random,
      log: world.log.child({ on: this.id }),
      turn: new Turn((flush) => queueMicrotask(flush)),
      linkSecret: "secret",
      fatal: (error) => {
        if (this.#life === life) world.after(0, () => this.kill(error.message));
      },
      dialLink: ({ host }, { opened, failed }) => {
        const life = this.#life;
        world.after(world.latency(), () => {
          if (this.#life !== life) return;
          const other = world.nodes.get(host);
          if (other?.broker === undefined || this.cutFrom.has(host) || other.cutFrom.has(this.id))
            return failed("no answer");
          const wire = new Wire(world);
          wire.isCut = () => this.cutFrom.has(host) || other.cutFrom.has(this.id);
          const connection = opened(wire.transport(0, host));
          this.#carry(wire, 0, connection);
          other.accept(wire);
          this.#do(() => this.broker?.handle({ kind: "linkOpened", connection }));
        });
      },
    });
    if (this.#life !== life) return;
    this.broker = broker;
    let alarmAt = Infinity;
    const wake = (): void => {
      const deadline = broker.nextDeadline();
      if (deadline >= alarmAt) return;
      alarmAt = deadline;
      // Not a moment before it, whatever the division has lost.
      world.at(this.#worldTime(deadline) + 1e-6, () => {
        if (this.#life !== life || alarmAt !== deadline) return;
        alarmAt = Infinity;
        this.#do(() => {
          broker.handle({ kind: "tick" });
          wake();
        });
      });
    };
    broker.onSooner(wake);
    wake();
  }

  /** Another broker has dialled. */
  accept(wire: Wire): void {
    const connection = new LinkConnection(wire.transport(1, "peer"), this.broker!.context.turn, {
      dialled: false,
      nonce: this.#world.random.hex(8),
    });
    this.#carry(wire, 1, connection);
    this.#do(() => this.broker?.handle({ kind: "linkOpened", connection }));
  }

  /** A client dials; undefined if nobody listens. */
  dial(end: End): Transport | undefined {
    if (this.broker === undefined) return undefined;
    const wire = new Wire(this.#world);
    const life = this.#life;
    const connection = new Connection(wire.transport(1, "client"), this.broker.context.turn);
    wire.attach(0, end);
    wire.attach(1, {
      received: (bytes) => this.#do(() => this.broker?.handle({ kind: "received", connection, bytes }), life),
      closed: (why) => this.#do(() => this.broker?.handle({ kind: "closed", connection, why }), life),
    });
    this.#wires.add(wire);
    this.#clientWires.add(wire);
    this.#do(() => this.broker?.handle({ kind: "opened", connection }));
    return wire.transport(0, this.id);
  }

  /** Dies; its connections break, its keeper session ends when it has been silent for long enough. */
  kill(_why = "killed"): void {
    this.#life++;
    this.broker = undefined;
    this.#asleep = false;
    this.#missed = [];
    this.#keeperClient?.crash();
    for (const wire of this.#wires) wire.reset();
    this.#wires.clear();
    this.#clientWires.clear();
  }

  /** The connections of all clients here are half-open: nothing passes, and nobody is told. */
  cutClients(): void {
    for (const wire of this.#clientWires) wire.isCut = () => true;
  }

  healClients(): void {
    for (const wire of this.#clientWires) {
      wire.isCut = () => false;
      wire.heal();
    }
  }

  /** Stops, and knows nothing of it. */
  sleep(): void {
    this.#asleep = true;
    this.#keeperClient?.cut();
  }

  wakeUp(): void {
    if (!this.#asleep) return;
    this.#asleep = false;
    const missed = this.#missed;
    this.#missed = [];
    // What has come meanwhile is handled first; that the session is over is heard later.
    for (const run of missed) run();
    this.#keeperClient?.heal();
  }

  cutKeeper(): void {
    this.#keeperClient?.cut();
  }

  loseNextAnswer(forMs: number): void {
    this.#keeperClient?.loseNextAnswer(forMs);
  }

  healKeeper(): void {
    if (!this.#asleep) this.#keeperClient?.heal();
  }

  #carry(wire: Wire, side: 0 | 1, connection: LinkConnection): void {
    const life = this.#life;
    this.#wires.add(wire);
    wire.attach(side, {
      received: (bytes) => this.#do(() => this.broker?.handle({ kind: "linkReceived", connection, bytes }), life),
      closed: (why) => this.#do(() => this.broker?.handle({ kind: "linkClosed", connection, why }), life),
    });
  }

  #do(run: () => void, life = this.#life): void {
    if (life !== this.#life) return;
    if (this.#asleep) this.#missed.push(run);
    else run();
  }
}
