/**
 * A look now and then at how much memory each client has the broker use, and how much each user's clients together. Who
 * has more than he may is disconnected, and named in the log, before all others pay for it.
 */
import { ProtocolError } from "../../base/errors.ts";
import {
  lookReceivedPartMax,
  memoryLogMs,
  memoryLookedAtOnce,
  memoryLookMinMs,
  memoryLookMs,
  memoryLooksPerSecondMax,
  userRefusePartMin,
  userServePartMax,
} from "../../base/memory-limits.ts";
import type { Work } from "../../base/slices.ts";
import { Timer } from "../../base/timers.ts";
import { Reason } from "../../mqtt/reason.ts";
import { lastingMemoryOf, memoryOf, nothingCounted } from "../delivery/client-memory.ts";
import type { Connection } from "../delivery/connection.ts";
import type { Spender, Spenders } from "../delivery/spender.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { disconnectLargest } from "./largest-connections.ts";

export interface MemoryWatchParts {
  /** The open connections, a set that the caller keeps. */
  readonly connections: ReadonlySet<Connection>;
  /** The spenders for whom connections are counted. */
  readonly spenders: Spenders;
  /** Ends the connection of a client that is beyond a limit. */
  readonly fail: (connection: Connection, error: ProtocolError) => void;
}

export type MemoryContext = Pick<
  ClusterContext,
  "clock" | "timers" | "slices" | "options" | "metrics" | "log" | "turn" | "turns" | "localSessions"
>;

/** The look at all connections and sessions, every `memoryLookMs`, and when memory is short. */
export class MemoryWatch {
  readonly #context: MemoryContext;
  readonly #parts: MemoryWatchParts;
  readonly #timer = new Timer((now) => this.#begin(now));
  /** The number of looks that have begun. */
  #looks = 0;
  #begunAt = -Infinity;
  #isLooking = false;
  /** Bytes that have been received since a look began last, and so many at which the next one comes sooner. */
  #receivedBytes = 0;
  readonly #receivedMax: number;
  /** When the log has last named a user who is beyond his limit. */
  #loggedAt = -Infinity;

  /** Starts the looks. */
  constructor(context: MemoryContext, parts: MemoryWatchParts) {
    this.#context = context;
    this.#parts = parts;
    const { maxMemoryPerClient, maxMemoryPerUser } = context.options;
    const least = Math.min(maxMemoryPerClient, maxMemoryPerUser || Infinity);
    this.#receivedMax = least * lookReceivedPartMax;
    context.timers.set(this.#timer, context.clock.now() + memoryLookMs);
  }

  /** Counts bytes from a client: where many have come it is looked sooner. */
  received(bytes: number): void {
    this.#receivedBytes += bytes;
    if (this.#receivedBytes < this.#receivedMax || this.#isLooking) return;
    const now = this.#context.clock.now();
    if (now >= this.#begunAt + Math.max(memoryLookMinMs, this.#restMs)) this.#begin(now);
  }

  /** The time that a look at so many must leave to everybody else, in ms. */
  get #restMs(): number {
    const looked = this.#parts.connections.size + this.#context.localSessions.size;
    return (looked / memoryLooksPerSecondMax) * 1000;
  }

  #begin(now: number): void {
    const { clock, timers, slices } = this.#context;
    timers.set(this.#timer, Infinity);
    this.#receivedBytes = 0;
    this.#begunAt = now;
    this.#isLooking = true;
    const next = this.#begunAt + Math.max(memoryLookMs, this.#restMs);
    slices.run(this.look(), () => {
      this.#isLooking = false;
      timers.set(this.#timer, Math.max(next, clock.now()));
    });
  }

  /** Adds up everybody's memory. Where two looks meet the later one goes on, and the earlier one ends. */
  *look(): Work {
    const { connections, spenders } = this.#parts;
    const { metrics, localSessions, options } = this.#context;
    const number = ++this.#looks;
    const counted = nothingCounted();
    let all = 0;
    let seen = 0;
    spenders.begin();
    for (const connection of connections) {
      if (connection.channel.phase !== "closed") {
        const bytes = memoryOf(connection, counted);
        all += bytes;
        connection.spender?.add(bytes);
        if (bytes > options.maxMemoryPerClient) this.#endClient(connection, bytes);
      }
      if (++seen % memoryLookedAtOnce === 0) yield;
      if (number !== this.#looks) return;
    }
    for (const client of localSessions.values()) {
      if (client.connection === undefined) {
        const bytes = lastingMemoryOf(client, counted);
        all += bytes;
        if (client.user !== "") spenders.of("user", client.user).add(bytes);
      }
      if (++seen % memoryLookedAtOnce === 0) yield;
      if (number !== this.#looks) return;
    }
    spenders.looked();
    metrics.memory.clients = all;
    metrics.memory.largest = spenders.largest(1)[0]?.bytes ?? 0;
    if (options.maxMemoryPerUser > 0) for (const spender of spenders.all()) yield* this.#hold(spender);
  }

  #endClient(connection: Connection, bytes: number): void {
    this.#context.metrics.beyondLimit.memory++;
    const { maxMemoryPerClient } = this.#context.options;
    const why = `it takes ${bytes} bytes of memory, and a client may take ${maxMemoryPerClient}`;
    this.#parts.fail(connection, new ProtocolError(Reason.quotaExceeded, why));
  }

  /** Holds a user to his own limit: near it he is refused, beyond it his largest clients are disconnected. */
  *#hold(spender: Spender): Work {
    const { maxMemoryPerUser: limit } = this.#context.options;
    const { bytes } = spender;
    const why = `${spender.words}: ${bytes} bytes of memory are taken, and ${limit} may be`;
    if (bytes < limit * userServePartMax) spender.ownRefusal = undefined;
    if (bytes >= limit * userRefusePartMin) spender.ownRefusal = why;
    if (bytes <= limit) return;
    this.#log(spender);
    yield* disconnectLargest(this.#context, this.#parts, { spender, bytes: bytes - limit * userRefusePartMin, why });
  }

  #log(spender: Spender): void {
    const { clock, log } = this.#context;
    if (clock.now() < this.#loggedAt + memoryLogMs) return;
    this.#loggedAt = clock.now();
    log.warn(spender.facts, "beyond --max-memory-per-user: the largest clients are disconnected");
  }
}
