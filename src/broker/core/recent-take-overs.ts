/**
 * The last times that another connection has taken the place of a client, for whoever asks why it gets nothing. Two
 * devices with one client id do that to each other, again and again.
 */
import { droppedClientsMax, takeOversApartMs } from "../../base/api-limits.ts";
import type { Clock } from "../../base/clock.ts";

/** The take-overs of one client id that came one soon after the other. */
export interface TakeOvers {
  /** When the first and the last one were, in ms since 1970, and how many. */
  readonly since: number;
  readonly at: number;
  readonly times: number;
  /** Address and port of the last connection that had to go. */
  readonly remote: string;
}

/** Connections in a row that take each other's place, from which on they are two devices'. */
const fightMin = 3;

/** Returns true if two devices have the client id, and throw each other out. */
export function isFight({ times, at }: TakeOvers, now: number): boolean {
  return times >= fightMin && now - at <= takeOversApartMs;
}

/** Remembers the take-overs of some hundred clients. */
export class RecentTakeOvers {
  readonly #clock: Pick<Clock, "wall">;
  /** By client id; the one that was taken over last stands last. */
  readonly #clients = new Map<string, TakeOvers>();

  constructor(clock: Pick<Clock, "wall">) {
    this.#clock = clock;
  }

  /** Notes that a connection had to go for another one with the same client id. */
  note(clientId: string, remote: string): void {
    const at = this.#clock.wall();
    const before = this.#clients.get(clientId);
    this.#clients.delete(clientId);
    if (this.#clients.size >= droppedClientsMax) this.#clients.delete(this.#clients.keys().next().value!);
    const isInRow = before !== undefined && at - before.at <= takeOversApartMs;
    const { since, times } = isInRow ? before : { since: at, times: 0 };
    this.#clients.set(clientId, { since, at, times: times + 1, remote });
  }

  /** The client ids that two devices fight for now: `most` at most, the last first. */
  fights(most: number): (readonly [clientId: string, TakeOvers])[] {
    const now = this.#clock.wall();
    return [...this.#clients]
      .filter(([, known]) => isFight(known, now))
      .reverse()
      .slice(0, most);
  }

  /** Returns the last ones of a client; undefined: none is remembered. */
  of(clientId: string): TakeOvers | undefined {
    return this.#clients.get(clientId);
  }
}
