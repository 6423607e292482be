/**
 * QoS 2 publishes that a client sends again at its next broker, which finds their packet ids in the store. Persistent
 * sessions have got them in that commit. Whether sessions that end with their connections were sent them nobody knows
 * but the brokers where these are: so all of them are sent the publish again, by its name.
 */
import { hasData } from "../../coordinator/read-results.ts";
import type { PublishName } from "../../link/delivery-frame.ts";
import { Settlement } from "../../mail/settlement.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Connection } from "../delivery/connection.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { LinkSender } from "../peers/link-sender.ts";
import type { NamedPublishes } from "../peers/named-publishes.ts";
import { isPeer } from "../peers/peer.ts";
import type { Fanout } from "./fanout.ts";
import { heldByIn, heldIdPath } from "./held-ids.ts";

/** The parts that send publishes again. */
export interface RepeatingParts {
  readonly fanout: Fanout;
  readonly linkSender: LinkSender;
  readonly named: NamedPublishes;
}

/** Sends publishes again to whoever may not have been sent them. */
export class RepeatedPublishes {
  readonly #context: ClusterContext;
  readonly #parts: RepeatingParts;

  constructor(context: ClusterContext, parts: RepeatingParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Sends a kept publish again, whose packet id was found in the store. Calls `done` when all have it. */
  send(connection: Connection, { publish, packetId }: { publish: Publish; packetId: number }, done: () => void): void {
    const { coordinator, strangers } = this.#context;
    const path = heldIdPath(connection.client!, packetId);
    coordinator.read([{ kind: "get", path }], (_, [node]) => {
      const by = hasData(node) ? strangers.read(path, () => heldByIn(node.data)) : undefined;
      // It has been released, or was committed by a broker that does not send publishes by name.
      if (!hasData(node) || by === undefined) return done();
      this.#send(publish, { ...by, zxid: node.stat.czxid }, { connection, done });
    });
  }

  #send(publish: Publish, name: PublishName, how: { connection: Connection; done: () => void }): void {
    const { router, mail } = this.#context;
    const { fanout, linkSender, named } = this.#parts;
    const route = router.route(publish.topicBytes, publish.topicStart, publish.topicEnd);
    if (route === undefined) return how.done();
    if (fanout.isUnderWay(route)) return fanout.whenOver(route, () => this.#send(publish, name, how));
    const settlement = new Settlement(publish, mail.nextOrder());
    settlement.waitFor();
    settlement.whenSettled(how.done);
    if (named.take(name, true)) {
      const toInterest = { toInterest: true, handles: new Set<number>(), groups: new Set<string>() };
      const here = fanout.deliverHere(publish, route, toInterest, undefined).settlement;
      if (here?.isSettled === false) {
        settlement.waitFor();
        here.whenSettled(() => settlement.done());
      }
    }
    const packet = linkSender.encode(publish, publish.qos);
    const { connection: publisher } = how;
    for (const { subscriber: peer } of route.elsewhere) {
      if (!isPeer(peer) || peer.link === undefined || peer.facts?.knowsNames !== true) continue;
      const share = { toInterest: true, sessions: [], groups: [] };
      linkSender.deliver(peer, share, settlement, packet, { publisher, name, isAgain: true });
    }
    settlement.done();
  }
}
