/**
 * The broker's words to systemd, or whoever else started it with NOTIFY_SOCKET (sd_notify(3)): that clients may come,
 * that it lives, that it reads its files again, that it ends. It lives as `/livez` means it: a process whose event loop
 * stands still, or that only another life can help, says nothing, and is started again.
 */
import { setAlarm } from "../base/alarm.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { livenessBeatMs, serviceLifeMs, shutdownWaitMs } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { openUnixDatagrams, type UnixDatagrams } from "../net/unix-datagram.ts";
import type { Check } from "./liveness.ts";

/** The parts of the broker that it speaks for. */
export interface Served {
  /** The checks that `/livez` answers. */
  readonly live: readonly Check[];
}

export interface ServiceManagerParts {
  readonly datagrams: UnixDatagrams;
  readonly served: Served;
  readonly clock: Pick<Clock, "now">;
  readonly log: Pick<Log, "warn" | "error">;
  /** The time, in milliseconds, in which the manager must hear of the broker; undefined: it need not. */
  readonly watchdogMs: number | undefined;
}

/** Variables by which a service is told where its manager listens, and how often it must hear of it. */
export type ServiceVariables = Readonly<Record<string, string | undefined>>;

/** A service manager that listens. */
export interface Service {
  readonly manager: ServiceManager;
  /** Says nothing any more. */
  close(): void;
}

export class ServiceManager {
  readonly #parts: ServiceManagerParts;
  readonly #beatMs: number;
  #beatAt: number;
  #state: "starting" | "ready" | "stopping" = "starting";
  /** The last words of what is ill; "": it lives. */
  #ills = "";
  #wasHeard = true;

  constructor(parts: ServiceManagerParts) {
    this.#parts = parts;
    // Half of the time in which it is due, so that one may be late.
    this.#beatMs = Math.min(livenessBeatMs, (parts.watchdogMs ?? Infinity) / 2);
    this.#beatAt = parts.clock.now();
  }

  /** Returns when `tick` must be called next, in ms by the clock's `now`. */
  nextDeadline(): number {
    return this.#beatAt;
  }

  /** Says that the broker lives, if it does, and a beat is over. */
  tick(): void {
    const now = this.#parts.clock.now();
    if (now < this.#beatAt) return;
    this.#beatAt = now + this.#beatMs;
    const ills = this.#parts.served.live.filter(({ ok }) => !ok).map(({ name, why }) => `${name}: ${why}`);
    this.#note(ills.join("; "));
    if (ills.length > 0) return;
    // A store that is large, or a ZooKeeper that is still to come, may take longer than a start is given.
    if (this.#state === "starting") this.#send(`EXTEND_TIMEOUT_USEC=${serviceLifeMs * 1000}`);
    if (this.#parts.watchdogMs !== undefined) this.#send("WATCHDOG=1");
  }

  /** Says that clients may come. */
  ready(status: string): void {
    this.#state = "ready";
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  /** Says that files are read again, from now until `done`. */
  async reloading(done: Promise<void>): Promise<void> {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${this.#parts.datagrams.monotonicUs()}`);
    await done;
    this.#send(this.#state === "stopping" ? "STOPPING=1" : "READY=1");
  }

  /** Says that the broker ends. `drainMs`: how long it sends clients to other brokers. */
  stopping(drainMs: number): void {
    this.#state = "stopping";
    const restMs = drainMs + shutdownWaitMs + serviceLifeMs;
    this.#send(`STOPPING=1\nSTATUS=sending clients away\nEXTEND_TIMEOUT_USEC=${restMs * 1000}`);
  }

  #note(ills: string): void {
    if (ills === this.#ills) return;
    this.#ills = ills;
    if (ills !== "") this.#parts.log.error({ ills }, "only another life can help: the service manager is told so");
    this.#send(`STATUS=${ills === "" ? "it lives again" : ills}`);
  }

  #send(text: string): void {
    const isHeard = this.#parts.datagrams.send(text);
    if (!isHeard && this.#wasHeard) this.#parts.log.warn("the service manager takes no word: see NOTIFY_SOCKET");
    this.#wasHeard = isHeard;
  }
}

/** Opens the way to the service manager, if there is one, and begins to tell it that the broker lives. */
export async function openServiceManager(
  served: Served,
  log: Log,
  env: ServiceVariables = process.env,
): Promise<Service | undefined> {
  const { NOTIFY_SOCKET: path = "" } = env;
  if (path === "") return undefined;
  try {
    const datagrams = await openUnixDatagrams(path);
    const parts = { datagrams, served, clock: systemClock, log, watchdogMs: watchdogMsOf(env) };
    const manager = new ServiceManager(parts);
    const alarm = setAlarm(manager, systemClock);
    return { manager, close: () => alarm.stop() };
  } catch (error) {
    // A broker serves its clients also where nobody can be told so.
    log.warn(`the service manager is told nothing (NOTIFY_SOCKET): ${messageOf(error)}; have it use Type=exec`);
    return undefined;
  }
}

/** Returns within how many milliseconds this process must be heard of; undefined: it need not be. */
function watchdogMsOf({ WATCHDOG_USEC: us, WATCHDOG_PID: pid = "" }: ServiceVariables): number | undefined {
  const isOurs = pid === "" || pid === String(process.pid);
  return isOurs && Number(us) > 0 ? Number(us) / 1000 : undefined;
}
