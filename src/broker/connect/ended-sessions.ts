/**
 * Notices of sessions that were ended since their mailboxes were full: the client is told so when it comes back, at
 * whichever broker. They are mirrored, so that CONNECT asks no store; there are few, and each has its end.
 */
import { encodeUtf8 } from "../../base/bytes.ts";
import { endedClientIdBytesMax, endedNoticeMs, endedSessionsMax } from "../../base/limits.ts";
import { Mirror } from "../../coordinator/mirror.ts";
import { decodeName, endedPath, endedSessionPath, isEncoded, nameOf, parentPath } from "../../coordinator/paths.ts";
import { decodeEnded, describeEnded, type EndedCause, type EndedRecord, encodeEnded } from "../../mail/ended-record.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SessionStore } from "./session-store.ts";

/** The mirror of `/ended`. */
export class EndedSessions {
  readonly #context: ClusterContext;
  readonly #sessionStore: Pick<SessionStore, "record">;
  readonly #mirror: Mirror;
  /** By client id, oldest first, as far as they came while this broker was there. */
  readonly #notices = new Map<string, EndedRecord>();

  constructor(context: ClusterContext, sessionStore: Pick<SessionStore, "record">) {
    this.#context = context;
    this.#sessionStore = sessionStore;
    this.#mirror = new Mirror(context.coordinator, {
      root: endedPath,
      concerns: (path) => parentPath(path) === endedPath && isEncoded(nameOf(path)),
      needsData: () => true,
      apply: (path, node) => {
        const clientId = decodeName(nameOf(path));
        this.#notices.delete(clientId);
        if (typeof node !== "object") return context.strangers.forget(path);
        const record = context.strangers.read(path, () => decodeEnded(node.data));
        if (record !== undefined) this.#notices.set(clientId, record);
      },
    });
  }

  /** Reads all notices. Rejects with `OperatingError` if the store cannot be read. */
  start(): Promise<void> {
    return this.#mirror.start();
  }

  /** Calls back when all changes that the store has told of are known. */
  caughtUp(done: () => void): void {
    this.#mirror.caughtUp(done);
  }

  /** Returns the notice for a client whose earlier session was ended; undefined: there is none, or its time is over. */
  noticeOf(clientId: string): EndedRecord | undefined {
    const notice = this.#notices.get(clientId);
    return notice !== undefined && notice.until > this.#context.clock.wall() ? notice : undefined;
  }

  /** The ids of clients for which there are notices. */
  get clientIds(): readonly string[] {
    return [...this.#notices.keys()];
  }

  /** Returns a new notice, and what stores it, in place of the oldest where there are many. */
  draft(clientId: string, why: { cause: EndedCause; messages: number }): [EndedRecord, JournalOperation[]] {
    const now = this.#context.clock.wall();
    const record: EndedRecord = { ...why, endedAt: now, until: now + endedNoticeMs };
    if (encodeUtf8(clientId).length > endedClientIdBytesMax) return [record, []];
    const path = endedSessionPath(clientId);
    const [oldest] = this.#notices.size < endedSessionsMax ? [] : this.#notices.keys();
    const room: JournalOperation[] =
      oldest === undefined || oldest === clientId ? [] : [{ kind: "remove", path: endedSessionPath(oldest) }];
    const exists = this.#notices.has(clientId);
    return [record, [...room, { kind: "put", path, data: encodeEnded(record), exists }]];
  }

  /** Marks a session that begins: as long as there is a notice its client is not known to have been told. */
  begin(client: LocalSession): void {
    client.setUntold(this.noticeOf(client.session.clientId) !== undefined);
  }

  /**
   * Returns what CONNACK tells a client whose earlier session was ended; undefined: nothing. The notice goes when the
   * client says something: until then CONNACK may be lost, and the client is told again.
   */
  tell(connection: Connection, client: LocalSession): string | undefined {
    const { clientId } = client.session;
    const notice = this.noticeOf(clientId);
    if (notice === undefined) return undefined;
    connection.onceHeard = () => {
      const { journal, evict } = this.#context;
      client.setUntold(false);
      const isKept = client.mailbox !== undefined && client.connection === connection && !client.isEnding;
      if (!isKept) return this.told(clientId);
      // In one commit: a session that is still taken for untold without a notice would go, and nobody would say why.
      const operations = [this.#sessionStore.record(client, "connected"), ...this.#removal(clientId)];
      journal.commit(
        operations,
        () => this.#notices.delete(clientId),
        () => evict(client),
      );
    };
    return describeEnded(notice);
  }

  /** Removes the notice for a client that has been told, or has a session again. */
  told(clientId: string): void {
    const removal = this.#removal(clientId);
    if (this.#notices.delete(clientId)) this.#context.journal.commit(removal);
  }

  #removal(clientId: string): JournalOperation[] {
    return this.#notices.has(clientId) ? [{ kind: "remove", path: endedSessionPath(clientId) }] : [];
  }

  /** Removes notices whose time is over, and the oldest of too many: several brokers may have added one at once. */
  sweep(): void {
    const now = this.#context.clock.wall();
    let tooMany = this.#notices.size - endedSessionsMax;
    for (const [clientId, { until }] of this.#notices) if (until <= now || tooMany-- > 0) this.told(clientId);
  }
}
