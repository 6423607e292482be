/**
 * Nobody is forgotten: while a session is connected and its client takes what it is sent, the oldest message in its
 * mailbox does not stay there. Looked at all the time, and not only at the end, when a restart or a client that came
 * back may have made good what was wrong.
 */

import type { LocalSession } from "../../src/broker/delivery/local-session.ts";
import { mailPath } from "../../src/coordinator/paths.ts";
import type { BrokerNode } from "./broker-node.ts";
import type { World } from "./world.ts";

const lookMs = 500;
/** Much longer than a busy store takes for what it is asked, and than what is sent waits for its ack. */
const patienceMs = 8000;

interface Waiting {
  readonly oldest: string;
  readonly connection: LocalSession["connection"];
  readonly since: number;
  isTold: boolean;
}

export class Liveness {
  readonly wrong: string[] = [];
  readonly #world: World;
  readonly #waiting = new Map<string, Waiting>();
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
    const look = (): void => {
      if (this.#isOver) return;
      this.#look();
      world.after(lookMs, look);
    };
    look();
  }

  end(): readonly string[] {
    this.#isOver = true;
    return this.wrong;
  }

  #look(): void {
    for (const node of this.#world.nodes.values()) {
      if (node.isForeign) continue;
      for (const client of node.broker?.context.localSessions.values() ?? []) this.#lookAt(node, client);
    }
  }

  #lookAt(node: BrokerNode, client: LocalSession): void {
    const { id: broker, isAsleep } = node;
    const { clientId } = client.session;
    const key = `${broker} ${clientId}`;
    const names = [...(this.#world.tree.nodes.get(mailPath(clientId))?.children ?? [])].sort();
    const oldest = names.find((name) => !client.slipsInFlight().has(name));
    const before = this.#waiting.get(key);
    if (oldest === undefined || isAsleep || node.broker?.context.self.isFenced || !mayTake(client)) {
      this.#waiting.delete(key);
      return;
    }
    const { connection } = client;
    if (before?.oldest !== oldest || before.connection !== connection) {
      this.#waiting.set(key, { oldest, connection, since: this.#world.now(), isTold: false });
    } else if (!before.isTold && this.#world.now() - before.since > patienceMs) {
      before.isTold = true;
      const since = `since ${Math.round(before.since)} ms`;
      this.wrong.push(`${clientId} is forgotten at ${broker} ${since}: ${names.length} messages, the oldest ${oldest}`);
    }
  }
}

/**
 * True if nothing but the broker keeps it from sending: the client has room and is awake, and there is contact with the
 * store.
 */
function mayTake(client: LocalSession): boolean {
  const { context, mailbox, connection } = client;
  if (connection?.transport.deviceState === "asleep") return false;
  return mailbox !== undefined && client.hasRoom && context.coordinator.state === "CONNECTED";
}
