/**
 * The persistent sessions whose clients are connected here. The other brokers are told of them, so that they forward
 * what is published there, and their znodes are watched for mail from other brokers and for a new owner.
 */

import type { WatchEvent } from "../../coordinator/coordinator.ts";
import { isSlipName, nameOf, sessionPath } from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import { decodeSession } from "../../mail/records.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { MailWatch } from "../delivery/mail-watch.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { Links } from "./links.ts";
import type { Membership } from "./membership.ts";
import type { Peer } from "./peer.ts";

/** Registers connected persistent sessions, each with a number by which deliveries name it. */
export class SessionRegistry {
  readonly #context: ClusterContext;
  readonly #parts: { readonly links: Links; readonly membership: Membership };
  /** The connected persistent sessions, by their numbers. */
  readonly #hosted = new Map<number, LocalSession>();
  /** Ends the watch on a session's znodes. */
  readonly #unwatch = new Map<LocalSession, () => void>();
  readonly #mailWatch: MailWatch;
  #lastHandle = 0;

  constructor(context: ClusterContext, parts: { links: Links; membership: Membership }) {
    this.#context = context;
    this.#parts = parts;
    this.#mailWatch = new MailWatch(context, this.#hosted);
  }

  /** Returns true if a session with that number is connected here. */
  has(handle: number): boolean {
    return this.#hosted.has(handle);
  }

  /** Registers a persistent session whose client has connected: tells the other brokers, and watches its znodes. */
  begin(client: LocalSession): void {
    const { clientId } = client.session;
    client.hostedAs(this.#nextHandle());
    this.#hosted.set(client.handle, client);
    this.#mailWatch.wake();
    const path = sessionPath(clientId);
    this.#unwatch.set(
      client,
      this.#context.coordinator.watch(path, (event) => this.#changed(client, path, event)),
    );
    for (const peer of this.#parts.membership.members()) {
      this.#parts.links.sendControl(peer, { say: "hosting", sessions: [[client.handle, clientId]] });
    }
  }

  /** Returns a free number: 32 bits, as frames carry it, and never 0, which means none. */
  #nextHandle(): number {
    do this.#lastHandle = (this.#lastHandle % 0xffff_ffff) + 1;
    while (this.#hosted.has(this.#lastHandle));
    return this.#lastHandle;
  }

  /** Ends a session's registration, if it has one: its client is gone, or its session is another broker's. */
  end(client: LocalSession): void {
    if (client.handle === 0) return;
    const { handle } = client;
    this.#hosted.delete(handle);
    client.hostedAs(0);
    this.#unwatch.get(client)?.();
    this.#unwatch.delete(client);
    for (const peer of this.#parts.membership.members())
      this.#parts.links.sendControl(peer, { say: "unhosting", handles: [handle] });
  }

  /** Tells a new member of all sessions that are connected here, before anything else. */
  announceAll(peer: Peer): void {
    if (this.#hosted.size === 0) return;
    const sessions = [...this.#hosted].map(([handle, { session }]) => [handle, session.clientId] as const);
    this.#parts.links.sendControl(peer, { say: "hosting", sessions });
  }

  #changed(client: LocalSession, path: string, { type, path: at }: WatchEvent): void {
    if (at.startsWith(`${path}/mail/`)) {
      if (!isSlipName(at.slice(`${path}/mail/`.length))) return;
      if (type === "created") {
        this.#context.slips.numbers.seen(client.session.clientId, nameOf(at));
        client.mailbox!.slipAdded(nameOf(at));
      } else if (type === "deleted") client.mailbox!.forget(nameOf(at));
      return;
    }
    if (type === "missed") {
      client.mailbox!.load();
      this.#checkOwner(client, path);
    } else if (at === path && type !== "created") this.#checkOwner(client, path);
  }

  /**
   * Settles to whom a session belongs that another broker says to serve: if it is connected here too, the record tells.
   */
  contest(client: LocalSession): void {
    if (client.handle === 0) this.#context.evict(client);
    else this.#checkOwner(client, client.fencingToken.path);
  }

  /** Reads a session's record after a change, and gives the session up if it names another broker. */
  #checkOwner(client: LocalSession, path: string): void {
    this.#context.coordinator.read([{ kind: "get", path }], (error, [node]) => {
      if (error !== undefined || client.handle === 0) return;
      if (hasData(node) && node.data.length > 0) {
        const { options, self, strangers } = this.#context;
        const record = strangers.read(path, () => decodeSession(node.data));
        if (record?.owner === options.id && record.epoch === self.epoch) return;
      }
      this.#context.evict(client);
    });
  }
}
