/**
 * How a simulated broker is connected to its store: at the coordinator's port, to a keeper without servers; or, as in
 * the real world, through the product's ZooKeeper client to the servers of an ensemble.
 */
import { OperatingError } from "../../src/base/errors.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import type { Transport, TransportEvents } from "../../src/net/transport.ts";
import type { KeeperDoors } from "../../src/zookeeper/options.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import type { Ensemble } from "./ensemble/ensemble.ts";
import type { KeeperClient } from "./keeper.ts";
import { Wire } from "./wire.ts";
import type { World } from "./world.ts";

/** The machine at a line's end, as the line sees it. */
export interface Machine {
  readonly id: string;
  /** The time that its clock shows at a time of the world. */
  local(time: number): number;
  now(): number;
  wall(): number;
  /** Runs something at a time of that clock, in this life, and not while the machine sleeps. */
  at(time: number, run: () => void): void;
  /** Wraps what happens to the broker: it waits while the machine sleeps, and is lost when the broker has died. */
  guard<Arguments extends readonly unknown[]>(run: (...given: Arguments) => void): (...given: Arguments) => void;
  /** The broker ends itself. */
  end(error: OperatingError): void;
}

export interface KeeperLine {
  /** A new keeper session for a new life of the broker. */
  open(): Coordinator | Promise<Coordinator>;
  /** The broker has died. */
  crash(): void;
  /** Nothing passes, and nobody is told. */
  cut(way: Way): void;
  heal(): void;
  /** The connection breaks, and can be made again at once. */
  reset(): void;
  /** The next write takes effect, and contact is lost for so long before it is answered. */
  loseNextAnswer(forMs: number): void;
  /** The machine sleeps; and it is awake again, and has handled what has come meanwhile. */
  sleep(): void;
  wake(): void;
}

export type Way = "both" | "to the keeper" | "from the keeper";

/** To the keeper that stands at the port. */
export class PortLine implements KeeperLine {
  readonly #world: World;
  readonly #machine: Machine;
  client: KeeperClient | undefined;

  constructor(world: World, machine: Machine) {
    this.#world = world;
    this.#machine = machine;
  }

  open(): Coordinator {
    this.client = this.#world.keeper.connect((time) => this.#machine.local(time));
    return this.client;
  }

  crash(): void {
    this.client?.crash();
  }

  cut(): void {
    this.client?.cut();
  }

  heal(): void {
    this.client?.heal();
  }

  reset(): void {
    this.client?.cut();
    this.client?.heal();
  }

  loseNextAnswer(forMs: number): void {
    this.client?.loseNextAnswer(forMs);
  }

  sleep(): void {
    this.cut();
  }

  wake(): void {
    this.heal();
  }
}

/** To an ensemble, through the product's client. */
export class EnsembleLine implements KeeperLine {
  readonly #world: World;
  readonly #ensemble: Ensemble;
  readonly #machine: Machine;
  readonly #wires = new Set<Wire>();
  #coordinator: ZooKeeperCoordinator | undefined;
  #cut: Way | undefined;
  /** Dials are in vain until then. */
  #deafUntil = 0;
  #losesNextFor: number | undefined;

  constructor(world: World, machine: Machine) {
    this.#world = world;
    this.#ensemble = world.ensemble!;
    this.#machine = machine;
    this.#ensemble.onProposed.push((transaction) => {
      if (this.#losesNextFor === undefined || transaction.from?.kind !== "write") return;
      if (transaction.from.session !== this.#coordinator?.client.sessionId) return;
      this.#deafUntil = world.now() + this.#losesNextFor;
      this.#losesNextFor = undefined;
      this.reset();
    });
  }

  async open(): Promise<Coordinator> {
    const machine = this.#machine;
    this.#coordinator = undefined;
    const coordinator = await ZooKeeperCoordinator.open({
      connect: this.#ensemble.connect,
      id: machine.id,
      onFatal: (error) => machine.end(error),
      sessionTimeoutMs: this.#world.sessionTimeoutMs,
      connectTimeoutMs: 20_000,
      packetBytesMax: this.#ensemble.options.packetBytesMax,
      clock: { now: () => machine.now(), wall: () => machine.wall() },
      random: this.#world.random,
      doors: { dial: ({ host }, events) => this.#dial(host, events), setAlarm: (sleeper) => this.#setAlarm(sleeper) },
    });
    this.#coordinator = coordinator;
    return coordinator;
  }

  crash(): void {
    this.#losesNextFor = undefined;
    this.reset();
  }

  cut(way: Way): void {
    this.#cut = way;
  }

  heal(): void {
    this.#cut = undefined;
    for (const wire of this.#wires) wire.heal();
  }

  reset(): void {
    for (const wire of this.#wires) wire.reset();
    this.#wires.clear();
  }

  loseNextAnswer(forMs: number): void {
    this.#losesNextFor = forMs;
  }

  sleep(): void {}

  wake(): void {}

  #passes(from: 0 | 1): boolean {
    const cut = this.#cut;
    return cut === undefined || cut === (from === 0 ? "from the keeper" : "to the keeper");
  }

  #dial(host: string, events: TransportEvents<Transport>): Promise<Transport> {
    const { promise, resolve, reject } = Promise.withResolvers<Transport>();
    const world = this.#world;
    const machine = this.#machine;
    const refuse = machine.guard(() => reject(new OperatingError("ECONNECT", `cannot connect to ${host}: refused`)));
    const greet = machine.guard((transport: Transport) => resolve(transport));
    const received = machine.guard((transport: Transport, bytes: Uint8Array) => events.received(transport, bytes));
    const drained = machine.guard((transport: Transport) => events.drained(transport));
    const closed = machine.guard((transport: Transport, why: string) => events.closed(transport, why));
    const server = this.#ensemble.server(host);
    world.after(world.latency(), () => {
      // Who is cut off hears nothing: the client's patience decides.
      if (this.#cut !== undefined) return;
      if (!server.isServing || world.now() < this.#deafUntil) return world.after(world.latency(), refuse);
      const wire = new Wire(world);
      wire.isCut = (from) => !this.#passes(from);
      this.#wires.add(wire);
      const transport = wire.transport(0, host);
      const connection = server.accept(wire.transport(1, machine.id));
      wire.attach(0, {
        received: (bytes) => received(transport, bytes),
        drained: () => drained(transport),
        closed: (why) => {
          this.#wires.delete(wire);
          closed(transport, why);
        },
      });
      wire.attach(1, { received: (bytes) => connection.received(bytes), closed: () => connection.closed() });
      world.after(world.latency(), () => greet(transport));
    });
    return promise;
  }

  #setAlarm(sleeper: Parameters<KeeperDoors["setAlarm"]>[0]): ReturnType<KeeperDoors["setAlarm"]> {
    let setFor = Infinity;
    let isStopped = false;
    const wake = (): void => {
      const deadline = sleeper.nextDeadline();
      if (isStopped || deadline >= setFor) return;
      setFor = deadline;
      this.#machine.at(deadline, () => {
        if (isStopped || setFor !== deadline) return;
        setFor = Infinity;
        sleeper.tick();
        wake();
      });
    };
    wake();
    return {
      wake,
      stop: () => {
        isStopped = true;
      },
    };
  }
}
