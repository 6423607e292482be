/**
 * The receivers here that are sent a QoS 2 publish once its packet id is committed, and not before: those for whom
 * nothing is stored. If the commit is refused the publisher publishes the message at another broker, which sends it to
 * all of them: they would have it twice [MQTT-4.3.3-10].
 */
import type { Work } from "../../base/slices.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { Group } from "../peers/peer.ts";
import { eachInSteps } from "./wide-fanouts.ts";

interface Receiver {
  readonly client: LocalSession;
  readonly target: OutgoingTarget;
}

/** Receivers of one message, as they were when it came. */
export class AfterCommit {
  readonly #receivers: Receiver[] = [];

  /** Adds a receiver; the caller may use `target` again. */
  add(client: LocalSession, { qos, retain, subscriptionIds, group }: OutgoingTarget): void {
    this.#receivers.push({ client, target: { qos, retain, subscriptionIds, group } });
  }

  /** Sends the message to all, a few in each step; `gone`: the member that was chosen of a group has ended. */
  send(publish: Publish, gone: (group: Group, member: LocalSession) => void): Work {
    return eachInSteps(this.#receivers, ({ client, target }) => {
      if (client.connection === undefined) {
        if (target.group !== undefined) gone(target.group as Group, client);
        return;
      }
      // It may have lost the right to read it while the store was asked.
      if (!client.mayReceive(publish)) return;
      if (target.qos === 0) client.sendQoS0(publish, target);
      else client.offer(publish, target);
    });
  }
}
