/**
 * Persistent sessions whose clients are connected here: the other brokers are told, so that they hand on what is
 * published there, and the session's znodes are watched for mail from elsewhere and for a new owner.
 */

import type { WatchEvent } from "../../coordinator/coordinator.ts";
import { isSlipName, nameOf, sessionPath } from "../../coordinator/paths.ts";
import { decodeSession } from "../../mail/records.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { MailWatch } from "../delivery/mail-watch.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { Links } from "./links.ts";
import type { Membership } from "./membership.ts";
import type { Peer } from "./peer.ts";

export class SessionRegistry {
  readonly #context: ClusterContext;
  readonly #parts: { readonly links: Links; readonly membership: Membership };
  /** By the numbers that deliveries name them by. */
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

  has(handle: number): boolean {
    return this.#hosted.has(handle);
  }

  begin(client: LocalSession): void {
    const { clientId } = client.session;
    client.hostedAs(this.#nextHandle());
    this.#hosted.set(client.handle, client);
    this.#mailWatch.wake();
    const path = sessionPath(clientId);
    this.#unwatch.set(
      client,
      this.#context.coordinator.watch(path, (event) => this.#hear(client, path, event)),
    );
    for (const peer of this.#parts.membership.members()) {
      this.#parts.links.say(peer, { say: "hosting", sessions: [[client.handle, clientId]] });
    }
  }

  /** In 32 bits, as frames carry it; 0 is none. */
  #nextHandle(): number {
    do this.#lastHandle = (this.#lastHandle % 0xffff_ffff) + 1;
    while (this.#hosted.has(this.#lastHandle));
    return this.#lastHandle;
  }

  end(client: LocalSession): void {
    if (client.handle === 0) return;
    const { handle } = client;
    this.#hosted.delete(handle);
    client.hostedAs(0);
    this.#unwatch.get(client)?.();
    this.#unwatch.delete(client);
    for (const peer of this.#parts.membership.members())
      this.#parts.links.say(peer, { say: "unhosting", handles: [handle] });
  }

  /** The first that a new member hears. */
  tellAll(peer: Peer): void {
    if (this.#hosted.size === 0) return;
    const sessions = [...this.#hosted].map(([handle, { session }]) => [handle, session.clientId] as const);
    this.#parts.links.say(peer, { say: "hosting", sessions });
  }

  #hear(client: LocalSession, path: string, { type, path: at }: WatchEvent): void {
    if (at.startsWith(`${path}/mail/`)) {
      if (!isSlipName(at.slice(`${path}/mail/`.length))) return;
      if (type === "created") {
        this.#context.slips.numbers.seen(client.session.clientId, nameOf(at));
        client.mailbox!.hear(nameOf(at));
      } else if (type === "deleted") client.mailbox!.forget(nameOf(at));
      return;
    }
    if (type === "missed") {
      client.mailbox!.load();
      this.#checkOwner(client, path);
    } else if (at === path && type !== "created") this.#checkOwner(client, path);
  }

  /** Another broker says that it serves a client: if that one is connected here too, the record tells whose it is. */
  contest(client: LocalSession): void {
    if (client.handle === 0) this.#context.evict(client);
    else this.#checkOwner(client, client.fencingToken.path);
  }

  /** The record has changed: by this broker, or by one that has taken the session. */
  #checkOwner(client: LocalSession, path: string): void {
    this.#context.coordinator.read([{ kind: "get", path }], (error, [node]) => {
      if (error !== undefined || client.handle === 0) return;
      if (typeof node === "object" && "data" in node && node.data.length > 0) {
        const { options, self, strangers } = this.#context;
        const record = strangers.read(path, () => decodeSession(node.data));
        if (record?.owner === options.id && record.epoch === self.epoch) return;
      }
      this.#context.evict(client);
    });
  }
}
