/**
 * Orphaned wills: wills in the store that belong to no connection any more, of brokers that have died or were fenced,
 * and of clients that were sent to other brokers. Their clients have a while to come back, to any broker: every broker
 * hears of each client that connects, since it is claimed from all. The wills of those that do not come back are
 * published.
 */

import { ignoreTheWorld } from "../../base/errors.ts";
import {
  adoptionPageMax,
  arrivalsRememberedMax,
  mirrorPageBytesMax,
  mirrorPageMin,
  movedWillMs,
  willGraceMs,
  willRetryMs,
} from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ReadResult } from "../../coordinator/coordinator.ts";
import { children, read } from "../../coordinator/mirror.ts";
import { decodeName, parentPath, sessionPath, willPath, willsPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { decodeSession, type SessionRecord } from "../../mail/records.ts";
import { decodeWill, type WillRecord } from "../../mail/will-record.ts";
import { Session } from "../../session/session.ts";
import { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { WillTurn } from "./due-wills.ts";
import type { Wills } from "./wills.ts";

export interface OrphanedWillsParts {
  readonly membership: Membership;
  readonly wills: Wills;
  /** Returns true while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

/** A will that was found in the store, and the time when it is due. */
interface Orphan {
  readonly clientId: string;
  readonly brokerId: string;
  readonly path: string;
  /** The version of its znode as it was read: a will that is set anew has another one. */
  readonly version: number;
  readonly timer: Timer;
}

/** A will that is due, and the operations that remove it from the store. */
interface DueOrphan {
  readonly will: WillRecord;
  readonly operations: JournalOperation[];
}

/** A will of a client at some broker, as it was read. */
interface WillNode {
  readonly id: string;
  readonly node: ReadResult | undefined;
}

/** The znodes that say whether a will is due: the will's, the session's, and those of the client's wills elsewhere. */
interface ReadOfOrphan {
  readonly node: ReadResult | undefined;
  readonly session: ReadResult | undefined;
  readonly others: readonly WillNode[];
}

/** The circumstances of a client's connection; see `OrphanedWills.cameBack`. */
interface ComingBack {
  readonly by: string;
  readonly silent?: readonly string[];
  readonly isCurrent: () => boolean;
}

/** A client's latest connection anywhere in the cluster. */
interface Arrival {
  /** The broker to which the client has connected. */
  readonly by: string;
  /** When it connected: in ms by the clock's `now`, and in ms since 1970. */
  readonly at: number;
  readonly wall: number;
}

/** Finds orphaned wills, waits for their clients, and publishes those that are due. */
export class OrphanedWills {
  readonly #context: ClusterContext;
  readonly #parts: OrphanedWillsParts;
  readonly #orphans = new Map<string, Orphan[]>();
  /**
   * Clients that have connected anywhere of late, the latest last. When a broker dies, its clients may be back
   * elsewhere before its death is known here, or before its wills are found.
   */
  readonly #arrivals = new Map<string, Arrival>();
  /** When brokers have died, in ms by the clock's `now`. */
  readonly #diedAt = new Map<string, number>();

  constructor(context: ClusterContext, parts: OrphanedWillsParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Notes a broker's death: clients that connected there last are not back. */
  died(brokerId: string): void {
    this.#diedAt.set(brokerId, this.#context.clock.now());
    this.#forgetArrivals(brokerId);
  }

  /**
   * Yields the clients that have connected here since a broker died that is back now: it could not be asked to give
   * them up, and may find their wills.
   */
  *cameBackWithout(brokerId: string): Generator<{ readonly clientId: string; readonly wall: number }> {
    const { options } = this.#context;
    const diedAt = this.#diedAt.get(brokerId);
    if (diedAt === undefined) return;
    this.#diedAt.delete(brokerId);
    for (const [clientId, { by, at, wall }] of this.#arrivals)
      if (by === options.id && at >= diedAt) yield { clientId, wall };
  }

  /**
   * Forgets what is known, since the lease is over: connections here have ended, and the wills are looked for again
   * when there is contact.
   */
  fence(): void {
    const { options, timers } = this.#context;
    for (const orphans of this.#orphans.values()) for (const { timer } of orphans) timers.cancel(timer);
    this.#parts.wills.leave(this.#orphans.keys());
    this.#orphans.clear();
    this.#forgetArrivals(options.id);
  }

  /**
   * Notes that a client has connected, here or at a broker that claims it. Returns the operations that remove its
   * earlier wills. `by`: the broker; `silent`: brokers that could not be asked, where the client may have been
   * connected; `isCurrent`: true while the client has not left again.
   */
  cameBack(clientId: string, { by, silent = [], isCurrent }: ComingBack): JournalOperation[] {
    const { timers } = this.#context;
    this.#remember(clientId, by);
    const paths = new Set(silent.map((brokerId) => willPath(brokerId, clientId)));
    for (const { path, timer } of this.#orphans.get(clientId) ?? []) {
      timers.cancel(timer);
      paths.add(path);
    }
    this.#orphans.delete(clientId);
    return [...paths].map((path) => ({ kind: "remove", path, isCurrent }) as const);
  }

  /** Looks for orphaned wills in the store. Rejects with `OperatingError`. */
  async look(): Promise<void> {
    const { coordinator, self } = this.#context;
    const { fences } = self;
    for (const name of await children(coordinator, willsPath)) {
      const brokerId = decodeName(name);
      const clientIds = (await children(coordinator, parentPath(willPath(brokerId, "x")))).map(decodeName);
      let size = mirrorPageMin;
      for (let at = 0; at < clientIds.length; ) {
        const page = clientIds.slice(at, at + size);
        const bytes = await this.#lookAt(brokerId, page);
        at += page.length;
        // Where wills are large fewer are read at once.
        const fitting = Math.floor((mirrorPageBytesMax * page.length) / (bytes + 1));
        size = Math.min(adoptionPageMax, 2 * size, Math.max(1, fitting));
      }
    }
    if (self.fences === fences && !self.isFenced) this.#parts.wills.found();
  }

  /** Looks at the wills of some clients. Returns how many bytes were read. Rejects with `OperatingError`. */
  async #lookAt(brokerId: string, clientIds: readonly string[]): Promise<number> {
    const { coordinator } = this.#context;
    const results = await read(
      coordinator,
      clientIds.flatMap((clientId) => [
        { kind: "get", path: willPath(brokerId, clientId) } as const,
        { kind: "get", path: sessionPath(clientId) } as const,
      ]),
    );
    let bytes = 0;
    clientIds.forEach((clientId, index) => {
      const node = results[2 * index];
      if (!hasData(node)) return;
      bytes += node.data.length;
      const path = willPath(brokerId, clientId);
      const will = this.#readWill(path, node.data);
      if (will === undefined || this.#isHeld(brokerId, clientId, will)) return;
      this.#found(
        { clientId, brokerId, path, version: node.stat.version },
        this.#waitOf(will, this.#readSession(clientId, results[2 * index + 1])),
      );
    });
    return bytes;
  }

  /** Returns true if a will belongs to a connection, as far as is known. */
  #isHeld(brokerId: string, clientId: string, { epoch }: WillRecord): boolean {
    const { membership, wills, isObtaining } = this.#parts;
    if (brokerId !== this.#context.options.id) return membership.isAlive(brokerId, epoch);
    return wills.holds(clientId) || isObtaining(clientId);
  }

  #found(orphan: Omit<Orphan, "timer">, waitMs: number): void {
    const { clientId, path, version } = orphan;
    const { timers, clock, journal, self } = this.#context;
    const known = this.#orphans.get(clientId) ?? [];
    if (known.some((other) => other.path === path && other.version === version)) return;
    // Should this be committed late, the client may be back there with another will.
    const { fences } = self;
    const isCurrent = (): boolean => self.fences === fences;
    if (this.#isHere(clientId) || this.#arrivals.has(clientId))
      return journal.commit([{ kind: "remove", path, isCurrent }]);
    const found: Orphan = { ...orphan, timer: new Timer(() => this.#due(found)) };
    for (const other of known) if (other.path === path) timers.cancel(other.timer);
    this.#orphans.set(clientId, [...known.filter((other) => other.path !== path), found]);
    timers.set(found.timer, clock.now() + waitMs);
  }

  /**
   * Returns how long the client may take to come back, in ms: also the will's delay, or until the session ends
   * [MQTT-3.1.3-9].
   */
  #waitOf({ delay, lostAt, movedAt }: WillRecord, session: SessionRecord | undefined): number {
    const wall = this.#context.clock.wall();
    const since = movedAt ?? lostAt ?? wall;
    const delayMs = 1000 * Math.min(delay, lifeOf(session, wall));
    const grace = movedAt === undefined ? willGraceMs : movedWillMs;
    // Clocks differ, so the wait is never longer than if it began now.
    const left = (ms: number, from: number): number => Math.min(ms, Math.max(0, from + ms - wall));
    return Math.max(left(grace, movedAt ?? wall), left(delayMs, since));
  }

  /** Publishes a will that is due, if its client is still nowhere to be seen. */
  #due(orphan: Orphan): void {
    const { coordinator, self, timers, clock } = this.#context;
    const later = (): void => timers.set(orphan.timer, clock.now() + willRetryMs);
    if (self.isFenced || coordinator.state !== "CONNECTED") return later();
    const publish = (turn: WillTurn): void => {
      if (!this.#isExpected(orphan)) return turn.end();
      coordinator.sync(() => {
        this.#publish(orphan, turn).catch((error) => {
          ignoreTheWorld(error);
          turn.end();
          if (this.#isExpected(orphan)) later();
        });
      });
    };
    this.#parts.wills.whenItsTurn(publish);
  }

  /** Publishes a will, unless the store shows that its client is back. Rejects with `OperatingError`. */
  async #publish(orphan: Orphan, turn: WillTurn): Promise<void> {
    const { clientId, path } = orphan;
    const ids = [this.#context.options.id, ...this.#parts.membership.members().map(({ id }) => id)];
    const [node, session, ...elsewhere] = await read(this.#context.coordinator, [
      { kind: "get", path },
      { kind: "get", path: sessionPath(clientId) },
      ...ids.map((id) => ({ kind: "get", path: willPath(id, clientId) }) as const),
    ]);
    const others = ids.map((id, index) => ({ id, node: elsewhere[index] }));
    const due = this.#dueOf(orphan, { node, session, others });
    if (due === undefined) return turn.end();
    const { will, operations } = due;
    const client = new LocalSession(this.#context, new Session(clientId, 4, 0));
    this.#parts.wills.publishOrphan(client, will, { operations, turn });
  }

  /** Returns a will that is published now; undefined: it is not. */
  #dueOf(orphan: Orphan, { node, session, others }: ReadOfOrphan): DueOrphan | undefined {
    const { clientId, path, version, brokerId } = orphan;
    if (!this.#isExpected(orphan)) return undefined;
    this.#forget(orphan);
    if (!hasData(node) || node.stat.version !== version) return undefined;
    const will = this.#readWill(path, node.data);
    if (will === undefined) return undefined;
    // The will's broker may have come back just when the will was found.
    if (this.#isHeld(brokerId, clientId, will)) return undefined;
    // Under a later lease the client may have been back, and have left another will there with the same version.
    const check: JournalOperation = { kind: "check", path, version: () => version, ofLease: true };
    const operations: JournalOperation[] = [check, { kind: "take", path }];
    const elsewhere = others.filter(({ id }) => id !== brokerId);
    if (!this.#isBack(clientId, session, elsewhere)) return { will, operations };
    const unless = (): void => {};
    this.#context.journal.commit(operations, unless, unless);
    return undefined;
  }

  /** Returns true if a client is connected somewhere: here, with a persistent session, or with a will. */
  #isBack(clientId: string, session: ReadResult | undefined, others: readonly WillNode[]): boolean {
    const { membership } = this.#parts;
    const { options } = this.#context;
    if (this.#isHere(clientId)) return true;
    const record = this.#readSession(clientId, session);
    if (record?.connected && record.owner !== options.id && membership.isAlive(record.owner, record.epoch)) return true;
    return others.some(({ id, node }) => {
      const will = hasData(node) ? this.#readWill(willPath(id, clientId), node.data) : undefined;
      return will !== undefined && this.#isHeld(id, clientId, will);
    });
  }

  #remember(clientId: string, by: string): void {
    const { clock, coordinator } = this.#context;
    // With a store of its own there always is contact: all wills are found before the first client comes.
    if (coordinator.isAlone === true) return;
    this.#arrivals.delete(clientId);
    this.#arrivals.set(clientId, { by, at: clock.now(), wall: clock.wall() });
    if (this.#arrivals.size > arrivalsRememberedMax) this.#arrivals.delete(this.#arrivals.keys().next().value!);
  }

  #forgetArrivals(brokerId: string): void {
    for (const [clientId, { by }] of this.#arrivals) if (by === brokerId) this.#arrivals.delete(clientId);
  }

  #isHere(clientId: string): boolean {
    return this.#context.localSessions.get(clientId)?.connection !== undefined || this.#parts.isObtaining(clientId);
  }

  #isExpected(orphan: Orphan): boolean {
    return this.#orphans.get(orphan.clientId)?.includes(orphan) === true;
  }

  /** Returns the decoded will; undefined if no broker has written it. */
  #readWill(path: string, data: Uint8Array): WillRecord | undefined {
    return this.#context.strangers.read(path, () => decodeWill(data));
  }

  #readSession(clientId: string, node: ReadResult | undefined): SessionRecord | undefined {
    if (!hasData(node) || node.data.length === 0) return undefined;
    return this.#context.strangers.read(sessionPath(clientId), () => decodeSession(node.data));
  }

  #forget(orphan: Orphan): void {
    const others = this.#orphans.get(orphan.clientId)!.filter((other) => other !== orphan);
    if (others.length === 0) this.#orphans.delete(orphan.clientId);
    else this.#orphans.set(orphan.clientId, others);
  }
}

/** Returns how long a session lasts from now if its client does not come back, in seconds; 0: it has ended. */
function lifeOf(session: SessionRecord | undefined, wall: number): number {
  if (session === undefined) return 0;
  const { connected, expiryInterval, expiresAt } = session;
  if (connected) return expiryInterval;
  return expiresAt === null ? Infinity : Math.max(0, (expiresAt - wall) / 1000);
}
