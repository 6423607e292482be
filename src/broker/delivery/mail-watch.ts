/**
 * Checks now and then whether a connected session has mail in the store that nobody sends. No known state leads there;
 * but such a message would wait until its client or the broker comes back, which is as good as lost. The mailbox is
 * then read anew, and an error is logged.
 */

import { logTextMax, mailWatchMax, mailWatchMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { mailPath } from "../../coordinator/paths.ts";
import { hasStat } from "../../coordinator/read-results.ts";
import type { Runtime } from "../core/runtime.ts";
import type { LocalSession } from "./local-session.ts";

/** The check of all connected persistent sessions, a page at a time, one round every `mailWatchMs`. */
export class MailWatch {
  readonly #context: Runtime;
  readonly #hosted: ReadonlyMap<number, LocalSession>;
  /** The round under way; undefined between two. The next begins at `#nextRoundAt` (ms) or later. */
  #round: Iterator<LocalSession> | undefined;
  #nextRoundAt = 0;
  /** Sessions whose mailboxes held something and did not move in the last round, with `Mailbox.moves` as it was. */
  readonly #suspects = new WeakMap<LocalSession, number>();
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: Runtime, hosted: ReadonlyMap<number, LocalSession>) {
    this.#context = context;
    this.#hosted = hosted;
  }

  /** Starts the checks, unless they run: a persistent session is connected. They end when there is none left. */
  wake(): void {
    const { timers, clock } = this.#context;
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + mailWatchMs / 10);
  }

  #look(now: number): void {
    if (this.#hosted.size === 0) return;
    this.#context.timers.set(this.#timer, now + mailWatchMs / 10);
    if (this.#round === undefined) {
      if (now < this.#nextRoundAt) return;
      this.#round = this.#hosted.values();
      this.#nextRoundAt = now + mailWatchMs;
    }
    const page = this.#nextPage(this.#round);
    if (page.length === 0 || this.#context.coordinator.state !== "CONNECTED") return;
    const moves = page.map(({ mailbox }) => mailbox!.moves);
    this.#context.coordinator.read(
      page.map(({ session }) => ({ kind: "exists", path: mailPath(session.clientId) })),
      (error, results) => {
        if (error !== undefined) return;
        page.forEach((client, index) => {
          const result = results[index];
          if (hasStat(result)) this.#judge(client, result.stat.childCount, moves[index]!);
        });
      },
    );
  }

  /** Returns the next sessions whose clients have room: where a client is slow, its mail waits by right. */
  #nextPage(round: Iterator<LocalSession>): LocalSession[] {
    const page: LocalSession[] = [];
    while (page.length < mailWatchMax) {
      const { value: client, done } = round.next();
      if (done === true) {
        this.#round = undefined;
        return page;
      }
      if (isReady(client)) page.push(client);
    }
    return page;
  }

  #judge(client: LocalSession, stored: number, moves: number): void {
    const mailbox = client.mailbox!;
    // Messages in flight to the client have their slips in the store, too.
    const isWaiting = client.handle !== 0 && isReady(client) && stored > client.slipsInFlight().size;
    const before = this.#suspects.get(client);
    this.#suspects.delete(client);
    if (!isWaiting || mailbox.moves !== moves) return;
    if (before !== moves) {
      this.#suspects.set(client, moves);
      return;
    }
    const clientId = client.session.clientId.slice(0, logTextMax);
    this.#context.log.error({ client: clientId, stored }, "mail waits that nobody sends; the mailbox is read anew");
    mailbox.load();
  }
}

/** Returns true if a client could be sent more: its window has room, and somebody pays for what it may leave. */
function isReady({ hasRoom, mailbox }: LocalSession): boolean {
  return hasRoom && mailbox?.isHeldUp !== true;
}
