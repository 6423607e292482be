/**
 * Members of a shared subscription in the simulated world: their sessions outlive their connections, or end in one way
 * or another.
 */
import type { AnyPacket } from "../support/raw-client.ts";
import { Device } from "./device.ts";
import type { World } from "./world.ts";

/** A client that gets no answer to CONNECT tries another broker. */
const patienceMs = 3500;
/** Session Expiry Interval of a session that may end while its client is away, in seconds. */
const shortSeconds = 2;

/**
 * lasting: its session never ends. short: it ends when the client stays away. fresh: the client starts anew each time.
 * brief: it ends with the connection.
 */
export type MemberKind = "lasting" | "short" | "fresh" | "brief";

export class GroupMember {
  readonly name: string;
  readonly kind: MemberKind;
  /** Payloads, each as often as it was received. */
  readonly received: string[] = [];
  /** When its connections were lost, or ended; in ms of the world's time. */
  readonly endedAt: number[] = [];
  isRestless = true;
  readonly #world: World;
  readonly #filter: string;
  #device: Device | undefined;
  #isAway = false;
  #isSubscribed = false;
  /** True if it acknowledges nothing, and is about to vanish. */
  #isStuck = false;
  /** Packet ids of QoS 2 messages that it has, and that are not released. */
  #held = new Set<number>();

  constructor(name: string, options: { kind: MemberKind; world: World; filter: string }) {
    this.name = name;
    this.kind = options.kind;
    this.#world = options.world;
    this.#filter = options.filter;
  }

  get isReady(): boolean {
    return this.#device !== undefined && !this.#device.closed && this.#isSubscribed && !this.#isStuck;
  }

  live(): void {
    const { random } = this.#world;
    if (this.#device === undefined || this.#device.closed) {
      if (!this.#isAway) this.#connect();
    } else if (this.isRestless && this.#isSubscribed && random.next() < 0.05) this.#act();
    this.#world.after(20 + random.next() * 80, () => this.live());
  }

  #act(): void {
    const { random } = this.#world;
    const device = this.#device!;
    if (random.next() < 0.5) this.#isStuck = true;
    this.#isAway = true;
    this.#world.after(random.next() * 150, () => {
      if (random.next() < 0.3) device.send({ cmd: "disconnect", reasonCode: 0, ...this.#goodbye() });
      device.abort();
      this.endedAt.push(this.#world.now());
      const forMs = random.next() < 0.5 ? random.next() * 300 : random.next() * 5000;
      this.#world.after(forMs, () => {
        this.#isAway = this.#isStuck = false;
      });
    });
  }

  /** Some end their sessions with DISCONNECT. */
  #goodbye(): AnyPacket {
    return this.kind === "short" ? { properties: { sessionExpiryInterval: 0 } } : {};
  }

  #connect(): void {
    const { random } = this.#world;
    const nodes = [...this.#world.nodes.keys()];
    const node = nodes[Math.floor(random.next() * nodes.length)]!;
    const sessionExpiryInterval = { lasting: 0xffff_ffff, short: shortSeconds, fresh: 600, brief: 0 }[this.kind];
    const clean = this.kind === "fresh" || this.kind === "brief";
    const options = { clientId: this.name, clean, properties: { sessionExpiryInterval, receiveMaximum: 4 } };
    const device = Device.dial(this.#world, node, options);
    this.#device = device;
    if (device === undefined) return;
    this.#isSubscribed = false;
    device.onClose = () => this.endedAt.push(this.#world.now());
    device.onPacket = (packet) => this.#hear(device, packet);
    this.#world.after(patienceMs, () => {
      if (!this.#isSubscribed && this.#device === device) device.abort();
    });
  }

  #hear(device: Device, packet: AnyPacket): void {
    if (this.#device !== device) return;
    const { cmd, messageId } = packet;
    if (cmd === "connack" && packet.reasonCode === 0) {
      if (packet.sessionPresent) this.#isSubscribed = true;
      else {
        this.#held.clear();
        device.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: this.#filter, qos: 2 }] });
      }
    } else if (cmd === "suback") this.#isSubscribed = true;
    else if (cmd === "publish") this.#receive(device, packet);
    else if (cmd === "pubrel") {
      this.#held.delete(messageId);
      device.send({ cmd: "pubcomp", messageId });
    }
  }

  #receive(device: Device, { qos, messageId, payload }: AnyPacket): void {
    const answer = (cmd: string): void => {
      if (this.#device === device && !this.#isStuck) device.send({ cmd, messageId });
    };
    if (qos < 2) {
      // What is not acknowledged may come again, here or elsewhere.
      this.received.push(payload.toString());
      this.#world.after(this.#world.random.next() * 60, () => answer("puback"));
    } else if (!this.#isStuck) {
      if (!this.#held.has(messageId)) this.received.push(payload.toString());
      this.#held.add(messageId);
      answer("pubrec");
    }
  }
}
