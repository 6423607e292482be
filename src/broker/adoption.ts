/**
 * Sessions that nobody keeps: those that this broker kept in an earlier life, and those of brokers that have died. They
 * are taken into memory, wait for their clients or for their end, and the wills of lost connections are published.
 */
import { ignoreTheWorld } from "../base/errors.ts";
import { adoptionPageMax, movedWillMs, orphansMs } from "../base/limits.ts";
import { Timer } from "../base/timers.ts";
import {
  decodeName,
  incomingPath,
  mailPath,
  nameOf,
  parentPath,
  sessionPath,
  sessionsPath,
  subscriberPath,
  willPath,
  willsPath,
} from "../coordinator/paths.ts";
import { isData } from "../mail/parts.ts";
import { decodeSession, decodeWill, type SessionRecord, type WillRecord } from "../mail/records.ts";
import { countedOf } from "../mail/slips.ts";
import type { Client } from "./client.ts";
import type { Context } from "./context.ts";
import type { Directory } from "./directory.ts";
import type { Membership } from "./membership.ts";
import { children, read } from "./mirror.ts";
import type { Sessions } from "./sessions.ts";
import { walkMessages } from "./stored.ts";
import { makeClient } from "./take-over.ts";
import type { Wills } from "./wills.ts";

export interface AdoptionParts {
  readonly membership: Membership;
  readonly directory: Directory;
  readonly sessions: Sessions;
  readonly wills: Wills;
  /** True while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

export class Adoption {
  readonly #context: Context;
  readonly #parts: AdoptionParts;
  /** Wills of clients that are expected here or elsewhere, by their paths. */
  readonly #expected = new Set<string>();

  constructor(context: Context, parts: AdoptionParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** A broker's incarnation is gone: its sessions may be without a keeper for a while. */
  expectOrphans(): void {
    const { self, clock } = this.#context;
    self.orphansUntil = clock.now() + orphansMs;
  }

  /** Takes all sessions that nobody keeps, and the wills of brokers' incarnations that are gone. */
  async adopt(): Promise<void> {
    const { coordinator } = this.#context;
    await this.#adoptSessions();
    for (const name of await children(coordinator, willsPath)) await this.#adoptWills(decodeName(name));
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
    const { coordinator, clients } = this.#context;
    const ids = paths.map((path) => decodeName(nameOf(path)));
    const results = await read(
      coordinator,
      paths.flatMap((path, index) => [
        { kind: "get", path } as const,
        { kind: "exists", path: mailPath(ids[index]!) } as const,
        { kind: "children", path: incomingPath(ids[index]!) } as const,
      ]),
    );
    const adopted: { client: Client; record: SessionRecord }[] = [];
    ids.forEach((clientId, index) => {
      const three = results.slice(3 * index, 3 * index + 3);
      if (typeof three[0] !== "object" || !("data" in three[0]!) || clients.has(clientId)) return;
      if (this.#parts.isObtaining(clientId)) return;
      const client = makeClient(this.#context, clientId, three);
      const { record } = client;
      if (record === undefined) {
        this.#parts.sessions.erase(client, () => {});
        return;
      }
      if (this.#isKept(record)) return;
      this.#parts.directory.adopt(client);
      adopted.push({ client, record });
    });
    for (const { client, record } of adopted) this.#rest(client, record);
  }

  #rest(client: Client, record: SessionRecord): void {
    const { sessions } = this.#parts;
    const { options, clock } = this.#context;
    if (record.connected || record.owner !== options.id) sessions.rest(client);
    else if (record.expiresAt !== null) sessions.expireIn(client, Math.max(0, record.expiresAt - clock.wall()));
  }

  /** While its client is connected a session is kept by one incarnation; while it is away, by a broker's name. */
  #isKept({ owner, epoch, connected }: SessionRecord): boolean {
    const { options, peers } = this.#context;
    if (connected) return this.#parts.membership.isAlive(owner, epoch) && owner !== options.id;
    return owner !== options.id && peers.get(owner)?.epoch !== undefined;
  }

  async #adoptWills(brokerId: string): Promise<void> {
    const { coordinator } = this.#context;
    const parent = parentPath(willPath(brokerId, "x"));
    const paths = (await children(coordinator, parent)).map((name) => `${parent}/${name}`);
    const results = await read(
      coordinator,
      paths.map((path) => ({ kind: "get", path })),
    );
    paths.forEach((path, index) => {
      const result = results[index]!;
      if (typeof result !== "object" || !("data" in result)) return;
      const will = decodeWill(result.data);
      if (this.#parts.membership.isAlive(brokerId, will.epoch)) return;
      if (will.movedAt === undefined) this.#publish(will, path);
      else this.#expect(will, path);
    });
  }

  /** The connection that a will speaks for is lost. */
  #publish(will: WillRecord, path: string): void {
    const clientId = decodeName(nameOf(path));
    const client = this.#context.clients.get(clientId);
    if (client !== undefined && client.connection === undefined) this.#parts.wills.recovered(client, will, path);
    else this.#parts.wills.orphaned(clientId, will, path);
  }

  /** Its client was sent to another broker, in order: it has a while to come, and then it has another will, or is gone. */
  #expect(will: WillRecord, path: string): void {
    if (this.#expected.has(path)) return;
    this.#expected.add(path);
    const { clock, timers } = this.#context;
    const left = Math.max(0, will.movedAt! + movedWillMs - clock.wall());
    const look = async (): Promise<void> => {
      this.#expected.delete(path);
      const { coordinator, journal } = this.#context;
      const [node] = await read(coordinator, [{ kind: "get", path }]);
      if (!isData(node) || decodeWill(node.data).movedAt !== will.movedAt) return;
      if (await this.#isBack(decodeName(nameOf(path)))) journal.commit([{ kind: "remove", path }]);
      else this.#publish(will, path);
    };
    // The store is closing: whoever finds it next does the same.
    timers.set(new Timer(() => void look().catch(ignoreTheWorld)), clock.now() + Math.min(left, movedWillMs));
  }

  /** True if a client is connected somewhere: here, with a session that outlives its connection, or with a will. */
  async #isBack(clientId: string): Promise<boolean> {
    const { coordinator, clients, options } = this.#context;
    if (clients.get(clientId)?.connection !== undefined) return true;
    const ids = [options.id, ...this.#parts.membership.members().map(({ id }) => id)];
    const [session, ...wills] = await read(coordinator, [
      { kind: "get", path: sessionPath(clientId) },
      ...ids.map((id) => ({ kind: "get", path: willPath(id, clientId) }) as const),
    ]);
    if (isData(session) && session.data.length > 0) {
      const { connected, owner, epoch } = decodeSession(session.data);
      if (connected && this.#parts.membership.isAlive(owner, epoch)) return true;
    }
    return wills.some((will) => isData(will) && decodeWill(will.data).movedAt === undefined);
  }

  /** Messages whose last recipient has them, and whose broker died before it could remove them. */
  async #sweepMessages(): Promise<void> {
    const { coordinator, slips } = this.#context;
    await walkMessages(coordinator, {
      counted: (path, head, times) => slips.removeIfDone(countedOf(path, head), times),
    });
  }

  /** Subscriptions of sessions that were erased while their broker died. */
  async #sweepSubscriptions(): Promise<void> {
    const { coordinator, elsewhere, journal } = this.#context;
    const remotes = [...elsewhere.values()];
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
