/** A client of the simulated world that sends and sees packets one by one, through mqtt-packet alone. */
import mqttPacket, { type Packet } from "mqtt-packet";
import type { Transport } from "../../src/net/transport.ts";
import { type AnyPacket, connectPacket } from "../support/raw-client.ts";
import type { World } from "./world.ts";

/** Waiting for a packet fails after this long. */
const patienceMs = 10_000;

export class Device {
  readonly packets: AnyPacket[] = [];
  closed = false;
  /** Called for each packet that comes, instead of keeping it; undefined: it is kept. */
  onPacket: ((packet: AnyPacket) => void) | undefined;
  onClose: () => void = () => {};
  readonly #world: World;
  readonly #version: 4 | 5;
  #transport: Transport | undefined;

  private constructor(world: World, version: 4 | 5) {
    this.#world = world;
    this.#version = version;
  }

  /** Dials a broker and sends CONNECT; undefined if nobody listens there. */
  static dial(world: World, id: string, options: AnyPacket = {}): Device | undefined {
    const device = new Device(world, options.protocolVersion ?? 5);
    const parser = mqttPacket.parser({ protocolVersion: device.#version });
    parser.on("packet", (packet: Packet) => {
      if (device.onPacket === undefined) device.packets.push(packet);
      else device.onPacket(packet);
    });
    device.#transport = world.node(id).dial({
      received: (bytes) => parser.parse(Buffer.from(bytes)),
      closed: () => {
        if (device.closed) return;
        device.closed = true;
        device.onClose();
      },
    });
    if (device.#transport === undefined) return undefined;
    device.send(connectPacket({ protocolVersion: device.#version, ...options }));
    return device;
  }

  /** Dials a broker that is there, and waits for CONNACK. */
  static async connect(world: World, id: string, options: AnyPacket = {}): Promise<Device> {
    const device = Device.dial(world, id, options);
    if (device === undefined) throw new Error(`nobody listens at ${id}`);
    const connack = await device.take("connack");
    if ((connack.reasonCode ?? connack.returnCode) !== 0) throw new Error(`refused: ${JSON.stringify(connack)}`);
    return device;
  }

  send(packet: AnyPacket): void {
    const bytes = mqttPacket.generate(packet, { protocolVersion: this.#version });
    if (!this.closed) this.#transport!.write(bytes, 0, bytes.length);
  }

  /** The next packet of a kind; others stay where they are. */
  async take(cmd: string): Promise<AnyPacket> {
    const found = (): number => this.packets.findIndex((packet) => packet.cmd === cmd);
    if (!(await this.#world.pass(patienceMs, () => found() !== -1)))
      throw new Error(`waited in vain for ${cmd}; closed: ${this.closed}; packets: ${JSON.stringify(this.packets)}`);
    return this.packets.splice(found(), 1)[0];
  }

  async subscribe(topic: string, options: AnyPacket = {}): Promise<AnyPacket> {
    this.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0, ...options }] });
    return this.take("suback");
  }

  publish(topic: string, payload: string, options: AnyPacket = {}): void {
    this.send({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...options });
  }

  /** Leaves with DISCONNECT. */
  leave(reasonCode = 0): void {
    this.send({ cmd: "disconnect", ...(this.#version === 5 ? { reasonCode } : {}) });
    this.#transport!.close();
  }

  /** Vanishes without DISCONNECT. */
  abort(): void {
    this.#transport!.abort();
  }
}
