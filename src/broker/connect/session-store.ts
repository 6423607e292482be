/** Sessions in the store: their records while their clients are connected or away, their expiry, and their end. */

import { logTextMax } from "../../base/limits.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { encodeSession } from "../../mail/records.ts";
import type { Bill } from "../core/bill.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Interest } from "../peers/interest.ts";
import type { Regrouping } from "../publish/regrouping.ts";
import { type Erasing, SessionErasure } from "./session-erasure.ts";
import type { Wills } from "./wills.ts";

/** Writes session records, has sessions expire, and erases them. */
export class SessionStore {
  readonly #context: ClusterContext;
  readonly #wills: Wills;
  readonly #erasure: SessionErasure;

  constructor(context: ClusterContext, parts: { wills: Wills; interest: Interest; regrouping: Regrouping }) {
    this.#context = context;
    this.#wills = parts.wills;
    this.#erasure = new SessionErasure(context, parts);
  }

  /**
   * Returns the operation that records a session as connected or away. It is refused if another broker has changed the
   * record meanwhile: the session is that one's. `bill`: what pays for it, if it is new.
   */
  record(client: LocalSession, state: "connected" | "away", bill?: Bill): JournalOperation {
    const { session, fencingToken } = client;
    const { options, clock, self } = this.#context;
    const away = state === "away";
    const data = encodeSession({
      owner: options.id,
      epoch: self.epoch,
      connected: !away,
      version: session.version,
      expiryInterval: session.expiryInterval,
      expiresAt: away && !session.neverExpires ? clock.wall() + session.expiryInterval * 1000 : null,
      user: client.user === "" ? undefined : client.user,
      untold: client.isUntold || undefined,
      paid: client.paid,
      willBytes: client.willBytes === 0 ? undefined : client.willBytes,
    });
    const paying = bill === undefined ? {} : { after: bill.settle };
    if (client.recorded()) {
      return { kind: "create", path: fencingToken.path, data, mode: "persistent", ...paying };
    }
    const expected = fencingToken.version++;
    return { kind: "set", path: fencingToken.path, data, version: () => expected, ofLease: true, ...paying };
  }

  /** Has a session wait in the store for its client, until it expires. */
  recordAway(client: LocalSession): void {
    this.#context.journal.commit([this.record(client, "away")], undefined, () => this.#context.evict(client));
    this.expireIn(client, client.session.expiryInterval * 1000);
  }

  /** Has the session of an absent client expire in `ms`. */
  expireIn(client: LocalSession, ms: number): void {
    if (client.session.neverExpires) return;
    client.expireIn(ms, () => this.#erasure.inTurn((done) => this.#expire(client, done)));
  }

  #expire(client: LocalSession, done: () => void): void {
    // The client has come back meanwhile, or another broker keeps the session.
    if (this.#context.localSessions.get(client.session.clientId) !== client) return done();
    this.#context.metrics.sessionsExpired++;
    this.#context.log.debug({ client: client.session.clientId.slice(0, logTextMax) }, "session expired");
    this.#wills.publishNow(client);
    this.erase(client, done);
  }

  /** Ends a session for good, as `SessionErasure.erase` says. */
  erase(client: LocalSession, done: () => void, how?: Erasing): void {
    this.#erasure.erase(client, done, how);
  }

  /**
   * Empties the mailbox of a session that has just begun: what is there was stored for an earlier one, by a broker that
   * had not heard yet of its end.
   */
  emptyOldMailbox(client: LocalSession): void {
    const isAlone = [...this.#context.peers.values()].every(({ epoch }) => epoch === undefined);
    if (client.mailbox !== undefined && !isAlone) this.#erasure.emptyMailbox(client);
  }

  /** Has calls of `whenErased` wait, as `SessionErasure.announce` says. */
  announceErasure(clientId: string): () => void {
    return this.#erasure.announce(clientId);
  }

  /** Returns true while a session of that client is being erased, or is about to be. */
  isErasing(clientId: string): boolean {
    return this.#erasure.isErasing(clientId);
  }

  /** Calls back when no earlier session of a client id is being erased: mostly at once. */
  whenErased(clientId: string, go: () => void): void {
    this.#erasure.whenErased(clientId, go);
  }
}
