/**
 * How connections end: a client leaves, is lost, is taken over or thrown out; its session ends with it, or waits in the store
 * (`session-store.ts`), and so does what it has not acknowledged.
 */
import type { IDisconnectPacket } from "mqtt-packet";
import { ProtocolError } from "../../base/errors.ts";
import { logTextMax } from "../../base/limits.ts";
import type { Work } from "../../base/slices.ts";
import { Settlement } from "../../mail/settlement.ts";
import { encodeControl, encodeRefusal } from "../../mqtt/control.ts";
import { connackReturnCode, describeReason, Reason } from "../../mqtt/reason.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { bySettlement, type OutgoingMessage } from "../delivery/outgoing-message.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { BackPressure } from "../publish/back-pressure.ts";
import type { Regrouping } from "../publish/regrouping.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

export class ConnectionEnd {
  readonly #context: ClusterContext;
  readonly #regrouping: Regrouping;
  readonly #backPressure: BackPressure;
  readonly #wills: Wills;
  readonly #registry: SessionRegistry;
  readonly #drops: MailDrops;
  readonly #store: SessionStore;

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

  /** The client broke the protocol. */
  fail(connection: Connection, error: ProtocolError): void {
    const { channel } = connection;
    const { protocolErrors } = this.#context.metrics;
    protocolErrors.set(error.reason, (protocolErrors.get(error.reason) ?? 0) + 1);
    this.#log(connection, "info", `protocol error, ${describeReason(error.reason)}: ${error.message}`);
    if (channel.phase === "new" || channel.phase === "connecting" || channel.phase === "authenticating") {
      this.refuse(connection, error.reason, error.message);
    } else if (channel.phase !== "closed") {
      connection.sayGoodbye(error.reason, { reasonString: error.message });
      this.#end(connection, "abnormally");
    }
  }

  /** Answers CONNECT with a refusal, where the client's version has one, and closes. `why`: in words, where it has them. */
  refuse(connection: Connection, reason: number, why?: string): void {
    const { channel, writer } = connection;
    if (channel.phase === "closed") return;
    const returnCode = channel.version === 5 ? reason : connackReturnCode(reason);
    if (returnCode !== undefined && connection.mayAnswerConnect) {
      const bytes =
        channel.version === 5
          ? encodeRefusal(reason, channel.wantsReasons ? why : undefined, channel.packetBytesMax)
          : encodeControl({ cmd: "connack", sessionPresent: false, returnCode }, channel.version);
      if (bytes !== undefined) writer.append(bytes, 0, bytes.length);
    }
    this.#end(connection, "abnormally");
  }

  /** DISCONNECT has come. Throws `ProtocolError`. */
  leave(connection: Connection, packet: IDisconnectPacket): void {
    const client = connection.client!;
    const expiry = packet.properties?.sessionExpiryInterval;
    if (expiry !== undefined) {
      // 3.1.2.11.2: what was 0 at CONNECT must stay 0.
      if (client.session.expiryInterval === 0 && expiry !== 0) {
        throw new ProtocolError(
          Reason.protocolError,
          "a Session Expiry Interval in DISCONNECT for a session without one",
        );
      }
      client.session.expiryInterval = Math.min(expiry, this.#context.options.sessionExpiryMax);
    }
    this.#log(connection, "debug", "client left");
    // [MQTT-3.14.4-3]: every other reason leaves the will to be published.
    this.#end(connection, (packet.reasonCode ?? 0) === Reason.success ? "normally" : "abnormally");
  }

  /** The connection is gone without DISCONNECT. */
  lose(connection: Connection, why: string): void {
    if (connection.channel.phase === "closed") return;
    this.#log(connection, "debug", `connection lost: ${why}`);
    this.#end(connection, "abnormally");
  }

  /** The broker ends the connection: taken over, kept silent too long, shutting down. */
  expel(connection: Connection, reason: number, why: string): void {
    if (connection.channel.phase === "closed") return;
    this.#log(connection, "debug", `${describeReason(reason)}: ${why}`);
    connection.sayGoodbye(reason);
    this.#end(connection, "abnormally");
  }

  /** The broker is about to leave: a client is told to go to another one, where it finds its session. */
  sendElsewhere(connection: Connection, serverReference: string | undefined): void {
    const { channel } = connection;
    if (channel.phase === "closed") return;
    if (channel.phase !== "open") return this.refuse(connection, Reason.useAnotherServer);
    this.#log(connection, "debug", `sent to ${serverReference ?? "another broker"}`);
    connection.sayGoodbye(Reason.useAnotherServer, { serverReference });
    this.#end(connection, "abnormally");
  }

  /** Sends what is pending and closes. */
  #end(connection: Connection, how: "normally" | "abnormally"): void {
    const { channel, client } = connection;
    const { metrics, timers, router } = this.#context;
    connection.writer.flush();
    channel.close();
    connection.writer.close();
    connection.transport.close();
    connection.framer.release();
    this.#backPressure.forget(connection);
    if (connection.timer !== undefined) timers.cancel(connection.timer);
    if (connection.loginTimer !== undefined) timers.cancel(connection.loginTimer);
    if (!connection.ended) metrics.connections--;
    // A connection that was taken over, or refused, is no longer its client's.
    if (client === undefined || client.connection !== connection) return;
    this.#registry.end(client);
    this.#drops.detach(client);
    const unacknowledged = client.detach();
    if (client.session.subscriptions.size > 0) router.touch();
    const isKept = this.#context.localSessions.get(client.session.clientId) === client;
    if (client.mailbox !== undefined && (client.session.persistent || !isKept)) {
      this.#storeUnacknowledged(unacknowledged);
      if (isKept) this.#store.rest(client);
    } else this.#finish(client, unacknowledged);
    if (how === "abnormally") this.#wills.connectionLost(client);
    else this.#wills.forget(client);
  }

  /** The session outlives the connection: whatever its client has not acknowledged goes to the mailbox. */
  #storeUnacknowledged(unacknowledged: readonly OutgoingMessage[]): void {
    const { settlements, mail } = this.#context;
    for (const outgoing of unacknowledged.toSorted(bySettlement)) {
      // One without a client only holds a packet id.
      if (outgoing.client === undefined || outgoing.isTakenCareOf || this.#regrouping.moveOn(outgoing, "there"))
        continue;
      // A retained message that was sent has no settlement of its own yet.
      const settlement = outgoing.settlement ?? new Settlement(outgoing.publish!, mail.nextOrder());
      if (outgoing.settlement === undefined) settlement.waitFor(outgoing);
      settlements.store(settlement, [outgoing]);
    }
  }

  /** The session ends with the connection: what its client has not acknowledged goes to other members of its groups. */
  #finish(client: LocalSession, unacknowledged: readonly OutgoingMessage[]): void {
    this.#store.erase(client, () => {}, this.#moveOn(unacknowledged));
  }

  *#moveOn(unacknowledged: readonly OutgoingMessage[]): Work {
    for (const outgoing of unacknowledged) {
      if (outgoing.client === undefined || outgoing.isTakenCareOf) continue;
      if (!this.#regrouping.moveOn(outgoing, "anyone")) outgoing.takenCareOf(outgoing.settlement);
      yield;
    }
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
