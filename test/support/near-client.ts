/** A client's connection without a socket, for tests of single parts: what it is sent is taken apart again. */
import mqttPacket, { type Packet } from "mqtt-packet";
import { Connection } from "../../src/broker/delivery/connection.ts";
import type { ProtocolVersion } from "../../src/mqtt/constants.ts";
import { Framer } from "../../src/mqtt/framer.ts";
import type { Turn } from "../../src/net/writer.ts";
import type { AnyPacket } from "./raw-client.ts";

export interface NearClient {
  readonly connection: Connection;
  /** The state of the transport, as it was asked for. */
  readonly state: { isRead: boolean; isClosed: boolean };
  /** Returns the packets that have been sent since the last call. */
  received(): AnyPacket[];
}

/** Returns a connection in the phase "new", of a client with that version. */
export function nearClient(turn: Turn, version: ProtocolVersion = 5): NearClient {
  const packets: AnyPacket[] = [];
  const state = { isRead: true, isClosed: false };
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet: Packet) => packets.push(packet));
  const set = (changes: Partial<typeof state>) => (): void => void Object.assign(state, changes);
  const transport = {
    ...{ remote: "near", address: "192.0.2.1", certificate: undefined },
    write: (bytes: Uint8Array, start: number, end: number): number => {
      parser.parse(Buffer.from(bytes.subarray(start, end)));
      return end - start;
    },
    ...{ pause: set({ isRead: false }), resume: set({ isRead: true }) },
    ...{ close: set({ isClosed: true }), abort: set({ isClosed: true }) },
  };
  const connection = new Connection(transport, turn, () => {});
  connection.channel.version = version;
  const received = (): AnyPacket[] => {
    connection.writer.flush();
    return packets.splice(0);
  };
  return { connection, state, received };
}

/** Returns a packet as its bytes, in a framer that has found its beginning and its end. */
export function framed(packet: AnyPacket, version: ProtocolVersion = 5): Framer {
  const framer = new Framer(1_000_000);
  framer.feed(mqttPacket.generate(packet, { protocolVersion: version }));
  if (!framer.next()) throw new Error("no whole packet");
  return framer;
}
