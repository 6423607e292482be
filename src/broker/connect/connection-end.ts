/**
 * How connections and sessions end: a client leaves, is lost, is taken over or thrown out; its session ends
 * with it, or waits in the store until it expires.
 */
import type { IDisconnectPacket } from "mqtt-packet";
import { ProtocolError } from "../../base/errors.ts";
import { logTextMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { encodeSession } from "../../mail/records.ts";
import { Settlement } from "../../mail/settlement.ts";
import { encodeControl, encodeRefusal } from "../../mqtt/control.ts";
import { connackReturnCode, describeReason, Reason } from "../../mqtt/reason.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { bySettlement, type OutgoingMessage } from "../delivery/outgoing-message.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Interest } from "../peers/interest.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import type { BackPressure } from "../publish/back-pressure.ts";
import type { Regrouping } from "../publish/regrouping.ts";
import { SessionErasure } from "./session-erasure.ts";
import type { Wills } from "./wills.ts";

export class Sessions {
  readonly #context: ClusterContext;
  readonly #regrouping: Regrouping;
  readonly #backPressure: BackPressure;
  readonly #wills: Wills;
  readonly #directory: SubscriptionDirectory;
  readonly #registry: SessionRegistry;
  readonly #drops: MailDrops;
  readonly #erasure: SessionErasure;

