/**
 * The erasure of sessions in the store: subscriptions, mail and record are removed. Only what is there is removed, for
 * a removal that is refused costs the whole group of commits another try. Expired sessions are erased a bounded number
 * at a time, so that a fleet whose sessions end together delays nobody.
 */

import { noBytes } from "../../base/bytes.ts";
import { expiringMax, pageOperationsMax } from "../../base/limits.ts";
import { nothing, type Work } from "../../base/slices.ts";
import { cursorsPath, incomingPath, mailPath, subscriberPath } from "../../coordinator/paths.ts";
import { childrenOf } from "../../coordinator/read-results.ts";
import { emptyMailbox, type ReassignSlip } from "../../mail/emptying.ts";
import type { CommitAll } from "../../mail/journal.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { type FencingToken, fence } from "../../mail/slips.ts";
import { removalOf } from "../core/bill.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Interest } from "../peers/interest.ts";
import type { Regrouping } from "../publish/regrouping.ts";

/** The circumstances of an erasure. */
export interface Erasing {
  /** Done before the session's subscriptions leave the routes. */
  readonly first?: Work;
  /**
   * The session that its client begins in its place. The znodes of record and mailbox stay for it, emptied: versions
   * and numbers go on, so what is still to be written in the name of the session before is refused, wherever it waits.
   */
  readonly successor?: LocalSession | undefined;
  /** Filters of subscriptions that stand in the store, of a session that is not this broker's. */
  readonly filters?: readonly string[];
}

/** Erases sessions, and lets a new session of a client id wait until the old one is gone. */
export class SessionErasure {
  readonly #context: ClusterContext;
  readonly #regrouping: Regrouping;
  readonly #interest: Interest;
  /** The calls that wait until a session is gone, by client id. */
  readonly #waiting = new Map<string, (() => void)[]>();
  /** Expired sessions that wait for their turn, oldest first from `#at` on. */
  #expired: (() => void)[] = [];
  #at = 0;
  #expiring = 0;

  constructor(context: ClusterContext, parts: { interest: Interest; regrouping: Regrouping }) {
    this.#context = context;
    this.#interest = parts.interest;
    this.#regrouping = parts.regrouping;
  }

  /**
   * Has an expired session erased in its turn: `erase` is called then, and must call `done` when the session is gone.
   */
  inTurn(erase: (done: () => void) => void): void {
    this.#expired.push(() => erase(() => this.#oneLess()));
    this.#next();
  }

  /** Calls back when no earlier session of a client id is being erased: mostly at once. */
  whenErased(clientId: string, go: () => void): void {
    const waiting = this.#waiting.get(clientId);
    if (waiting === undefined) go();
    else waiting.push(go);
  }

  /** Returns true while a session is being erased, or is about to be. */
  isErasing(clientId: string): boolean {
    return this.#waiting.has(clientId);
  }

  /**
   * Has calls of `whenErased` wait from now on: a session is about to be erased. They go on when it is gone, or when
   * the function that is returned is called.
   */
  announce(clientId: string): () => void {
    const waiting = this.#waiting.get(clientId) ?? [];
    this.#waiting.set(clientId, waiting);
    return () => this.#erased(clientId, waiting);
  }

  #erased(clientId: string, waiting: readonly (() => void)[]): void {
    if (this.#waiting.get(clientId) !== waiting) return;
    this.#waiting.delete(clientId);
    for (const go of waiting) go();
  }

  /**
   * Ends a session for good: its subscriptions, its mail and its record. Calls `done` when nothing is left of it.
   * Nothing more is sent to its client, but a session with many subscriptions takes a while to leave the routes.
   */
  erase(client: LocalSession, done: () => void, { first = nothing(), successor, filters = [] }: Erasing = {}): void {
    const { localSessions, slices } = this.#context;
    const { session, mailbox } = client;
    const { clientId } = session;
    client.stopExpiry();
    if (localSessions.get(clientId) === client) localSessions.delete(clientId);
    const removals: JournalOperation[] = filters.map((text) => ({
      kind: "remove",
      path: subscriberPath(text, clientId),
    }));
    const work = this.#unsubscribe(client, removals, first);
    if (mailbox === undefined) return slices.run(work, done);
    const over = this.announce(clientId);
    const erased = (): void => {
      done();
      over();
    };
    slices.run(work, () =>
      this.#seize(client, erased, () => this.#eraseStored(client, removals, { erased, successor })),
    );
  }

