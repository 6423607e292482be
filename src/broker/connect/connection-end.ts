/**
 * The end of connections: a client leaves, is lost, taken over or disconnected. Its session ends with the connection,
 * or waits in the store (`session-store.ts`) with what the client has not acknowledged.
 */
import type { IDisconnectPacket } from "mqtt-packet";
import { networkOf } from "../../access/bans.ts";
import { rememberedTextMax } from "../../base/api-limits.ts";
import { ProtocolError } from "../../base/errors.ts";
import { logTextMax } from "../../base/limits.ts";
import { LineLimit, standingFor } from "../../base/line-limit.ts";
import type { Work } from "../../base/slices.ts";
import { Settlement } from "../../mail/settlement.ts";
import { encodeControl, encodeRefusal } from "../../mqtt/control.ts";
import { connackReturnCode, describeReason, Reason } from "../../mqtt/reason.ts";
import type { ClientEvent } from "../core/live-events.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { bySettlement, type OutgoingMessage } from "../delivery/outgoing-message.ts";
import { subjectOf } from "../delivery/wire-tap.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { BackPressure } from "../publish/back-pressure.ts";
import type { Regrouping } from "../publish/regrouping.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

/** The reason codes for what `turnAway` is called for. */
const turnedAwayWith = {
  fenced: Reason.serverUnavailable,
  disk: Reason.quotaExceeded,
  bank: Reason.quotaExceeded,
  client_id: Reason.clientIdentifierNotValid,
  memory: Reason.quotaExceeded,
} as const;

/** A cause for which a CONNECT is refused that nothing is wrong with. */
export type TurnedAway = keyof typeof turnedAwayWith;

/** How a connection ends: a client that leaves normally takes its will back. And why, in words. */
interface Ending {
  readonly how: "normally" | "abnormally";
  readonly why: string;
}

function goneEvent({ transport }: Connection, { session, user }: LocalSession, why: string): ClientEvent {
  const { clientId } = session;
  const reason = why.slice(0, rememberedTextMax);
  return { kind: "disconnected", clientId, user, remote: transport.remote, reason };
}

/** Ends connections. Every way to end one passes through here. */
export class ConnectionEnd {
  readonly #context: ClusterContext;
  readonly #regrouping: Regrouping;
  readonly #backPressure: BackPressure;
  readonly #wills: Wills;
  readonly #registry: SessionRegistry;
  readonly #drops: MailDrops;
  readonly #store: SessionStore;
  /** Limits the lines in the log, by reason code or cause. */
  readonly #lines = new LineLimit<number | string>();

  constructor(
    context: ClusterContext,
    parts: {
      regrouping: Regrouping;
      backPressure: BackPressure;
      wills: Wills;
      sessionStore: SessionStore;
      registry: SessionRegistry;
      drops: MailDrops;
    },
  ) {
    this.#context = context;
    this.#regrouping = parts.regrouping;
    this.#backPressure = parts.backPressure;
    this.#wills = parts.wills;
    this.#registry = parts.registry;
    this.#drops = parts.drops;
    this.#store = parts.sessionStore;
  }

  /** Ends the connection of a client that broke the protocol, telling it the reason if its version allows. */
  fail(connection: Connection, error: ProtocolError): void {
    const { channel } = connection;
    const { protocolErrors } = this.#context.metrics;
    protocolErrors.set(error.reason, (protocolErrors.get(error.reason) ?? 0) + 1);
    this.#logSome(connection, error.reason, `protocol error, ${describeReason(error.reason)}: ${error.message}`);
    if (channel.phase === "new" || channel.phase === "connecting" || channel.phase === "authenticating") {
      this.refuse(connection, error.reason, error.message);
    } else if (channel.phase !== "closed") {
      this.#note(connection, "protocol", { cause: describeReason(error.reason), reason: () => error.message });
      connection.sendDisconnect(error.reason, { reasonString: error.message });
      this.#end(connection, { how: "abnormally", why: `${describeReason(error.reason)}: ${error.message}` });
    }
  }

