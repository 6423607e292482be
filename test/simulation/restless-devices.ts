/**
 * Devices of the simulated world that say "online" when they connect and leave a will for when they are gone; whoever
 * watches them; and what must hold of it: a will is published when, and only when, its client is gone.
 */

import { decodeUtf8 } from "../../src/base/bytes.ts";
import { movedWillMs, willGraceMs } from "../../src/base/limits.ts";
import type { Publish } from "../../src/mqtt/publish.ts";
import type { AnyPacket } from "../support/raw-client.ts";
import { Device } from "./device.ts";
import type { World } from "./world.ts";

/** A client that gets no answer to CONNECT tries another broker. */
const patienceMs = 3500;
/** Longer than a packet takes to a broker: DISCONNECT is not overtaken by the next CONNECT, at another broker. */
const shortestAwayMs = 50;
/** Will Delay Intervals in the world, in seconds; Session Expiry Intervals are this or longer. */
const delays = [0, 0, 2, 7];
const expiries = [1, 4, 600];
/** The time in which a device that is back after its broker has failed is not declared dead. */
export const soonMs = willGraceMs - 1500;
/** After the last fault every will that must be published has been by then. */
export const convergedMs = 4000 + Math.max(willGraceMs, movedWillMs) + 1000 * Math.max(...delays) + 5000;

/** One connection of a device, as the device sees it. */
interface Stay {
  readonly number: number;
  readonly node: string;
  readonly isClean: boolean;
  readonly hasWill: boolean;
  /** In ms. */
  readonly delay: number;
  readonly expiry: number;
  upAt: number;
  bornAt: number;
  endedAt: number;
  end: "vanished" | "left" | "lost" | undefined;
  isLeaving: boolean;
  /** The broker slept meanwhile: its connections are half-open, and others may take the client for gone by right. */
  isExcused: boolean;
}

