/**
 * Looks now and then whether a connected session has mail in the store that nobody sends. Nothing should lead there; but a
 * message that waits until its client comes back, or the broker restarts, would be as good as lost. So the mailbox is read
 * anew, and what has been found is logged.
 */
import { logTextMax, mailWatchMax, mailWatchMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { mailPath } from "../../coordinator/paths.ts";
import type { Runtime } from "../core/runtime.ts";
import type { LocalSession } from "./local-session.ts";

export class MailWatch {
  readonly #context: Runtime;
  readonly #hosted: ReadonlyMap<number, LocalSession>;
  /** Where the round has come to; it begins anew not before `#nextRoundAt`. */
  #round: Iterator<LocalSession> | undefined;
  #nextRoundAt = 0;
  /** Clients whose mailboxes did not move in the last round, though there was something in them: how far they had come. */
  readonly #suspects = new WeakMap<LocalSession, number>();
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: Runtime, hosted: ReadonlyMap<number, LocalSession>) {
    this.#context = context;
    this.#hosted = hosted;
  }

  /** There is somebody to look after. */
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
          if (typeof result === "object" && "stat" in result)
            this.#judge(client, result.stat.childCount, moves[index]!);
        });
      },
    );
  }

  /** Clients that take what they are sent: where one is slow, its mail waits by right. */
  #nextPage(round: Iterator<LocalSession>): LocalSession[] {
    const page: LocalSession[] = [];
    while (page.length < mailWatchMax) {
      const { value: client, done } = round.next();
      if (done === true) {
        this.#round = undefined;
        return page;
      }
      if (client.hasRoom) page.push(client);
    }
    return page;
  }

  #judge(client: LocalSession, stored: number, moves: number): void {
    const mailbox = client.mailbox!;
    // What is on its way to the client is in the store, too.
    const isWaiting = client.handle !== 0 && client.hasRoom && stored > client.slipsInFlight().size;
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
