/**
 * A client that sends and sees packets one by one, through mqtt-packet alone: none of the code under test
 * encodes or decodes for it.
 */
import type { Socket } from "bun";
import mqttPacket, { type Packet } from "mqtt-packet";

// biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever fields a packet has.
export type AnyPacket = any;

/** Waiting for a packet that does not come fails after this long: far longer than on any machine it takes to come. */
const patienceMs = 30_000;

export class RawClient {
  readonly packets: AnyPacket[] = [];
  closed = false;
  /** Set it to have the bytes that come kept there too, as they came. */
  tap: Uint8Array[] | undefined;
  /** The time that it waits for packets, in ms. */
  #patienceMs = patienceMs;
  readonly #parser;
  readonly #version: 3 | 4 | 5;
  #socket!: Socket<unknown>;
  #changed: () => void = () => {};
  readonly #unsent: Uint8Array[] = [];

  private constructor(version: 3 | 4 | 5) {
    this.#version = version;
    this.#parser = mqttPacket.parser({ protocolVersion: version });
    this.#parser.on("packet", (packet: Packet) => this.packets.push(packet));
  }

  static async dial(port: number, version: 3 | 4 | 5 = 4): Promise<RawClient> {
    const client = new RawClient(version);
    client.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data(_, bytes) {
          client.tap?.push(bytes);
          client.#parser.parse(Buffer.from(bytes));
          client.#changed();
        },
        close() {
          client.closed = true;
          client.#changed();
        },
        drain() {
          client.#flush();
        },
        error() {},
      },
    });
    return client;
  }

  /** Dials, connects and takes CONNACK. `patience`: waits for packets so long, in ms. */
  static async connect(port: number, given: AnyPacket = {}): Promise<RawClient> {
    const { patience = patienceMs, ...options } = given;
    const version = options.protocolVersion ?? 4;
    const client = await RawClient.dial(port, version);
    client.#patienceMs = patience;
    client.send(connectPacket(options));
    const connack = await client.take("connack");
    if ((connack.returnCode ?? connack.reasonCode) !== 0) throw new Error(`refused: ${JSON.stringify(connack)}`);
    client.connack = connack;
    return client;
  }

  connack: AnyPacket;

  /** The port from which it has dialled. */
  get localPort(): number {
    return this.#socket.localPort;
  }

  send(packet: AnyPacket): void {
    this.write(mqttPacket.generate(packet, { protocolVersion: this.#version }));
  }

  /** Writes; bytes that the kernel does not take now go when it drains. */
  write(bytes: Uint8Array): void {
    this.#unsent.push(bytes);
    if (this.#unsent.length === 1) this.#flush();
  }

  /** Stops reading, as a client that is stuck does. */
  pause(): void {
    this.#socket.pause();
  }

  #flush(): void {
    for (let bytes = this.#unsent[0]; bytes !== undefined; bytes = this.#unsent[0]) {
      const taken = Math.max(0, this.#socket.write(bytes));
      if (taken < bytes.length) {
        this.#unsent[0] = bytes.subarray(taken);
        return;
      }
      this.#unsent.shift();
    }
  }

  /** The next packet of a kind; others stay where they are. */
  async take(cmd: string): Promise<AnyPacket> {
    const found = (): number => this.packets.findIndex((packet) => packet.cmd === cmd);
    await this.until(() => found() !== -1, `a ${cmd}`);
    return this.packets.splice(found(), 1)[0];
  }

  async takeMany(cmd: string, count: number): Promise<AnyPacket[]> {
    const isWanted = (packet: AnyPacket): boolean => packet.cmd === cmd;
    await this.until(
      () => this.packets.length >= count && this.packets.filter(isWanted).length >= count,
      `${count} ${cmd}`,
    );
    const taken = this.packets.filter(isWanted).slice(0, count);
    const isTaken = new Set(taken);
    const others = this.packets.filter((packet) => !isTaken.has(packet));
    this.packets.splice(0, this.packets.length, ...others);
    return taken;
  }

  async subscribe(topic: string, options: AnyPacket = {}): Promise<AnyPacket> {
    const { properties, ...rest } = options;
    const messageId = ++this.#lastId;
    this.send({ cmd: "subscribe", messageId, subscriptions: [{ topic, qos: 0, ...rest }], properties });
    return this.take("suback");
  }

  #lastId = 0;

  publish(topic: string, payload: string, options: AnyPacket = {}): void {
    this.send({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...options });
  }

  /** Everything sent before has been handled when the answer is there. */
  async ping(): Promise<void> {
    this.send({ cmd: "pingreq" });
    await this.take("pingresp");
  }

  async untilClosed(): Promise<void> {
    await this.until(() => this.closed, "the connection's end");
  }

  disconnect(options: AnyPacket = {}): void {
    this.send({ cmd: "disconnect", ...(this.#version === 5 ? { reasonCode: 0 } : {}), ...options });
    this.#socket.end();
  }

  /** Closes without DISCONNECT, as a program that ends does: whoever reads sees it. */
  close(): void {
    this.#socket.end();
  }

  /** Vanishes without DISCONNECT. */
  abort(): void {
    this.#socket.terminate();
  }

  until(condition: () => boolean, what: string): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => {
        const seen = this.packets
          .slice(0, 20)
          .map((packet) => JSON.stringify(packet))
          .join(" ");
        reject(new Error(`waited in vain for ${what}; closed: ${this.closed}; packets: ${seen}`));
      }, this.#patienceMs);
      this.#changed = () => {
        if (!condition()) return;
        clearTimeout(timeout);
        resolve();
      };
    });
  }
}

let connections = 0;

export function connectPacket(options: AnyPacket = {}): AnyPacket {
  const version = options.protocolVersion ?? 4;
  return {
    cmd: "connect",
    protocolId: version === 3 ? "MQIsdp" : "MQTT",
    protocolVersion: version,
    clean: true,
    clientId: options.clientId ?? `raw-${++connections}`,
    keepalive: 0,
    ...options,
  };
}
