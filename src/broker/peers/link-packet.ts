/** A message as links carry it: an MQTT 5 packet. */
import type { Clock } from "../../base/clock.ts";
import type { QoS } from "../../mqtt/constants.ts";
import { Envelope, type Publish, writePublish } from "../../mqtt/publish.ts";
import { MemorySink } from "../../mqtt/sink.ts";
import type { Forwarded } from "./peer.ts";

/** The envelope that all calls share: it is filled in and used up within one. */
const envelope = new Envelope();
envelope.version5 = true;

/** Returns a message as an MQTT 5 PUBLISH, for another broker. */
export function linkPacket(publish: Publish, qos: QoS, clock: Pick<Clock, "wall">): Uint8Array {
  const sink = new MemorySink();
  envelope.qos = qos;
  envelope.retain = publish.retain;
  envelope.packetId = qos === 0 ? 0 : 1;
  writePublish(sink, publish, envelope, publish.expiresAt === Infinity ? 0 : clock.wall());
  return sink.take();
}

/** Writes into a frame that is sent again how long its message still lives: it has aged while it has waited. */
export function renewExpiry({ frame, settlement }: Forwarded, clock: Pick<Clock, "wall">): void {
  const { publish } = settlement;
  if (frame === undefined || publish.expiresAt === Infinity) return;
  // It stands at the end, and is as long as it was.
  const packet = linkPacket(publish, publish.qos, clock);
  frame.set(packet, frame.length - packet.length);
}
