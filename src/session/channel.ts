/** One connection's protocol state, from CONNECT to its end: what both sides said they can take, and what is owed. */
import { messageMemoryBytes } from "../base/memory-limits.ts";
import { ackWithTextSize } from "../mqtt/acks.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Sink } from "../mqtt/sink.ts";
import { type AckOutcome, OwedAcks, writeAckOutcome } from "./owed-acks.ts";
import { IncomingAliases, OutgoingAliases } from "./topic-aliases.ts";

/**
 * new: nothing but CONNECT is allowed. authenticating: nothing but AUTH is. connecting: CONNECT has come, its answer
 * waits for the store. open: CONNACK has been sent. closed: nothing is read or written any more.
 */
export type Phase = "new" | "authenticating" | "connecting" | "open" | "closed";

export class Channel {
  #phase: Phase = "new";
  version: ProtocolVersion = 4;
  /** The client is another broker's bridge: it wants no echo, and retain flags as they were published. */
  bridge = false;
  /** 1.5 times the keep alive, in ms; 0: none [MQTT-3.1.2-22]. */
  silenceMs = 0;
  /** The client asked for reason strings (Request Problem Information). */
  wantsReasons = true;
  /** Publishes that the client has not been answered for: its use of the broker's Receive Maximum. */
  outstanding = 0;
  /** The client's Maximum Packet Size in bytes; Infinity: none. */
  packetBytesMax = Infinity;
  outgoingAliases: OutgoingAliases | undefined;
  #incomingAliases: IncomingAliases | undefined;
  #owed: OwedAcks | undefined;

  get phase(): Phase {
    return this.#phase;
  }

  /** CONNECT has come, or the authentication that it asked for has succeeded: its answer waits for the store. */
  connecting(): void {
    this.#phase = "connecting";
  }

  /** The client has to prove who it is: nothing but AUTH is allowed. */
  authenticating(): void {
    this.#phase = "authenticating";
  }

  /** CONNACK is on its way. */
  open(): void {
    this.#phase = "open";
  }

  /** Nothing is read or written any more. */
  close(): void {
    this.#phase = "closed";
  }

  /** The client takes so many topic aliases; 0: none. */
  allowAliases(max: number): void {
    if (max > 0) this.outgoingAliases = new OutgoingAliases(max);
  }

  /** True if packets of its version may be copied to it as they came. */
  get takesVerbatim(): boolean {
    return this.outgoingAliases === undefined && this.packetBytesMax === Infinity;
  }

  resolveAlias(publish: Publish, aliasMax: number): void {
    this.#incomingAliases ??= new IncomingAliases(aliasMax);
    this.#incomingAliases.resolve(publish);
  }

  /** Memory that publishes without an answer, and topics with an alias, take, in bytes. */
  get memoryBytes(): number {
    const owed = this.owedBytes + this.owedCount * messageMemoryBytes;
    return owed + (this.#incomingAliases?.memoryBytes ?? 0) + (this.outgoingAliases?.memoryBytes ?? 0);
  }

  /** Acks that wait for settlement. */
  get owedCount(): number {
    return this.#owed?.count ?? 0;
  }

  get owedBytes(): number {
    return this.#owed?.bytes ?? 0;
  }

  /** Acks at once, whatever is owed: for what is not the first answer to a publish. */
  ackNow(sink: Sink, type: number, packetId: number, outcome: AckOutcome): void {
    writeAckOutcome(sink, type, packetId, this.#asClientTakes(outcome));
  }

  /** Answers a publish: now, or behind the answers that are owed already. */
  ack(sink: Sink, type: number, packetId: number, outcome: AckOutcome): void {
    if (this.owedCount === 0) return this.ackNow(sink, type, packetId, outcome);
    this.#owed!.settle(this.#owed!.owe(type, [packetId], 0), this.#asClientTakes(outcome), sink);
  }

  /** Owes an ack, or several that are settled together, and returns how to settle them. */
  owe(sink: Sink, type: number, packetIds: readonly number[], bytes: number): (outcome: AckOutcome) => void {
    this.#owed ??= new OwedAcks();
    const owed = this.#owed;
    const ack = owed.owe(type, packetIds, bytes);
    return (outcome) => {
      if (this.#phase !== "closed") owed.settle(ack, this.#asClientTakes(outcome), sink);
    };
  }

  /**
   * Before MQTT 5 there are no reasons; texts are for who wants them, and takes so large a packet [MQTT-3.4.2-2,
   * MQTT-3.5.2-2].
   */
  #asClientTakes(outcome: AckOutcome): AckOutcome {
    if (this.version < 5) return success;
    const { reason, text } = outcome;
    if (text === undefined || (this.wantsReasons && ackWithTextSize(text) <= this.packetBytesMax)) return outcome;
    return { reason };
  }
}

const success: AckOutcome = { reason: 0 };
