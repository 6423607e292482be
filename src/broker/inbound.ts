/**
 * The way from bytes to handlers: cuts a chunk into packets and handles each. QoS 0 publishes that follow each other on
 * one topic are gathered into a run and copied at once, the broker's fast path.
 */
import { equalRange, isMqttText, noBytes } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { linkRunBytesMax, quickPacketsMax, topicAliasMax } from "../base/limits.ts";
import { Timer } from "../base/timers.ts";
import { ackReason, parseAck } from "../mqtt/acks.ts";
import { nameOfType, PacketType } from "../mqtt/constants.ts";
import { decodeControl, pingrespBytes } from "../mqtt/control.ts";
import { malformed } from "../mqtt/properties.ts";
import { isTopicBytes, Publish, parsePublish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import { levelsIn } from "../mqtt/topic.ts";
import { checkHeaderFlags } from "../mqtt/validate.ts";
import type { Admission } from "./connect/admission.ts";
import type { ConnectionEnd } from "./connect/connection-end.ts";
import type { ConnectHandler } from "./connect/handle-connect.ts";
import type { Trace } from "./core/trace.ts";
import { type Connection, type Meter, PauseReason } from "./delivery/connection.ts";
import type { LocalSession } from "./delivery/local-session.ts";
import type { StoreBackPressure } from "./delivery/store-back-pressure.ts";
import { WireTaps } from "./delivery/wire-tap.ts";
import type { SubscribeHandler } from "./handle-subscribe.ts";
import type { ClusterContext, ClusterRoute } from "./peers/cluster-context.ts";
import type { BackPressure } from "./publish/back-pressure.ts";
import type { Fanout } from "./publish/fanout.ts";
import type { PublishHandler } from "./publish/handle-publish.ts";
import { isOwnTopic, ownTopicWords } from "./publish/own-topics.ts";
import { tellPublished } from "./publish/routing-words.ts";
import { emptyRun, type Run } from "./publish/run.ts";
import { isWide } from "./publish/wide-fanouts.ts";

/** The parts that handle packets. */
export interface Flows {
  readonly connectHandler: ConnectHandler;
  readonly admission: Admission;
  readonly publishHandler: PublishHandler;
  readonly subscribeHandler: SubscribeHandler;
  readonly connectionEnd: ConnectionEnd;
  readonly fanout: Fanout;
  readonly backPressure: BackPressure;
  readonly storeBackPressure: StoreBackPressure;
}

/** Reads packets from connections, and passes each to its handler. */
export class Inbound {
  readonly #context: ClusterContext;
  readonly #trace: Trace;
  readonly #taps: WireTaps;
  readonly #flows: Flows;
  /** The view into which every PUBLISH is read. */
  readonly #publish = new Publish();
  readonly #run: Run = emptyRun();
  /** The work done since the clock was last read, in packets sent to one receiver, approximately. */
  #cost = 0;

  constructor(context: ClusterContext, flows: Flows) {
    this.#context = context;
    this.#trace = context.trace;
    this.#taps = new WireTaps(context.trace);
    this.#flows = flows;
  }

  /** Reads along what is sent to clients that are followed and connected by now. */
  tap(clients: Iterable<LocalSession>): void {
    this.#taps.begin(clients);
  }

  /** Handles bytes from a client. */
  receive(connection: Connection, bytes: Uint8Array): void {
    if (connection.channel.phase === "closed") return;
    this.#context.metrics.bytesReceived += bytes.length;
    connection.traffic.bytesIn += bytes.length;
    const now = this.#context.clock.now();
    connection.lastReceivedAt = now;
    if (this.#trace.readsPackets) this.#taps.received(connection, bytes);
    connection.framer.feed(bytes);
    if (connection.onceHeard !== undefined && connection.channel.phase === "open") {
      connection.onceHeard();
      connection.onceHeard = undefined;
    }
    if (connection.isHeld) return connection.heard();
    if (this.#flows.backPressure.holdIfBehind(connection)) return;
    this.#context.turn.begin();
    try {
      this.#process(connection, now);
    } finally {
      this.#context.turn.end();
    }
  }

  /** Drops a reason for which a connection is held; after the last one, handles what waits, and reads again. */
  resume(connection: Connection, reason: number): void {
    if (!connection.release(reason) || connection.channel.phase === "closed") return;
    this.#process(connection, this.#context.clock.now());
    if (connection.isHeld || connection.channel.phase !== "open") return;
    if (connection.ended) return this.#flows.connectionEnd.lose(connection, "the client closed the connection");
    connection.lastReceivedAt = this.#context.clock.now();
    connection.transport.resume();
  }

  /**
   * Handles the packets that have come, until there are no more or the connection is held. A `ProtocolError` ends the
   * connection. `now`: the time, in ms by the clock's `now`.
   */
  #process(connection: Connection, now: number): void {
    this.#context.turns.subject = connection;
    try {
      this.#packets(connection, now);
    } catch (error) {
      this.#run.count = 0;
      if (!(error instanceof ProtocolError)) throw error;
      this.#flows.connectionEnd.fail(connection, error);
    }
  }

  /**
   * Handles packets for the slice of time that begins at `startedAt`; a connection that has sent more is held for a
   * moment, so that others have their turn.
   */
  #packets(connection: Connection, startedAt: number): void {
    const { framer, channel } = connection;
    const { slices } = this.#context;
    this.#cost = 0;
    let count = 0;
    try {
      while (!connection.isHeld && channel.phase !== "closed" && framer.next()) {
        count++;
        const firstByte = framer.bytes[framer.start]!;
        const type = firstByte >> 4;
        connection.lastType = type;
        if (type === PacketType.publish && channel.phase === "open") this.#receivePublish(connection, firstByte);
        else {
          this.#copyRun(connection);
          this.#receiveOther(connection, firstByte);
          // Subscriptions make work for the store, and acks of a session that has a mailbox; pings make none.
          const isIdle = type === PacketType.pingreq || (isAck(type) && connection.client?.mailbox === undefined);
          if (channel.phase === "open" && !isIdle) this.#flows.storeBackPressure.hold(connection);
          this.#cost += isAck(type) ? ackCost : quickPacketsMax;
        }
        if (this.#cost < quickPacketsMax) continue;
        this.#cost = 0;
        if (framer.pending && slices.isOver(startedAt)) this.#holdForOthers(connection);
      }
    } finally {
      this.#context.metrics.packetsReceived += count;
      this.#copyRun(connection);
    }
    if (!framer.pending) framer.release();
    connection.checkOutput();
  }

  #holdForOthers(connection: Connection): void {
    if (connection.isHeldBy(PauseReason.slice)) return;
    connection.hold(PauseReason.slice);
    this.#context.slices.later(() => this.resume(connection, PauseReason.slice));
  }

  #receivePublish(connection: Connection, firstByte: number): void {
    const { framer, channel } = connection;
    let publish = this.#publish;
    const { bytes, start, end } = framer;
    parsePublish(publish, bytes, firstByte, framer.body, end, channel.version);
    publish.isApart = framer.isApart;
    const route = this.#routeOf(connection, publish);
    if (route !== undefined && isWide(route) && this.#mustWait(connection, publish, route)) return;
    const { payloadLength } = publish;
    this.#context.metrics.publishesReceived++;
    connection.traffic.messagesIn++;
    this.#context.metrics.payloadBytesReceived += payloadLength;
    if (connection.meter !== undefined) this.#measure(connection, connection.meter, end - start);
    if (route === undefined) {
      this.#copyRun(connection);
      this.#cost += promisedCost;
      return this.#flows.publishHandler.refuseTopic(connection, publish);
    }
    const isTraced = this.#trace.isOn;
    if (isTraced) tellPublished(this.#trace, { connection, publish, route });
    const why = route === connection.allowed ? undefined : this.#whyForbidden(connection, route);
    if (why !== undefined) {
      this.#copyRun(connection);
      this.#cost += promisedCost;
      return this.#flows.publishHandler.forbid(connection, publish, why);
    }
    if (connection.spender?.refusal !== undefined) {
      this.#copyRun(connection);
      this.#cost += promisedCost;
      return this.#flows.publishHandler.refuseMemory(connection, publish, connection.spender.refusal);
    }
    publish = this.#context.spans?.received(publish, route.topic, connection.client!.session.clientId) ?? publish;
    if (publish.qos > 0 || publish.retain) {
      const each = publish.retain ? quickPacketsMax : promisedCost;
      this.#cost += each * (1 + route.targets.length + route.groups.length);
      if (publish.qos === 1) this.#context.metrics.receivedQoS1++;
      else if (publish.qos === 2) this.#context.metrics.receivedQoS2++;
      const isPlain = publish.qos === 1 && !publish.retain && publish.verbatim && end - start < linkRunBytesMax;
      if (isPlain && !isTraced && this.#flows.fanout.takesBundles(route))
        return this.#flows.publishHandler.gather(connection, publish, route, start);
      this.#copyRun(connection);
      if (publish.expiresAt !== Infinity) publish.expiresAt += this.#context.clock.wall();
      return this.#flows.publishHandler.receive(connection, publish, route);
    }
    const run = this.#run;
    if (this.#continuesRun(connection, publish, route)) {
      run.end = end;
      run.count++;
      run.payloadBytes += payloadLength;
      // A run for links stays small, so that its frame mostly arrives in one chunk.
      if (run.end - run.start > linkRunBytesMax && route.elsewhere.length > 0) this.#copyRun(connection);
      return;
    }
    this.#copyRun(connection);
    if (publish.verbatim && !isTraced && this.#flows.fanout.takesVerbatim(route, publish.hasSection)) {
      run.route = route;
      run.bytes = bytes;
      run.start = start;
      run.end = end;
      run.count = 1;
      run.payloadBytes = payloadLength;
      run.version5 = publish.hasSection;
      run.isApart = publish.isApart;
      return;
    }
    if (publish.expiresAt !== Infinity) publish.expiresAt += this.#context.clock.wall();
    this.#cost += 1 + route.targets.length + route.groups.length;
    if (route.isMailDrop) return this.#flows.publishHandler.receive(connection, publish, route);
    this.#flows.fanout.live(publish, route, connection);
  }

  /** Returns true if a QoS 0 packet can be passed on in one piece with the run before it. */
  #continuesRun({ framer: { bytes, start } }: Connection, publish: Publish, route: ClusterRoute): boolean {
    const run = this.#run;
    return publish.verbatim && run.count > 0 && run.route === route && run.end === start && run.bytes === bytes;
  }

  /**
   * Puts a publish back, to be handled later, while another message on its topic is on its way to very many receivers.
   * Returns true if it has.
   */
  #mustWait(connection: Connection, publish: Publish, route: ClusterRoute): boolean {
    const isPlain = publish.qos === 0 && !publish.retain;
    if (!isPlain || !this.#continuesRun(connection, publish, route)) this.#copyRun(connection);
    if (!this.#flows.fanout.holdWhileUnderWay(route, connection)) return false;
    connection.framer.putBack();
    this.#context.metrics.packetsReceived--;
    return true;
  }

  /** Returns why a client may not publish on a topic; undefined if it may, which the connection remembers. */
  #whyForbidden(connection: Connection, route: ClusterRoute): string | undefined {
    if (isOwnTopic(route.topic)) return ownTopicWords;
    if (connection.client!.permissions?.mayPublish(route.topic) === false) return "the access list does not allow it";
    connection.allowed = route;
    return undefined;
  }

  /**
   * Counts a publish against the client's rates; a client that has sent too much is not read until that is evened out.
   */
  #measure(connection: Connection, { messages, bytes }: Meter, count: number): void {
    const { clock, timers, metrics } = this.#context;
    const now = clock.now();
    const wait = Math.max(messages?.take(1, now) ?? 0, bytes?.take(count, now) ?? 0);
    if (wait === 0 || connection.isHeldBy(PauseReason.rate)) return;
    metrics.slowedDown++;
    connection.hold(PauseReason.rate);
    timers.set(new Timer(() => this.resume(connection, PauseReason.rate)), now + wait);
  }

  /**
   * Returns the route of a publish; undefined if its topic is one, but has more levels than may be. Throws
   * `ProtocolError` if it is none.
   */
  #routeOf(connection: Connection, publish: Publish): ClusterRoute | undefined {
    const { router, options } = this.#context;
    if (publish.subscriptionIds.length > 0) {
      // [MQTT-3.3.4-6]
      throw new ProtocolError(Reason.protocolError, "a subscription identifier in a client's PUBLISH");
    }
    if (publish.alias !== 0) connection.channel.resolveAlias(publish, topicAliasMax);
    const { topicBytes, topicStart, topicEnd } = publish;
    // The route that the connection remembers was made by this broker's router, so the cast holds.
    const last = connection.route as ClusterRoute | undefined;
    if (last !== undefined && last.bytes.length === topicEnd - topicStart) {
      if (equalRange(last.bytes, 0, topicBytes, topicStart, topicEnd - topicStart)) {
        last.wasPublished = true;
        if (router.isFresh(last)) return last;
        this.#cost += newRouteCost;
        return router.refresh(last);
      }
    }
    this.#cost += newRouteCost;
    const isDeep = levelsIn(topicBytes, topicStart, topicEnd) > options.topicLevelsMax;
    const route = isDeep ? undefined : router.route(topicBytes, topicStart, topicEnd);
    if (route === undefined) {
      if (isTopicBytes(topicBytes, topicStart, topicEnd)) return undefined;
      throw badTopic(topicBytes, topicStart, topicEnd);
    }
    connection.route = route;
    route.wasPublished = true;
    return route;
  }

  #copyRun(connection: Connection): void {
    this.#flows.publishHandler.flush(connection);
    const run = this.#run;
    if (run.count === 0) return;
    this.#flows.fanout.copyRun(run, connection);
    // However many packets it has, it is copied in one piece.
    this.#cost += 1 + run.route.targets.length;
    run.count = 0;
    run.bytes = noBytes;
  }

  #receiveOther(connection: Connection, firstByte: number): void {
    const { framer, channel } = connection;
    const type = firstByte >> 4;
    if (channel.phase === "new") {
      // [MQTT-3.1.0-1]
      if (type !== PacketType.connect) throw new ProtocolError(Reason.protocolError, "the first packet is not CONNECT");
      return this.#flows.connectHandler.receive(connection, framer);
    }
    if (isAck(type) && channel.phase === "open") return this.#receiveAck(connection, firstByte);
    // [MQTT-3.1.0-2]
    if (type === PacketType.connect) throw new ProtocolError(Reason.protocolError, "a second CONNECT");
    if (type === 0) throw malformed("packet type 0");
    // [MQTT-3.1.2-30]: a client whose authentication is not over may only authenticate, or leave.
    const isEarly = channel.phase === "authenticating";
    if (isEarly && type !== PacketType.auth && type !== PacketType.disconnect)
      throw new ProtocolError(Reason.protocolError, `${nameOfType(type)} before the login is over`);
    const packet = decodeControl(framer, channel.version);
    if (isEarly && packet.cmd === "disconnect")
      return this.#flows.connectionEnd.lose(connection, "it left while it was to log in");
    switch (packet.cmd) {
      case "subscribe":
        return this.#flows.subscribeHandler.subscribe(connection, packet.filters);
      case "unsubscribe":
        return this.#flows.subscribeHandler.unsubscribe(connection, packet.filters);
      case "pingreq":
        return connection.send(pingrespBytes);
      case "disconnect":
        return this.#flows.connectionEnd.leave(connection, packet);
      case "auth":
        return this.#flows.admission.auth(connection, packet);
    }
  }

  #receiveAck(connection: Connection, firstByte: number): void {
    const { framer, channel } = connection;
    const type = firstByte >> 4;
    checkHeaderFlags(firstByte, channel.version);
    const packetId = parseAck(framer.bytes, framer.body, framer.end, { type, version: channel.version });
    if (type === PacketType.pubrel) return this.#flows.publishHandler.release(connection, packetId);
    connection.client!.acknowledge(type, packetId, ackReason(framer.bytes, framer.body, framer.end));
  }
}

/** The cost of a topic's route, in packets sent to one receiver: working it out may take milliseconds. */
const newRouteCost = quickPacketsMax;

/** The cost of an ack, and of each copy of a message with a promise, in packets without one. */
const ackCost = 2;
const promisedCost = 8;

/** Returns true for the packets of the QoS 1 and 2 flows that follow PUBLISH: PUBACK, PUBREC, PUBREL and PUBCOMP. */
function isAck(type: number): boolean {
  return type >= PacketType.puback && type <= PacketType.pubcomp;
}

function badTopic(bytes: Uint8Array, start: number, end: number): ProtocolError {
  // (3.3.2.1)
  if (start === end) return new ProtocolError(Reason.protocolError, "an empty topic without a topic alias");
  if (!isMqttText(bytes, start, end)) return malformed("the topic is not well-formed UTF-8 without U+0000");
  return new ProtocolError(Reason.topicNameInvalid, "the topic name holds a wildcard");
}
