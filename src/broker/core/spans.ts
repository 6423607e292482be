/**
 * The port by which the spans of messages are told to OpenTelemetry: a broker's part of the way of a message, hop by
 * hop. It is there only where somebody wants them (`--otlp`); what each message is asked then must be cheap. Whoever
 * follows one client for a while asks for a `Trace`.
 */
import type { QoS } from "../../mqtt/constants.ts";
import type { MessageTrace } from "../../mqtt/message-trace.ts";
import type { Publish } from "../../mqtt/publish.ts";

export interface Spans {
  /**
   * Called for each PUBLISH of a client that may be passed on. Returns the message to go on with: the same, or, if it
   * is traced, one that owns its bytes, has a `trace`, and carries the context of this hop.
   */
  received(publish: Publish, topic: string, clientId: string): Publish;
  /** Called for a message of another broker; returns what `received` does. */
  arrived(publish: Publish, topic: string, brokerId: string): Publish;
  /** Returns false if none of the messages that lie in these bytes, as packets, can be traced. */
  mayBeIn(bytes: Uint8Array, start: number, end: number): boolean;
  /**
   * Called for each message that is written to a client by itself. `packetId`: that which it is sent with; 0 at QoS 0.
   */
  sent(publish: Publish, clientId: string, target: TracedTarget, packetId: number): void;
}

/** The target's QoS and RETAIN; one that waits for an ack has a packet id, and tells its `trace` when that comes. */
export interface TracedTarget {
  readonly qos: QoS;
  readonly retain: boolean;
  readonly packetId?: number;
  trace?: MessageTrace | undefined;
}
