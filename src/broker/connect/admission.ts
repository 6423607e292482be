/**
 * The admission of clients: limits on connections, bans, logins, enhanced authentication (MQTT 5, 4.12), and what
 * follows when the operator has changed users or rules.
 */
import type { IAuthPacket } from "mqtt-packet";
import type { Access, Identity, Verdict } from "../../access/access.ts";
import { type Bans, networkOf } from "../../access/bans.ts";
import type { Permissions } from "../../access/permissions.ts";
import { scramMethod } from "../../access/scram.ts";
import { Bucket } from "../../base/bucket.ts";
import { ProtocolError } from "../../base/errors.ts";
import { logTextMax, refusedConnectionsMax } from "../../base/limits.ts";
import { LineLimit, standingFor } from "../../base/line-limit.ts";
import { refusedConnectBytesMax, refusedForMemoryMax } from "../../base/memory-limits.ts";
import type { Work } from "../../base/slices.ts";
import { Timer } from "../../base/timers.ts";
import { type ConnectPacket, encodeControl } from "../../mqtt/control.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { Certificate } from "../../net/transport.ts";
import type { Connection } from "../delivery/connection.ts";
import type { KeptSession } from "../delivery/kept-session.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { Spenders } from "../delivery/spender.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { ConnectionEnd } from "./connection-end.ts";
import { userOf } from "./session-owner.ts";

/** A client that has been let in: its identity and permissions. */
export interface Login {
  readonly identity: Identity;
  /** The client's permissions; undefined: it may do everything. */
  readonly permissions: Permissions | undefined;
  /** The last message of an enhanced authentication, for CONNACK; undefined: there was none. */
  readonly proof: { readonly authenticationMethod: string; readonly authenticationData: Buffer } | undefined;
}

/** The identity of clients where no login is needed. */
const nobody: Identity = {
  ...{ username: undefined, topics: undefined, expiresAt: Infinity },
  ...{ entry: undefined, keyId: undefined },
};

/** The reason that is logged where a client's certificate has been revoked. */
const revoked = "its certificate has been revoked";

/** The names that a client gives itself. */
interface Named {
  readonly clientId: string;
  readonly username: string | undefined;
}

/** Reason codes of AUTH (3.15.2.1). */
const Auth = { success: 0x00, continue: 0x18, reauthenticate: 0x19 } as const;

/** Admits connections and clients, or has them refused with the right reason code. */
export class Admission {
  readonly #context: ClusterContext;
  readonly #connectionEnd: ConnectionEnd;
  readonly #access: Access | undefined;
  readonly #bans: Bans;
  /** The spenders for whom the memory of connections is counted. */
  readonly spenders = new Spenders();
  readonly #connects: Bucket | undefined;
  /** Limits the lines in the log on refused logins. */
  readonly #lines = new LineLimit<"login">();
  /** The number of connections by address, where it is limited. */
  readonly #byAddress = new Map<string, number>();
  /** The number of times that users or rules have changed. */
  #reloads = 0;
  /** The number of connections that are only kept until their CONNECT has been refused. */
  #refused = 0;

  constructor(
    context: ClusterContext,
    /** `access` undefined: every client may connect and do everything. */
    parts: { readonly connectionEnd: ConnectionEnd; readonly access: Access | undefined; readonly bans: Bans },
  ) {
    this.#context = context;
    this.#connectionEnd = parts.connectionEnd;
    this.#access = parts.access;
    this.#bans = parts.bans;
    const { connectRate } = context.options;
    if (connectRate > 0) this.#connects = new Bucket(connectRate, context.clock.now());
  }

