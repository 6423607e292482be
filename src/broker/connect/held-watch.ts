/**
 * A look now and then at all connections: how much comes and goes, and whether those are there that have not been read
 * for a while. Who does not read does not see that the other side has closed: without this look a client that has gone
 * would be counted, its session taken for connected and its will kept back, until what its connection is held for is
 * over.
 */
import { heldLookMs } from "../../base/limits.ts";
import type { Work } from "../../base/slices.ts";
import { Timer } from "../../base/timers.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection } from "../delivery/connection.ts";

/** The look at all connections, every `heldLookMs`. */
export class HeldWatch {
  readonly #context: Pick<Runtime, "clock" | "timers" | "slices">;
  readonly #connections: ReadonlySet<Connection>;
  readonly #timer = new Timer((now) => this.#context.slices.run(this.#look(), () => this.#rest(now)));

  /** Starts the looks. `connections`: the open connections, a set that the caller keeps. */
  constructor(context: Pick<Runtime, "clock" | "timers" | "slices">, connections: ReadonlySet<Connection>) {
    this.#context = context;
    this.#connections = connections;
    this.#rest(context.clock.now());
  }

  #rest(since: number): void {
    this.#context.timers.set(this.#timer, since + heldLookMs);
  }

  *#look(): Work {
    for (const connection of this.#connections) {
      connection.lookAfter(this.#context.clock.now());
      yield;
    }
  }
}
