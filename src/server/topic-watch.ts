/**
 * Watching topics for a user of the API: a client of the broker's own subscribes to the filter at QoS 0, so what any
 * broker is sent comes here as to any subscriber, and nobody waits for it. It ends with the one who looks.
 */
import type { MessageWatcher } from "../api/ports.ts";
import type { Random } from "../base/random.ts";
import type { Connection } from "../broker/delivery/connection.ts";
import { encodeConnect, encodeControl, type Packet } from "../mqtt/control.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";
import { type FromBroker, InnerConnection } from "../mqttsn/inner-connection.ts";
import type { TransportEvents } from "../net/transport.ts";

/** The parts of the process that watching needs. */
export interface WatchDoors {
  readonly events: TransportEvents<Connection>;
  readonly random: Random;
}

/** The address that is told of such a client. */
const remote = "the API";
const notRetained = 2;

/** Subscribes to a filter; returns what ends that. */
export function watchTopics({ events, random }: WatchDoors, filter: string, watcher: MessageWatcher): () => void {
  let isOver = false;
  const end = (why: string): void => {
    if (!isOver) watcher.ended(why);
    isOver = true;
  };
  const heard = (packet: FromBroker): void => {
    if (isOver) return;
    if (packet.kind === "publish") return watcher.seen(packet);
    if (packet.kind === "disconnect") return end(`the broker has ended it: ${describeReason(packet.reason)}`);
    if (packet.kind !== "connack" && packet.kind !== "suback") return;
    if (packet.reason >= Reason.unspecifiedError) return end(`it is refused: ${describeReason(packet.reason)}`);
    const subscriptions = [{ topic: filter, qos: 0, rh: notRetained }];
    if (packet.kind === "connack")
      connection.send(encodeControl({ cmd: "subscribe", messageId: 1, subscriptions } as Packet, 5));
  };
  const doors = { events, later: (go: () => void) => void setImmediate(go) };
  const facts = { remote, address: "", user: undefined, isTrusted: true };
  const client = { heard, closed: () => end("the broker has ended it") };
  const connection = new InnerConnection(doors, facts, client);
  const clientId = `watch-${random.hex(8)}`;
  const properties = { requestProblemInformation: false };
  const connect = { cmd: "connect", protocolVersion: 5, clientId, clean: true, keepalive: 0, properties } as const;
  connection.send(encodeConnect(connect, 5));
  return () => {
    isOver = true;
    connection.close();
  };
}
