/**
 * Messages that were sent to a client in earlier connections and are not acknowledged: their slips lie in the mailbox, and
 * their packet ids are theirs until the client has acknowledged them, or given them back [MQTT-4.4.0-1].
 */
import type { Slip } from "../../mail/slips.ts";
import { writeAck } from "../../mqtt/acks.ts";
import { PacketType } from "../../mqtt/constants.ts";
import type { LocalSession } from "./local-session.ts";
import { OutgoingMessage, reserved } from "./outgoing-message.ts";

export class SentBefore {
  readonly #client: LocalSession;
  /** Packet ids under which slips were sent at QoS 1 in the last connection; at QoS 2 the slip itself says it. */
  #ids = new Map<string, number>();

  constructor(client: LocalSession) {
    this.#client = client;
  }

  /** The packet id under which a slip was sent; undefined if it was not, or its record has not been read. */
  idOf({ name, record }: Slip): number | undefined {
    if (record === undefined) return undefined;
    return record.state === "waiting" ? this.#ids.get(name ?? "") : record.packetId;
  }

  /** Packet ids of what will be sent again must not be given to other messages before. */
  reserve(slip: Slip): void {
    const id = this.idOf(slip);
    if (id !== undefined) this.#client.inflight.restore(id, reserved);
  }

  /** The connection is gone, and these were not acknowledged in it. */
  remember(unacknowledged: readonly OutgoingMessage[]): void {
    for (const { slip, packetId, qos } of unacknowledged) {
      if (slip?.record?.state === "waiting" && qos === 1 && slip.name !== undefined) this.#ids.set(slip.name, packetId);
    }
  }

  /** The slip is sent again, or gone. */
  forget({ name }: Slip): void {
    if (name !== undefined) this.#ids.delete(name);
  }

  /** A slip will not be sent again at QoS 1: its packet id is free. */
  free(slip: Slip): void {
    const id = this.idOf(slip);
    if (id !== undefined && this.#client.inflight.get(id) === reserved) this.#client.inflight.remove(id);
  }

  /** The client had the message: only PUBREL and PUBCOMP are left. */
  resume(slip: Slip): void {
    if (this.#claim(slip)) this.#sendPubrel(slip);
  }

  /**
   * A message that was sent at QoS 2 cannot be sent again: the client takes no packets so large any more, may not read it,
   * or it is gone from the store. Its packet id may stand for it at the client, where another message under that id would
   * be taken for a repetition. PUBREL frees it there, whether the message has come or not; that is committed first, for it
   * must never be sent again after that.
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

  /** False if another message has its packet id: then the slip is of no use any more. */
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
