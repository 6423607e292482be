/**
 * The memory of the whole process, held to `--max-memory` before the kernel ends it for all: the log warns, then those
 * who take most are refused what takes more, then their largest clients are disconnected. What the process has decides
 * when; what is counted for each decides who. Memory that was given back stays with the process until garbage has been
 * collected, so nobody is judged before that.
 */
import {
  collectGrowthPartMin,
  collectPauseMs,
  collectPauseTimes,
  memoryEndPartMin,
  memoryLogMs,
  memoryRefusedMs,
  memoryRefusePartMin,
  memorySettleMs,
  memoryTurnMs,
  memoryWarnPartMin,
  pressureLookMs,
  receivedPartMax,
  refuseGrowthPartMin,
  spenderBytesMin,
  spenderPartMin,
} from "../../base/memory-limits.ts";
import { type Work, workUntil } from "../../base/slices.ts";
import { Timer } from "../../base/timers.ts";
import { subjectOf } from "../../base/turn-watch.ts";
import type { ProcessMemory } from "../core/process-memory.ts";
import type { Spender } from "../delivery/spender.ts";
import { disconnectLargest } from "./largest-connections.ts";
import type { MemoryContext, MemoryWatch, MemoryWatchParts } from "./memory-watch.ts";

/** The number of spenders that a line in the log names. */
const spendersLogged = 3;

const collecting = subjectOf("garbage, since memory is short");

/** The memory of a spender when he was first refused, in bytes, and when that was, by the clock's `now`. */
interface Refused {
  readonly bytes: number;
  readonly since: number;
}

export interface MemoryPressureParts extends MemoryWatchParts {
  readonly memory: ProcessMemory;
  readonly watch: MemoryWatch;
}

/** Looks at the memory of the process every `pressureLookMs`. */
export class MemoryPressure {
  readonly #context: MemoryContext;
  readonly #parts: MemoryPressureParts;
  readonly #timer = new Timer((now) => this.#look(now));
  readonly #refused = new Map<Spender, Refused>();
  /** The memory of the process when somebody was refused last, in bytes. */
  #refusedAtBytes = 0;
  /** True while it is found out who takes most, or while clients are disconnected. */
  #isJudging = false;
  /** Nobody is judged before this, by the clock's `now`: what was given back has not been collected. */
  #settledAt = -Infinity;
  /** The memory of the process after garbage was collected last, or the least since, in bytes. */
  #leastBytes = 0;
  #collectedAt = -Infinity;
  #mayCollectAt = -Infinity;
  #loggedAt = -Infinity;
  /** Bytes that have been received from clients since the process was asked last, and those that were unsent then. */
  #receivedBytes = 0;
  #unsentBytes = 0;