export class PresentDevice {
  readonly name: string;
  readonly stays: Stay[] = [];
  /** True if it comes and goes; false: it stays as it is now, connected if it is meant to be. */
  isRestless = true;
  isAway = false;
  readonly #world: World;
  #device: Device | undefined;

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
  }

  get current(): Stay | undefined {
    const stay = this.stays.at(-1);
    return stay?.end === undefined ? stay : undefined;
  }

  get isSettled(): boolean {
    return this.isAway ? this.current === undefined : this.current !== undefined && this.current.bornAt > 0;
  }

  live(): void {
    const { random } = this.#world;
    if (this.current === undefined && !this.isAway) this.#connect();
    else if (this.isRestless && this.current !== undefined && this.current.bornAt > 0 && random.next() < 0.03)
      this.#act();
    this.#world.after(20 + random.next() * 120, () => this.live());
  }

  /** Notes that the device's broker has stopped for a while without knowing it. */
  excuse(node: string): void {
    if (this.current?.node === node) this.current.isExcused = true;
  }

  #act(): void {
    const { random } = this.#world;
    const choice = random.next();
    if (choice < 0.35) {
      // It vanishes, for a moment or for longer.
      this.isAway = true;
      this.#end("vanished");
      this.#device!.abort();
      this.#world.after(random.next() < 0.5 ? random.next() * 500 : random.next() * 12_000, () => this.#return());
    } else if (choice < 0.6) {
      this.#leave();
    } else if (choice < 0.9) {
      // It changes brokers, and its old connection is still there.
      const old = this.#device!;
      this.#end("vanished");
      this.#connect();
      this.#world.after(random.next() * 200, () => old.abort());
    }
  }

  #return(): void {
    this.isAway = false;
  }

  #leave(): void {
    const { number } = this.current!;
    const device = this.#device!;
    this.isAway = this.current!.isLeaving = true;
    device.onPacket = ({ cmd }) => {
      if (cmd !== "puback" || this.current?.number !== number) return;
      this.#end("left");
      device.leave();
      // A broker that heard of the next connection before DISCONNECT would publish the will, by right.
      this.#world.after(shortestAwayMs + this.#world.random.next() * 3000, () => this.#return());
    };
    device.publish(`state/${this.name}`, `left ${number}`, { qos: 1, retain: true, messageId: 2 });
  }

  #connect(): void {
    const { random } = this.#world;
    const nodes = [...this.#world.nodes.keys()];
    const node = nodes[Math.floor(random.next() * nodes.length)]!;
    const number = (this.stays.at(-1)?.number ?? 0) + 1;
    const hasWill = random.next() < 0.8;
    const isClean = random.next() < 0.5;
    const delay = delays[Math.floor(random.next() * delays.length)]!;
    const expiry = isClean && random.next() < 0.7 ? 0 : expiries[Math.floor(random.next() * expiries.length)]!;
    const will = {
      topic: `state/${this.name}`,
      payload: Buffer.from(`gone ${number}`),
      qos: 1,
      retain: true,
      properties: { willDelayInterval: delay },
    };
    const device = Device.dial(this.#world, node, {
      clientId: this.name,
      clean: isClean,
      properties: { sessionExpiryInterval: expiry },
      ...(hasWill ? { will } : {}),
    });
    if (device === undefined) return;
    const times = { upAt: 0, bornAt: 0, endedAt: 0, end: undefined, isLeaving: false, isExcused: false };
    const stay: Stay = {
      number,
      node,
      isClean,
      hasWill,
      delay: 1000 * Math.min(delay, expiry),
      expiry: 1000 * expiry,
      ...times,
    };
    this.stays.push(stay);
    this.#device = device;
    device.onPacket = (packet) => this.#hear(device, stay, packet);
    device.onClose = () => {
      if (stay.end !== undefined) return;
      this.#finish(stay, "lost");
      // It was about to leave.
      if (this.isAway) this.#world.after(500, () => this.#return());
    };
    this.#world.after(patienceMs, () => {
      if (stay.upAt === 0) device.abort();
    });
  }

  #hear(device: Device, stay: Stay, { cmd, reasonCode }: AnyPacket): void {
    if (cmd === "connack" && reasonCode === 0) {
      stay.upAt = this.#world.now();
      device.publish(`state/${this.name}`, `online ${stay.number}`, { qos: 1, retain: true, messageId: 1 });
    } else if (cmd === "puback") stay.bornAt = this.#world.now();
  }

  #end(how: "vanished" | "left"): void {
    this.#finish(this.current!, how);
  }

  #finish(stay: Stay, how: NonNullable<Stay["end"]>): void {
    stay.end = how;
    stay.endedAt = this.#world.now();
  }
}

/** Sees what is said of the devices, at one broker after the other, and what must not be. */
export class Watcher {
  readonly wrong: string[] = [];
  /** A link has been cut: what was under way over it comes late, and what comes from another broker overtakes it. */
  isOrdered = true;
  readonly #world: World;
  readonly #devices: ReadonlyMap<string, PresentDevice>;
  #device: Device | undefined;
  /** The newest birth of each device that was seen in this connection. */
  #births = new Map<string, number>();

  constructor(world: World, devices: ReadonlyMap<string, PresentDevice>) {
    this.#world = world;
    this.#devices = devices;
  }

  live(): void {
    if (this.#device === undefined || this.#device.closed) this.#connect();
    this.#world.after(100, () => this.live());
  }

  #connect(): void {
    const nodes = [...this.#world.nodes.keys()];
    const node = nodes[Math.floor(this.#world.random.next() * nodes.length)]!;
    this.#births = new Map();
    const device = Device.dial(this.#world, node, {});
    this.#device = device;
    if (device === undefined) return;
    device.onPacket = (packet) => {
      if (packet.cmd === "connack")
        device.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "state/#", qos: 1 }] });
      if (packet.cmd !== "publish") return;
      if (packet.qos === 1) device.send({ cmd: "puback", messageId: packet.messageId });
      this.#see(node, packet);
    };
  }

