/**
 * The handler of PUBLISH at QoS 1 and 2, and of retained messages. Their ack is sent when the publish is settled, never
 * before (`src/README.md`, "The life of a packet").
 */
import { describeRule } from "../../access/permissions.ts";
import { noBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import { linkRunBytesMax, owedAcksMax, owedBytesMax } from "../../base/limits.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { Settlement } from "../../mail/settlement.ts";
import { fence } from "../../mail/slips.ts";
import { isInTheWay } from "../../mail/unit.ts";
import { PacketType, type QoS } from "../../mqtt/constants.ts";
import { Publish, topicOf } from "../../mqtt/publish.ts";
import { describeReason, Reason } from "../../mqtt/reason.ts";
import type { Channel } from "../../session/channel.ts";
import type { AckOutcome } from "../../session/owed-acks.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { StoreBackPressure } from "../delivery/store-back-pressure.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import type { NamedPublishes } from "../peers/named-publishes.ts";
import { placeInDrop } from "./drop-place.ts";
import type { Fanout } from "./fanout.ts";
import { forgettingOf, holdId } from "./held-ids.ts";
import { isOwnTopic } from "./own-topics.ts";
import { PublishAdmission } from "./publish-admission.ts";
import { OperatorPublisher } from "./publish-by-operator.ts";
import { PublishRefusal } from "./publish-refusal.ts";
import { WillPublisher } from "./publish-will.ts";
import { Refusals } from "./refusals.ts";
import { RepeatedPublishes, type RepeatingParts } from "./repeated-publishes.ts";
import type { RetainedStore } from "./retained-store.ts";
import { settling } from "./routing-words.ts";
import { emptyRun, type Run } from "./run.ts";
import type { SharedSubscriptions } from "./shared-subscription.ts";

/** Handles PUBLISH and PUBREL of clients. */
export class PublishHandler {
  readonly #context: ClusterContext;
  readonly #fanout: Fanout;
  readonly #retainedStore: RetainedStore;
  readonly #resume: (connection: Connection, reason: number) => void;
  readonly #refusals: Refusals;
  readonly #admission: PublishAdmission;
  readonly #refusal: PublishRefusal;
  /** Publishes wills, by the same rules. */
  readonly wills: WillPublisher;
  /** Publishes what the operator says, by the same rules. */
  readonly ofOperator: OperatorPublisher;
  readonly #storeBackPressure: StoreBackPressure;
  /**
   * Packet ids that the store is about to forget, with the connection that waits for PUBCOMP: who says PUBREL again
   * meanwhile, after a reconnection or over UDP, must not be told sooner.
   */
  readonly #releases = new WeakMap<LocalSession, Map<number, Connection>>();
  readonly #named: NamedPublishes;
  readonly #repeated: RepeatedPublishes;
  readonly #bundle: Run = emptyRun();
  /** Packet ids of the packets in the bundle. */
  #bundleIds: number[] = [];

  constructor(
    context: ClusterContext,
    parts: RepeatingParts & {
      shared: SharedSubscriptions;
      retainedStore: RetainedStore;
      storeBackPressure: StoreBackPressure;
      resume: (connection: Connection, reason: number) => void;
    },
  ) {
    this.#context = context;
    this.#fanout = parts.fanout;
    this.#retainedStore = parts.retainedStore;
    this.#refusals = new Refusals(context);
    this.#admission = new PublishAdmission(context, parts);
    this.#refusal = new PublishRefusal(context, {
      refusals: this.#refusals,
      admission: this.#admission,
      answer: (connection, publish, outcome) => this.#answer(connection, publish, outcome),
      attempt: (connection, publish, route) => this.#attempt(connection, publish, route),
      isUnderWay: (route) => parts.fanout.isUnderWay(route),
      resume: parts.resume,
    });
    this.wills = new WillPublisher(context, { ...parts, admission: this.#admission, refusals: this.#refusals });
    this.#named = parts.named;
    this.#repeated = new RepeatedPublishes(context, parts);
    this.ofOperator = new OperatorPublisher(context, { ...parts, admission: this.#admission });
    this.#resume = parts.resume;
    this.#storeBackPressure = parts.storeBackPressure;
  }

  /**
   * Handles a client's publish at QoS 1 or 2, retained, or into a mail drop. Throws `ProtocolError` if the Receive
   * Maximum is exceeded.
   */
  receive(connection: Connection, publish: Publish, route: ClusterRoute): void {
    const { channel } = connection;
    const client = connection.client!;
    publish.payer = client.payer;
    if (publish.qos === 2 && client.session.hasIncoming(publish.packetId)) return this.#repeat(connection, publish);
    if (publish.qos > 0) this.#countOutstanding(channel);
    if (this.#isOfThisMoment(publish, route, client)) this.#passOn(connection, publish, route);
    else this.#attempt(connection, publish, route);
  }

  /** Returns true if nothing of a publish is stored, so that the bank has no say and nobody has to be waited for. */
  #isOfThisMoment(publish: Publish, route: ClusterRoute, { mailbox }: LocalSession): boolean {
    if (publish.qos === 0 || publish.retain || !this.#fanout.staysHere(route)) return false;
    // The packet ids that a persistent session has published at QoS 2 stand in the store.
    return (publish.qos === 1 || mailbox === undefined) && this.#context.mail.fits(publish);
  }

  #passOn(connection: Connection, publish: Publish, route: ClusterRoute): void {
    const { metrics } = this.#context;
    const receivers = route.targets.length;
    if (publish.qos === 2) connection.client!.session.addIncoming(publish.packetId);
    metrics.fanout.observe(receivers);
    this.#fanout.offerHere(publish, route);
    metrics.acking.live.observe(0);
    publish.trace?.settling()("live");
    this.#answer(connection, publish, receivers === 0 ? heardByNobody : heard);
  }

  /**
   * Refuses a publish that the client may not make, for the reason in `text`: it reaches nobody. Throws `ProtocolError`
   * as `receive` does.
   */
  forbid(connection: Connection, publish: Publish, text: string): void {
    const { metrics, refused } = this.#context;
    metrics.forbidden.publish++;
    const { clientId, transport, client } = connection;
    const { aclFile } = this.#context.options;
    const reason = (): string => {
      const topic = topicOf(publish);
      const decision = isOwnTopic(topic) ? undefined : client!.permissions?.decide(topic, "write");
      return `on ${topic}: ${text}${decision === undefined ? "" : `: ${describeRule(decision, aclFile)}`}`;
    };
    const whose = { clientId, remote: transport.remote, user: client!.user, topic: () => topicOf(publish) };
    refused.note({ kind: "publish", cause: "forbidden", reason, ...whose });
    if (publish.qos === 0) return;
    this.#countOutstanding(connection.channel);
    // Before MQTT 5 there is no such answer: the publish is acknowledged and dropped [MQTT-3.3.5-2 of 3.1.1].
    this.#answer(connection, publish, { reason: Reason.notAuthorized, text });
  }

  /**
   * Refuses a publish whose topic has more levels than clients may use: it reaches nobody. Before MQTT 5 there is no
   * such answer, so a client that waits for one is disconnected: throws `ProtocolError`.
   */
  refuseTopic(connection: Connection, publish: Publish): void {
    const { metrics, options } = this.#context;
    const text = `the topic has more than ${options.topicLevelsMax} levels, or is too long with them`;
    metrics.beyondLimit.levels++;
    this.#refusals.note("levels", text, connection.client!.session.clientId, () => topicOf(publish));
    if (publish.qos === 0) return;
    if (connection.channel.version < 5) throw new ProtocolError(Reason.topicNameInvalid, text);
    this.#countOutstanding(connection.channel);
    this.#answer(connection, publish, { reason: Reason.topicNameInvalid, text });
  }

  /**
   * Refuses a publish of a client that may not take more memory, for the reason in `text`: it reaches nobody. Before
   * MQTT 5 a client that waits for an answer is disconnected: throws `ProtocolError`, and so as `receive` does.
   */
  refuseMemory(connection: Connection, publish: Publish, text: string): void {
    const { session } = connection.client!;
    if (publish.qos === 2 && session.hasIncoming(publish.packetId)) return this.#repeat(connection, publish);
    this.#refusals.note("memory", text, session.clientId, () => topicOf(publish));
    if (publish.qos === 0) return;
    if (connection.channel.version < 5) throw new ProtocolError(Reason.quotaExceeded, text);
    this.#countOutstanding(connection.channel);
    this.#answer(connection, publish, { reason: Reason.quotaExceeded, text });
  }

  /**
   * Gathers QoS 1 packets on a route for which `Fanout.takesBundles` holds: receivers here are sent each at once, other
   * brokers all of them when `flush` is called. `start`: the packet's offset. Throws `ProtocolError` as `receive` does.
   */
  gather(connection: Connection, publish: Publish, route: ClusterRoute, start: number): void {
    const bundle = this.#bundle;
    const { payloadBytes: bytes, payloadEnd: end } = publish;
    const follows = bundle.route === route && bundle.bytes === bytes && bundle.end === start;
    if (bundle.count > 0 && (!follows || end - bundle.start > linkRunBytesMax)) this.flush(connection);
    this.#countOutstanding(connection.channel);
    if (bundle.count === 0) {
      Object.assign(bundle, { route, bytes, start, version5: publish.hasSection });
      this.#bundleIds = [];
    }
    bundle.end = end;
    bundle.count++;
    this.#bundleIds.push(publish.packetId);
    this.#fanout.offerHere(publish, route);
  }

  /** Sends the gathered packets of a connection's chunk to other brokers. */
  flush(connection: Connection): void {
    const bundle = this.#bundle;
    if (bundle.count === 0) return;
    const { channel, writer } = connection;
    const ids = this.#bundleIds;
    // No receiver can have it stored, so the message itself is not needed any more.
    const settlement = new Settlement(noMessage, this.#context.mail.nextOrder());
    settlement.waitFor();
    this.#fanout.bundle(bundle, settlement, connection);
    const settle = channel.owe(writer, PacketType.puback, ids, bundle.end - bundle.start);
    this.#holdIfOwed(connection);
    const { clock, metrics } = this.#context;
    const owedAt = clock.now();
    settlement.whenSettled(() => {
      metrics.acking.live.observe(clock.now() - owedAt, ids.length);
      channel.outstanding -= ids.length;
      settle({ reason: Reason.success });
      this.#resumeIfPaid(connection);
    });
    bundle.count = 0;
    bundle.bytes = noBytes;
    settlement.done();
  }

  /** Handles PUBREL: sends PUBCOMP once the store has forgotten the packet id. */
  release(connection: Connection, packetId: number): void {
    const { channel } = connection;
    const client = connection.client!;
    const { session } = client;
    const pubcomp = (reason: number): void =>
      channel.ackNow(connection.writer, PacketType.pubcomp, packetId, { reason });
    // Most sessions are in no store, and their ids are forgotten at once.
    const before = client.mailbox === undefined ? undefined : this.#releases.get(client);
    if (before?.has(packetId)) return void before.set(packetId, connection);
    if (!session.removeIncoming(packetId)) return pubcomp(Reason.packetIdentifierNotFound);
    channel.outstanding = Math.max(0, channel.outstanding - 1);
    if (client.mailbox === undefined) return pubcomp(Reason.success);
    // After PUBCOMP the client may use the id for another message, so the store must have forgotten it by then.
    const remove = forgettingOf(client, packetId);
    const releases = before ?? new Map<number, Connection>();
    releases.set(packetId, connection);
    if (before === undefined) this.#releases.set(client, releases);
    const done = (): void => {
      const asked = releases.get(packetId)!;
      releases.delete(packetId);
      if (releases.size === 0) this.#releases.delete(client);
      if (asked.channel.phase !== "open") return;
      asked.channel.ackNow(asked.writer, PacketType.pubcomp, packetId, { reason: Reason.success });
    };
    this.#context.journal.commit([fence(client.fencingToken), remove], done, () => this.#context.evict(client));
  }

  /** Answers a QoS 2 message that is sent again, without delivering it twice [MQTT-4.3.3-10]. */
  #repeat(connection: Connection, publish: Publish): void {
    const { packetId } = publish;
    const client = connection.client!;
    const isUnsettled = client.isUnsettled(packetId);
    const isFound = client.session.takeFound(packetId) && !this.#context.coordinator.isAlone;
    if (!isUnsettled && !isFound) {
      return connection.channel.ackNow(connection.writer, PacketType.pubrec, packetId, { reason: Reason.success });
    }
    client.answerWhenSettled(packetId, connection.channel.owe(connection.writer, PacketType.pubrec, [packetId], 0));
    if (isUnsettled) return;
    const done = (): void => client.settled(packetId, { reason: Reason.success });
    this.#repeated.send(connection, { publish: publish.kept(), packetId }, done);
  }

  #attempt(connection: Connection, publish: Publish, route: ClusterRoute): void {
    if (!this.#context.mail.fits(publish)) return this.#refusal.refuseLarge(connection, publish);
    const client = connection.client!;
    const admission = this.#admission.admit(publish, route, client);
    if ("why" in admission) return this.#refusal.refuse(connection, publish, admission, route);
    const { payment, retainedPayment, idPayment } = admission;
    const inDrop = placeInDrop(this.#context, publish, { route, publisher: client, payment });
    const operations: JournalOperation[] = [];
    if (route.isMailDrop) operations.push(...inDrop.operations);
    if (publish.retain) {
      // A publish of a persistent session is refused once the session is another broker's; see `guard`.
      const isAwaited = (): boolean => client.mailbox !== undefined || connection.channel.phase !== "closed";
      const retaining = { payment: retainedPayment, isAwaited, clientId: client.session.clientId };
      operations.push(...this.#retainedStore.retain(publish, route.topic, retaining));
    }
    const isHeld = publish.qos === 2 && client.mailbox !== undefined;
    const by = isHeld ? this.#named.next() : undefined;
    if (publish.qos === 2) operations.push(...holdId(this.#context, client, { publish, payment: idPayment, by }));
    // A broker that was suspended must not bring back what its client has long published elsewhere: all of it, or some
    // of it would be overtaken.
    const keeps = { isRevoked: () => client.isReleased, revoke: () => this.#context.evict(client) };
    const guard = client.mailbox === undefined ? undefined : { check: fence(client.fencingToken), ...keeps };
    const { qos, packetId } = publish;
    let answer: (outcome: AckOutcome) => void = () => {};
    const refused = (error: CoordinatorError): void => {
      inDrop.withdrawn();
      if (!isInTheWay(error.code)) return this.#context.evict(client);
      this.#obstructed(connection, { qos, packetId, answer });
      // It is answered once, however many commits it comes to.
      answer = () => {};
    };
    const how = { operations, connection, guard, by, refused, payment };
    const delivery = this.#fanout.deliver(publish, route, client, how);
    const { settlement } = delivery;
    // A message to sessions that end with their connections alone asks nothing of a store that is behind.
    if (settlement !== undefined || operations.length > 0) this.#storeBackPressure.hold(connection);
    if (publish.qos === 0) return;
    const isKept = publish.retain || route.isMailDrop;
    // Very many receivers are found over several turns: how many there are is known when all are taken care of.
    const outcome = (): AckOutcome => {
      const isForNobody = delivery.receivers === 0 && !isKept;
      return { reason: isForNobody ? Reason.noMatchingSubscribers : Reason.success };
    };
    const { clock, metrics } = this.#context;
    if (settlement === undefined || settlement.isSettled) {
      metrics.acking.live.observe(0);
      publish.trace?.settling()("live");
      return this.#answer(connection, publish, outcome());
    }
    const owedAt = clock.now();
    const settled = publish.trace?.settling();
    this.#oweAnswer(connection, publish, (settle) => {
      answer = settle;
      settlement.whenSettled(() => {
        metrics.acking[settlement.path].observe(clock.now() - owedAt);
        settled?.(settlement.path);
        settle(outcome());
      });
    });
  }

  /** Answers a publish that a stranger's znode keeps from being stored; before MQTT 5 the connection is closed. */
  #obstructed(
    { channel, client, transport }: Connection,
    { qos, packetId, answer }: { qos: QoS; packetId: number; answer: (outcome: AckOutcome) => void },
  ): void {
    const text = "something that is not the broker's stands in the store where the message would be";
    this.#refusals.note("obstacle", text, client?.session.clientId ?? "");
    if (channel.phase !== "open" || qos === 0) return;
    if (channel.version < 5) return transport.close();
    if (qos === 2 && client?.session.removeIncoming(packetId)) channel.outstanding--;
    answer({ reason: Reason.quotaExceeded, text });
  }

  #answer(connection: Connection, publish: Publish, outcome: AckOutcome): void {
    const { channel, writer } = connection;
    const { qos, packetId } = publish;
    if (qos === 0) return;
    if (this.#context.trace.isOn) settling(this.#context.trace, { connection, publish })(outcome);
    const refused = outcome.reason >= Reason.unspecifiedError;
    if (refused) publish.trace?.refused(outcome.text ?? describeReason(outcome.reason));
    if (qos === 1 || refused) channel.outstanding--;
    channel.ack(writer, qos === 1 ? PacketType.puback : PacketType.pubrec, packetId, outcome);
  }

  #oweAnswer(connection: Connection, publish: Publish, wait: (settle: (outcome: AckOutcome) => void) => void): void {
    const { channel, writer } = connection;
    const { qos, packetId, size } = publish;
    const client = connection.client!;
    const settle = channel.owe(writer, qos === 1 ? PacketType.puback : PacketType.pubrec, [packetId], size);
    if (qos === 2) client.answerWhenSettled(packetId, settle);
    this.#holdIfOwed(connection);
    const { trace } = this.#context;
    const told = trace.isOn ? settling(trace, { connection, publish }) : undefined;
    wait((outcome) => {
      told?.(outcome);
      if (qos === 1) {
        channel.outstanding--;
        settle(outcome);
      } else {
        client.settled(packetId, outcome);
      }
      this.#resumeIfPaid(connection);
    });
  }

  #countOutstanding(channel: Channel): void {
    const { maxInflight } = this.#context.options;
    channel.outstanding++;
    if (channel.version === 5 && channel.outstanding > maxInflight)
      throw new ProtocolError(Reason.receiveMaximumExceeded, `more than ${maxInflight} unacknowledged publishes`);
  }

  #holdIfOwed(connection: Connection): void {
    const { owedCount, owedBytes } = connection.channel;
    if (owedCount >= owedAcksMax || owedBytes >= owedBytesMax) connection.hold(PauseReason.owed);
  }

  #resumeIfPaid(connection: Connection): void {
    const { owedCount, owedBytes } = connection.channel;
    if (!connection.isHeldBy(PauseReason.owed) || owedCount >= owedAcksMax / 2 || owedBytes >= owedBytesMax / 2) return;
    this.#resume(connection, PauseReason.owed);
  }
}

const noMessage = new Publish();
const heard: AckOutcome = { reason: Reason.success };
const heardByNobody: AckOutcome = { reason: Reason.noMatchingSubscribers };