  /**
   * Empties the record of a session that another broker keeps, which may not be reached: from then on that one writes
   * nothing more in the session's name. It might have released a slip that is discarded here, and the reader of that
   * message would be counted twice. `lost`: it has written the record meanwhile.
   */
  #seize(client: LocalSession, lost: () => void, go: () => void): void {
    const { journal, options } = this.#context;
    if (!client.isAnothers(options.id)) return go();
    journal.commit([emptyingOf(client.fencingToken)], go, lost);
  }

  /** Takes a session's subscriptions out of the routes, and adds their removals from the store to `removals`. */
  *#unsubscribe(client: LocalSession, removals: JournalOperation[], first: Work): Work {
    yield* first;
    const { session, mailbox } = client;
    for (const [text, subscription] of session.subscriptions) {
      this.#context.router.unsubscribe(client, subscription);
      if (mailbox === undefined) this.#interest.unsubscribed(text);
      else {
        const path = subscriberPath(text, session.clientId);
        removals.push(removalOf(this.#context.bankAccount, { path, paid: subscription.paid }));
      }
      yield;
    }
  }

  #eraseStored(
    client: LocalSession,
    removals: readonly JournalOperation[],
    { erased, successor }: { readonly erased: () => void; readonly successor: LocalSession | undefined },
  ): void {
    const { bankAccount } = this.#context;
    this.#findRest(client, (rest) => {
      const { path, version } = client.fencingToken;
      const guard = fence(client.fencingToken);
      const mailbox = mailPath(client.session.clientId);
      const unneeded = successor === undefined ? rest : rest.filter((found) => found !== mailbox);
      const all = unneeded.map((found) => ({ kind: "remove", path: found }) as const);
      // The record goes last: if the erasure stops here, it is found and finished by it.
      const removal = removalOf(bankAccount, { path, paid: client.paid });
      const last: JournalOperation =
        successor === undefined ? removal : { kind: "set", path, data: noBytes, after: removal.after! };
      const done = (): void => {
        successor?.found(undefined, version + 1);
        erased();
      };
      this.#removeInPages([...removals, ...all, last], 0, { guard, done, refused: erased });
    });
  }

  /** Commits removals from one on, a page at a time: the event loop and the journal are others' in between. */
  #removeInPages(removals: readonly JournalOperation[], from: number, how: CommitAll): void {
    const next = from + pageOperationsMax;
    const goOn = (): void => this.#removeInPages(removals, next, how);
    const done = next < removals.length ? goOn : how.done!;
    this.#context.journal.commitAll(removals.slice(from, next), { ...how, done });
  }

  /**
   * Empties the mailbox, and calls back with the paths of what else stands below a session's record, deepest first; the
   * mailbox itself is among them.
   */
  #findRest(client: LocalSession, found: (paths: readonly string[]) => void): void {
    const { journal } = this.#context;
    const { clientId } = client.session;
    const incoming = incomingPath(clientId);
    const cursors = cursorsPath(clientId);
    const mail = mailPath(clientId);
    // Commits in the session's name that are under way must be seen by the read.
    journal.whenSubmitted(() => {
      this.#childrenOf([client.fencingToken.path, mail], ([names = [], slips = []]) => {
        const levels = [cursors, incoming].filter((path) =>
          names.includes(path.slice(client.fencingToken.path.length + 1)),
        );
        const empty = (go: () => void): void => (slips.length > 0 ? this.#empty(client, slips, go) : go());
        empty(() =>
          this.#childrenOf(levels, (below) => {
            const paths = levels.flatMap((level, index) => [...below[index]!.map((name) => `${level}/${name}`), level]);
            found(names.includes("mail") ? [...paths, mail] : paths);
          }),
        );
      });
    });
  }

  /** Empties a mailbox: messages of shared subscriptions go to other members, all others are removed. */
  emptyMailbox(client: LocalSession): void {
    const path = mailPath(client.session.clientId);
    this.#childrenOf([path], ([names = []]) => this.#empty(client, names, () => {}));
  }

  #empty({ session, fencingToken }: LocalSession, names: readonly string[], done: () => void): void {
    const { slips, journal } = this.#context;
    const owner = { clientId: session.clientId, fencingToken };
    const reassign: ReassignSlip = (slip, gone) => this.#regrouping.reassignSlip(owner, slip, gone);
    emptyMailbox(slips.named(session.clientId, names), { slips, journal, reassign, fencingToken, done });
  }

  /**
   * Calls back with the names below each path; never if the store is closing: the next broker to find the session
   * erases it.
   */
  #childrenOf(paths: readonly string[], done: (names: (readonly string[])[]) => void): void {
    if (paths.length === 0) return done([]);
    const operations = paths.map((path) => ({ kind: "children", path }) as const);
    this.#context.coordinator.read(operations, (error, results) => {
      if (error !== undefined) return;
      done(results.map((result) => childrenOf(result)));
    });
  }

  #oneLess(): void {
    this.#expiring--;
    this.#next();
  }

  #next(): void {
    while (this.#expiring < expiringMax && this.#at < this.#expired.length) {
      this.#expiring++;
      this.#expired[this.#at++]!();
    }
    if (this.#at < this.#expired.length) return;
    this.#expired = [];
    this.#at = 0;
  }
}

/**
 * Returns the operation that empties a session's record: from then on the session is nobody's, and no other broker
 * writes in its name. The token counts it as written.
 */
export function emptyingOf(fencingToken: FencingToken): JournalOperation {
  const version = fencingToken.version++;
  return { kind: "set", path: fencingToken.path, data: noBytes, version: () => version, ofLease: true };
}
