/** A message as other brokers are sent it: an MQTT 5 packet. */
import type { Clock } from "../../base/clock.ts";
import type { QoS } from "../../mqtt/constants.ts";
import { Envelope, type Publish, writePublish } from "../../mqtt/publish.ts";
import { MemorySink } from "../../mqtt/sink.ts";

/** One envelope for all: it is filled in and used up within a call. */
const envelope = new Envelope();
envelope.version5 = true;

export function linkPacket(publish: Publish, qos: QoS, clock: Pick<Clock, "wall">): Uint8Array {
  const sink = new MemorySink();
  envelope.qos = qos;
  envelope.retain = publish.retain;
  envelope.packetId = qos === 0 ? 0 : 1;
  writePublish(sink, publish, envelope, publish.expiresAt === Infinity ? 0 : clock.wall());
  return sink.take();
}