  /**
   * Answers CONNECT with a refusal, if the client's version has one, and closes the connection. `given`: the reason
   * string for MQTT 5; of what is `untold`, only the operator learns.
   */
  refuse(connection: Connection, reason: number, given?: string | { readonly untold: string }): void {
    const { channel, writer } = connection;
    if (channel.phase === "closed") return;
    const why = typeof given === "object" ? undefined : given;
    const cause = describeReason(reason);
    this.#note(connection, "connect", {
      cause,
      reason: () => (typeof given === "object" ? given.untold : (given ?? cause)),
    });
    const returnCode = channel.version === 5 ? reason : connackReturnCode(reason);
    if (returnCode !== undefined && connection.mayAnswerConnect) {
      const bytes =
        channel.version === 5
          ? encodeRefusal(reason, channel.wantsReasons ? why : undefined, channel.packetBytesMax)
          : encodeControl({ cmd: "connack", sessionPresent: false, returnCode }, channel.version);
      if (bytes !== undefined) writer.appendPacket(bytes);
    }
    this.#end(connection, { how: "abnormally", why: cause });
  }

  /**
   * Refuses a CONNECT that nothing is wrong with, for a cause that many clients meet at once: each is counted, some are
   * logged.
   */
  turnAway(connection: Connection, cause: TurnedAway, why: string): void {
    if (connection.channel.phase === "closed") return;
    this.#context.metrics.turnedAway[cause]++;
    this.#logSome(connection, cause, `client refused: ${why}`);
    this.refuse(connection, turnedAwayWith[cause], why);
  }

  /** Handles DISCONNECT. Throws `ProtocolError` for a Session Expiry Interval where CONNECT had none. */
  leave(connection: Connection, packet: IDisconnectPacket): void {
    const client = connection.client!;
    const expiry = packet.properties?.sessionExpiryInterval;
    if (expiry !== undefined) {
      // An interval that was 0 in CONNECT must stay 0 (3.14.2.2.2).
      if (client.session.expiryInterval === 0 && expiry !== 0) {
        throw new ProtocolError(
          Reason.protocolError,
          "a Session Expiry Interval in DISCONNECT for a session without one",
        );
      }
      client.session.expiryInterval = Math.min(expiry, this.#context.options.sessionExpiryMax);
    }
    this.#log(connection, "debug", "client left");
    // [MQTT-3.14.4-3]: the will is published for every other reason.
    const how = (packet.reasonCode ?? 0) === Reason.success ? "normally" : "abnormally";
    this.#end(connection, { how, why: `the client has left: ${describeReason(packet.reasonCode ?? 0)}` });
  }

  /** Ends a connection that was lost without DISCONNECT. */
  lose(connection: Connection, why: string): void {
    if (connection.channel.phase === "closed") return;
    this.#endFor(connection, `connection lost: ${why}`);
  }

  /** Ends a connection by the broker's decision: taken over, silent too long, not authorized any more. */
  disconnect(connection: Connection, reason: number, why: string): void {
    if (connection.channel.phase === "closed") return;
    const { client, transport } = connection;
    if (reason === Reason.sessionTakenOver && client !== undefined)
      this.#context.takeOvers.note(client.session.clientId, transport.remote);
    connection.sendDisconnect(reason);
    this.#endFor(connection, `${describeReason(reason)}: ${why}`);
  }

  /**
   * Closes a connection without DISCONNECT, also of MQTT 5, for a client that is to come back: libmosquitto 2.0 (so
   * mosquitto_sub) connects again after a connection that is lost, and never after a DISCONNECT, whatever its reason.
   */
  close(connection: Connection, why: string): void {
    if (connection.channel.phase === "closed") return;
    this.#endFor(connection, `closed: ${why}`);
  }

  /** Ends a connection as `disconnect` does, since its session ends; a client of MQTT 5 is told why. */
  dismiss(connection: Connection, reason: number, why: string): void {
    if (connection.channel.phase === "closed") return;
    connection.sendDisconnect(reason, { reasonString: why });
    this.#endFor(connection, `${describeReason(reason)}: ${why}`);
  }

  /**
   * Sends a client to another broker, where it finds its session, since this one is about to leave. Without a
   * reference there is nothing to tell it: it comes back by the address that it has.
   */
  sendElsewhere(connection: Connection, serverReference: string | undefined): void {
    const { channel } = connection;
    if (channel.phase === "closed") return;
    if (channel.phase !== "open") return this.refuse(connection, Reason.useAnotherServer);
    if (serverReference === undefined) return this.close(connection, "another broker serves it from now on");
    connection.sendDisconnect(Reason.useAnotherServer, { serverReference });
    this.#endFor(connection, `sent to ${serverReference}`);
  }

  /** Ends a connection whose client has not left, and says why in the log. */
  #endFor(connection: Connection, why: string): void {
    this.#log(connection, "debug", why);
    this.#end(connection, { how: "abnormally", why });
  }

  /** Writes what is pending, closes the connection, and lets its session wait or end. */
  #end(connection: Connection, { how, why }: Ending): void {
    const { channel, client } = connection;
    const { metrics, timers, router, events, trace } = this.#context;
    if (client !== undefined && events.isWatched) events.tell(goneEvent(connection, client, why));
    connection.writer.flush();
    if (trace.isOn) trace.tell({ kind: "disconnected", subject: subjectOf(connection), text: () => `gone: ${why}` });
    channel.close();
    connection.writer.close();
    connection.transport.close();
    connection.framer.close();
    connection.exchange = undefined;
    this.#backPressure.forget(connection);
    if (connection.timer !== undefined) timers.cancel(connection.timer);
    if (connection.loginTimer !== undefined) timers.cancel(connection.loginTimer);
    if (!connection.ended) metrics.connections--;
    // A connection that was refused, or whose session another connection serves, has no session to end.
    if (client === undefined || client.connection !== connection) return;
    this.#registry.end(client);
    this.#drops.detach(client);
    const unacknowledged = client.detach();
    if (client.session.subscriptions.size > 0) router.touch();
    const isKept = this.#context.localSessions.get(client.session.clientId) === client;
    if (client.mailbox !== undefined && (client.session.persistent || !isKept)) {
      this.#storeUnacknowledged(unacknowledged);
      if (isKept) this.#store.recordAway(client);
    } else this.#finish(client, unacknowledged);
    if (how === "abnormally") this.#wills.connectionLost(client);
    else this.#wills.forget(client);
  }

  /** Stores what a client has not acknowledged in its mailbox, since its session outlives the connection. */
  #storeUnacknowledged(unacknowledged: readonly OutgoingMessage[]): void {
    const { settlements, mail } = this.#context;
    for (const outgoing of unacknowledged.toSorted(bySettlement)) {
      // An entry without a client only holds a packet id.
      if (outgoing.client === undefined || outgoing.isTakenCareOf || this.#regrouping.reassign(outgoing, "there"))
        continue;
      // A retained message of a new subscription may have no settlement that waits for it.
      const settlement = outgoing.settlement ?? new Settlement(outgoing.publish!, mail.nextOrder());
      if (outgoing.settlement === undefined) settlement.waitFor(outgoing);
      settlements.store(settlement, [outgoing]);
    }
  }

  /**
   * Ends a session that ends with its connection; what its client has not acknowledged goes to other members of its
   * groups.
   */
  #finish(client: LocalSession, unacknowledged: readonly OutgoingMessage[]): void {
    this.#store.erase(client, () => {}, { first: this.#reassign(unacknowledged) });
  }

  *#reassign(unacknowledged: readonly OutgoingMessage[]): Work {
    for (const outgoing of unacknowledged) {
      if (outgoing.client === undefined || outgoing.isTakenCareOf) continue;
      if (!this.#regrouping.reassign(outgoing, "anyone")) outgoing.takenCareOf(outgoing.settlement);
      yield;
    }
  }

  #note(connection: Connection, kind: "connect" | "protocol", why: { cause: string; reason: () => string }): void {
    const { client, clientId = client?.session.clientId, transport } = connection;
    this.#context.refused.note({ kind, ...why, clientId, remote: transport.remote });
  }

  /** Logs a line that any client can bring about: not all of those that have the same cause. */
  #logSome(connection: Connection, cause: number | string, message: string): void {
    const stands = this.#lines.take(cause, this.#context.clock.now(), networkOf(connection.transport.address));
    if (stands > 0) this.#log(connection, "info", standingFor(message, stands));
  }

  #log(connection: Connection, level: "info" | "debug", message: string): void {
    const { log } = this.#context;
    if (!log.isLevelEnabled(level)) return;
    const clientId = connection.client?.session.clientId.slice(0, logTextMax);
    log[level](
      { remote: connection.transport.remote, ...(clientId === undefined ? {} : { client: clientId }) },
      message,
    );
  }
}
