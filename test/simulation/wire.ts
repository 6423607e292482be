/** The simulated network: connections that take time, that can be cut, and that break when something was lost. */
import type { Transport } from "../../src/net/transport.ts";
import type { Scheduler } from "./keeper.ts";

/** What one end of a wire tells its owner. */
export interface End {
  received(bytes: Uint8Array): void;
  closed(why: string): void;
}

/** The world as a wire sees it. */
export interface Network extends Scheduler {
  /** How long a message takes, in ms; asked for each. */
  latency(): number;
}

/** A connection: two transports, each delivering to the other's end, in order. */
export class Wire {
  /** Nothing passes that comes from this side, and nobody is told. */
  isCut: (from: 0 | 1) => boolean = () => false;
  readonly #world: Network;
  readonly #ends: [End | undefined, End | undefined] = [undefined, undefined];
  readonly #arrivals: [number, number] = [0, 0];
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
      write: (bytes, start, end) => {
        const copy = bytes.slice(start, end);
        this.#send(side, () => this.#ends[1 - side]?.received(copy));
        return end - start;
      },
      pause() {},
      resume() {},
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
    this.#send(side, () => this.#end((1 - side) as 0 | 1, why));
  }

  /** What was cut passes again: what was lost meanwhile breaks the connection, though nobody sends any more. */
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

  #send(side: 0 | 1, deliver: () => void): void {
    const world = this.#world;
    this.#arrivals[side] = Math.max(this.#arrivals[side], world.now() + world.latency());
    world.after(this.#arrivals[side] - world.now(), () => {
      if (this.#closed) return;
      if (this.isCut(side)) this.#hasLost = true;
      // TCP loses nothing within a connection: what could not be sent again in time breaks it.
      else if (this.#hasLost) this.reset();
      else deliver();
    });
  }
}
