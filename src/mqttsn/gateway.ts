/**
 * All clients of MQTT-SN of one broker, by their addresses and ids: takes datagrams, and is told the time. What comes
 * from strangers is bounded: how much is kept for them, how much they are sent, and what the store is asked for them.
 */
import { Bucket } from "../base/bucket.ts";
import type { Random } from "../base/random.ts";
import {
  snClientIdMax,
  snLeftAnswersMax,
  snLeftMax,
  snUnprovenMax,
  snWakesMax,
  snWillsPendingMax,
} from "../base/sn-limits.ts";
import { Timers } from "../base/timers.ts";
import type { DeviceProtocol } from "../net/transport.ts";
import { Anonymous } from "./anonymous.ts";
import { protocolId, ReturnCode } from "./constants.ts";
import { Reason2 } from "./constants-2.ts";
import { type CounterStore, Counters } from "./counters.ts";
import { type Arrived, type ReaderOptions, readDatagram } from "./datagram.ts";
import { Device } from "./device.ts";
import type { DeviceContext } from "./device-context.ts";
import type { InnerDoors } from "./inner-connection.ts";
import type { SnMessage } from "./message-kinds.ts";
import { encodeMessage } from "./messages.ts";
import { keyOf, Peer, type SendDatagram, type Source } from "./peer.ts";
import type { PredefinedTopics } from "./predefined-topics.ts";
import type { SnKeys } from "./protection.ts";
import { newSnMetrics } from "./sn-metrics.ts";
import type { Connect } from "./terms.ts";

export interface GatewayOptions {
  /** The gateway's number among those of a network, 0…255 (5.3.5). */
  readonly gatewayId: number;
  /** The user as whom clients come; undefined: nobody vouches for them. */
  readonly user: string | undefined;
  /** The user as whom is published without a connection (QoS -1); undefined: nobody may. */
  readonly anonymousUser: string | undefined;
  readonly retryMs: number;
  readonly datagramBytesMax: number;
  /** True: MQTT-SN 2.0 is spoken, too. */
  readonly takes2?: boolean;
  /** True: a client without a key is served only at the IP address from which it has connected. */
  readonly fixesAddresses?: boolean;
}

/** The surroundings of the gateway: the broker, and the process. */
export interface GatewayDoors<Owner> extends InnerDoors<Owner> {
  readonly clock: { now(): number };
  readonly random: Random;
  readonly send: SendDatagram;
  readonly predefined: PredefinedTopics;
  /** The keys of senders of 2.0 who protect what they send. */
  readonly keys?: SnKeys | undefined;
  /** Where their counters outlive the broker; undefined: they do not. */
  readonly counters?: CounterStore;
  /** Returns true while the broker has something for a client that it has not handed over. */
  mailWaits(owner: Owner): boolean;
  /** Returns true if the broker keeps, or knows of, a session with that client id. */
  knows(clientId: string): boolean;
  /** Tells the operator of a message that is too large for a datagram. */
  tooLarge(facts: { clientId: string; remote: string; topic: string; size: number }): void;
}

export class Gateway<Owner> {
  readonly metrics = newSnMetrics();
  readonly #options: GatewayOptions;
  readonly #doors: GatewayDoors<Owner>;
  readonly #timers = new Timers();
  readonly #context: DeviceContext<Owner>;
  readonly #byPeer = new Map<string, Device<Owner>>();
  readonly #byId = new Map<string, Device<Owner>>();
  /** The client that has come last with each sender's key. */
  readonly #bySender = new Map<string, Device<Owner>>();
  readonly #reader: ReaderOptions;
  readonly #counters: Counters;
  /** Clients that have not proved their addresses, the oldest first. */
  readonly #unproven = new Set<Device<Owner>>();
  /** Clients that are asked for their wills. */
  readonly #willsPending = new Set<Device<Owner>>();
  /** Addresses of clients that have left, and how often they may still be told so. */
  readonly #left = new Map<string, number>();
  /** The clients that were lost last, and have not come back. */
  readonly #lost = new Map<string, DeviceProtocol>();
  readonly #wakes: Bucket;
  readonly #send: SendDatagram;
  readonly #anonymous: Anonymous<Owner>;

