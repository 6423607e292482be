/** A machine for a broker of the simulated world: the broker on it may die, sleep, be cut off and be started again. */
import { Access } from "../../src/access/access.ts";
import type { Clock } from "../../src/base/clock.ts";
import { messageOf, type OperatingError } from "../../src/base/errors.ts";
import { shutdownWaitMs } from "../../src/base/limits.ts";
import type { Broker } from "../../src/broker/broker.ts";
import type { DialLink, LinkConnection, LinkDrained } from "../../src/broker/peers/link-connection.ts";
import type { Transport } from "../../src/net/transport.ts";
import { type BrokerCode, thisVersion } from "./broker-code.ts";
import type { KeeperClient } from "./keeper.ts";
import { EnsembleLine, type KeeperLine, type Machine, PortLine, type Way } from "./keeper-line.ts";
import { endByChance, type Missed, mixed } from "./uneven.ts";
import { type End, Wire } from "./wire.ts";
import type { World } from "./world.ts";

/** The world begins then, in ms since 1970. */
export const wallStart = 1_800_000_000_000;
/** Clocks of brokers run faster or slower than the world's by up to this part. */
export const driftMax = 0.02;

const foreignShutdownMs = 300;

/** Lets everybody in, as who he says he is. */
function everybody(clock: Clock): Access {
  return new Access({ allowAnonymous: true, hook: undefined, warn: () => {} }, clock);
}

export class BrokerNode {
  readonly id: string;
  readonly #world: World;
  readonly #machine: Machine;
  readonly #line: KeeperLine;
  /** Told of each broker that has started here. */
  onStarted: (broker: Broker, machine: Machine) => void = () => {};
  broker: Broker | undefined;
  /** The code that the next life here runs; and the one that this life does. */
  code: BrokerCode = thisVersion;
  #running: BrokerCode = thisVersion;
  /** Counts lives: what an earlier one is still told is lost. */
  #life = 0;
  #asleep = false;
  #missed: Missed[] = [];
  readonly #wires = new Set<Wire>();
  readonly #clientWires = new Set<Wire>();
  readonly #rate: number;
  /** Other brokers that this one cannot reach. */
  readonly cutFrom = new Set<string>();
  /** Other brokers whose words do not come through, though they hear this one. */
  readonly deafTo = new Set<string>();
  /** A broker that ends, or cannot start, is started again after so long, in ms; undefined: it is not. */
  restartsAfter: number | undefined;
  #isLeaving = false;
  #isStarting = false;
  /** How much the wall clock here is ahead, in ms: all the time, and for a while. */
  wallSkew = 0;
  wallOffset = 0;

  constructor(world: World, id: string) {
    this.#world = world;
    this.id = id;
    this.#rate = 1 + (2 * world.random.next() - 1) * driftMax;
    const machine: Machine = {
      id,
      local: (time: number) => this.#local(time),
      now: () => this.#local(world.now()),
      wall: () => this.#wall(),
      at: (time: number, run: () => void) => {
        if (time !== Infinity) world.at(this.#worldTime(time) + 1e-6, this.#guard(run));
      },
      guard: <Arguments extends readonly unknown[]>(run: (...given: Arguments) => void) => this.#guard(run),
      end: (error: OperatingError) => this.#end(error),
    };
    this.#machine = machine;
    this.#line = world.ensemble === undefined ? new PortLine(world, machine) : new EnsembleLine(world, machine);
  }

  /** The time that the clock here shows at a time of the world; and the reverse. */
  #local(time: number): number {
    return time * this.#rate;
  }

