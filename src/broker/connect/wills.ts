/**
 * The wills of clients that are connected here, or were until a moment ago. A will is published when, and only when, a
 * connection has ended without DISCONNECT 0x00, after the will's delay (3.1.2.5, 3.1.3.2.2). It is in the store from
 * CONNECT on, and is removed with its publication, so that only the broker that removes it publishes it. A large one
 * that waits for its delay is there alone, and is read back when it is due.
 */
import { claimPatienceMs, willHurryMs, willRetryMs } from "../../base/limits.ts";
import { delayedWillBytesMax } from "../../base/memory-limits.ts";
import { Timer } from "../../base/timers.ts";
import { willPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { isDone, type JournalOperation, type Outcome } from "../../mail/operations.ts";
import type { Settlement } from "../../mail/settlement.ts";
import { decodeWill, encodeWill, type WillRecord } from "../../mail/will-record.ts";
import type { Bill } from "../core/bill.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { WillPublisher } from "../publish/publish-will.ts";
import { DueWills, type WillTurn } from "./due-wills.ts";
import { StoredWills } from "./stored-wills.ts";

/**
 * A will that is being published. checking: the store is asked for it, or whether it still holds it; paying: it waits
 * for credits, in the store; publishing: it is on its way to its receivers, or given up; over: it has arrived, or is
 * not published.
 */
interface Publication {
  phase: "checking" | "paying" | "publishing" | "over";
  /** The operations that remove it from the store. */
  readonly removal: JournalOperation[];
  /** True once its client is back and has waited for a while. */
  isHurried: boolean;
  /** The settlement that waits for the will's receivers, while it is being published. */
  settlement: Settlement | undefined;
  /** The turn of one that is read back from the store. */
  turn: WillTurn | undefined;
  readonly waiting: (() => void)[];
}

/** A will that a CONNECT asks for, with what pays for it. */
export interface PaidWill extends Omit<WillRecord, "epoch"> {
  readonly bill: Bill;
}

/** Stores wills, and publishes those of lost connections. */
export class Wills {
  readonly #context: ClusterContext;
  readonly #publisher: WillPublisher;
  readonly #stored = new StoredWills();
  readonly #due: DueWills;
  /** The timers of wills that wait for their delay. */
  readonly #delays = new WeakMap<LocalSession, Timer>();
  /** The wills that are being published, by client id. */
  readonly #publications = new Map<string, Publication>();
  /** Clients that were sent to other brokers and are not known to have connected there. */
  readonly #moved = new Set<string>();
  #isRetired = false;

  constructor(context: ClusterContext, publisher: WillPublisher) {
    this.#context = context;
    this.#publisher = publisher;
    this.#due = new DueWills(context);
  }

  /**
   * Sets the will of a CONNECT, or none. Returns the operations that store it: a will is a promise too. `isAwaited`:
   * true while the client still waits for CONNACK.
   */
  set(client: LocalSession, asked: PaidWill | undefined, isAwaited: () => boolean): JournalOperation[] {
    this.#stopTimer(client);
    if (asked === undefined) return client.isWillStored ? this.#forgotten(client) : this.#earlier(client);
    const { bill, ...record } = asked;
    const will: WillRecord = { ...record, epoch: this.#context.self.epoch };
    const exists = client.isWillStored;
    client.setWill(will);
    const { clientId } = client.session;
    this.#drop(clientId);
    const isCurrent = (): boolean => client.will === will && isAwaited();
    const withdrawn = this.#stored.put(clientId);
    const after = (how: Outcome): void => {
      bill.settle(how);
      if (!isDone(how)) withdrawn();
    };
    return [{ kind: "put", path: this.#pathOf(clientId), data: encodeWill(will), exists, isCurrent, after }];
  }

  /** Forgets a will that was refused with the rest of CONNECT. */
  withdrawn(client: LocalSession): void {
    client.setWill(undefined);
  }

  /** Removes a will that is not published: the client has left properly, or is another broker's [MQTT-3.1.2-10]. */
  forget(client: LocalSession): void {
    this.#stopTimer(client);
    this.#context.journal.commit(this.#forgotten(client));
  }

  /**
   * Leaves a will to the broker that finds it in the store, since the lease is over: it is published unless the client
   * comes back. The connection must be closed first.
   */
  abandon(client: LocalSession): void {
    this.#stopTimer(client);
    client.setWill(undefined);
  }

  /** Stops wills that are not on their way yet, since the lease is over: other brokers may be about to publish them. */
  fence(): void {
    const unsaid = [...this.#publications].filter(([, publication]) => isUnsaid(publication));
    this.#stored.leave(unsaid.map(([clientId]) => clientId));
    for (const [clientId, publication] of unsaid) this.#end(clientId, publication);
  }

  /** Notes that clients whose wills were found in the store are not waited for any more, since the lease is over. */
  leave(orphans: Iterable<string>): void {
    this.#stored.leave(orphans);
  }

  /** Notes that the store has been looked through for wills that were left there when a lease was over. */
  found(): void {
    this.#stored.found();
  }

  /**
   * Returns true if an earlier will of a client may be in the store and cannot be removed by this broker now, and
   * another one may publish it.
   */
  mayRemain(clientId: string): boolean {
    if (this.#isAlone()) return false;
    const isConnected = this.#context.coordinator.state === "CONNECTED";
    return this.#stored.isLeft(clientId) || (!isConnected && this.#stored.has(clientId));
  }

  /** Leaves all wills in the store from now on, for the broker's next life to publish. */
  retire(): void {
    this.#isRetired = true;
  }

  /** Returns true if this broker takes care of the will that the store holds under its name for that client. */
  holds(clientId: string): boolean {
    const client = this.#context.localSessions.get(clientId);
    return client?.isWillStored === true || this.#publications.has(clientId) || this.#moved.has(clientId);
  }

  /** Calls back when it is the turn of a will that must be read from the store to be published. */
  whenItsTurn(read: (turn: WillTurn) => void): void {
    this.#due.wait(read);
  }

  /** Publishes the will of a client whose connection was lost, now or after its delay. */
  connectionLost(client: LocalSession): void {
    const { will, session } = client;
    const { self, clock, journal } = this.#context;
    if (will === undefined || this.#isRetired) return;
    if (self.isDraining) return this.#handOver(client, will);
    // [MQTT-3.1.3-9]: the will waits for its delay, or the end of the session if that is earlier.
    const delay = Math.min(will.delay, session.expiryInterval);
    if (delay === 0) return this.publishNow(client);
    this.#publishLater(client, delay * 1000);
    // Should this broker die meanwhile, the delay does not begin anew.
    const waiting = { ...will, lostAt: clock.wall() };
    client.setWill(waiting);
    const after = (how: Outcome): void => {
      const isLarge = will.publish.size > delayedWillBytesMax;
      if (isLarge && isDone(how) && client.will === waiting) client.leaveWillToStore();
    };
    // The will is only set if it is still there: otherwise its client is back at another broker.
    journal.commit([{ kind: "set", path: this.#pathOf(session.clientId), data: encodeWill(waiting), after }]);
  }

  /** Publishes a will when its delay is over. A function of its own: the timer would keep all that is known there. */
  #publishLater(client: LocalSession, delayMs: number): void {
    const { timers, clock } = this.#context;
    const timer = new Timer(() => this.publishNow(client));
    this.#delays.set(client, timer);
    timers.set(timer, clock.now() + delayMs);
  }

  /**
   * Leaves a will in the store whose client was sent to another broker, where it sets its will anew. If the client does
   * not come, a broker that finds the will publishes it.
   */
  #handOver(client: LocalSession, will: WillRecord): void {
    const { clientId } = client.session;
    this.abandon(client);
    this.#moved.add(clientId);
    const data = encodeWill({ ...will, movedAt: this.#context.clock.wall() });
    this.#context.journal.commit([{ kind: "set", path: this.#pathOf(clientId), data }]);
  }

  /** Removes the will of a client that was sent to another broker and has connected there. */
  cameBack(clientId: string): void {
    if (this.#moved.delete(clientId)) this.#context.journal.commit([this.#removal(clientId)]);
  }

  /** Publishes a will now, unless it is gone from the store: then its client is back at another broker. */
  publishNow(client: LocalSession): void {
    const { will, isWillStored } = client;
    if (!isWillStored) return;
    this.abandon(client);
    const { clientId } = client.session;
    // If the store refuses it, somebody else has removed it.
    const gone = this.#stored.removal(clientId);
    const publication = this.#begin(clientId, [{ kind: "take", path: this.#pathOf(clientId), after: gone }]);
    const publish = (record: WillRecord): void => {
      if (publication.phase !== "checking") return;
      if (this.#context.self.isFenced) this.#end(clientId, publication);
      else this.#publish(client, record, publication);
    };
    const end = (): void => {
      gone();
      this.#end(clientId, publication);
    };
    if (will !== undefined) return this.#check(clientId, () => publish(will), end);
    const use = (record: WillRecord | undefined): void => {
      if (record === undefined) end();
      else this.#check(clientId, () => publish(record), end);
    };
    publication.turn = this.#due.wait(() => this.#readBack(clientId, publication, use));
  }

  /** Asks the store whether it holds a will: receivers are sent it while it is being removed. */
  #check(clientId: string, held: () => void, gone: () => void): void {
    if (this.#isAlone()) return held();
    const check: JournalOperation = { kind: "check", path: this.#pathOf(clientId), version: () => -1 };
    this.#context.journal.commit([check], held, gone);
  }

  /** Reads a will that only the store has, as soon as that answers; undefined: it is gone. */
  #readBack(clientId: string, publication: Publication, use: (will: WillRecord | undefined) => void): void {
    const { coordinator, timers, clock, strangers } = this.#context;
    const path = this.#pathOf(clientId);
    if (publication.phase !== "checking") return;
    coordinator.read([{ kind: "get", path }], (error, [node]) => {
      // Its client is back.
      if (publication.phase !== "checking") return;
      if (error === undefined)
        return use(hasData(node) ? strangers.read(path, () => decodeWill(node.data)) : undefined);
      const again = new Timer(() => this.#readBack(clientId, publication, use));
      timers.set(again, clock.now() + willRetryMs);
    });
  }

  /**
   * Publishes a will that belongs to no connection any more, with the operations that remove it from the store. Its
   * turn ends with its publication.
   */
  publishOrphan(client: LocalSession, will: WillRecord, how: { operations: JournalOperation[]; turn: WillTurn }): void {
    const publication = this.#begin(client.session.clientId, how.operations);
    publication.turn = how.turn;
    this.#publish(client, will, publication);
  }

  /**
   * Calls back when no earlier will of a client is on its way any more: what the client publishes next must not be
   * overtaken by it. A will that waits for contact with the store is dropped instead, for its client is back; one that
   * waits for credits has a while left.
   */
  whenPublished(clientId: string, go: () => void): void {
    const { coordinator, timers, clock } = this.#context;
    const publication = this.#publications.get(clientId);
    if (publication !== undefined && isUnsaid(publication) && coordinator.state !== "CONNECTED") {
      if (publication.phase === "checking") this.#context.journal.commit([this.#removal(clientId)]);
      this.#drop(clientId);
      return go();
    }
    if (publication === undefined) return go();
    publication.turn?.begin();
    let isWaiting = true;
    const goOn = (): void => {
      if (!isWaiting) return;
      isWaiting = false;
      timers.cancel(hurry);
      timers.cancel(giveUp);
      const at = publication.waiting.indexOf(goOn);
      if (at !== -1) publication.waiting.splice(at, 1);
      go();
    };
    const hurry = new Timer(() => this.#storeInstead(publication, goOn));
    const giveUp = new Timer(goOn);
    publication.waiting.push(goOn);
    timers.set(hurry, clock.now() + willHurryMs);
    timers.set(giveUp, clock.now() + claimPatienceMs);
  }

  /**
   * Has a will stored for those receivers for whom it can be: its client is back, and the will is under way over a link
   * that does not answer. One that waits for credits is given up.
   */
  #storeInstead(publication: Publication, stored: () => void): void {
    publication.isHurried = true;
    const { settlement } = publication;
    if (settlement === undefined) return;
    this.#publisher.storeInstead(settlement);
    this.#context.journal.drained(stored);
  }

  #begin(clientId: string, removal: JournalOperation[]): Publication {
    const publication: Publication = {
      phase: "checking",
      removal,
      isHurried: false,
      settlement: undefined,
      turn: undefined,
      waiting: [],
    };
    this.#publications.set(clientId, publication);
    return publication;
  }

  #publish(client: LocalSession, { publish, expiryMs }: WillRecord, publication: Publication): void {
    publication.phase = "paying";
    if (expiryMs !== Infinity) publish.expiresAt = this.#context.clock.wall() + expiryMs;
    this.#publisher.publish({
      publish,
      publisher: client,
      operations: publication.removal,
      standing: () => (publication.phase !== "paying" ? "over" : publication.isHurried ? "back" : "due"),
      leaves: () => {
        publication.phase = "publishing";
      },
      left: (settlement) => {
        publication.settlement = settlement;
      },
      done: () => this.#end(client.session.clientId, publication),
    });
  }

  #end(clientId: string, publication: Publication): void {
    publication.phase = "over";
    publication.turn?.end();
    if (this.#publications.get(clientId) === publication) this.#publications.delete(clientId);
    for (const go of publication.waiting.splice(0)) go();
  }

  #forgotten(client: LocalSession): JournalOperation[] {
    const { isWillStored, session } = client;
    client.setWill(undefined);
    return isWillStored ? [this.#removal(session.clientId)] : [];
  }

  /** Returns the operations that remove a will which an earlier session of a client has left in the store. */
  #earlier({ session: { clientId } }: LocalSession): JournalOperation[] {
    const publication = this.#publications.get(clientId);
    if (publication?.phase === "paying") this.#drop(clientId);
    // One that is being published is removed with that. Where there are no others, nobody publishes one meanwhile.
    if (publication?.phase === "publishing" || !this.#stored.has(clientId) || this.#isAlone()) return [];
    this.#drop(clientId);
    return [this.#removal(clientId)];
  }

  /**
   * Drops an earlier will that still waits for the store, since its client is back: what it would have removed with
   * its publication is replaced, or removed, now. One that waits for credits is removed here, in a commit before that
   * of what the client leaves there next.
   */
  #drop(clientId: string): void {
    const publication = this.#publications.get(clientId);
    if (publication === undefined || !isUnsaid(publication)) return;
    const ignore = (): void => {};
    if (publication.phase === "paying") this.#context.journal.commit(publication.removal, ignore, ignore);
    this.#end(clientId, publication);
  }

  #removal(clientId: string): JournalOperation {
    const gone = this.#stored.removal(clientId);
    const after = (how: Outcome): void => {
      if (isDone(how)) gone();
    };
    return { kind: "remove", path: this.#pathOf(clientId), after };
  }

  #pathOf(clientId: string): string {
    return willPath(this.#context.options.id, clientId);
  }

  /** Returns true if no other broker could have the client. */
  #isAlone(): boolean {
    return [...this.#context.peers.values()].every(({ epoch }) => epoch === undefined);
  }

  #stopTimer(client: LocalSession): void {
    const timer = this.#delays.get(client);
    if (timer !== undefined) this.#context.timers.cancel(timer);
    this.#delays.delete(client);
  }
}

/** Returns true for a will that lies in the store, and that nobody has been sent. */
function isUnsaid({ phase }: Publication): boolean {
  return phase === "checking" || phase === "paying";
}
