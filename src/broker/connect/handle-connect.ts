/**
 * The handler of CONNECT: from the login and its limits to the session; CONNACK is sent once the store knows it, too.
 */
import { ProtocolError } from "../../base/errors.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Frame } from "../../mqtt/control.ts";
import { Reason } from "../../mqtt/reason.ts";
import { Session } from "../../session/session.ts";
import { connectRefusal } from "../core/full-disk.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import { LocalSession } from "../delivery/local-session.ts";
import type { StoreBackPressure } from "../delivery/store-back-pressure.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import { abandon } from "./abandoned-connect.ts";
import type { Admission } from "./admission.ts";
import { encodeConnack } from "./connack.ts";
import type { ConnectParts } from "./connect-parts.ts";
import { payForConnect } from "./connect-payment.ts";
import { decodeConnectOf, needsStore, openOn, readConnectRequest } from "./connect-request.ts";
import type { ConnectionEnd, TurnedAway } from "./connection-end.ts";
import type { EndedSessions } from "./ended-sessions.ts";
import { ForbiddenWills } from "./forbidden-wills.ts";
import {
  type AuthenticatedRequest,
  type GrantedRequest,
  type Obtaining,
  type Opening,
  type PaidRequest,
  type Pending,
  startsAnew,
  tellConnected,
} from "./granted-request.ts";
import { watchKeepAlive } from "./keep-alive-watch.ts";
import type { OrphanedWills } from "./orphaned-wills.ts";
import { anothersWords, mayTake, userOf, whyNoClientId } from "./session-owner.ts";
import type { SessionStore } from "./session-store.ts";
import { SilentWills } from "./silent-wills.ts";
import type { TakeOver } from "./take-over.ts";
import type { Wills } from "./wills.ts";

/** How often a session's record is read again when another broker has changed it meanwhile. */
const obtainTriesMax = 5;

/**
 * Handles CONNECT. A connection waits in turn for the login, the store, the other brokers, and the session's record.
 */
export class ConnectHandler {
  readonly #context: ClusterContext;
  readonly #connectionEnd: ConnectionEnd;
  readonly #sessionStore: SessionStore;
  readonly #admission: Admission;
  readonly #wills: Wills;
  readonly #orphanedWills: OrphanedWills;
  readonly #registry: SessionRegistry;
  readonly #directory: SubscriptionDirectory;
  readonly #drops: MailDrops;
  readonly #storeBackPressure: StoreBackPressure;
  readonly #takeOver: TakeOver;
  readonly #endedSessions: EndedSessions;
  readonly #forbiddenWills: ForbiddenWills;
  readonly #silentWills: SilentWills;
  readonly #resume: (connection: Connection, reason: number) => void;
  /** Connections whose CONNACK waits for other brokers or for the store, by client id. */
  readonly #pending = new Map<string, Pending>();
  /** Connections that have been granted their client id and wait for the store, with the calls that wait for them. */
  readonly #obtaining = new Map<string, { readonly connection: Connection; readonly waiting: (() => void)[] }>();

  constructor(context: ClusterContext, parts: ConnectParts) {
    this.#context = context;
    this.#connectionEnd = parts.connectionEnd;
    this.#sessionStore = parts.sessionStore;
    this.#admission = parts.admission;
    this.#wills = parts.wills;
    this.#orphanedWills = parts.orphanedWills;
    this.#takeOver = parts.takeOver;
    this.#endedSessions = parts.endedSessions;
    this.#forbiddenWills = new ForbiddenWills(context);
    this.#silentWills = new SilentWills(context);
    this.#registry = parts.registry;
    this.#directory = parts.directory;
    this.#drops = parts.drops;
    this.#storeBackPressure = parts.storeBackPressure;
    this.#resume = parts.resume;
  }

  /** Handles CONNECT. Throws `ProtocolError`, which `ConnectionEnd.fail` answers as the client's version allows. */
  receive(connection: Connection, frame: Frame): void {
    this.#context.metrics.connectsReceived++;
    const connect = decodeConnectOf(connection, frame);
    const { channel } = connection;
    channel.version = connect.facts.version;
    channel.bridge = connect.facts.bridge;
    connection.mayAnswerConnect = true;
    const { options, random } = this.#context;
    const request = readConnectRequest(connect, frame, { options, random });
    const { packet, clientId } = request;
    channel.connecting();
    channel.packetBytesMax = packet.properties?.maximumPacketSize ?? Infinity;
    channel.wantsReasons = packet.properties?.requestProblemInformation !== false;
    connection.clientId = clientId;
    this.#admission.login(connection, packet, clientId, (login) => this.#enter(connection, { ...request, login }));
    this.#holdUntilAnswered(connection);
  }

