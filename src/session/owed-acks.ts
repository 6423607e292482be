/**
 * The acks that a publisher is owed. Acks leave in the order of the publishes [MQTT-4.6.0-2, MQTT-4.6.0-3],
 * each not before its publish is settled.
 */
import { Ring } from "../base/ring.ts";
import { writeAck, writeAckWithText } from "../mqtt/acks.ts";
import type { Sink } from "../mqtt/sink.ts";

/** An ack that waits. */
export interface OwedAck {
  readonly type: number;
  readonly packetIds: readonly number[];
  /** Bytes that are held until it is settled. */
  readonly bytes: number;
  settled: boolean;
  reason: number;
  /** Says in words why, where the reason is not success. */
  text: string | undefined;
}

export class OwedAcks {
  readonly #acks = new Ring<OwedAck>();
  #bytes = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** One ack, or several that are settled together. */
  owe(type: number, packetIds: readonly number[], bytes: number): OwedAck {
    const ack: OwedAck = { type, packetIds, bytes, settled: false, reason: 0, text: undefined };
    this.#acks.push(ack);
    this.#count += packetIds.length;
    this.#bytes += bytes;
    return ack;
  }

  /** Marks one as settled and writes all that need not wait any more. */
  settle(ack: OwedAck, verdict: AckOutcome, sink: Sink): void {
    ack.settled = true;
    ack.reason = verdict.reason;
    ack.text = verdict.text;
    for (let head = this.#acks.peek(); head?.settled; head = this.#acks.peek()) {
      this.#acks.shift();
      this.#bytes -= head.bytes;
      this.#count -= head.packetIds.length;
      for (const packetId of head.packetIds) writeAckOutcome(sink, head.type, packetId, head);
    }
  }
}

/** How a publish ended. */
export interface AckOutcome {
  readonly reason: number;
  readonly text?: string | undefined;
}

export function writeAckOutcome(sink: Sink, type: number, packetId: number, { reason, text }: AckOutcome): void {
  if (text === undefined) writeAck(sink, type, packetId, reason);
  else writeAckWithText(sink, type, packetId, { reason, text });
}
