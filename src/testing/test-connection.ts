/** One connection to the test broker: packets are taken apart and answered, by the codec that the real broker has. */
import { Buffer } from "node:buffer";
import type { IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket, Packet } from "mqtt-packet";
import type { QoS } from "../mqtt/constants.ts";
import { decodeFromServer, encodeControl } from "../mqtt/control.ts";
import { Framer } from "../mqtt/framer.ts";
import { Reason } from "../mqtt/reason.ts";
import type { LineEnd, LineOwner } from "./memory-line.ts";
import type { SessionLine, TestSession } from "./test-session.ts";

const packetBytesMax = 256 * 1024 * 1024;

/** The broker, as a connection of its sees it. */
export interface TestBrokerSide {
  /** Returns the session, whether it was there before, or the reason code of a refusal. */
  admit(connect: IConnectPacket, connection: TestConnection): { session: TestSession; isPresent: boolean } | number;
  /** Takes a message over. Returns the reason code. */
  publish(connection: TestConnection, packet: IPublishPacket): number;
  /** Returns the reason code of each filter: below 0x80 the QoS that is granted. */
  subscribe(connection: TestConnection, packet: ISubscribePacket): { codes: number[]; after: () => void };
  /** The connection has ended; `isProper`: by DISCONNECT. */
  ended(connection: TestConnection, isProper: boolean): void;
  /** True: the connection is cut now, and the packet's answer lost. */
  isCutAt(cmd: string): boolean;
  now(): number;
}

export class TestConnection implements LineOwner, SessionLine {
  version: 4 | 5 = 5;
  receiveMaximum = 65_535;
  connect: IConnectPacket | undefined;
  session: TestSession | undefined;
  readonly #broker: TestBrokerSide;
  readonly #line: LineEnd;
  readonly #framer = new Framer(packetBytesMax);
  #isOpen = true;
  /** True: nothing is said any more, the client will be cut off. */
  #isMute = false;

  constructor(broker: TestBrokerSide, line: LineEnd) {
    this.#broker = broker;
    this.#line = line;
  }

  received(bytes: Uint8Array): void {
    this.#framer.feed(bytes);
    while (this.#isOpen && this.#framer.next()) {
      const packet = decodeFromServer(this.#framer, this.version);
      this.#isMute = this.#broker.isCutAt(packet.cmd);
      this.#receive(packet);
      if (this.#isMute) this.cut();
    }
  }

  closed(): void {
    this.#end(false);
  }

  send(packet: Packet): void {
    if (this.#isOpen && !this.#isMute) this.#line.send(encodeControl(packet, this.version));
  }

  /** Ends it as a broken cable would. */
  cut(): void {
    this.#end(false);
  }

  /** Ends it in words, which MQTT 5 has. */
  disconnect(reasonCode: number): void {
    if (this.version === 5) this.send({ cmd: "disconnect", reasonCode } as Packet);
    this.#end(false);
  }

  #end(isProper: boolean): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#line.close();
    if (this.session?.line === this) this.session.line = undefined;
    this.#broker.ended(this, isProper);
  }

  #receive(packet: Packet): void {
    switch (packet.cmd) {
      case "connect":
        return this.#admit(packet);
      case "publish":
        return this.#take(packet);
      case "pubrel":
        this.session!.incoming.delete(packet.messageId!);
        return this.send({ cmd: "pubcomp", messageId: packet.messageId! } as Packet);
      case "puback":
      case "pubrec":
      case "pubcomp":
        this.session!.acknowledged(packet.cmd, packet.messageId!, (packet.reasonCode ?? 0) >= Reason.unspecifiedError);
        return this.session!.pump(this.#broker.now());
      case "subscribe": {
        const { codes, after } = this.#broker.subscribe(this, packet);
        // Before MQTT 5 there is one code for all refusals.
        const granted = codes.map((code) => (this.version === 4 && code >= Reason.unspecifiedError ? 0x80 : code));
        this.send({ cmd: "suback", messageId: packet.messageId!, granted } as Packet);
        return after();
      }
      case "unsubscribe":
        return this.#unsubscribe(packet);
      case "pingreq":
        return this.send({ cmd: "pingresp" } as Packet);
      case "disconnect":
        return this.#end(packet.reasonCode !== 0x04);
    }
  }

  #admit(packet: IConnectPacket): void {
    this.version = packet.protocolVersion === 5 ? 5 : 4;
    this.connect = packet;
    this.receiveMaximum = packet.properties?.receiveMaximum ?? 65_535;
    const admitted = this.#broker.admit(packet, this);
    const code = typeof admitted === "number" ? admitted : 0;
    const sessionPresent = typeof admitted !== "number" && admitted.isPresent;
    // 5: not authorised, whatever it was.
    const answer = this.version === 5 ? { reasonCode: code } : { returnCode: code === 0 ? 0 : 5 };
    this.send({ cmd: "connack", sessionPresent, ...answer } as Packet);
    if (typeof admitted === "number") return this.#end(true);
    this.session = admitted.session;
    admitted.session.resume(this, this.#broker.now());
  }

  #take(packet: IPublishPacket): void {
    const { qos, messageId } = packet;
    const { incoming } = this.session!;
    const isRepeat = qos === 2 && incoming.has(messageId!);
    const reasonCode = isRepeat ? 0 : this.#broker.publish(this, packet);
    if (qos === 2 && reasonCode < Reason.unspecifiedError) incoming.add(messageId!);
    if (qos > 0) this.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId: messageId!, reasonCode } as Packet);
  }

  #unsubscribe({ unsubscriptions, messageId }: IUnsubscribePacket): void {
    const { subscriptions } = this.session!;
    const granted = unsubscriptions.map((filter) => (subscriptions.delete(filter) ? 0 : Reason.noSubscriptionExisted));
    this.send({ cmd: "unsuback", messageId: messageId!, granted } as Packet);
  }
}

/** Returns the will in a CONNECT as the PUBLISH that it becomes. */
export function willOf({ will }: IConnectPacket): IPublishPacket | undefined {
  if (will === undefined) return undefined;
  const { willDelayInterval: _, ...properties } = will.properties ?? {};
  return {
    ...{ cmd: "publish", dup: false, topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos as QoS },
    ...{ retain: will.retain, properties },
  } as IPublishPacket;
}
