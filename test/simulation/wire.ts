/** The simulated network: connections that take time, that can be cut, and that break when something was lost. */
import type { Transport } from "../../src/net/transport.ts";
import type { Scheduler } from "./keeper.ts";

/** The events by which one end of a wire tells its owner. */
export interface End {
  received(bytes: Uint8Array): void;
  closed(why: string): void;
  /** Called when bytes are taken again, after some were not. */
  drained?(): void;
}

/** The world as a wire sees it. */
export interface Network extends Scheduler {
  /** How long a message takes, in ms; asked for each. */
  latency(): number;
}

/** One direction: bytes under way, and bytes that lie at the other end unread. */
interface Direction {
  arrivesAt: number;
  /** Bytes written and not read. */
  unread: number;
  /** Something was not taken. */
  isFull: boolean;
  /** True while the reader at the other end does not read: what has come meanwhile waits. */
  isPaused: boolean;
  readonly arrived: (() => void)[];
}

/** A connection: two transports, each delivering to the other's end, in order. */
export class Wire {
  /** Nothing passes that comes from this side, and nobody is told. */
  isCut: (from: 0 | 1) => boolean = () => false;
  /** Bytes that each side may write before the other has read. */
  bytesMax = Infinity;
  readonly #world: Network;
  readonly #ends: [End | undefined, End | undefined] = [undefined, undefined];
  readonly #ways: [Direction, Direction] = [newDirection(), newDirection()];
  #closed = false;
  #hasLost = false;

  constructor(world: Network) {
    this.#world = world;
  }

  attach(side: 0 | 1, end: End): void {
    this.#ends[side] = end;
  }

  transport(side: 0 | 1, remote: string): Transport {
    return {
      remote,
      address: "",
      certificate: undefined,
      write: (bytes, start, end) => this.#write(side, bytes.subarray(start, end)),
      pause: () => {
        this.#ways[other(side)].isPaused = true;
      },
      resume: () => this.#resume(other(side)),
      close: () => this.close(side, "closed by the other side"),
      abort: () => this.close(side, "reset by the other side"),
    };
  }

  /** One side closes; the other one hears of it, unless the wire is cut. */
  close(side: 0 | 1, why: string): void {
    if (this.#ends[side] === undefined) return;
    const own = this.#ends[side];
    this.#ends[side] = undefined;
    this.#world.after(0, () => own.closed("closed"));
    this.#send(side, () => this.#end(other(side), why));
  }

  /** Lets bytes pass again: what was lost meanwhile breaks the connection, though nobody sends any more. */
  heal(): void {
    if (this.#hasLost) this.reset();
  }

  /** Both sides hear of it. */
  reset(): void {
    this.#end(0, "reset");
    this.#end(1, "reset");
    this.#closed = true;
  }

  #end(side: 0 | 1, why: string): void {
    const end = this.#ends[side];
    this.#ends[side] = undefined;
    end?.closed(why);
  }

  /** Takes what there is room for, as a socket does. */
  #write(side: 0 | 1, bytes: Uint8Array): number {
    const way = this.#ways[side];
    const taken = Math.min(bytes.length, this.bytesMax - way.unread);
    way.isFull ||= taken < bytes.length;
    if (taken <= 0) return 0;
    way.unread += taken;
    const copy = bytes.slice(0, taken);
    this.#send(side, () => this.#read(side, copy));
    return taken;
  }

  /** Lets the other side read what a side has written. */
  #read(side: 0 | 1, bytes: Uint8Array): void {
    const way = this.#ways[side];
    way.unread -= bytes.length;
    this.#ends[other(side)]?.received(bytes);
    if (!way.isFull || way.unread * 2 > this.bytesMax) return;
    way.isFull = false;
    // Who wrote hears of it when the word has come back.
    this.#send(other(side), () => this.#ends[side]?.drained?.());
  }

  #resume(from: 0 | 1): void {
    const way = this.#ways[from];
    way.isPaused = false;
    while (way.arrived.length > 0 && !way.isPaused) way.arrived.shift()!();
  }

  #send(side: 0 | 1, deliver: () => void): void {
    const world = this.#world;
    const way = this.#ways[side];
    way.arrivesAt = Math.max(way.arrivesAt, world.now() + world.latency());
    world.after(way.arrivesAt - world.now(), () => {
      if (this.#closed) return;
      if (this.isCut(side)) this.#hasLost = true;
      // TCP loses nothing within a connection: what could not be sent again in time breaks it.
      else if (this.#hasLost) this.reset();
      else if (way.isPaused) way.arrived.push(deliver);
      else deliver();
    });
  }
}

function other(side: 0 | 1): 0 | 1 {
  return side === 0 ? 1 : 0;
}

function newDirection(): Direction {
  return { arrivesAt: 0, unread: 0, isFull: false, isPaused: false, arrived: [] };
}
