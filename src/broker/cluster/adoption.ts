/**
 * The adoption of sessions that no broker keeps: those of this broker's earlier life, and those of brokers that have
 * died. They are read into memory, and wait for their clients or for their end.
 */

import { walkMessages } from "../../audit/scan.ts";
import { noBytes } from "../../base/bytes.ts";
import { adoptionPageMax, orphansMs } from "../../base/limits.ts";
import { children, currentStore, read } from "../../coordinator/mirror.ts";
import { decodeName, nameOf, sessionPath, sessionsPath, subscriberPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { type JournalOperation, pagesOf } from "../../mail/operations.ts";
import type { SessionRecord } from "../../mail/records.ts";
import { countedOf } from "../../mail/slips.ts";
import type { OrphanedWills } from "../connect/orphaned-wills.ts";
import type { SessionRemains } from "../connect/session-remains.ts";
import type { SessionStore } from "../connect/session-store.ts";
import { sessionFromStore, sessionReads } from "../connect/take-over.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";

export interface AdoptionParts {
  readonly membership: Membership;
  readonly directory: SubscriptionDirectory;
  readonly sessionStore: SessionStore;
  readonly sessionRemains: SessionRemains;
  readonly orphanedWills: OrphanedWills;
  /** Returns true while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

/** Adopts sessions at the broker's start, after another broker's death, and after lost contact. */
export class Adoption {
  readonly #context: ClusterContext;
  readonly #parts: AdoptionParts;

  constructor(context: ClusterContext, parts: AdoptionParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Notes a broker's death: its sessions may be kept by no broker for a while, so CONNECT looks for them in the store.
   */
  expectOrphans(brokerId: string): void {
    const { self, clock } = this.#context;
    self.orphansUntil = clock.now() + orphansMs;
    this.#parts.orphanedWills.died(brokerId);
  }

  /**
   * Adopts all sessions that no broker keeps, finds the wills of dead brokers, and removes what they have left half
   * done. Rejects with `OperatingError`.
   */
  async adopt(): Promise<void> {
    // Other brokers may have changed the sessions' subscriptions while there was no contact.
    await new Promise<void>((done) => this.#parts.directory.caughtUp(done));
    await this.#adoptSessions();
    await this.#parts.orphanedWills.look();
    await this.#sweepSubscriptions();
    await this.#sweepMessages();
  }

  async #adoptSessions(): Promise<void> {
    const { coordinator } = this.#context;
    for (const shard of await children(coordinator, sessionsPath)) {
      const names = await children(coordinator, `${sessionsPath}/${shard}`);
      for (let at = 0; at < names.length; at += adoptionPageMax) {
        await this.#adoptPage(names.slice(at, at + adoptionPageMax).map((name) => `${sessionsPath}/${shard}/${name}`));
      }
    }
  }

  async #adoptPage(paths: readonly string[]): Promise<void> {
    const { coordinator, localSessions } = this.#context;
    const ids = paths.map((path) => decodeName(nameOf(path)));
    const results = await read(
      currentStore(coordinator),
      paths.flatMap((path, index) => {
        const [, ...below] = sessionReads(ids[index]!);
        return [{ kind: "get", path } as const, ...below];
      }),
    );
    const adopted: { client: LocalSession; record: SessionRecord }[] = [];
    ids.forEach((clientId, index) => {
      const four = results.slice(4 * index, 4 * index + 4);
      if (!hasData(four[0]) || localSessions.has(clientId)) return;
      if (this.#parts.isObtaining(clientId) || !this.#isOurs(paths[index]!, clientId)) return;
      const client = sessionFromStore(this.#context, clientId, four);
      const { record } = client;
      if (record === undefined) {
        // A stranger's record is left alone; a client that connects under that id takes its place.
        if (four[0].data.length > 0) return;
        this.#parts.sessionRemains.erase(client);
        return;
      }
      if (this.#isKept(record)) return;
      this.#parts.directory.adopt(client);
      adopted.push({ client, record });
    });
    for (const { client, record } of adopted) this.#awaitClient(client, record);
  }

  /** Returns true if a session is where its client would look for it; otherwise it is noted as a stranger. */
  #isOurs(path: string, clientId: string): boolean {
    if (sessionPath(clientId) === path) return true;
    this.#context.strangers.note(path, "is no session: it is not where one of that name would be");
    return false;
  }

  #awaitClient(client: LocalSession, record: SessionRecord): void {
    const { sessionStore } = this.#parts;
    const { options, clock } = this.#context;
    const isCut = record.expiryInterval > client.session.expiryInterval;
    if (record.connected || record.owner !== options.id || isCut) sessionStore.recordAway(client);
    else if (record.expiresAt !== null) sessionStore.expireIn(client, Math.max(0, record.expiresAt - clock.wall()));
  }

  /**
   * Returns true if another broker keeps the session: one incarnation while its client is connected, any of that broker
   * while it is away.
   */
  #isKept({ owner, epoch, connected }: SessionRecord): boolean {
    const { options, peers } = this.#context;
    if (connected) return this.#parts.membership.isAlive(owner, epoch) && owner !== options.id;
    return owner !== options.id && peers.get(owner)?.epoch !== undefined;
  }

  /** Removes messages whose last receiver has them, and whose broker died before it could remove them. */
  async #sweepMessages(): Promise<void> {
    const { coordinator, slips, strangers } = this.#context;
    await walkMessages(
      { store: coordinator, reader: strangers },
      {
        counted: (path, head, times) => slips.removeIfDone(countedOf(path, head), times),
      },
    );
  }

  /** Removes subscriptions of sessions whose broker died while it erased them. */
  async #sweepSubscriptions(): Promise<void> {
    const { coordinator, remoteSessions, journal } = this.#context;
    const remotes = [...remoteSessions.values()];
    const results = await read(
      coordinator,
      remotes.map(({ clientId }) => ({ kind: "get", path: sessionPath(clientId) })),
    );
    remotes.forEach(({ clientId, subscriptions }, index) => {
      if (results[index] !== "NoNode") return;
      const removals = [...subscriptions.keys()].map(
        (text) => ({ kind: "remove", path: subscriberPath(text, clientId) }) as const,
      );
      // Refused if there is a session by then: its client has begun anew, and they may be its own.
      const path = sessionPath(clientId);
      const vacant: JournalOperation = { kind: "create", path, data: noBytes, mode: "persistent" };
      const nothing = (): void => {};
      for (const page of pagesOf(removals)) journal.commit([vacant, ...page, { kind: "take", path }], nothing, nothing);
    });
  }
}
