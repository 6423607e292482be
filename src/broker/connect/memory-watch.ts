/**
 * A look now and then at how much memory each client has the broker use. Who has more than a client may is
 * disconnected, and named in the log, before all others pay for it.
 */
import { ProtocolError } from "../../base/errors.ts";
import { memoryLookMs } from "../../base/limits.ts";
import type { Work } from "../../base/slices.ts";
import { Timer } from "../../base/timers.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Runtime } from "../core/runtime.ts";
import { memoryOf } from "../delivery/client-memory.ts";
import type { Connection } from "../delivery/connection.ts";

export interface MemoryWatchParts {
  /** The open connections, a set that the caller keeps. */
  readonly connections: ReadonlySet<Connection>;
  /** Ends the connection of a client that is beyond a limit. */
  readonly fail: (connection: Connection, error: ProtocolError) => void;
}

/** The look at all connections, every `memoryLookMs`. */
export class MemoryWatch {
  readonly #context: Pick<Runtime, "clock" | "timers" | "slices" | "options" | "metrics">;
  readonly #parts: MemoryWatchParts;
  readonly #timer = new Timer((now) => this.#context.slices.run(this.#look(), () => this.#rest(now)));

  /** Starts the looks. */
  constructor(context: Pick<Runtime, "clock" | "timers" | "slices" | "options" | "metrics">, parts: MemoryWatchParts) {
    this.#context = context;
    this.#parts = parts;
    this.#rest(context.clock.now());
  }

  #rest(since: number): void {
    this.#context.timers.set(this.#timer, since + memoryLookMs);
  }

  *#look(): Work {
    const { maxMemoryPerClient } = this.#context.options;
    for (const connection of this.#parts.connections) {
      const bytes = memoryOf(connection);
      if (bytes > maxMemoryPerClient) this.#end(connection, bytes);
      yield;
    }
  }

  #end(connection: Connection, bytes: number): void {
    if (connection.channel.phase === "closed") return;
    this.#context.metrics.beyondLimit.memory++;
    const { maxMemoryPerClient } = this.#context.options;
    const why = `it takes ${bytes} bytes of memory, and a client may take ${maxMemoryPerClient}`;
    this.#parts.fail(connection, new ProtocolError(Reason.quotaExceeded, why));
  }
}
