/** Wills: published when a connection ends without a proper DISCONNECT, after their delay (3.1.2.5, 3.1.3.2.2). */
import { Timer } from "../base/timers.ts";
import { willPath } from "../coordinator/paths.ts";
import type { JournalOperation } from "../mail/journal.ts";
import { encodeWill, type WillRecord } from "../mail/records.ts";
import { Session } from "../session/session.ts";
import { Client } from "./client.ts";
import type { Context } from "./context.ts";
import type { Publishing } from "./publishing.ts";

export class Wills {
  readonly #context: Context;
  readonly #publishing: Publishing;
  /** Clients whose will is in the store. */
  readonly #stored = new Set<string>();
  #retired = false;

  constructor(context: Context, publishing: Publishing) {
    this.#context = context;
    this.#publishing = publishing;
  }

  /** What CONNECT's will, or its absence, changes in the store: a will is a promise too. */
  set(client: Client, will: WillRecord | undefined): JournalOperation[] {
    this.#stopTimer(client);
    client.will = will;
    if (will === undefined) return this.#removal(client);
    const path = this.#path(client);
    const exists = this.#stored.has(client.session.clientId);
    this.#stored.add(client.session.clientId);
    return [{ kind: "put", path, data: encodeWill(will), exists, isCurrent: () => client.will === will }];
  }

  /** A will that an earlier life of the broker left in the store: its connection is lost. */
  recovered(client: Client, will: WillRecord): void {
    this.#stored.add(client.session.clientId);
    client.will = will;
    this.connectionLost(client);
  }

  /** The same, of a client whose session has ended with its connection. */
  orphaned(clientId: string, will: WillRecord): void {
    this.recovered(new Client(this.#context, new Session(clientId, 4, 0)), will);
  }

  /** The client left properly: its will is not published [MQTT-3.1.2-10]. */
  forget(client: Client): void {
    if (client.will === undefined) return;
    client.will = undefined;
    this.#context.journal.commit(this.#removal(client));
  }

  /** From now on wills stay in the store, for the broker's next life to publish. */
  retire(): void {
    this.#retired = true;
  }

  connectionLost(client: Client): void {
    const { will, session } = client;
    if (will === undefined || this.#retired) return;
    // [MQTT-3.1.3-9]: the will waits for its delay, or the end of the session if that is earlier.
    const delay = Math.min(will.delay, session.expiryInterval);
    if (delay === 0) return this.fireNow(client);
    client.willTimer = new Timer(() => this.fireNow(client));
    this.#context.timers.set(client.willTimer, this.#context.clock.now() + delay * 1000);
  }

  /** Publishes a will that waits, and removes it from the store in the same commit. */
  fireNow(client: Client): void {
    const { will } = client;
    if (will === undefined) return;
    this.#stopTimer(client);
    client.will = undefined;
    const { publish } = will;
    if (will.expiryMs !== Infinity) publish.expiresAt = this.#context.clock.wall() + will.expiryMs;
    this.#publishing.publish(publish, client, this.#removal(client));
  }

  #removal(client: Client): JournalOperation[] {
    if (!this.#stored.delete(client.session.clientId)) return [];
    return [{ kind: "remove", path: this.#path(client) }];
  }

  #path(client: Client): string {
    return willPath(this.#context.options.id, client.session.clientId);
  }

  #stopTimer(client: Client): void {
    if (client.willTimer !== undefined) this.#context.timers.cancel(client.willTimer);
    client.willTimer = undefined;
  }
}
