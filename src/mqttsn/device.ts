/**
 * One client of MQTT-SN: its state by the standard (6.14), and the connection by which it is a client of the broker.
 * That connection stays open while the client sleeps, so its mail waits where all mail waits; only the client's own
 * messages and answers pass between the two here.
 */
import { snMailLookMs, snMailWaitMs, snWillPendingMs } from "../base/sn-limits.ts";
import { Timer } from "../base/timers.ts";
import { type QoS, sessionNeverExpires } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { isTopicName } from "../mqtt/topic.ts";
import type { DeviceState } from "../net/transport.ts";
import { ReturnCode } from "./constants.ts";
import { Reason2 } from "./constants-2.ts";
import { Deliveries } from "./deliveries.ts";
import type { DeviceContext, State } from "./device-context.ts";
import { type FromBroker, type InnerClient, InnerConnection } from "./inner-connection.ts";
import type { ConnectOf2, SnMessage } from "./message-kinds.ts";
import { ackPacket, connectPacket, disconnectPacket, pingPacket, type SnWill } from "./mqtt-packets.ts";
import type { Peer } from "./peer.ts";
import { DeviceRecipient } from "./recipient.ts";
import { Requests } from "./requests.ts";
import {
  type Connect,
  codeOfRefusal,
  connackReason,
  durationMaxMs,
  farewell,
  isSameConnect,
  shownState,
  termsOf,
  updatedWill,
  type WillUpdate,
  willQoS,
  withTolerance,
} from "./terms.ts";
import { TopicIds } from "./topic-ids.ts";

export class Device<Owner> implements InnerClient {
  readonly clientId: string;
  peer: Peer;
  topics: TopicIds;
  readonly deliveries: Deliveries;
  state: State = "new";
  readonly #context: DeviceContext<Owner>;
  readonly #requests: Requests;
  readonly #timer: Timer;
  way: InnerConnection<Owner> | undefined;
  /** The CONNECT that is being answered, or was answered last. */
  #connect: Connect | undefined;
  /** The address that CONNECT came from, while nothing has come since its answer, which may have been lost. */
  #freshFrom: string | undefined;
  #isClean = true;
  /** How long the session outlives the connection to the broker, in seconds. */
  #expiry = sessionNeverExpires;
  #admitted: SnMessage = { kind: "connack", code: ReturnCode.accepted };
  #will: SnWill | undefined;
  #willHead: Omit<SnWill, "data"> | undefined;
  /** The answer that is owed when the broker has let the client in. */
  #owed: SnMessage | undefined;
  /** The silence that is allowed, in ms, before the client counts as lost. */
  #silenceMs = durationMaxMs;
  #keepAliveMs = durationMaxMs;
  #heardAt: number;
  /** When the mailbox of a client that is awake is looked at again, and until when it waits for it. */
  #lookAt = Infinity;
  #lookUntil = 0;
  /** The address from which it asked for its mail last. */
  #wokenFrom = "";
  /** How often the broker must hear of the client, in ms; 0: it need not. */
  #pingMs = 0;
  #pingAt = Infinity;

  constructor(clientId: string, peer: Peer, context: DeviceContext<Owner>) {
    this.clientId = clientId;
    this.peer = peer;
    this.#context = context;
    this.#heardAt = context.clock.now();
    this.topics = new TopicIds(context.random.next());
    this.deliveries = new Deliveries(new DeviceRecipient(this, context), context.random.next());
    this.#requests = new Requests(this, context);
    this.#timer = new Timer((now) => this.#tick(now));
  }

  /** True if the client sleeps. */
  get isAsleep(): boolean {
    return this.deviceState !== "active";
  }

  get deviceState(): DeviceState {
    return shownState(this.state);
  }

  /** Answers the broker, for its deliveries: with PUBACK, PUBREC or PUBCOMP. */
  acknowledge(type: number, packetId: number, reason: number): void {
    this.way?.send(ackPacket(type, packetId, reason));
  }

