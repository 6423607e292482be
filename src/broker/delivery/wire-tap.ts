/**
 * Reads along what clients that are followed send and are sent, byte for byte as it is on the wire, and tells each
 * packet in words. It is not in the way of packets: what it cannot read it leaves out.
 */
import { tracedConnectionsMax } from "../../base/trace-limits.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Trace, TraceSubject } from "../core/trace.ts";
import type { Connection } from "./connection.ts";
import type { LocalSession } from "./local-session.ts";
import { type Claims, type Direction, describePacket, PacketCutter } from "./packet-words.ts";

/** Reads along the packets of one connection. */
export class WireTap {
  readonly #trace: Trace;
  readonly #connection: Connection;
  readonly #cutters = { received: new PacketCutter(), sent: new PacketCutter() };
  /** The client as its CONNECT names it, until it is let in. */
  #claimed: Claims | undefined;
  /** True until something is written that begins a packet. */
  #waitsForPacket: boolean;

  constructor(trace: Trace, connection: Connection) {
    this.#trace = trace;
    this.#connection = connection;
    this.#waitsForPacket = connection.writer.unsent > 0;
    connection.writer.tap = (bytes, start, end) => this.#wrote(bytes, start, end);
  }

  /** True if the client has said who it is, and is not followed. */
  get isIdle(): boolean {
    return this.#claimed !== undefined && !this.#trace.follows(this.#subject);
  }

  /** Reads what has come from the client. */
  received(bytes: Uint8Array): void {
    this.#read("received", bytes, 0, bytes.length);
  }

  #wrote(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#waitsForPacket) this.#read("sent", bytes, start, end);
    else this.#waitsForPacket = this.#connection.writer.unsent > end - start;
  }

  #read(direction: Direction, bytes: Uint8Array, start: number, end: number): void {
    const version = this.#claimed?.version ?? this.#connection.channel.version;
    this.#cutters[direction].feed(bytes.subarray(start, end), (packet, size) => {
      const { topic, payload, reason, claims, text } = describePacket(packet, { direction, version, size });
      this.#claimed ??= claims;
      const subject = this.#subject;
      if (!this.#trace.follows(subject)) return;
      this.#trace.tell({ kind: direction, subject, topic, payload, reason, text: () => text });
    });
  }

  get #subject(): TraceSubject {
    const { clientId, user, address } = subjectOf(this.#connection);
    return { clientId: clientId ?? this.#claimed?.clientId, user: user || (this.#claimed?.user ?? ""), address };
  }
}

/** Reads along where somebody wants it. */
export class WireTaps {
  readonly #trace: Trace;
  readonly #connections = new Set<Connection>();

  constructor(trace: Trace) {
    this.#trace = trace;
    trace.onEnd = () => this.#end();
  }

  /** Reads along bytes that have come from a client, if it is followed, or has not said who it is. */
  received(connection: Connection, bytes: Uint8Array): void {
    const isNew = connection.channel.phase === "new";
    // What is in the middle of a packet cannot be read.
    const isBetween = connection.framer.heldLength === 0 && !connection.framer.pending;
    if (connection.tap === undefined && isBetween && (isNew || this.#trace.follows(subjectOf(connection))))
      this.#begin(connection);
    connection.tap?.received(bytes);
    if (connection.tap?.isIdle === true) this.#drop(connection);
  }

  /** Reads along what is sent to clients that are followed and connected by now. */
  begin(clients: Iterable<LocalSession>): void {
    if (!this.#trace.readsPackets) return;
    for (const { connection } of clients) {
      if (connection === undefined || connection.tap !== undefined) continue;
      const isBetween = connection.framer.heldLength === 0 && !connection.framer.pending;
      if (isBetween && this.#trace.follows(subjectOf(connection))) this.#begin(connection);
    }
  }

  #begin(connection: Connection): void {
    if (this.#connections.size >= tracedConnectionsMax) this.#forget();
    if (this.#connections.size >= tracedConnectionsMax) return;
    this.#connections.add(connection);
    connection.tap = new WireTap(this.#trace, connection);
  }

  /** Forgets connections that have ended, and those of clients that nobody follows. */
  #forget(): void {
    for (const connection of this.#connections) {
      const { phase } = connection.channel;
      if (phase === "closed" || (phase === "open" && !this.#trace.follows(subjectOf(connection))))
        this.#drop(connection);
    }
  }

  #end(): void {
    for (const connection of this.#connections) this.#drop(connection);
  }

  #drop(connection: Connection): void {
    connection.tap = undefined;
    connection.writer.tap = undefined;
    this.#connections.delete(connection);
  }
}

/** Returns whose a connection is, as far as it is known. */
export function subjectOf({ client, clientId, transport }: Connection): TraceSubject {
  return { clientId: client?.session.clientId ?? clientId, user: client?.user ?? "", address: transport.address };
}

/** Returns whose a session is. */
export function subjectOfSession({ session, user, connection }: LocalSession): TraceSubject {
  return { clientId: session.clientId, user, address: connection?.transport.address ?? "" };
}

/** Tells that a message is being sent to a client. */
export function tellDelivered(trace: Trace, { client, publish, qos, packetId, dup }: Delivered): void {
  const id = qos === 0 ? "" : `, packet id ${packetId}${dup ? ", again" : ""}`;
  trace.message("delivered", publish, subjectOfSession(client), () => `sent to the client at QoS ${qos}${id}`);
}

interface Delivered {
  readonly client: LocalSession;
  readonly publish: Publish;
  readonly qos: number;
  readonly packetId: number;
  readonly dup: boolean;
}

/** Tells that a message is in the mailboxes of clients, wherever they are. */
export function tellStored(trace: Trace, publish: Publish, clientIds: readonly string[]): void {
  for (const clientId of clientIds) {
    const subject = { clientId, user: "", address: "" };
    trace.message("stored", publish, subject, () => "stored in the client's mailbox: the store has committed it");
  }
}
