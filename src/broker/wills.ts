/** Wills: published when a connection ends without a proper DISCONNECT, after their delay (3.1.2.5, 3.1.3.2.2). */
import { Timer } from "../base/timers.ts";
import { willPath } from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/operations.ts";
import { encodeWill, type WillRecord } from "../mail/records.ts";
import { Session } from "../session/session.ts";
import { Client } from "./client.ts";
import type { Context } from "./context.ts";
import type { Publishing } from "./publishing.ts";

export class Wills {
  readonly #context: Context;
  readonly #publishing: Publishing;
  /** Clients whose will is in the store, and where. */
  readonly #stored = new Map<Client, string>();
  /** Wills of clients that were sent to other brokers, by their ids. */
  readonly #moved = new Map<string, string>();
  #retired = false;

  constructor(context: Context, publishing: Publishing) {
    this.#context = context;
    this.#publishing = publishing;
  }

  /** What CONNECT's will, or its absence, changes in the store: a will is a promise too. */
  set(client: Client, asked: Omit<WillRecord, "epoch"> | undefined): JournalOperation[] {
    this.#stopTimer(client);
    const { options, self } = this.#context;
    const before = this.#stored.get(client);
    const path = willPath(options.id, client.session.clientId);
    const operations = before === undefined || before === path ? [] : this.#removal(client, "remove");
    if (asked === undefined) {
      client.will = undefined;
      return before === path ? this.#removal(client, "remove") : operations;
    }
    const will: WillRecord = { ...asked, epoch: self.epoch };
    client.will = will;
    this.#stored.set(client, path);
    const isCurrent = (): boolean => client.will === will;
    return [...operations, { kind: "put", path, data: encodeWill(will), exists: before === path, isCurrent }];
  }

  /** A will that an earlier life of the broker left in the store: its connection is lost. */
  recovered(client: Client, will: WillRecord, path: string): void {
    this.#stored.set(client, path);
    client.will = will;
    this.connectionLost(client);
  }

  /** The same, of a client whose session has ended with its connection. */
  orphaned(clientId: string, will: WillRecord, path: string): void {
    this.recovered(new Client(this.#context, new Session(clientId, 4, 0)), will, path);
  }

  /** Connections of this broker whose wills others may have published: they get them again, for a new incarnation. */
  renew(): JournalOperation[] {
    return [...this.#stored.keys()].flatMap((client) => {
      if (client.connection === undefined || client.will === undefined) return [];
      this.#stored.delete(client);
      return this.set(client, client.will);
    });
  }

  /** The client left properly: its will is not published [MQTT-3.1.2-10]. */
  forget(client: Client): void {
    if (client.will === undefined) return;
    client.will = undefined;
    this.#context.journal.commit(this.#removal(client, "remove"));
  }

  /** From now on wills stay in the store, for the broker's next life to publish. */
  retire(): void {
    this.#retired = true;
  }

  connectionLost(client: Client): void {
    const { will, session } = client;
    if (will === undefined || this.#retired) return;
    if (this.#context.self.isDraining) return this.#handOver(client, will);
    // [MQTT-3.1.3-9]: the will waits for its delay, or the end of the session if that is earlier.
    const delay = Math.min(will.delay, session.expiryInterval);
    if (delay === 0) return this.fireNow(client);
    client.willTimer = new Timer(() => this.fireNow(client));
    this.#context.timers.set(client.willTimer, this.#context.clock.now() + delay * 1000);
  }

  /**
   * The client was sent to another broker, where it sets its will anew. Until then this one stays in the store: whoever
   * finds it there publishes it if the client does not come.
   */
  #handOver(client: Client, will: WillRecord): void {
    const path = this.#stored.get(client);
    client.will = undefined;
    if (path === undefined) return;
    this.#stored.delete(client);
    this.#moved.set(client.session.clientId, path);
    const data = encodeWill({ ...will, movedAt: this.#context.clock.wall() });
    this.#context.journal.commit([{ kind: "put", path, data, exists: true }]);
  }

  /** A client that was sent elsewhere is there. */
  cameBack(clientId: string): void {
    const path = this.#moved.get(clientId);
    if (path === undefined) return;
    this.#moved.delete(clientId);
    this.#context.journal.commit([{ kind: "remove", path }]);
  }

  /** Publishes a will that waits, and removes it from the store in the same commit. */
  fireNow(client: Client): void {
    const { will } = client;
    if (will === undefined) return;
    this.#stopTimer(client);
    client.will = undefined;
    const { publish } = will;
    if (will.expiryMs !== Infinity) publish.expiresAt = this.#context.clock.wall() + will.expiryMs;
    this.#publishing.publish(publish, client, this.#removal(client, "take"));
  }

  /** take: whoever removes it is the one that publishes it. */
  #removal(client: Client, kind: "remove" | "take"): JournalOperation[] {
    const path = this.#stored.get(client);
    if (path === undefined) return [];
    this.#stored.delete(client);
    return [{ kind, path }];
  }

  #stopTimer(client: Client): void {
    if (client.willTimer !== undefined) this.#context.timers.cancel(client.willTimer);
    client.willTimer = undefined;
  }
}
