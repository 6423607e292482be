/**
 * Tells the operator of lists of revoked certificates: that one will end, or has ended and keeps its clients out; and,
 * now and then, which clients are refused for them.
 */
import { revocationEndNoticeMs } from "../base/access-limits.ts";
import type { Clock } from "../base/clock.ts";
import { LineLimit, standingFor } from "../base/line-limit.ts";
import type { Log } from "../base/log.ts";
import type { ListFacts, RevocationCause } from "../net/revocations.ts";
import { EndNotice } from "./end-notice.ts";

/** Looks after the lists as often as it is told to. */
export class RevocationWatch {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #lines = new LineLimit<RevocationCause>();
  readonly #notice: EndNotice;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
    this.#notice = new EndNotice(clock, revocationEndNoticeMs);
  }

  /** Logs some of the clients that are refused. */
  refused(cause: RevocationCause, why: string): void {
    const stands = this.#lines.take(cause, this.#clock.now());
    if (stands > 0) this.#log.warn(standingFor(`a client's certificate is refused: ${why}`, stands));
  }

  /** Logs that the list that ends first will end, or has ended; not each time. */
  look(lists: readonly ListFacts[]): void {
    const first = firstToEnd(lists);
    const stage = this.#notice.look(first && { of: first.issuer, since: first.issuedAt, end: first.endsAt });
    if (stage === undefined) return;
    const facts = { issuer: first!.issuer, end: new Date(first!.endsAt).toISOString() };
    if (stage === "over")
      this.#log.error(facts, "a list of revoked certificates has ended: its issuer's clients are refused");
    else this.#log.warn(facts, "a list of revoked certificates ends soon: then its issuer's clients are refused");
  }
}

/** Returns the list that ends before the others; undefined: there is none. */
export function firstToEnd(lists: readonly ListFacts[]): ListFacts | undefined {
  return lists.reduce<ListFacts | undefined>(
    (first, list) => (first && first.endsAt <= list.endsAt ? first : list),
    undefined,
  );
}