  /** Starts the looks. */
  constructor(context: MemoryContext, parts: MemoryPressureParts) {
    this.#context = context;
    this.#parts = parts;
    context.metrics.memory.limit = parts.memory.limitBytes;
    context.timers.set(this.#timer, context.clock.now());
  }

  /**
   * Counts bytes from a client. A flood of them, or of what is sent to others for them, may take all that is left
   * before the next look is due.
   */
  received(bytes: number): void {
    this.#receivedBytes += bytes;
    const grown = Math.max(this.#receivedBytes, this.#context.turn.unsent - this.#unsentBytes);
    if (grown > this.#part(receivedPartMax)) this.#look(this.#context.clock.now());
  }

  #look(now: number): void {
    this.#receivedBytes = 0;
    this.#unsentBytes = this.#context.turn.unsent;
    this.#context.timers.set(this.#timer, now + pressureLookMs);
    const bytes = this.#measure();
    if (bytes === undefined || this.#isJudging || now < this.#settledAt) return;
    if (bytes >= this.#part(memoryWarnPartMin) && now >= this.#loggedAt + memoryLogMs) this.#warn(bytes);
    if (bytes < this.#part(memoryRefusePartMin)) this.#relax(bytes);
    if (!this.#mustRefuse(bytes) && !this.#mustDisconnect(bytes)) return;
    this.#isJudging = true;
    this.#run(this.#judge(), () => {
      this.#isJudging = false;
    });
  }

  /** Does what cannot wait for its turn behind what clients send. */
  #run(work: Work, done: () => void): void {
    const { clock, timers } = this.#context;
    const goOn = (): void => {
      if (workUntil(work, clock, clock.now() + memoryTurnMs)) done();
      else timers.set(new Timer(goOn), clock.now());
    };
    goOn();
  }

  /**
   * Returns the bytes that the process has, without much garbage among them; undefined: nobody knows before garbage may
   * be collected again.
   */
  #measure(): number | undefined {
    const { memory } = this.#parts;
    const now = this.#context.clock.now();
    const bytes = memory.residentBytes();
    this.#context.metrics.memory.resident = bytes;
    this.#leastBytes = Math.min(this.#leastBytes, bytes);
    if (bytes < this.#part(memoryWarnPartMin)) return bytes;
    const hasGrown = bytes > this.#leastBytes + this.#part(collectGrowthPartMin);
    if (!hasGrown && now < this.#collectedAt + collectPauseMs) return bytes;
    if (now < this.#mayCollectAt && bytes < this.#part(memoryEndPartMin)) return undefined;
    const isShort = bytes >= this.#part(memoryRefusePartMin);
    this.#collect(isShort ? "now" : "soon");
    return memory.residentBytes();
  }

  #collect(when: "now" | "soon"): void {
    const { memory } = this.#parts;
    const { clock, metrics, turns } = this.#context;
    const startedAt = clock.now();
    turns.subject = collecting;
    memory.collect(when);
    metrics.memory.collections++;
    this.#leastBytes = memory.residentBytes();
    this.#collectedAt = clock.now();
    this.#mayCollectAt = this.#collectedAt + collectPauseTimes * (this.#collectedAt - startedAt);
  }

  /** Refuses one more of those who take most; disconnects the largest clients where that is not enough any more. */
  *#judge(): Work {
    yield* this.#parts.watch.look();
    const bytes = this.#parts.memory.residentBytes();
    if (this.#mustRefuse(bytes)) this.#refuse(bytes);
    if (!this.#mustDisconnect(bytes)) return;
    yield* this.#disconnect(bytes);
    // What they had is garbage now.
    this.#leastBytes = 0;
    this.#settledAt = this.#context.clock.now() + memorySettleMs;
  }

  /** Returns true if memory is short and nobody is refused, or the process has grown since all the same. */
  #mustRefuse(bytes: number): boolean {
    if (bytes < this.#part(memoryRefusePartMin)) return false;
    return this.#refused.size === 0 || bytes > this.#refusedAtBytes + this.#part(refuseGrowthPartMin);
  }

  /** Returns true if little is left, or refusing has not helped. */
  #mustDisconnect(bytes: number): boolean {
    if (bytes >= this.#part(memoryEndPartMin)) return true;
    const [first] = this.#refused.values();
    return first !== undefined && this.#context.clock.now() >= first.since + memoryRefusedMs;
  }

  #refuse(bytes: number): void {
    const { spenders } = this.#parts;
    this.#refusedAtBytes = bytes;
    const [spender] = spenders.largest(this.#refused.size + 1).filter((one) => !this.#refused.has(one));
    if (spender === undefined || spender.bytes < this.#leastSpent(bytes)) return;
    spender.sharedRefusal = whyRefused(spender);
    this.#refused.set(spender, { bytes: spender.bytes, since: this.#context.clock.now() });
    this.#context.metrics.memory.refused = this.#refused.size;
    this.#context.log.warn({ ...spender.facts, ...this.#facts(bytes) }, "memory is short: who takes most is refused");
  }

  /** Disconnects the largest clients of those who take most, as many as hold what is too much. */
  *#disconnect(bytes: number): Work {
    const { spenders } = this.#parts;
    let excess = bytes - this.#part(memoryWarnPartMin);
    for (const spender of spenders.largest(this.#refused.size + 1)) {
      if (excess <= 0) return;
      if (spender.bytes < this.#leastSpent(bytes)) break;
      const why = whyRefused(spender);
      const before = spender.connections;
      const freed = yield* disconnectLargest(this.#context, this.#parts, { spender, bytes: excess, why });
      if (freed === 0) continue;
      const facts = { ...spender.facts, connections: before, freed, ...this.#facts(bytes) };
      this.#context.log.error(facts, "memory is short: the largest clients of who takes most are disconnected");
      excess -= freed;
    }
    // Nobody else takes so much that it would help to disconnect him.
    if (excess > 0 && bytes >= this.#part(memoryRefusePartMin))
      spenders.newcomersRefusal = "the broker is short of memory";
  }

  /** Returns the least that somebody takes who is judged, in bytes: when all is used up it is not much. */
  #leastSpent(bytes: number): number {
    return bytes >= this.#part(1) ? spenderBytesMin : Math.max(spenderBytesMin, this.#part(spenderPartMin));
  }

  /** Serves everybody again below where the log warns; before that those who have given half of it back. */
  #relax(bytes: number): void {
    const { spenders } = this.#parts;
    const { metrics, log } = this.#context;
    spenders.newcomersRefusal = undefined;
    const isOver = bytes < this.#part(memoryWarnPartMin);
    for (const [spender, before] of this.#refused) {
      if (this.#context.clock.now() < before.since + memoryRefusedMs) continue;
      if (!isOver && spender.bytes > before.bytes / 2) continue;
      spender.sharedRefusal = undefined;
      this.#refused.delete(spender);
      log.warn({ ...spender.facts, ...this.#facts(bytes) }, "there is memory again: who was refused is served");
    }
    metrics.memory.refused = this.#refused.size;
  }

  #warn(bytes: number): void {
    const { clock, log, metrics } = this.#context;
    this.#loggedAt = clock.now();
    const most = this.#parts.spenders.largest(spendersLogged).map((one) => `${one.words}: ${one.bytes}`);
    const facts = { ...this.#facts(bytes), clients: metrics.memory.clients, most: most.join(", ") };
    log.warn(facts, "memory is nearly used up");
  }

  #facts(resident: number): { resident: number; limit: number } {
    return { resident, limit: this.#parts.memory.limitBytes };
  }

  #part(part: number): number {
    return this.#parts.memory.limitBytes * part;
  }
}

function whyRefused({ words, bytes }: Spender): string {
  return `the broker is short of memory, and ${words} take ${bytes} bytes of it`;
}
