/**
 * Messages that were sent to a client in earlier connections and are not acknowledged. Their slips lie in the mailbox,
 * and their packet ids are taken until the client has acknowledged or given up the messages [MQTT-4.4.0-1].
 */
import type { Slip } from "../../mail/slips.ts";
import { writeAck } from "../../mqtt/acks.ts";
import { PacketType } from "../../mqtt/constants.ts";
import type { LocalSession } from "./local-session.ts";
import { OutgoingMessage, reserved } from "./outgoing-message.ts";

/** The packet ids of one session's earlier connections. */
export class SentBefore {
  readonly #client: LocalSession;
  /** Packet ids of the last connection's QoS 1 messages, by slip; at QoS 2 the slip's record has the id. */
  #ids = new Map<string, number>();

  constructor(client: LocalSession) {
    this.#client = client;
  }

  /** Returns the packet id of a slip that was sent; undefined if it was not, or its record has not been read. */
  idOf({ name, record }: Slip): number | undefined {
    if (record === undefined) return undefined;
    return record.state === "waiting" ? this.#ids.get(name ?? "") : record.packetId;
  }

  /** Reserves the packet id of a slip that will be sent again, so that no other message is given it. */
  reserve(slip: Slip): void {
    const id = this.idOf(slip);
    if (id !== undefined) this.#client.inflight.restore(id, reserved);
  }

  /** Keeps the packet ids of messages that were not acknowledged in the connection that has ended. */
  remember(unacknowledged: readonly OutgoingMessage[]): void {
    for (const { slip, packetId, qos } of unacknowledged) {
      if (slip?.record?.state === "waiting" && qos === 1 && slip.name !== undefined) this.#ids.set(slip.name, packetId);
    }
  }

  /** Forgets the packet id of a slip that is sent again, or gone. */
  forget({ name }: Slip): void {
    if (name !== undefined) this.#ids.delete(name);
  }

  /** Frees the packet id of a slip that will not be sent again at QoS 1. */
  free(slip: Slip): void {
    const id = this.idOf(slip);
    if (id !== undefined && this.#client.inflight.get(id) === reserved) this.#client.inflight.remove(id);
  }

  /** Sends PUBREL for a message that the client has received: only PUBREL and PUBCOMP are left. */
  resume(slip: Slip): void {
    if (this.#claim(slip)) this.#sendPubrel(slip);
  }

  /**
   * Gives up a message that was sent at QoS 2 and cannot be sent again: the client takes no packets so large any more,
   * may not read it, or it is gone from the store. The client may hold its packet id, and would take another message
   * under it for a repetition. PUBREL frees the id at the client, whether the message has come or not. That is
   * committed first, for the message must never be sent after PUBREL.
   */
  giveUp(slip: Slip): void {
    if (!this.#claim(slip)) return;
    const { context, fencingToken, connection } = this.#client;
    context.slips.release(slip, {
      fencingToken,
      done: () => {
        if (this.#client.connection === connection) this.#sendPubrel(slip);
      },
      refused: () => context.evict(this.#client),
    });
  }

  /**
   * Puts the slip's message back into the window. Returns false, and removes the slip, if another message has its
   * packet id.
   */
  #claim(slip: Slip): boolean {
    const client = this.#client;
    const { packetId, qos, retain, subscriptionIds } = slip.record!;
    const outgoing = new OutgoingMessage(client, { qos, retain, subscriptionIds, group: undefined }, undefined);
    outgoing.resumed(slip, packetId);
    const isClaimed = client.inflight.claim(packetId, outgoing, reserved);
    if (!isClaimed) client.discard(slip);
    return isClaimed;
  }

  #sendPubrel({ record }: Slip): void {
    writeAck(this.#client.connection!.writer, PacketType.pubrel, record!.packetId, 0);
  }
}
