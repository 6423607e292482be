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
  snNodeBytesMax,
  snUnprovenMax,
  snUnreadMax,
  snWakesMax,
  snWillsPendingMax,
} from "../base/sn-limits.ts";
import { Timers } from "../base/timers.ts";
import { protocolId, ReturnCode, TopicKind } from "./constants.ts";
import { Device } from "./device.ts";
import type { DeviceContext } from "./device-context.ts";
import { type InnerClient, InnerConnection, type InnerDoors } from "./inner-connection.ts";
import type { SnMessage, SnPublish } from "./message-kinds.ts";
import { decodeMessage, encodeMessage } from "./messages.ts";
import { connectPacket, publishPacket } from "./mqtt-packets.ts";
import { Peer, type SendDatagram } from "./peer.ts";
import type { PredefinedTopics } from "./predefined-topics.ts";
import { shortTopic } from "./requests.ts";
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
}

/** The surroundings of the gateway: the broker, and the process. */
export interface GatewayDoors<Owner> extends InnerDoors<Owner> {
  readonly clock: { now(): number };
  readonly random: Random;
  readonly send: SendDatagram;
  readonly predefined: PredefinedTopics;
  /** Returns true while the broker has something for a client that it has not handed over. */
  mailWaits(owner: Owner): boolean;
  /** Returns true if the broker keeps, or knows of, a session with that client id. */
  knows(clientId: string): boolean;
  /** Tells the operator of a message that is too large for a datagram. */
  tooLarge(facts: { clientId: string; remote: string; topic: string; size: number }): void;
}

/** The address that a datagram came from. */
export interface Source {
  readonly address: string;
  readonly port: number;
}

export class Gateway<Owner> {
  readonly metrics = newSnMetrics();
  readonly #options: GatewayOptions;
  readonly #doors: GatewayDoors<Owner>;
  readonly #timers = new Timers();
  readonly #context: DeviceContext<Owner>;
  readonly #byPeer = new Map<string, Device<Owner>>();
  readonly #byId = new Map<string, Device<Owner>>();
  /** Clients that have not proved their addresses, the oldest first. */
  readonly #unproven = new Set<Device<Owner>>();
  /** Clients that are asked for their wills. */
  readonly #willsPending = new Set<Device<Owner>>();
  /** Addresses of clients that have left, and how often they may still be told so. */
  readonly #left = new Map<string, number>();
  /** The clients that were lost last, and have not come back. */
  readonly #lost = new Set<string>();
  readonly #wakes: Bucket;
  readonly #send: SendDatagram;
  /** The connection of all who publish without one. */
  #anonymous: InnerConnection<Owner> | undefined;

  constructor(options: GatewayOptions, doors: GatewayDoors<Owner>) {
    this.#options = options;
    this.#doors = doors;
    this.#wakes = new Bucket(snWakesMax, doors.clock.now());
    this.#send = (...datagram) => {
      this.metrics.sent++;
      doors.send(...datagram);
    };
    const { user, retryMs, datagramBytesMax } = options;
    const { clock, random, predefined } = doors;
    const timers = this.#timers;
    const { metrics } = this;
    this.#context = {
      ...{ doors, timers, clock, random, predefined, metrics, user, retryMs, datagramBytesMax },
      mailWaits: (owner) => doors.mailWaits(owner),
      tooLarge: ({ clientId, peer }, topic, size) => {
        metrics.tooLarge++;
        doors.tooLarge({ clientId, remote: peer.remote, topic, size });
      },
      lost: (clientId) => this.#noteLost(clientId),
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

  /** Returns true if a client was lost and has not come back, as far as that is remembered. */
  isLost(clientId: string): boolean {
    return this.#lost.has(clientId);
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
  receive(bytes: Uint8Array, { address, port }: Source): void {
    this.metrics.received++;
    const message = decodeMessage(bytes);
    if (message.kind === "malformed") {
      this.metrics.malformed++;
      return;
    }
    if (message.kind !== "encapsulated") return this.#receive(message, bytes, { address, port }, undefined);
    const { node, inner } = message;
    const wrapped = decodeMessage(inner);
    if (wrapped.kind === "malformed" || wrapped.kind === "encapsulated" || node.length > snNodeBytesMax) {
      this.metrics.malformed++;
      return;
    }
    this.#receive(wrapped, inner, { address, port }, node);
  }

  #receive(message: SnMessage, bytes: Uint8Array, { address, port }: Source, node: Uint8Array | undefined): void {
    const key = node === undefined ? `${address} ${port}` : `${address} ${port} ${Buffer.from(node).toString("hex")}`;
    if (message.kind === "publish" && message.qos === -1) return this.#publishAnonymously(message);
    const device = this.#byPeer.get(key);
    const now = this.#doors.clock.now();
    if (device === undefined) {
      // A stranger's address is kept only when it has become a client's.
      const own = node === undefined ? undefined : node.slice();
      const peer = new Peer(key, { address, port, node: own }, this.#send);
      peer.credit = bytes.length + peer.overhead;
      return this.#receiveFromStranger(message, peer, now);
    }
    const { peer } = device;
    if (!peer.isProven) peer.credit += bytes.length + peer.overhead;
    if (message.kind === "connect") return this.#connect(message, peer, now);
    if (message.kind === "searchgw") return void this.#tellGateway(peer);
    if (message.kind === "pingreq" && message.clientId !== "" && message.clientId !== device.clientId)
      return this.#wake(message.clientId, peer, now);
    const wasPending = device.state === "willTopic" || device.state === "willMessage";
    device.receive(message, bytes, now);
    if (peer.isProven) this.#unproven.delete(device);
    if (wasPending) this.#notePending(device);
  }

  #receiveFromStranger(message: SnMessage, peer: Peer, now: number): void {
    switch (message.kind) {
      case "connect":
        return this.#connect(message, peer, now);
      case "searchgw":
        return this.#tellGateway(peer);
      case "pingreq":
        if (message.clientId !== "") return this.#wake(message.clientId, peer, now);
        return void peer.tell({ kind: "disconnect", duration: undefined });
      case "publish":
      case "register":
      case "subscribe":
      case "unsubscribe":
      case "pubrel":
      case "willtopicupd":
      case "willmsgupd":
        // It is not connected, whatever it believes.
        return void peer.tell({ kind: "disconnect", duration: undefined });
      case "disconnect":
        return this.#tellLeft(peer);
    }
  }