  constructor(options: GatewayOptions, doors: GatewayDoors<Owner>) {
    this.#options = options;
    this.#doors = doors;
    this.#reader = { takes2: options.takes2 ?? false, keys: doors.keys };
    this.#counters = new Counters(doors.counters);
    this.#wakes = new Bucket(snWakesMax, doors.clock.now());
    this.#send = (...datagram) => {
      this.metrics.sent++;
      doors.send(...datagram);
    };
    this.#anonymous = new Anonymous(options.anonymousUser, doors, this.metrics);
    const { user, retryMs, datagramBytesMax } = options;
    const { clock, random, predefined } = doors;
    const { metrics } = this;
    this.#context = {
      ...{ doors, timers: this.#timers, clock, random, predefined, metrics, user, retryMs, datagramBytesMax },
      mailWaits: (owner) => doors.mailWaits(owner),
      tooLarge: ({ clientId, peer }, topic, size) => {
        metrics.tooLarge++;
        doors.tooLarge({ clientId, remote: peer.remote, topic, size });
      },
      lost: (device) => this.#noteLost(device.clientId, device.peer.protocol),
      ended: (device) => this.#ended(device as Device<Owner>),
    };
  }

  /** The number of clients, those that sleep among them. */
  get clients(): number {
    return this.#byId.size;
  }

  /** The number of clients that sleep. */
  get sleeping(): number {
    let count = 0;
    for (const device of this.#byId.values()) if (device.isAsleep) count++;
    return count;
  }

  /** Returns what a client spoke that was lost and has not come back, as far as that is remembered. */
  lostProtocol(clientId: string): DeviceProtocol | undefined {
    return this.#lost.get(clientId);
  }

  /** Returns when `tick` must be called next, in ms by the clock's `now`. */
  nextDeadline(): number {
    return this.#timers.nextDeadline();
  }

  /** Has `wake` called whenever the next deadline has become sooner. */
  onSooner(wake: () => void): void {
    this.#timers.onSooner = wake;
  }

  /** Does what is due, until `isOver` says so: the rest stays due. */
  tick(now: number, isOver?: () => boolean): void {
    this.#timers.tick(now, isOver);
  }

  /** ADVERTISE, to be sent to the multicast group; `duration` in seconds until the next one. */
  advertisement(duration: number): Uint8Array {
    return encodeMessage({ kind: "advertise", gatewayId: this.#options.gatewayId, duration });
  }

  /** Handles one datagram. */
  receive(bytes: Uint8Array, source: Source): void {
    this.metrics.received++;
    const read = readDatagram(bytes, this.#reader, (node) => this.#byPeer.get(keyOf(source, { node }))?.peer.version);
    if (read.kind === "arrived") return this.#receiveNew(read, source);
    if (read.kind === "malformed") {
      this.metrics.malformed++;
      return;
    }
    this.metrics.refused++;
    if (read.reason === undefined) return;
    const peer = this.#peerOf({ ...read, version: 2, protection: undefined, bytes }, source);
    peer.tell({ kind: "disconnect", duration: undefined, reason: read.reason });
  }

  /** Receives what has not come before: a protected packet counts once. */
  #receiveNew(arrived: Arrived, source: Source): void {
    const { protection, counter, node } = arrived;
    if (protection === undefined || counter === undefined) return this.#receive(arrived, source);
    // It may have to wait, and the datagram's bytes are not ours.
    const own = node === undefined ? arrived : { ...arrived, node: node.slice() };
    const now = (): number => this.#doors.clock.now();
    this.#counters.take(protection.sender, { counter, now }, (isNew) => {
      if (isNew) this.#receive(own, source);
      else this.metrics.refused++;
    });
  }

  #receive(arrived: Arrived, source: Source): void {
    const { message, bytes, identifiedAs } = arrived;
    if (message.kind === "publish" && message.qos === -1) return this.#anonymous.publish(message);
    const device = this.#byPeer.get(keyOf(source, arrived));
    const now = this.#doors.clock.now();
    const isItself = device !== undefined && (identifiedAs === undefined || this.#byId.get(identifiedAs) === device);
    // An address may have changed to the other version.
    if (!isItself || device.peer.version !== arrived.version) {
      const peer = this.#peerOf(arrived, source);
      peer.note(message);
      const moved = this.#find(arrived, peer);
      if (moved === undefined) return this.#receiveFromStranger(message, peer, now);
      if (message.kind === "connect") return this.#connect(message, peer, now);
      this.#move(moved, peer);
      return this.#hand(moved, arrived, now);
    }
    const { peer } = device;
    peer.note(message);
    if (!peer.isProven) peer.credit += bytes.length + peer.overhead;
    if (message.kind === "connect") return this.#connect(message, peer, now);
    if (message.kind === "searchgw") return void this.#tellGateway(peer);
    if (message.kind === "pingreq" && message.clientId !== "" && message.clientId !== device.clientId)
      return this.#wake(message.clientId, peer, now);
    this.#hand(device, arrived, now);
  }

  /** Gives a client what it has sent. */
  #hand(device: Device<Owner>, { message, bytes }: Arrived, now: number): void {
    const wasPending = device.state === "willTopic" || device.state === "willMessage";
    device.receive(message, bytes, now);
    if (device.peer.isProven) this.#unproven.delete(device);
    if (wasPending) this.#notePending(device);
  }

  /** Returns the peer for an address at which no client is. It is kept only when it becomes one's. */
  #peerOf(
    { node, version, protection, bytes }: Omit<Arrived, "kind" | "message" | "counter" | "identifiedAs">,
    source: Source,
  ): Peer {
    const own = node?.slice();
    const facts = { ...source, node: own, version, protection };
    const peer = new Peer(keyOf(source, { node, protection }), facts, this.#send);
    peer.credit = bytes.length + peer.overhead;
    return peer;
  }

  /**
   * Returns the client that a packet of 2.0 is of though it comes from elsewhere: it says so and sleeps, as with
   * PINGREQ of 1.2, or its sender has proved it.
   */
  #find({ identifiedAs, protection }: Arrived, peer: Peer): Device<Owner> | undefined {
    if (protection !== undefined) return this.#bySender.get(protection.sender);
    const device = identifiedAs === undefined ? undefined : this.#byId.get(identifiedAs);
    if (this.#isElsewhere(device, peer)) return undefined;
    return device?.isAsleep && device.given?.allowsMoves && device.peer.protection === undefined ? device : undefined;
  }

  #receiveFromStranger(message: SnMessage, peer: Peer, now: number): void {
    switch (message.kind) {
      case "connect":
        return this.#connect(message, peer, now);
      case "searchgw":
        return this.#tellGateway(peer);
      case "pingreq":
        if (message.clientId !== "") return this.#wake(message.clientId, peer, now);
        return void peer.tell(notConnected);
      case "auth":
      case "sleepreq":
      case "publish":
      case "register":
      case "subscribe":
      case "unsubscribe":
      case "pubrel":
      case "willtopicupd":
      case "willmsgupd":
        // It is not connected, whatever it believes.
        return void peer.tell(notConnected);
      case "disconnect":
        return this.#tellLeft(peer);
    }
  }

  #tellGateway(peer: Peer): void {
    // SEARCHGW of 2.0 is a byte shorter than its answer.
    peer.credit = Math.max(peer.credit, 3);
    peer.tell({ kind: "gwinfo", gatewayId: this.#options.gatewayId, address: new Uint8Array(0) });
  }

  /** Answers the DISCONNECT of a client that has left, in case its answer was lost; nobody else's: none would end. */
  #tellLeft(peer: Peer): void {
    const times = this.#left.get(peer.key) ?? 0;
    if (times === 0) return;
    this.#left.set(peer.key, times - 1);
    peer.tell({ kind: "disconnect", duration: undefined });
  }

  #connect(given: Connect, peer: Peer, now: number): void {
    const message = peer.version === 2 ? this.#named(given, peer) : given;
    const { clientId } = message;
    const isKnown = clientId !== "" && clientId.length <= snClientIdMax && this.#mayHave(clientId, peer);
    const refuse = (reason: number): void => void peer.tell({ kind: "connack", code: ReturnCode.notSupported, reason });
    if (peer.version === 1 && message.protocolId !== protocolId) return refuse(Reason2.unsupportedVersion);
    if (!isKnown) return refuse(Reason2.clientIdNotValid);
    if (message.of2?.method !== undefined) return refuse(Reason2.badMethod);
    let device = this.#byId.get(clientId);
    if (this.#isElsewhere(device, peer)) return refuse(Reason2.clientIdNotValid);
    if (device === undefined && message.will && this.#willsPending.size >= snWillsPendingMax) {
      this.metrics.refused++;
      return void peer.tell({ kind: "connack", code: ReturnCode.congestion });
    }
    device ??= new Device(clientId, peer, this.#context);
    this.#move(device, peer);
    device.peer.packetBytesMax = message.of2?.packetBytesMax ?? 0;
    device.connect(message, now);
    this.#notePending(device);
  }

  /**
   * Returns a CONNECT of 2.0 with the id under which its session is known: its own, or one that it is given, and whose
   * key it has, so that nobody else comes to a protected session (3.17).
   */
  #named(message: Connect, peer: Peer): Connect {
    if (message.clientId !== "") return { ...message, clientId: `${message.clientId}${peer.suffix}` };
    const before = this.#byPeer.get(peer.key);
    const isAgain = before !== undefined && before.given?.messageId === message.of2!.messageId;
    const assignedId = isAgain ? before.clientId.slice(0, assignedChars) : this.#doors.random.hex(assignedChars / 2);
    return { ...message, clientId: `${assignedId}${peer.suffix}`, of2: { ...message.of2!, assignedId } };
  }

  /** Returns false for ids of protected clients, where it is another one's. */
  #mayHave(clientId: string, { suffix }: Peer): boolean {
    return this.#reader.keys === undefined || (suffix === "" ? !mark.test(clientId) : clientId.endsWith(suffix));
  }

  /** Returns true if a client must not be found at that address: somebody there only knows its id. */
  #isElsewhere(device: Device<Owner> | undefined, { address, protection }: Peer): boolean {
    if (this.#options.fixesAddresses !== true || protection !== undefined) return false;
    return device !== undefined && device.peer.address !== address;
  }

  /** A client that sleeps asks for its mail, perhaps from another address, or at another broker than before. */
  #wake(clientId: string, peer: Peer, now: number): void {
    const device = this.#byId.get(clientId);
    if (!this.#mayHave(clientId, peer) || this.#isElsewhere(device, peer)) return void peer.tell(notConnected);
    if (device !== undefined) {
      // One that does not sleep says who it is when its address has changed: by CONNECT.
      if (!device.isAsleep) return void peer.tell({ kind: "disconnect", duration: undefined });
      this.#move(device, peer);
      return device.receive({ kind: "pingreq", clientId }, noMessage, now);
    }
    // Of a client that is not known any more the address is not known either: it says by CONNECT who it is.
    const isLikely = !this.#options.fixesAddresses && clientId.length <= snClientIdMax && this.#doors.knows(clientId);
    if (!isLikely || !this.#wakes.takeIfThere(now)) {
      if (isLikely) this.metrics.refused++;
      return void peer.tell({ kind: "disconnect", duration: undefined });
    }
    const returning = new Device(clientId, peer, this.#context);
    this.#move(returning, peer);
    returning.wake(now);
  }

  /** From now on the client is at that address, and nobody else is. */
  #move(device: Device<Owner>, peer: Peer): void {
    const before = this.#byPeer.get(peer.key);
    if (before !== undefined && before !== device) before.dismiss();
    if (device.peer.key !== peer.key) this.#byPeer.delete(device.peer.key);
    // What is known of an address stays.
    const isSame = device.peer.key === peer.key && device.peer.version === peer.version;
    if (!isSame || !this.#byId.has(device.clientId)) device.peer = peer;
    if (peer.protection !== undefined) this.#bySender.set(peer.protection.sender, device);
    this.#left.delete(peer.key);
    this.#lost.delete(device.clientId);
    this.#byPeer.set(peer.key, device);
    this.#byId.set(device.clientId, device);
    if (device.peer.isProven) return;
    this.#unproven.add(device);
    if (this.#unproven.size <= snUnprovenMax) return;
    const [oldest] = this.#unproven;
    this.metrics.refused++;
    oldest!.dismiss();
  }

  #noteLost(clientId: string, protocol: DeviceProtocol): void {
    this.#lost.delete(clientId);
    this.#lost.set(clientId, protocol);
    if (this.#lost.size > snLeftMax) for (const [oldest] of this.#lost) return void this.#lost.delete(oldest);
  }

  #notePending(device: Device<Owner>): void {
    if (device.state === "willTopic" || device.state === "willMessage") this.#willsPending.add(device);
    else this.#willsPending.delete(device);
  }

  #ended(device: Device<Owner>): void {
    const { key } = device.peer;
    if (this.#byId.get(device.clientId) === device) this.#byId.delete(device.clientId);
    const sender = device.peer.protection?.sender;
    if (sender !== undefined && this.#bySender.get(sender) === device) this.#bySender.delete(sender);
    if (this.#byPeer.get(key) === device) {
      this.#byPeer.delete(key);
      this.#left.set(key, snLeftAnswersMax);
      if (this.#left.size > snLeftMax) for (const [oldest] of this.#left) return void this.#left.delete(oldest);
    }
    this.#unproven.delete(device);
    this.#willsPending.delete(device);
  }
}

/** A message whose bytes nothing is asked of. */
const noMessage = new Uint8Array(0);

/** The answer to who is not connected, whatever he believes. */
const notConnected: SnMessage = { kind: "disconnect", duration: undefined, reason: Reason2.noConnection };

/** Characters of an id that a client without one is given. */
const assignedChars = 12;

/** The end of the ids of protected clients: their senders. */
const mark = /@[0-9a-f]{16}$/;
