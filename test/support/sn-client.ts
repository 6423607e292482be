/** A client of MQTT-SN over real UDP, that does no more than it is told: each test says what a device does. */
import { createSocket, type Socket } from "node:dgram";
import type { Malformed, SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage } from "../../src/mqttsn/messages.ts";
import { eventually } from "./broker.ts";
import type { Network } from "./lossy.ts";

type Kind = SnMessage["kind"];
type Of<K extends Kind> = Extract<SnMessage, { kind: K }>;

/** The version that a client speaks, and what protects it. */
export interface SnCodec {
  encode(message: SnMessage): Uint8Array;
  decode(bytes: Uint8Array): SnMessage | Malformed;
}

export class SnClient {
  /** The messages that have come and nobody has taken. */
  readonly inbox: SnMessage[] = [];
  /** The topics that the broker has registered with it, by their ids. */
  readonly registered = new Map<number, string>();
  /** False: it answers no REGISTER by itself. */
  answersRegister = true;
  /** Called when something has come into the inbox. */
  onMessage: (() => void) | undefined;
  bytesReceived = 0;
  bytesSent = 0;
  readonly #socket: Socket;
  readonly #port: number;
  #messageId = 0;
  #isClosed = false;

  readonly #network: Network;
  readonly #codec: SnCodec;

  private constructor(socket: Socket, port: number, { network, codec }: { network: Network; codec: SnCodec }) {
    this.#socket = socket;
    this.#port = port;
    this.#network = network;
    this.#codec = codec;
    socket.on("message", (bytes) => network(() => this.#received(bytes)));
  }

  #received(bytes: Uint8Array): void {
    this.bytesReceived += bytes.length;
    const message = this.#codec.decode(bytes);
    if (message.kind === "malformed") throw new Error(`the broker has sent what is no message: ${message.why}`);
    if (message.kind === "register" && this.answersRegister) return this.#acknowledgeRegister(message);
    this.inbox.push(message.kind === "publish" ? { ...message, data: Uint8Array.from(message.data) } : message);
    this.onMessage?.();
  }

  /** Opens a socket that speaks to a broker on this machine. */
  static async open(
    port: number,
    network: Network = (deliver) => deliver(),
    codec: SnCodec = { encode: encodeMessage, decode: decodeMessage },
  ): Promise<SnClient> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    return new SnClient(socket, port, { network, codec });
  }

  /** Opens a socket and connects. */
  static async connect(
    port: number,
    clientId: string,
    { clean = true, duration = 60 }: { clean?: boolean; duration?: number } = {},
  ): Promise<SnClient> {
    const client = await SnClient.open(port);
    client.send({ kind: "connect", will: false, clean, protocolId: 1, duration, clientId });
    const { code } = await client.take("connack");
    if (code !== 0) throw new Error(`CONNACK ${code}`);
    return client;
  }

  send(message: SnMessage): void {
    this.sendBytes(this.#codec.encode(message));
  }

  sendBytes(bytes: Uint8Array): void {
    this.bytesSent += bytes.length;
    this.#network(() => {
      if (!this.#isClosed) this.#socket.send(bytes, this.#port, "127.0.0.1");
    });
  }

  /** Takes the first message of a kind, when it has come. */
  async take<K extends Kind>(kind: K): Promise<Of<K>> {
    const isThat = (message: SnMessage): boolean => message.kind === kind;
    await eventually(
      () => this.inbox.some(isThat),
      `a ${kind}; there are ${this.inbox.map((one) => one.kind)}`,
      10_000,
    );
    return this.inbox.splice(this.inbox.findIndex(isThat), 1)[0] as Of<K>;
  }

  /** An id for the next request. */
  nextId(): number {
    return ++this.#messageId;
  }

  async register(topic: string): Promise<number> {
    const messageId = this.nextId();
    this.send({ kind: "register", topicId: 0, messageId, topic });
    const { code, topicId } = await this.take("regack");
    if (code !== 0) throw new Error(`REGACK ${code}`);
    return topicId;
  }

  async subscribe(topic: string, qos: 0 | 1 | 2 = 1): Promise<Of<"suback">> {
    this.send({ kind: "subscribe", dup: false, qos, messageId: this.nextId(), topicKind: 0, topic });
    return this.take("suback");
  }

  publish(topicId: number, data: string, { qos = 1, ...rest }: Partial<Of<"publish">> = {}): number {
    const messageId = qos > 0 ? this.nextId() : 0;
    const bytes = new TextEncoder().encode(data);
    const given = { dup: false, qos, retain: false, topicKind: 0, topicId, messageId, data: bytes } as const;
    this.send({ kind: "publish", ...given, ...rest });
    return messageId;
  }

  /** Takes a PUBLISH at QoS 1, and acknowledges it. Returns its text. */
  async takeQoS1(): Promise<string> {
    const { topicId, messageId, data } = await this.take("publish");
    this.send({ kind: "puback", topicId, messageId, code: 0 });
    return new TextDecoder().decode(data);
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }

  #acknowledgeRegister({ topicId, messageId, topic }: Of<"register">): void {
    this.registered.set(topicId, topic);
    this.send({ kind: "regack", topicId, messageId, code: 0 });
  }
}