  #worldTime(local: number): number {
    return local / this.#rate;
  }

  #wall(): number {
    return wallStart + this.#local(this.#world.now()) + this.wallSkew + this.wallOffset;
  }

  /** True if that is its session with the keeper. */
  owns(client: KeeperClient): boolean {
    return this.#line instanceof PortLine && this.#line.client === client;
  }

  get isUp(): boolean {
    return this.broker !== undefined;
  }

  /** True if its inside is not what this version's is. */
  get isForeign(): boolean {
    return this.#running !== thisVersion;
  }

  get isAsleep(): boolean {
    return this.#asleep;
  }

  /** Starts, and lets the time pass that it takes: it reads the tree. */
  async startIn(world: World): Promise<void> {
    let started = false;
    void this.start().then(() => {
      started = true;
    });
    await world.pass(30_000, () => started);
  }

  /** Starts, however often that fails, as an init system does it. */
  live(): void {
    if (this.isUp || this.#isStarting) return;
    this.#isStarting = true;
    const starting = this.#life + 1;
    this.start().then(
      () => {
        if (this.#life === starting) this.#isStarting = false;
      },
      (error) => {
        if (this.#life !== starting) return;
        this.#world.failedStarts.push(`${this.id}: ${messageOf(error)}`);
        this.kill();
        this.#restart();
      },
    );
  }

  async start(): Promise<void> {
    const life = ++this.#life;
    this.#isLeaving = false;
    const world = this.#world;
    const opened = this.#line.open();
    // Not a moment is lost where there is none to wait for: old seeds replay exactly.
    const coordinator = opened instanceof Promise ? await opened : opened;
    if (this.#life !== life) return;
    this.#running = this.code;
    const broker = await this.#running.Broker.start({
      options: {
        ...this.#running.options,
        id: this.id,
        advertise: this.id,
        zkSessionTimeout: world.sessionTimeoutMs / 1000,
        bankCapital: world.bankCapital,
        bankTtlMax: world.bankTtlMax,
        mailDrop: world.mailDrop,
        ...world.brokerOptions,
      },
      coordinator: this.#running.portOf(coordinator),
      clock: { now: () => this.#local(world.now()), wall: () => this.#wall() },
      random: world.random,
      access: world.hasUsers ? everybody({ now: () => this.#local(world.now()), wall: () => this.#wall() }) : undefined,
      log: world.log.child({ on: this.id }),
      turn: new this.#running.Turn((flush) => queueMicrotask(flush)),
      linkSecret: "secret",
      fatal: (error) => {
        if (this.#life === life) this.#end(error);
      },
      dialLink: ({ host }, told) => this.#dialLink(host, told),
    });
    if (this.#life !== life) return;
    this.broker = broker;
    if (world.uneven !== undefined && !this.isForeign) endByChance(broker.context.slices, world.uneven);
    this.#tickAtDeadlines(broker, life);
    this.onStarted(broker, this.#machine);
  }

  /** Another broker has dialled. */
  accept(wire: Wire): void {
    const connection = new this.#running.LinkConnection(wire.transport(1, "peer"), this.broker!.context.turn, {
      dialled: false,
      nonce: this.#world.random.hex(8),
      drained: this.#linkDrained(),
    });
    const source = this.#carry(wire, 1, connection);
    this.#do(() => this.broker?.handle({ kind: "linkOpened", connection }), this.#life, source);
  }

  /** A client dials; undefined if nobody listens. */
  dial(end: End): Transport | undefined {
    return this.dialWire(end)?.transport(0, this.id);
  }

  /** Dials as a client, which has side 0 of the wire, for callers that want to cut it. */
  dialWire(end: End): Wire | undefined {
    if (this.broker === undefined || this.#isLeaving) return undefined;
    const wire = new Wire(this.#world);
    const life = this.#life;
    const source = this.#sourceOf(wire);
    const drained = (): void => this.#do(() => this.broker?.handle({ kind: "drained", connection }), life, source);
    const { turn } = this.broker.context;
    const connection = new this.#running.Connection(wire.transport(1, "client"), turn, drained);
    wire.attach(0, end);
    wire.attach(1, {
      received: (bytes) => this.#do(() => this.broker?.handle({ kind: "received", connection, bytes }), life, source),
      closed: (why) => this.#do(() => this.broker?.handle({ kind: "closed", connection, why }), life, source),
      drained,
    });
    wire.bytesMax = this.#world.wireBytesMax;
    this.#wires.add(wire);
    this.#clientWires.add(wire);
    this.#do(() => this.broker?.handle({ kind: "opened", connection }), life, source);
    return wire;
  }

  /** Dies; its connections break, its keeper session ends when it has been silent for long enough. */
  kill(): void {
    this.#life++;
    this.broker = undefined;
    this.#asleep = this.#isStarting = false;
    this.#missed = [];
    this.#line.crash();
    for (const wire of this.#wires) wire.reset();
    this.#wires.clear();
    this.#clientWires.clear();
  }

  /** Is asked to leave (SIGTERM), and does so in its own time. */
  drain(): void {
    const { broker } = this;
    if (broker === undefined || this.#isLeaving) return;
    this.#isLeaving = true;
    const life = this.#life;
    const end = (): void => {
      if (this.#life !== life) return;
      this.kill();
      this.#restart();
    };
    const done = (): void => {
      this.#do(() => {
        const close = (): void => broker.context.journal.drained(() => broker.context.coordinator.close(end));
        broker.handle({ kind: "shutdown", done: close });
        // Those of format 1 do not say when they are done.
        this.#world.after(this.isForeign ? foreignShutdownMs : shutdownWaitMs, end);
      }, life);
    };
    this.#do(() => broker.handle({ kind: "drain", done }), life);
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
    this.#line.sleep();
  }

  wakeUp(): void {
    if (!this.#asleep) return;
    this.#asleep = false;
    const missed = this.#missed;
    this.#missed = [];
    // What has come meanwhile is handled first; that the session is over is heard later.
    const { uneven } = this.#world;
    for (const { run } of uneven === undefined ? missed : mixed(missed, uneven)) run();
    this.#line.wake();
  }

  cutKeeper(way: Way = "both"): void {
    this.#line.cut(way);
  }

  healKeeper(): void {
    if (!this.#asleep) this.#line.heal();
  }

  resetKeeper(): void {
    this.#line.reset();
  }

  loseNextAnswer(forMs: number): void {
    this.#line.loseNextAnswer(forMs);
  }

  #tickAtDeadlines(broker: Broker, life: number): void {
    const world = this.#world;
    let alarmAt = Infinity;
    const wake = (): void => {
      const deadline = broker.nextDeadline();
      if (deadline >= alarmAt) return;
      alarmAt = deadline;
      // Not a moment before it, whatever the division has lost.
      world.at(this.#worldTime(deadline) + 1e-6, () => {
        if (this.#life !== life || alarmAt !== deadline) return;
        alarmAt = Infinity;
        this.#do(
          () => {
            broker.handle({ kind: "tick" });
            wake();
          },
          life,
          "timers",
        );
      });
    };
    broker.onSooner(wake);
    wake();
  }

  #dialLink(host: string, { opened, failed }: Parameters<DialLink>[1]): void {
    const world = this.#world;
    const life = this.#life;
    world.after(world.latency(), () => {
      if (this.#life !== life) return;
      const other = world.nodes.get(host);
      if (other?.broker === undefined || this.#linkIsCut(other, 0) || this.#linkIsCut(other, 1))
        return failed("no answer");
      const wire = new Wire(world);
      wire.isCut = (from) => this.#linkIsCut(other, from);
      wire.bytesMax = world.wireBytesMax;
      const connection = opened(wire.transport(0, host), this.#linkDrained());
      const source = this.#carry(wire, 0, connection);
      other.accept(wire);
      this.#do(() => this.broker?.handle({ kind: "linkOpened", connection }), life, source);
    });
  }

  /** Whether what this side says does not come through: 0 is who has dialled. */
  #linkIsCut(other: BrokerNode, from: 0 | 1): boolean {
    const isCut = this.cutFrom.has(other.id) || other.cutFrom.has(this.id);
    return isCut || (from === 0 ? other.deafTo.has(this.id) : this.deafTo.has(other.id));
  }

  /** The broker has said that it must end. */
  #end(error: OperatingError): void {
    const life = this.#life;
    this.#world.ended.push(`${this.id} has ended itself: ${messageOf(error)}`);
    this.#world.after(0, () => {
      if (this.#life !== life) return;
      this.kill();
      this.#restart();
    });
  }

  #restart(): void {
    const life = this.#life;
    if (this.restartsAfter === undefined) return;
    this.#world.after(this.restartsAfter, () => {
      if (this.#life === life) this.live();
    });
  }

  /** Attaches an end of a link's wire. Returns the source of what comes over it. */
  #carry(wire: Wire, side: 0 | 1, connection: LinkConnection): Wire | "arrivals" {
    const life = this.#life;
    const source = this.#sourceOf(wire);
    this.#wires.add(wire);
    wire.attach(side, {
      received: (bytes) =>
        this.#do(() => this.broker?.handle({ kind: "linkReceived", connection, bytes }), life, source),
      closed: (why) => this.#do(() => this.broker?.handle({ kind: "linkClosed", connection, why }), life, source),
      drained: () => this.#do(() => this.broker?.handle({ kind: "linkDrained", connection }), life, source),
    });
    return source;
  }

  /** Tells the broker that there is room on a link, although its wire was never full. */
  #linkDrained(): LinkDrained {
    return this.#guard((connection) => void this.broker?.handle({ kind: "linkDrained", connection }));
  }

  #guard<Arguments extends readonly unknown[]>(run: (...given: Arguments) => void): (...given: Arguments) => void {
    const life = this.#life;
    return (...given) => this.#do(() => run(...given), life);
  }

  /** `source`: the socket or timers that bring it; undefined: the keeper. */
  #do(run: () => void, life = this.#life, source?: Wire | "arrivals" | "timers"): void {
    if (life !== this.#life) return;
    if (this.#asleep) this.#missed.push({ source, run });
    else run();
  }

  /** The source of what comes over a wire that opens now: connections that wait to be accepted are in one line. */
  #sourceOf(wire: Wire): Wire | "arrivals" {
    return this.#asleep ? "arrivals" : wire;
  }
}