  constructor(
    context: ClusterContext,
    parts: {
      regrouping: Regrouping;
      backPressure: BackPressure;
      wills: Wills;
      directory: SubscriptionDirectory;
      interest: Interest;
      registry: SessionRegistry;
      drops: MailDrops;
    },
  ) {
    this.#context = context;
    this.#regrouping = parts.regrouping;
    this.#backPressure = parts.backPressure;
    this.#wills = parts.wills;
    this.#directory = parts.directory;
    this.#registry = parts.registry;
    this.#drops = parts.drops;
    this.#erasure = new SessionErasure(context, parts);
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
      // [MQTT-3.1.2.11.2]: what was 0 at CONNECT must stay 0.
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

  /**
   * What must be in the store while a session is connected, or from now on while it is away. A record that another
   * broker has changed meanwhile is not overwritten: the session is that one's.
   */
  record(client: LocalSession, state: "connected" | "away"): JournalOperation {
    const { session, fencingToken } = client;
    const { options, clock, self } = this.#context;
    const away = state === "away";
    const data = encodeSession({
      owner: options.id,
      epoch: self.epoch,
      connected: !away,
      version: session.version,
      expiryInterval: session.expiryInterval,
      expiresAt: away && !session.neverExpires ? clock.wall() + session.expiryInterval * 1000 : null,
    });
    if (!client.isRecorded) {
      client.isRecorded = true;
      return { kind: "create", path: fencingToken.path, data, mode: "persistent" };
    }
    const expected = fencingToken.version++;
    return { kind: "set", path: fencingToken.path, data, version: () => expected };
  }

  /** A session waits in the store for its client. */
  rest(client: LocalSession): void {
    this.#context.journal.commit([this.record(client, "away")], undefined, () => this.evict(client));
    this.expireIn(client, client.session.expiryInterval * 1000);
  }

  /** Lets the session of an absent client expire in `ms`. */
  expireIn(client: LocalSession, ms: number): void {
    if (client.session.neverExpires) return;
    client.expiryTimer = new Timer(() => {
      client.isOver = true;
      this.#erasure.inTurn((done) => this.#expire(client, done));
    });
    this.#context.timers.set(client.expiryTimer, this.#context.clock.now() + ms);
  }

  #expire(client: LocalSession, done: () => void): void {
    // Its client has come back meanwhile, or another broker has it: it is gone already.
    if (this.#context.localSessions.get(client.session.clientId) !== client) return done();
    this.#context.log.debug({ client: client.session.clientId.slice(0, logTextMax) }, "session expired");
    this.#wills.fireNow(client);
    this.erase(client, done);
  }

  /** Ends a session for good: its subscriptions, its mail and its record. `done` when nothing is left of it. */
  erase(client: LocalSession, done: () => void): void {
    this.#erasure.erase(client, done);
  }

  /**
   * A session has just begun. What is found in its mailbox was stored for an earlier one, by a broker that had not heard yet
   * that it has ended.
   */
  emptyOfBefore(client: LocalSession): void {
    const isAlone = [...this.#context.peers.values()].every(({ epoch }) => epoch === undefined);
    if (client.mailbox !== undefined && !isAlone) this.#erasure.emptyMailbox(client.session.clientId, () => {});
  }

  /** Another broker claims a client id: its connection here ends, and its session is that broker's, or is erased. */
  letGo(clientId: string, { clean, done }: { clean: boolean; done: () => void }): void {
    const { localSessions, journal } = this.#context;
    this.#wills.cameBack(clientId);
    const client = localSessions.get(clientId);
    if (client === undefined) return this.whenErased(clientId, done);
    const { connection } = client;
    if (connection !== undefined)
      this.expel(connection, Reason.sessionTakenOver, "its client has connected to another broker");
    // It ended with its connection, as most do.
    if (localSessions.get(clientId) !== client) return this.whenErased(clientId, () => journal.drained(done));
    if (clean) {
      this.#wills.fireNow(client);
      return this.erase(client, done);
    }
    this.#wills.forget(client);
    if (client.expiryTimer !== undefined) this.#context.timers.cancel(client.expiryTimer);
    journal.drained(() => {
      if (localSessions.get(clientId) === client) this.#directory.release(client);
      done();
    });
  }

  /** A session that this broker kept is another one's: nothing more is done in its name. */
  evict(client: LocalSession): void {
    const { localSessions, log, timers } = this.#context;
    const { clientId } = client.session;
    if (localSessions.get(clientId) !== client || client.mailbox === undefined) return;
    log.info({ client: clientId.slice(0, logTextMax) }, "another broker keeps this session now");
    if (client.expiryTimer !== undefined) timers.cancel(client.expiryTimer);
    // It is connected there by now.
    this.#wills.forget(client);
    this.#directory.lose(client);
    if (client.connection !== undefined)
      this.expel(client.connection, Reason.sessionTakenOver, "its session is kept elsewhere");
  }

  /**
   * The lease is over: others may keep the persistent sessions by now, so this broker stops serving them. And they may take
   * whoever has a will for gone: nobody is declared dead who is still connected here.
   */
  fence(): void {
    for (const client of [...this.#context.localSessions.values()]) {
      if (client.mailbox === undefined && client.will === undefined) continue;
      this.#wills.abandon(client);
      if (client.expiryTimer !== undefined) this.#context.timers.cancel(client.expiryTimer);
      if (client.mailbox !== undefined) this.#directory.lose(client);
      if (client.connection !== undefined)
        this.expel(client.connection, Reason.useAnotherServer, "no contact with ZooKeeper");
    }
  }

  /** Calls back when no earlier session of a client id is being erased: at once, mostly. */
  whenErased(clientId: string, go: () => void): void {
    this.#erasure.whenErased(clientId, go);
  }

  /** Sends what is pending and closes. */
  #end(connection: Connection, how: "normally" | "abnormally"): void {
    const { channel, client } = connection;
    const { metrics, timers, router } = this.#context;
    connection.writer.flush();
    channel.phase = "closed";
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
      if (isKept) this.rest(client);
    } else this.#finish(client, unacknowledged);
    if (how === "abnormally") this.#wills.connectionLost(client);
    else this.#wills.forget(client);
  }

  /** The session outlives the connection: whatever its client has not acknowledged goes to the mailbox. */
  #storeUnacknowledged(unacknowledged: readonly OutgoingMessage[]): void {
    const { settlements, mail } = this.#context;
    for (const outgoing of unacknowledged.toSorted(bySettlement)) {
      // One without a client only holds a packet id.
      if (outgoing.client === undefined || outgoing.takenCareOf || this.#regrouping.moveOn(outgoing, "there")) continue;
      // A retained message that was sent has no settlement of its own yet.
      const settlement = outgoing.settlement ?? new Settlement(outgoing.publish!, mail.nextOrder());
      if (outgoing.settlement === undefined) settlement.waitFor(outgoing);
      settlements.store(settlement, [outgoing]);
    }
  }

  /** The session ends with the connection. */
  #finish(client: LocalSession, unacknowledged: readonly OutgoingMessage[]): void {
    this.erase(client, () => {});
    for (const outgoing of unacknowledged) {
      if (outgoing.client === undefined) continue;
      if (!outgoing.takenCareOf && !this.#regrouping.moveOn(outgoing, "anyone") && outgoing.settlement !== undefined) {
        outgoing.takenCareOf = true;
        outgoing.settlement.done();
      }
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