  /** Returns true while the broker has something for the client, or may have when it has read what waits. */
  mailWaits(): boolean {
    const { waiting = 0, owner } = this.way ?? {};
    return this.state === "opening" || waiting > 0 || (owner !== undefined && this.#context.mailWaits(owner));
  }

  /** Gives up a client that has not answered; one that sleeps is asked again when it wakes. */
  unanswered(): void {
    return this.isAsleep ? this.#sleep() : this.dismiss();
  }

  /** The rest of its CONNECT, if that was of 2.0. */
  get given(): ConnectOf2 | undefined {
    return this.#connect?.of2;
  }

  /** Handles CONNECT. It may be one that has come before, whose answer was lost. */
  connect(message: Connect, now: number): void {
    this.#heardAt = now;
    const isAgain = this.#connect !== undefined && isSameConnect(this.#connect, message);
    if (isAgain && this.state === "willTopic") return void this.peer.tell({ kind: "willtopicreq" });
    if (isAgain && this.state === "willMessage") return void this.peer.tell({ kind: "willmsgreq" });
    if (isAgain && this.state === "opening") return;
    if (isAgain && this.state === "active" && this.#freshFrom === this.peer.key)
      return void this.peer.tell(this.#admitted);
    const terms = termsOf(message, (id) => this.#context.predefined.topicOf(this.clientId, id)?.topic);
    this.#connect = message;
    this.state = "new";
    // An earlier connection ends without its will: the client is here.
    this.#leave(Reason.success);
    this.#requests.reset(message.clean);
    if (message.clean) {
      this.topics = new TopicIds(this.#context.random.next());
      this.#will = undefined;
    } else this.topics.forgetKnown();
    if (terms === undefined) return this.#turnAway(ReturnCode.notSupported, Reason.topicNameInvalid);
    ({ isEphemeral: this.#isClean, expiry: this.#expiry, keepAliveMs: this.#keepAliveMs } = terms);
    this.#silenceMs = this.#keepAliveMs;
    if (message.of2 !== undefined) this.#will = terms.will;
    if (message.will) {
      this.state = "willTopic";
      this.#silenceMs = snWillPendingMs;
      this.#schedule(now);
      return void this.peer.tell({ kind: "willtopicreq" });
    }
    this.#open({ kind: "connack", code: ReturnCode.accepted }, message.clean);
    this.#schedule(now);
  }

  /** Looks for the session of a client that has woken and is not known here, since its broker has changed. */
  wake(now: number): void {
    this.#heardAt = now;
    this.#isClean = false;
    this.#silenceMs = withTolerance(durationMaxMs);
    this.#open(undefined, false);
    this.#schedule(now);
  }

  /** Handles any other message; `bytes` are the message's own. */
  receive(message: SnMessage, bytes: Uint8Array, now: number): void {
    this.#heardAt = now;
    this.#freshFrom = undefined;
    if (!this.#receiveOfWill(message, now)) this.#receive(message, bytes, now);
    if (this.state !== "gone") this.#schedule(now);
  }

  #receive(message: SnMessage, bytes: Uint8Array, now: number): void {
    if (this.state === "new" || this.state === "willTopic" || this.state === "willMessage") return;
    switch (message.kind) {
      case "publish":
      case "register":
      case "subscribe":
      case "unsubscribe":
        return this.#requests.receive(message, bytes, now);
      case "pubrel":
        return this.#requests.release(message.messageId);
      case "regack":
        return this.deliveries.registered(message, now);
      case "puback":
        return this.deliveries.acknowledged(message, now);
      case "pubrec":
        return this.deliveries.received(message.messageId);
      case "pubcomp":
        return this.deliveries.completed(message.messageId, now);
      case "pingreq":
        return this.#ping(now);
      case "disconnect":
        if (message.duration) return this.#fallAsleep(withTolerance(message.duration * 1000), now);
        return this.#receiveDisconnect(message);
      case "sleepreq":
        if (!message.keepsTopics) this.topics.forgetKnown();
        return this.#fallAsleep(message.duration * 1500, now);
      case "auth":
        return this.dismiss(Reason2.badMethod);
    }
  }

  /** Handles the messages of the will; returns false for all others. */
  #receiveOfWill(message: SnMessage, now: number): boolean {
    switch (message.kind) {
      case "willtopic":
        if (this.state === "willTopic") this.#takeWillTopic(message.topic, willQoS(message.qos), message.retain);
        return true;
      case "willmsg":
        if (this.state === "willMessage") this.#enterWith({ ...this.#willHead!, data: message.data.slice() });
        return true;
      case "willtopicupd":
      case "willmsgupd":
        this.#update(message, now);
        return true;
      default:
        return false;
    }
  }

  #takeWillTopic(topic: string, qos: QoS, retain: boolean): void {
    if (topic === "") return this.#enterWith(undefined);
    if (!isTopicName(topic)) return this.#turnAway(ReturnCode.notSupported);
    this.#willHead = { topic, qos, retain };
    this.state = "willMessage";
    this.peer.tell({ kind: "willmsgreq" });
  }

  /** Asks the broker to let the client in, now that its will is known. */
  #enterWith(will: SnWill | undefined): void {
    this.#will = will;
    this.#silenceMs = this.#keepAliveMs;
    this.#open({ kind: "connack", code: ReturnCode.accepted }, this.#isClean);
  }

  /** Changes the will: MQTT has no packet for that, so the client gets a new connection to the same session. */
  #update(message: WillUpdate, now: number): void {
    if (this.state !== "active" && !this.isAsleep) return;
    const kind = message.kind === "willtopicupd" ? "willtopicresp" : "willmsgresp";
    const will = updatedWill(message, this.#will);
    if (will === "refused") return void this.peer.tell({ kind, code: ReturnCode.notSupported });
    this.#will = will;
    this.#leave(Reason.success);
    this.#open({ kind, code: ReturnCode.accepted }, false);
    this.#schedule(now);
  }

  #receiveDisconnect({ reason, expiry }: Extract<SnMessage, { kind: "disconnect" }>): void {
    const how = reason === Reason2.withWill ? Reason.disconnectWithWill : Reason.success;
    this.#leave(how, this.#isClean ? 0 : expiry);
    this.peer.tell(farewell);
    this.#end();
  }

  #fallAsleep(silenceMs: number, now: number): void {
    if (this.state === "opening") return;
    this.#silenceMs = silenceMs;
    this.#sleep();
    this.peer.tell(farewell);
    this.#schedule(now);
  }

  #ping(now: number): void {
    if (this.state === "opening") return;
    if (!this.isAsleep) return void this.peer.tell({ kind: "pingresp" });
    this.state = "awake";
    this.#lookUntil = now + snMailWaitMs;
    // What is under way to an earlier address has its turn at this one.
    if (this.#wokenFrom !== this.peer.key) this.deliveries.hold();
    this.#wokenFrom = this.peer.key;
    this.deliveries.go(now, this.given?.awakeMax || Infinity);
    this.idle(now);
  }

  /** Ends a client's waking when it has been handed all that was there for it. */
  idle(now: number): void {
    this.#lookAt = Infinity;
    if (this.state !== "awake" || !this.deliveries.isIdle) return;
    if (now < this.#lookUntil && this.mailWaits() && !this.deliveries.isCutShort) {
      this.#lookAt = now + snMailLookMs;
      return this.#schedule(now);
    }
    this.#sleep();
    this.peer.tell({ kind: "pingresp", hasMore: this.deliveries.isCutShort });
  }

  #sleep(): void {
    this.state = "asleep";
    this.#lookAt = Infinity;
    this.deliveries.hold();
  }

  /** Opens the connection to the broker; `owed` is answered when it lets the client in. */
  #open(owed: SnMessage | undefined, clean: boolean): void {
    this.#owed = owed;
    const { remote, address, protection, protocol } = this.peer;
    const packet = connectPacket({ clientId: this.clientId, clean, expiry: this.#expiry, will: this.#will });
    if (!this.isAsleep) this.state = "opening";
    const facts = { remote, address, protocol, user: protection?.user ?? this.#context.user };
    this.way = new InnerConnection<Owner>(this.#context.doors, facts, this);
    this.way.send(packet);
  }

  /** Handles the broker's packets. */
  heard(packet: FromBroker, from: object): void {
    if (from !== this.way) return;
    const now = this.#context.clock.now();
    switch (packet.kind) {
      case "connack":
        this.#opened(packet, now);
        break;
      case "publish":
        this.deliveries.add(packet, now);
        break;
      case "pubrel":
        this.deliveries.release(packet.packetId, now);
        break;
      default:
        // After DISCONNECT the connection is closed.
        if (packet.kind !== "disconnect") this.#requests.answered(packet, now);
    }
    if (this.state !== "gone") this.#schedule(now);
  }

  #opened({ reason, sessionPresent, keepAlive }: Extract<FromBroker, { kind: "connack" }>, now: number): void {
    const owed = this.#owed;
    this.#owed = undefined;
    if (reason !== Reason.success) return this.#turnAway(codeOfRefusal(reason), reason);
    // The broker goes by one and a half times that.
    this.#pingMs = keepAlive * 1000;
    this.#pingAt = keepAlive === 0 ? Infinity : now + this.#pingMs;
    if (owed !== undefined) {
      if (this.state === "opening") {
        this.state = "active";
        this.deliveries.go(now);
      }
      const isConnack = owed.kind === "connack";
      this.#freshFrom = isConnack ? this.peer.key : undefined;
      const assignedId = this.given?.assignedId;
      if (isConnack) this.#admitted = { ...owed, sessionPresent, ...(assignedId && { assignedId }) };
      return void this.peer.tell(isConnack ? this.#admitted : owed);
    }
    if (!sessionPresent) {
      this.#leave(Reason.success, 0);
      this.peer.tell(farewell);
      return this.#end();
    }
    this.#sleep();
    this.#ping(now);
  }

  /** The broker has ended the connection: the client must come again. */
  closed(from: object): void {
    if (this.state === "gone" || from !== this.way) return;
    if (this.state === "opening" && this.#owed?.kind === "connack") return this.#turnAway(ReturnCode.congestion);
    if (this.state !== "asleep") this.peer.tell(farewell);
    this.#end();
  }

  #turnAway(code: number, reason: number = Reason.serverBusy): void {
    if (code === ReturnCode.congestion) this.#context.metrics.congested++;
    this.peer.tell({ kind: "connack", code, reason: connackReason(reason) });
    this.#leave(Reason.success, 0);
    this.#end();
  }

  /** Ends the connection to the broker with DISCONNECT. */
  #leave(reason: number, expiry?: number): void {
    const inner = this.way;
    this.way = undefined;
    this.deliveries.reset();
    inner?.send(disconnectPacket(reason, expiry));
  }

  #end(): void {
    this.state = "gone";
    this.#context.timers.cancel(this.#timer);
    this.#context.ended(this);
  }

  /** Gives the client up: its will is published, and its session is kept if it began with one that lasts. */
  dismiss(reason: number = Reason.keepAliveTimeout): void {
    this.#context.metrics.lost++;
    this.#context.lost(this);
    if (this.state === "active") this.peer.tell({ kind: "disconnect", duration: undefined, reason });
    this.#leave(Reason.disconnectWithWill, this.#isClean ? 0 : undefined);
    this.#end();
  }

  #tick(now: number): void {
    if (now >= this.#heardAt + this.#silenceMs) return this.dismiss();
    this.deliveries.tick(now);
    if (this.state === "gone") return;
    if (now >= this.#lookAt) this.idle(now);
    if (now >= this.#pingAt) {
      this.#pingAt = now + this.#pingMs;
      this.way?.send(pingPacket);
    }
    this.#schedule(now);
  }

  #schedule(now: number): void {
    const silentAt = this.#heardAt + this.#silenceMs;
    const next = Math.min(this.deliveries.nextDeadline(), this.#lookAt, this.#pingAt, silentAt);
    this.#context.timers.set(this.#timer, Math.max(now, next));
  }
}