  /** Has what follows CONNECT wait until that is answered. A client that goes meanwhile is not let in any more. */
  #holdUntilAnswered(connection: Connection): void {
    if (connection.channel.phase === "connecting") connection.holdListening(PauseReason.connecting);
  }

  /** Goes on after the login: a CONNECT that needs the store waits until the store has caught up. */
  #enter(connection: Connection, request: AuthenticatedRequest): void {
    if (!needsStore(request)) this.#claimClientId(connection, request);
    else this.#storeBackPressure.pass(connection, () => this.#claimClientId(connection, request));
    this.#holdUntilAnswered(connection);
  }

  /** Checks what can be refused without other brokers, then claims the client id. */
  #claimClientId(connection: Connection, request: AuthenticatedRequest): void {
    const { channel } = connection;
    if (channel.phase !== "connecting") return;
    try {
      // [MQTT-3.1.2-24]: a client that could not be sent its CONNACK is not let in.
      if (encodeConnack(request, { sessionPresent: false }, this.#context.options).length > channel.packetBytesMax)
        throw new ProtocolError(Reason.packetTooLarge, "CONNACK is larger than the Maximum Packet Size");
      const why = request.assigned
        ? undefined
        : whyNoClientId(request.clientId, userOf(request.login), this.#context.options.clientIdPrefix);
      if (why !== undefined) return this.#connectionEnd.turnAway(connection, "client_id", why);
      this.#claim(connection, this.#forbiddenWills.leftOut(connection, request));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#connectionEnd.fail(connection, error);
    }
  }

  /** Calls back when no connection of a client id waits for the store. */
  whenConnected(clientId: string, go: () => void): void {
    const obtaining = this.#obtaining.get(clientId);
    if (obtaining === undefined) go();
    else obtaining.waiting.push(go);
  }

  /** Returns true while a connection that was granted this client id waits for the store: its session is taken. */
  isObtaining(clientId: string): boolean {
    return this.#obtaining.has(clientId);
  }

  /** Makes a client id this connection's alone, here and in the cluster. */
  #claim(connection: Connection, request: AuthenticatedRequest): void {
    const { localSessions, self } = this.#context;
    const { clientId } = request;
    if (self.isDraining) return this.#connectionEnd.refuse(connection, Reason.useAnotherServer);
    if (self.isFenced && needsStore(request)) return this.#connectionEnd.turnAway(connection, "fenced", fencedWords);
    const rival = this.#pending.get(clientId);
    const before = localSessions.get(clientId);
    const user = userOf(request.login);
    for (const other of [rival, before])
      if (other !== undefined && !mayTake(user, other))
        return this.#connectionEnd.turnAway(connection, "client_id", anothersWords);
    if (rival !== undefined) this.#connectionEnd.refuse(rival.connection, Reason.serverBusy);
    this.#pending.set(clientId, { connection, user });
    // [MQTT-3.1.4-3]
    if (before?.connection !== undefined) {
      this.#connectionEnd.disconnect(
        before.connection,
        Reason.sessionTakenOver,
        "another connection has the same client id",
      );
    }
    if (before?.isWillStored && startsAnew(before, request)) this.#wills.publishNow(before);
    const { fences } = self;
    const claimed = { clientId, clean: request.packet.clean === true, persistent: request.expiryInterval > 0, user };
    this.#takeOver.claim(claimed, (outcome, grant) => {
      if (connection.channel.phase !== "connecting") return this.#forgetPending(connection, clientId);
      if (outcome !== "granted") {
        this.#forgetPending(connection, clientId);
        if (outcome === "anothers") return this.#connectionEnd.turnAway(connection, "client_id", anothersWords);
        return this.#connectionEnd.refuse(connection, Reason.serverBusy);
      }
      this.#obtaining.set(clientId, { connection, waiting: this.#obtaining.get(clientId)?.waiting ?? [] });
      const obtain = (): void => this.#obtain(connection, { ...request, ...grant, fences }, obtainTriesMax);
      // A will of the client's earlier connection must not be published after this one is let in.
      this.#wills.whenPublished(clientId, obtain);
    });
  }

  /** Finds the client's session, here or in the store, or begins a new one. */
  #obtain(connection: Connection, request: GrantedRequest, tries: number): void {
    const { localSessions, coordinator, self } = this.#context;
    const { clientId } = request;
    const old = localSessions.get(clientId);
    if (old?.isEnding) return this.#sessionStore.whenErased(clientId, () => this.#obtain(connection, request, tries));
    const begin = (successor: LocalSession | undefined): void =>
      this.#pay(connection, request, { client: undefined, successor, tries });
    const use = (found: LocalSession | undefined): void => {
      if (found === undefined) return begin(undefined);
      const isNobodys = found.record === undefined && found !== localSessions.get(clientId);
      if (isNobodys || startsAnew(found, request)) return this.#replace(found, request, begin);
      this.#pay(connection, request, { client: found, successor: undefined, tries });
    };
    const useIfAllowed = (found: LocalSession | undefined): void => {
      // It has gone while it waited: the session may be a later connection's by now.
      if (connection.channel.phase !== "connecting") return this.#finishObtaining(connection, clientId);
      if (found !== undefined && !mayTake(userOf(request.login), found))
        return this.#turnAway(connection, clientId, "client_id", anothersWords);
      const refusal = connectRefusal(coordinator, { ...request, isStored: found?.mailbox !== undefined });
      if (refusal === undefined) return use(found);
      this.#turnAway(connection, clientId, "disk", refusal);
    };
    if (old !== undefined) return useIfAllowed(old);
    this.#sessionStore.whenErased(clientId, () => {
      // A broker that has not granted the client id may keep a session that is over now [MQTT-3.1.2-4]. Without a
      // lease the client is not let in.
      const mayBeStored = request.expiryInterval > 0 || (request.silent().length > 0 && !self.isFenced);
      // The session may have been adopted while it was read.
      if (!this.#takeOver.mustReadStore(mayBeStored)) useIfAllowed(undefined);
      else this.#takeOver.read(clientId, (found) => useIfAllowed(localSessions.get(clientId) ?? found));
    });
  }

  /** Ends a session whose client begins anew. `begin` is handed the session that takes its place in the store. */
  #replace(found: LocalSession, request: GrantedRequest, begin: (successor: LocalSession | undefined) => void): void {
    const successor = request.expiryInterval > 0 ? this.#create(request) : undefined;
    this.#directory.adopt(found);
    this.#sessionStore.erase(found, () => begin(successor), { successor });
  }

  /** Has what the store is to keep paid for, and then recorded. */
  #pay(connection: Connection, request: GrantedRequest, obtaining: Obtaining): void {
    const { client, successor, tries } = obtaining;
    const charged = { request, user: userOf(request.login), found: client };
    payForConnect(this.#context, charged, {
      isAwaited: () => connection.channel.phase === "connecting",
      done: (payment) => {
        const isFound = client === undefined || !(client.isOver || client.isReleased || client.isEnding);
        if (isFound) return this.#record(connection, { ...request, payment }, obtaining);
        // The session has ended, or is another broker's, since the bank was asked.
        payment.withdraw();
        this.#obtain(connection, request, tries - 1);
      },
      refused: (why) => {
        if (successor !== undefined) this.#sessionStore.erase(successor, () => {});
        this.#turnAway(connection, request.clientId, "bank", why);
      },
    });
  }

  /** Commits that the session is this broker's, before the client is let in. */
  #record(connection: Connection, request: PaidRequest, { client: found, successor, tries }: Obtaining): void {
    const { journal, localSessions, self } = this.#context;
    const { clientId, payment } = request;
    if (connection.channel.phase !== "connecting") {
      payment.withdraw();
      if (successor !== undefined) this.#sessionStore.erase(successor, () => {});
      return this.#finishObtaining(connection, clientId);
    }
    // An earlier will, and what a broker holds that has not granted the client id, are to be removed before the client
    // is let in. Without a lease nobody would tell this broker that the client has gone there in the meantime.
    const isHeld = this.#wills.mayRemain(clientId) || request.silent().length > 0;
    const isStale = (): boolean => self.isFenced || self.fences !== request.fences;
    if (isStale() && (needsStore(request) || isHeld)) {
      payment.withdraw();
      return this.#turnAway(connection, clientId, "fenced", fencedWords);
    }
    const client = found ?? successor ?? this.#create(request);
    if (found === undefined) this.#endedSessions.begin(client);
    const isAwaited = (): boolean => connection.channel.phase === "connecting" && !isStale();
    const operations = this.#prepare(client, request, isAwaited);
    const isRead = found !== undefined && localSessions.get(clientId) !== found;
    const enter = (): void => {
      // An earlier write was refused meanwhile, so the session was given up: what the store says now counts.
      if (client.isReleased && tries > 1) return this.#obtain(connection, request, tries - 1);
      // The lease has ended meanwhile: the broker that adopts sessions next, be it this one, finds this one, too.
      const isBound = client.mailbox !== undefined || client.will !== undefined || operations.length > 0;
      if (isStale() && isBound) {
        this.#wills.abandon(client);
        this.#connectionEnd.turnAway(connection, "fenced", fencedWords);
        if (localSessions.get(clientId) === client) this.#context.evict(client);
        return this.#finishObtaining(connection, clientId);
      }
      if (isRead) this.#directory.adopt(found);
      this.#open(connection, client, { request, sessionPresent: found !== undefined });
      this.#finishObtaining(connection, clientId);
    };
    const letIn = isRead ? (): void => this.#takeOver.readIncoming(found, enter) : enter;
    // Of persistent sessions the last broker that has written the record has them.
    const silent = client.mailbox === undefined ? request.silent() : [];
    const open = (): void =>
      this.#silentWills.settle({ clientId, stamp: request.stamp, silent, isAwaited }, letIn, () => {
        this.#wills.forget(client);
        this.#refuse(connection, clientId);
      });
    if (operations.length === 0) return open();
    const committed = (_: readonly number[], zxid: number): void => {
      connection.connectZxid = zxid;
      open();
    };
    journal.commit(operations, committed, () => {
      // Another broker was faster: the session is read again, as that one has left it.
      this.#context.evict(client);
      this.#wills.withdrawn(client);
      if (tries > 1 && connection.channel.phase === "connecting") return this.#obtain(connection, request, tries - 1);
      this.#refuse(connection, clientId);
    });
  }

  #refuse(connection: Connection, clientId: string): void {
    if (connection.channel.phase === "connecting") this.#connectionEnd.refuse(connection, Reason.serverBusy);
    this.#finishObtaining(connection, clientId);
  }

  /** Refuses a CONNECT that has been granted its client id. */
  #turnAway(connection: Connection, clientId: string, ...why: [TurnedAway, string]): void {
    this.#connectionEnd.turnAway(connection, ...why);
    this.#finishObtaining(connection, clientId);
  }

  #finishObtaining(connection: Connection, clientId: string): void {
    this.#forgetPending(connection, clientId);
    const obtaining = this.#obtaining.get(clientId);
    if (obtaining?.connection !== connection) return;
    this.#obtaining.delete(clientId);
    for (const go of obtaining.waiting) go();
  }

  #create(request: AuthenticatedRequest): LocalSession {
    return new LocalSession(this.#context, new Session(request.clientId, request.version, request.expiryInterval));
  }

  /**
   * Updates the session in memory. Returns the operations that record it and its will. `isAwaited`: the client still
   * waits.
   */
  #prepare(client: LocalSession, request: PaidRequest, isAwaited: () => boolean): JournalOperation[] {
    const { options } = this.#context;
    const { session } = client;
    session.version = request.version;
    session.expiryInterval = request.expiryInterval;
    client.belongTo(userOf(request.login), request.stamp);
    client.stopExpiry();
    const { clientId, payment } = request;
    const silent = client.mailbox === undefined ? [] : request.silent();
    if (payment.session !== undefined) client.payBy(payment.session.paid, payment.session.willBytes);
    const earlier = this.#orphanedWills.cameBack(clientId, { by: options.id, silent, isCurrent: isAwaited });
    const operations = [...earlier, ...this.#wills.set(client, payment.will, isAwaited)];
    if (client.mailbox !== undefined)
      operations.unshift(this.#sessionStore.record(client, "connected", payment.session?.bill));
    return [...operations, ...payment.checks];
  }

  /** Lets the client in: attaches the connection, sends CONNACK, and begins to send what waits. */
  #open(connection: Connection, client: LocalSession, { request, sessionPresent }: Opening): void {
    const { router, options } = this.#context;
    this.#forgetPending(connection, request.clientId);
    if (connection.channel.phase !== "connecting") return this.#abandon(client);
    this.#directory.begin(client);
    const receiveMaximum = openOn(connection, request, this.#context);
    connection.client = client;
    client.permit(request.login.identity, request.login.permissions);
    this.#admission.watch(connection, request.login.identity);
    client.attach(connection, receiveMaximum);
    if (client.session.subscriptions.size > 0) router.touch();
    if (sessionPresent) this.#endedSessions.told(request.clientId);
    const reason = this.#endedSessions.tell(connection, client);
    connection.send(encodeConnack(request, { sessionPresent, reason }, options));
    watchKeepAlive(connection, this.#context, this.#connectionEnd);
    tellConnected(client, this.#context);
    // The store is asked, not the count in memory: what it holds must be sent before anything newer.
    if (client.mailbox !== undefined) this.#registry.begin(client);
    if (!sessionPresent) this.#sessionStore.emptyOldMailbox(client);
    else {
      client.mailbox?.load();
      this.#drops.resume(client);
    }
    client.pump();
    this.#resume(connection, PauseReason.connecting);
  }

  #forgetPending(connection: Connection, clientId: string): void {
    if (this.#pending.get(clientId)?.connection === connection) this.#pending.delete(clientId);
  }

  #abandon(client: LocalSession): void {
    abandon(client, this.#context, {
      ...{ wills: this.#wills, directory: this.#directory, sessionStore: this.#sessionStore },
      isRivalled: this.#pending.has(client.session.clientId),
      whenConnected: (clientId, go) => this.whenConnected(clientId, go),
    });
  }
}

const fencedWords = "no contact with ZooKeeper: persistent sessions and wills are not served";
