/**
 * Sessions that nobody keeps: those that this broker kept in an earlier life, and those of brokers that have died. They
 * are taken into memory, and wait for their clients or for their end.
 */

import { walkMessages } from "../../audit/scan.ts";
import { adoptionPageMax, orphansMs } from "../../base/limits.ts";
import { children, read } from "../../coordinator/mirror.ts";
import {
  decodeName,
  incomingPath,
  mailPath,
  nameOf,
  sessionPath,
  sessionsPath,
  subscriberPath,
} from "../../coordinator/paths.ts";
import type { SessionRecord } from "../../mail/records.ts";
import { countedOf } from "../../mail/slips.ts";
import type { OrphanedWills } from "../connect/orphaned-wills.ts";
import type { SessionStore } from "../connect/session-store.ts";
import { makeClient } from "../connect/take-over.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";

export interface AdoptionParts {
  readonly membership: Membership;
  readonly directory: SubscriptionDirectory;
  readonly sessionStore: SessionStore;
  readonly orphanedWills: OrphanedWills;
  /** True while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

export class Adoption {
  readonly #context: ClusterContext;
  readonly #parts: AdoptionParts;

  constructor(context: ClusterContext, parts: AdoptionParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** A broker's incarnation is gone: its sessions may be without a keeper for a while. */
  expectOrphans(brokerId: string): void {
    const { self, clock } = this.#context;
    self.orphansUntil = clock.now() + orphansMs;
    this.#parts.orphanedWills.died(brokerId);
  }

  /** Takes all sessions that nobody keeps, and the wills of brokers' incarnations that are gone. */
  async adopt(): Promise<void> {
    // What others have changed of their subscriptions, while there was no contact.
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
      coordinator,
      paths.flatMap((path, index) => [
        { kind: "get", path } as const,
        { kind: "exists", path: mailPath(ids[index]!) } as const,
        { kind: "children", path: incomingPath(ids[index]!) } as const,
      ]),
    );
    const adopted: { client: LocalSession; record: SessionRecord }[] = [];
    ids.forEach((clientId, index) => {
      const three = results.slice(3 * index, 3 * index + 3);
      if (typeof three[0] !== "object" || !("data" in three[0]!) || localSessions.has(clientId)) return;
      if (this.#parts.isObtaining(clientId) || !this.#isOurs(paths[index]!, clientId)) return;
      const client = makeClient(this.#context, clientId, three);
      const { record } = client;
      if (record === undefined) {
        // What is not ours is left alone; whoever connects under that id takes its place.
        if (three[0].data.length > 0) return;
        this.#parts.sessionStore.erase(client, () => {});
        return;
      }
      if (this.#isKept(record)) return;
      this.#parts.directory.adopt(client);
      adopted.push({ client, record });
    });
    for (const { client, record } of adopted) this.#rest(client, record);
  }

  /** A session that stands where its client would look for it. */
  #isOurs(path: string, clientId: string): boolean {
    if (sessionPath(clientId) === path) return true;
    this.#context.strangers.note(path, "is no session: it is not where one of that name would be");
    return false;
  }

  #rest(client: LocalSession, record: SessionRecord): void {
    const { sessionStore } = this.#parts;
    const { options, clock } = this.#context;
    if (record.connected || record.owner !== options.id) sessionStore.rest(client);
    else if (record.expiresAt !== null) sessionStore.expireIn(client, Math.max(0, record.expiresAt - clock.wall()));
  }

  /** While its client is connected a session is kept by one incarnation; while it is away, by a broker's name. */
  #isKept({ owner, epoch, connected }: SessionRecord): boolean {
    const { options, peers } = this.#context;
    if (connected) return this.#parts.membership.isAlive(owner, epoch) && owner !== options.id;
    return owner !== options.id && peers.get(owner)?.epoch !== undefined;
  }

  /** Messages whose last recipient has them, and whose broker died before it could remove them. */
  async #sweepMessages(): Promise<void> {
    const { coordinator, slips, strangers } = this.#context;
    await walkMessages(
      { store: coordinator, reader: strangers },
      {
        counted: (path, head, times) => slips.removeIfDone(countedOf(path, head), times),
      },
    );
  }

  /** Subscriptions of sessions that were erased while their broker died. */
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
      journal.commit(removals);
    });
  }
}