  /**
   * Admits a new connection, or notes why its CONNECT will be refused. Returns false if there are too many of those:
   * the caller closes it.
   */
  arrived(connection: Connection): boolean {
    const { metrics, options, clock } = this.#context;
    const { address } = connection.transport;
    const spender = this.spenders.of("strangers", networkOf(address));
    this.spenders.move(connection, spender);
    if (spender.refusal !== undefined) {
      // Where it is large CONNECTs that take the memory, others may come from there.
      connection.framer.packetBytesMax = refusedConnectBytesMax;
      const areMany = spender.bytes < spender.connections * refusedConnectBytesMax;
      if (areMany) this.#turnAway(connection, Reason.quotaExceeded, "memory");
    }
    if (options.maxConnectionsPerAddress > 0 && address !== "") {
      const key = networkOf(address);
      const count = (this.#byAddress.get(key) ?? 0) + 1;
      this.#byAddress.set(key, count);
      connection.countedAs = key;
      if (count > options.maxConnectionsPerAddress) this.#turnAway(connection, Reason.quotaExceeded, "address");
    }
    if (metrics.connections > options.maxConnections) this.#turnAway(connection, Reason.quotaExceeded, "connections");
    if (this.#connects?.takeIfThere(clock.now()) === false)
      this.#turnAway(connection, Reason.connectionRateExceeded, "connect_rate");
    if (this.#bans.isAddressBanned(address, clock.now())) this.#turnAway(connection, Reason.banned, "banned");
    const toldMax = spender.refusal === undefined ? refusedConnectionsMax : refusedForMemoryMax;
    return connection.refusal === undefined || this.#refused <= toldMax;
  }

  /** Forgets a connection that has ended. */
  left(connection: Connection): void {
    this.spenders.move(connection, undefined);
    if (connection.refusal !== undefined) this.#refused--;
    const { countedAs } = connection;
    if (countedAs === undefined) return;
    const count = this.#byAddress.get(countedAs)! - 1;
    if (count === 0) this.#byAddress.delete(countedAs);
    else this.#byAddress.set(countedAs, count);
  }

  /**
   * Authenticates a client after CONNECT. Calls `enter` if it may come in, perhaps before this returns. Throws
   * `ProtocolError` for an authentication method that is not offered.
   */
  login(connection: Connection, packet: ConnectPacket, clientId: string, enter: (login: Login) => void): void {
    const access = this.#access;
    if (connection.refusal !== undefined)
      return this.#connectionEnd.refuse(connection, connection.refusal, connection.spender?.refusal);
    // It was not yet when the handshake was over.
    if (connection.transport.isRevoked) return this.#connectionEnd.refuse(connection, Reason.notAuthorized, revoked);
    const admitted = (login: Login): void => {
      if (this.#hasMemoryFor(connection, login)) enter(login);
    };
    const method = packet.properties?.authenticationMethod;
    const { address } = connection.transport;
    if (this.#bans.lasting.holds({ address, username: packet.username, clientId }))
      return this.#refuseBanned(connection);
    if (method !== undefined) return this.#beginExchange(connection, packet, clientId, admitted);
    if (access === undefined || connection.transport.isTrusted === true)
      return admitted({ identity: nobody, permissions: undefined, proof: undefined });
    const { certificate } = connection.transport;
    if (this.#isBanned(connection, packet.username)) return;
    const applicant = {
      clientId,
      username: packet.username,
      password: packet.password,
      address,
      certificate: connection.transport.user ?? (certificate && this.#nameOf(certificate)),
    };
    access.authenticate(applicant, (verdict) => this.#decided(connection, verdict, applicant, admitted));
  }

  /** Handles AUTH. Throws `ProtocolError` if it has come out of turn, or with another method than CONNECT. */
  auth(connection: Connection, packet: IAuthPacket): void {
    const { exchange, channel } = connection;
    const { properties, reasonCode = Auth.success } = packet;
    const data = properties?.authenticationData ?? Buffer.alloc(0);
    const method = connection.authenticationMethod;
    // [MQTT-4.12.0-5], [MQTT-4.12.0-7]
    if (method === undefined || properties?.authenticationMethod !== method)
      throw new ProtocolError(
        Reason.protocolError,
        "AUTH without, or of another, authentication method than CONNECT's",
      );
    if (reasonCode === Auth.reauthenticate && channel.phase === "open" && exchange === undefined)
      return this.#reauthenticate(connection, data);
    if (reasonCode !== Auth.continue || exchange === undefined)
      throw new ProtocolError(Reason.protocolError, "AUTH out of its turn");
    connection.exchange = undefined;
    const step = exchange.scram.final(data);
    if (step.kind !== "done") return exchange.refused(step.kind === "refused" ? step.why : "it does not end");
    exchange.done(step.username, step.data);
  }

  /**
   * Applies changed users and rules. From now on no permission of before counts: a client's are worked out when they
   * are asked for next. Clients whose user is gone are disconnected, which may take several turns.
   */
  reloaded(): void {
    const { localSessions, router, slices } = this.#context;
    const access = this.#access;
    const renew = ({ identity, session }: KeptSession): Permissions | undefined =>
      access?.permissionsOf(identity!, session.clientId);
    for (const client of localSessions.values()) {
      const isTrusted = client.connection?.transport.isTrusted === true;
      if (client.identity === undefined || access === undefined || isTrusted) continue;
      client.renewPermissions(renew);
      if (client.connection !== undefined) client.connection.allowed = undefined;
    }
    router.touch();
    this.#reloads++;
    slices.run(this.#endOthers(this.#reloads));
  }

  /** Disconnects clients that may not be here any more. Ends early if users or rules have changed once more. */
  *#endOthers(reloads: number): Work {
    for (const client of [...this.#context.localSessions.values()]) {
      const { identity, connection } = client;
      if (connection?.transport.isTrusted === true) continue;
      if (connection !== undefined) this.#endIfBanned(connection, client);
      const why = connection?.transport.isRevoked ? revoked : identity && this.#access?.whyNotKnown(identity);
      if (connection !== undefined && why !== undefined)
        this.#connectionEnd.disconnect(connection, Reason.notAuthorized, why);
      // Worked out now, so that not all are when a message goes to all.
      else void client.permissions;
      yield;
      if (this.#reloads !== reloads) return;
    }
  }

  /** Disconnects a client that is on the operator's list by now. */
  #endIfBanned(connection: Connection, { identity, session }: LocalSession): void {
    const { address } = connection.transport;
    if (!this.#bans.lasting.holds({ address, username: identity?.username, clientId: session.clientId })) return;
    this.#connectionEnd.disconnect(connection, Reason.administrativeAction, "it is banned");
  }

  /**
   * Has a client disconnected when its login expires: its token, or the certificate that it has shown; at once if that
   * was revoked while the login was checked.
   */
  watch(connection: Connection, { expiresAt }: Identity): void {
    const { certificate, isRevoked } = connection.transport;
    const certificateUntil = isRevoked ? 0 : (certificate?.expiresAt ?? Infinity);
    const until = Math.min(expiresAt, certificateUntil);
    if (until === Infinity) return;
    const { timers, clock } = this.#context;
    const what = until === certificateUntil ? "certificate" : "token";
    const why = isRevoked ? revoked : `its ${what} has expired`;
    connection.loginTimer = new Timer(() => this.#connectionEnd.disconnect(connection, Reason.notAuthorized, why));
    timers.set(connection.loginTimer, clock.now() + Math.max(0, until - clock.wall()));
  }

  #turnAway(connection: Connection, reason: number, why: keyof ClusterContext["metrics"]["turnedAway"]): void {
    if (connection.refusal !== undefined) return;
    connection.refusal = reason;
    connection.framer.packetBytesMax = refusedConnectBytesMax;
    this.#refused++;
    this.#context.metrics.turnedAway[why]++;
  }

  /** Counts a client for its user from now on; refuses it if he may not take more memory. */
  #hasMemoryFor(connection: Connection, login: Login): boolean {
    const { spenders } = this;
    const user = userOf(login);
    const isNobody = user === "";
    const spender = isNobody
      ? spenders.of("anonymous", networkOf(connection.transport.address))
      : spenders.of("user", user);
    spenders.move(connection, spender);
    const why = spender.refusal ?? spenders.newcomersRefusal;
    if (why !== undefined) this.#connectionEnd.turnAway(connection, "memory", why);
    return why === undefined;
  }

  /** Returns the user name that a certificate gives; "": none. */
  #nameOf({ commonName, alternativeNames }: Certificate): string | undefined {
    const { tlsIdentity } = this.#context.options;
    if (tlsIdentity === "none") return undefined;
    if (tlsIdentity === "cn") return commonName ?? "";
    const kind = tlsIdentity === "san" ? "dns" : tlsIdentity.slice("san-".length);
    return alternativeNames.find((one) => one.kind === kind)?.name ?? "";
  }

  /** Refuses a login that is banned now, which its connection may not have been when it was opened. */
  #isBanned(connection: Connection, username: string | undefined): boolean {
    const { address } = connection.transport;
    if (!this.#bans.isBanned({ address, username }, this.#context.clock.now())) return false;
    this.#refuseBanned(connection);
    return true;
  }

  #refuseBanned(connection: Connection): void {
    this.#context.metrics.turnedAway.banned++;
    this.#connectionEnd.refuse(connection, Reason.banned);
  }

  #decided(connection: Connection, verdict: Verdict, named: Named, admitted: (login: Login) => void): void {
    const { clientId, username } = named;
    if (connection.channel.phase !== "connecting") return;
    if (verdict.kind === "busy") return this.#connectionEnd.refuse(connection, Reason.serverBusy);
    // Others may have failed while this one was checked: whether it was right must not be told any more.
    if (this.#isBanned(connection, username)) return;
    if (verdict.kind !== "welcome") return this.#refuse(connection, verdict.why, named);
    const { identity } = verdict;
    // A certificate or a token may name somebody whom the client has not named.
    if (this.#isBanned(connection, identity.username)) return;
    this.#bans.succeeded({ address: connection.transport.address, username: identity.username });
    admitted({ identity, permissions: this.#access!.permissionsOf(identity, clientId), proof: undefined });
  }

  #refuse(connection: Connection, why: string, named: Named): void {
    this.#failed(connection, why, named);
    this.#connectionEnd.refuse(connection, Reason.notAuthorized, { untold: why });
  }

  #failed(connection: Connection, why: string, { clientId, username }: Named): void {
    const { metrics, clock, log, options } = this.#context;
    const { remote, address } = connection.transport;
    metrics.loginsFailed++;
    const stands = this.#lines.take("login", clock.now(), networkOf(address));
    if (stands > 0)
      log.info({ remote, client: clientId.slice(0, logTextMax) }, standingFor(`login refused: ${why}`, stands));
    for (const kind of this.#bans.failed({ address, username }, clock.now())) {
      const whom = kind === "address" ? { address } : { user: username?.slice(0, logTextMax) };
      log.warn(whom, `banned for ${options.banTime} s after ${options.banAfter} failed logins`);
    }
  }

  #beginExchange(
    connection: Connection,
    packet: ConnectPacket,
    clientId: string,
    admitted: (login: Login) => void,
  ): void {
    const { random } = this.#context;
    const { authenticationMethod: method, authenticationData: data } = packet.properties!;
    const scram = method === scramMethod ? this.#access?.scram(random.hex(18)) : undefined;
    if (scram === undefined)
      throw new ProtocolError(Reason.badAuthenticationMethod, `authentication by ${method} is not offered here`);
    connection.authenticationMethod = method;
    const step = scram.first(data ?? Buffer.alloc(0));
    const named = { clientId, username: scram.username };
    if (step.kind !== "continue") return this.#refuse(connection, step.kind === "refused" ? step.why : "", named);
    if (this.#isBanned(connection, scram.username)) return;
    connection.channel.authenticating();
    connection.exchange = {
      scram,
      refused: (why) => this.#refuse(connection, why, named),
      done: (username, last) => {
        if (this.#isBanned(connection, username)) return;
        connection.channel.connecting();
        this.#bans.succeeded({ address: connection.transport.address, username });
        const identity = this.#access!.identityOf(username);
        const permissions = this.#access!.permissionsOf(identity, clientId);
        admitted({ identity, permissions, proof: { authenticationMethod: scramMethod, authenticationData: last } });
      },
    };
    this.#sendAuth(connection, Auth.continue, step.data);
  }

  /** Begins a re-authentication of a connected client (4.12.1), while everything else goes on. */
  #reauthenticate(connection: Connection, data: Uint8Array): void {
    const { random, clock } = this.#context;
    const client = connection.client!;
    const { clientId } = client.session;
    const { address } = connection.transport;
    const refused = (why: string): void => {
      this.#failed(connection, why, { clientId, username: scram?.username });
      this.#connectionEnd.disconnect(connection, Reason.notAuthorized, why);
    };
    const scram = this.#access?.scram(random.hex(18));
    const step = scram?.first(data);
    if (this.#bans.isBanned({ address, username: scram?.username }, clock.now()))
      return this.#connectionEnd.disconnect(connection, Reason.banned, "too many logins have failed");
    if (scram === undefined || step?.kind !== "continue") return refused("no beginning of an exchange");
    connection.exchange = {
      scram,
      refused,
      done: (username, last) => {
        if (username !== client.identity?.username) return refused("it is another user now");
        this.#sendAuth(connection, Auth.success, last);
      },
    };
    this.#sendAuth(connection, Auth.continue, step.data);
  }

  /** Sends AUTH. Throws `ProtocolError` if it would be larger than the client takes. */
  #sendAuth(connection: Connection, reasonCode: number, authenticationData: Buffer): void {
    const properties = { authenticationMethod: scramMethod, authenticationData };
    const bytes = encodeControl({ cmd: "auth", reasonCode, properties } as IAuthPacket, 5);
    // [MQTT-3.1.2-24]
    if (bytes.length > connection.channel.packetBytesMax)
      throw new ProtocolError(Reason.packetTooLarge, "AUTH is larger than the Maximum Packet Size");
    connection.send(bytes);
  }
}