  #see(node: string, { topic, payload, retain }: AnyPacket): void {
    const name = topic.slice("state/".length);
    const [what, number] = payload.toString().split(" ");
    if (what === "online") this.#births.set(name, Number(number));
    if (what !== "gone" || retain) return;
    const device = this.#devices.get(name)!;
    // It gave up before it was let in: that it was connected for a moment after all may come to light late.
    if (device.stays.find((stay) => stay.number === Number(number))!.upAt === 0) return;
    const why = lie(device, Number(number), this.#world.now());
    if (why !== undefined) this.wrong.push(`${name} was declared dead at ${node} with ${number}: ${why}`);
    else if (this.isOrdered && (this.#births.get(name) ?? 0) > Number(number))
      this.wrong.push(`${node} heard of ${name}'s will ${number} after its birth ${this.#births.get(name)}`);
  }
}

/** Says why a will must not have been published; undefined if it may have been. */
function lie({ stays }: PresentDevice, number: number, now: number): string | undefined {
  const at = stays.findIndex((stay) => stay.number === number);
  const stay = stays[at]!;
  if (stay.isExcused) return undefined;
  if (stay.end === undefined && stay.upAt > 0) return "it is connected";
  if (stay.end === "left") return "it has left";
  const backAt = stays.findIndex(({ upAt }, index) => index > at && upAt > 0);
  const back = stays[backAt];
  if (back === undefined) return undefined;
  const away = back.upAt - stay.endedAt;
  // A clean start ends the session, and its will is due.
  const isCancelled = stay.expiry === 0 || stays.slice(at + 1, backAt + 1).every(({ isClean }) => !isClean);
  if (stay.end === "lost" && away < soonMs && stay.delay === 0) return `it was back after ${away} ms`;
  if (isCancelled && stay.delay > 0 && away < stay.delay - 200) return `it was back after ${away} of ${stay.delay} ms`;
  return now - stay.endedAt < stay.delay - 200 && isCancelled ? "it was not due" : undefined;
}

/** At rest: everybody everywhere says the same of a device, and it is true. */
export function untruths(world: World, devices: Iterable<PresentDevice>): string[] {
  const wrong: string[] = [];
  for (const { name, stays, current } of devices) {
    const last = stays.findLast(({ upAt }) => upAt > 0)!;
    const due =
      current !== undefined
        ? `online ${last.number}`
        : last.end === "left"
          ? `left ${last.number}`
          : `gone ${last.number}`;
    for (const { id, broker } of world.nodes.values()) {
      const publish = broker?.context.retained.get(`state/${name}`)?.publish;
      const said = publish && textOf(publish);
      if (said !== due && !unacknowledged(stays).includes(said ?? ""))
        wrong.push(`${id} says of ${name} "${said}", and "${due}" is true`);
    }
  }
  return wrong;
}

/**
 * Words that a device said and that were not acknowledged when it lost its connection: they may come to light late, or
 * never.
 */
function unacknowledged(stays: readonly Stay[]): string[] {
  return stays.flatMap(({ number, upAt, bornAt, isLeaving, end }) => [
    ...(upAt > 0 && bornAt === 0 ? [`online ${number}`] : []),
    ...(isLeaving && end !== "left" ? [`left ${number}`] : []),
  ]);
}

/** At rest: no will lies in the store whose client is not connected with it. */
export function strayWills(world: World): string[] {
  return [...world.tree.nodes.keys()].filter((path) => {
    const [, root, id, name] = path.split("/");
    if (root !== "wills" || name === undefined) return false;
    return world.nodes.get(id!)?.broker?.context.localSessions.get(name)?.connection === undefined;
  });
}

function textOf({ payloadBytes, payloadStart, payloadEnd }: Publish): string {
  return decodeUtf8(payloadBytes, payloadStart, payloadEnd);
}