  #tellGateway(peer: Peer): void {
    peer.tell({ kind: "gwinfo", gatewayId: this.#options.gatewayId, address: new Uint8Array(0) });
  }

  /** Answers the DISCONNECT of a client that has left, in case its answer was lost; nobody else's: none would end. */
  #tellLeft(peer: Peer): void {
    const times = this.#left.get(peer.key) ?? 0;
    if (times === 0) return;
    this.#left.set(peer.key, times - 1);
    peer.tell({ kind: "disconnect", duration: undefined });
  }

  #connect(message: Connect, peer: Peer, now: number): void {
    const { clientId } = message;
    const isKnown = clientId !== "" && clientId.length <= snClientIdMax;
    if (message.protocolId !== protocolId || !isKnown)
      return void peer.tell({ kind: "connack", code: ReturnCode.notSupported });
    let device = this.#byId.get(clientId);
    const isNew = device === undefined;
    if (isNew && message.will && this.#willsPending.size >= snWillsPendingMax) {
      this.metrics.refused++;
      return void peer.tell({ kind: "connack", code: ReturnCode.congestion });
    }
    device ??= new Device(clientId, peer, this.#context);
    this.#move(device, peer);
    device.connect(message, now);
    this.#notePending(device);
  }

  /** A client that sleeps asks for its mail, perhaps from another address, or at another broker than before. */
  #wake(clientId: string, peer: Peer, now: number): void {
    const device = this.#byId.get(clientId);
    if (device !== undefined) {
      // One that does not sleep says who it is when its address has changed: by CONNECT.
      if (!device.isAsleep) return void peer.tell({ kind: "disconnect", duration: undefined });
      this.#move(device, peer);
      return device.receive({ kind: "pingreq", clientId }, noMessage, now);
    }
    const isLikely = clientId.length <= snClientIdMax && this.#doors.knows(clientId);
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
    if (device.peer.key !== peer.key || !this.#byId.has(device.clientId)) device.peer = peer;
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

  #noteLost(clientId: string): void {
    this.#lost.delete(clientId);
    this.#lost.add(clientId);
    if (this.#lost.size > snLeftMax) for (const oldest of this.#lost) return void this.#lost.delete(oldest);
  }

  #notePending(device: Device<Owner>): void {
    if (device.state === "willTopic" || device.state === "willMessage") this.#willsPending.add(device);
    else this.#willsPending.delete(device);
  }

  #ended(device: Device<Owner>): void {
    const { key } = device.peer;
    if (this.#byId.get(device.clientId) === device) this.#byId.delete(device.clientId);
    if (this.#byPeer.get(key) === device) {
      this.#byPeer.delete(key);
      this.#left.set(key, snLeftAnswersMax);
      if (this.#left.size > snLeftMax) for (const [oldest] of this.#left) return void this.#left.delete(oldest);
    }
    this.#unproven.delete(device);
    this.#willsPending.delete(device);
  }

  /** Publishes for a client that has not connected (QoS -1): at QoS 0, on topics that need no registration. */
  #publishAnonymously({ topicKind, topicId, retain, data }: SnPublish): void {
    const { anonymousUser } = this.#options;
    const topic =
      topicKind === TopicKind.predefined
        ? this.#doors.predefined.topicOf("*", topicId)?.bytes
        : topicKind === TopicKind.short
          ? shortTopic(topicId)
          : undefined;
    if (anonymousUser === undefined || topic === undefined) {
      this.metrics.refused++;
      return;
    }
    if (this.#anonymous?.isClosed !== false) this.#anonymous = this.#openAnonymous(anonymousUser);
    if (this.#anonymous.waiting >= snUnreadMax) {
      this.metrics.dropped++;
      return;
    }
    this.#anonymous.send(publishPacket({ topic, qos: 0, retain, dup: false, packetId: 0 }, data));
  }

  #openAnonymous(user: string): InnerConnection<Owner> {
    const nobody: InnerClient = { heard() {}, closed() {} };
    const state = () => "active" as const;
    const facts = { remote: "MQTT-SN without a connection", address: "", user, state };
    const inner = new InnerConnection(this.#doors, facts, nobody);
    inner.send(connectPacket({ clientId: "", clean: true, expiry: 0, will: undefined }));
    return inner;
  }
}

/** A message whose bytes nothing is asked of. */
const noMessage = new Uint8Array(0);
