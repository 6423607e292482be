/**
 * A device that speaks MQTT-SN as the standard would have it over a bad network: it asks again until it is answered,
 * and takes what comes twice once.
 */
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import type { SnMessage, SnPublish } from "../../src/mqttsn/message-kinds.ts";
import type { Network } from "./lossy.ts";
import { SnClient } from "./sn-client.ts";

/** Answers that are awaited by their kinds: 1.2 does not number them. */
const unnumbered: ReadonlySet<string> = new Set(["connack", "pingresp", "sleepresp"]);

type Of<K extends SnMessage["kind"]> = Extract<SnMessage, { kind: K }>;

/** The pause before a device asks again; short, so that a test is. */
const retryMs = 60;
const triesMax = 60;
/** How long a device says that it sleeps when it has to say so again. */
const sleepSeconds = 600;

export class SnDevice {
  readonly clientId: string;
  /** The texts of the messages that it was sent, once each. */
  readonly got: string[] = [];
  readonly client: SnClient;
  /** Messages of QoS 2 whose PUBREL has not come, and those that came last: the network may bring them once more. */
  readonly #received = new Set<number>();
  #last: string[] = [];
  readonly #awaited = new Map<string, (message: SnMessage) => void>();
  #messageId = 0;
  /** True once the gateway has said that it knows of no connection: an old CONNECT that came late was another. */
  #isForgotten = false;

  readonly #version: 1 | 2;

  private constructor(clientId: string, client: SnClient, version: 1 | 2) {
    this.clientId = clientId;
    this.client = client;
    this.#version = version;
    client.onMessage = () => this.#take();
  }

  static async open(port: number, clientId: string, network?: Network, version: 1 | 2 = 1): Promise<SnDevice> {
    const codec = version === 2 ? { encode: encodeMessage2, decode: decodeMessage2 } : undefined;
    return new SnDevice(clientId, await SnClient.open(port, network, codec), version);
  }

  async connect({ clean = false, duration = 600 } = {}): Promise<void> {
    const { clientId } = this;
    const none = { will: undefined, packetBytesMax: 0, allowsMoves: true, method: undefined, awakeMax: 0 };
    const of2 = { messageId: this.#nextId(), expiry: clean ? 0 : 3600, ...none };
    const both = { kind: "connect", will: false, clean, protocolId: this.#version, duration, clientId } as const;
    await this.#ask(this.#version === 2 ? { ...both, of2 } : both, "connack");
  }

  async register(topic: string): Promise<number> {
    const messageId = this.#nextId();
    const answer = await this.#ask({ kind: "register", topicId: 0, messageId, topic }, "regack", messageId);
    return answer.topicId;
  }

  async subscribe(topic: string, qos: 0 | 1 | 2): Promise<void> {
    const messageId = this.#nextId();
    await this.#ask({ kind: "subscribe", dup: false, qos, messageId, topicKind: 0, topic }, "suback", messageId);
  }

  async publish(topicId: number, text: string, qos: 1 | 2): Promise<void> {
    const messageId = this.#nextId();
    const data = new TextEncoder().encode(text);
    const head = { kind: "publish", dup: false, qos, retain: false, topicKind: 0 } as const;
    const { code } = await this.#publish({ ...head, topicId, messageId, data });
    if (code !== 0) return this.publish(topicId, text, qos);
    if (qos === 2) await this.#ask({ kind: "pubrel", messageId }, "pubcomp", messageId);
  }

  /** Sleeps for so long, in seconds, but for its calls of `fetch`. */
  async sleep(duration: number): Promise<void> {
    if (this.#version === 1) await this.#ask({ kind: "disconnect", duration }, "disconnect");
    else await this.#ask({ kind: "sleepreq", messageId: this.#nextId(), duration, keepsTopics: true }, "sleepresp");
  }

  /** Wakes for its mail, and sleeps again. */
  async fetch(): Promise<void> {
    if (this.#version === 1) return void (await this.#ask({ kind: "pingreq", clientId: this.clientId }, "pingresp"));
    if (this.#isForgotten) {
      // PINGREQ of 2.0 does not say who asks, so that a device must connect again.
      await this.connect();
      await this.sleep(sleepSeconds);
      this.#isForgotten = false;
    }
    await this.#ask({ kind: "pingreq", clientId: "", messageId: this.#nextId() }, "pingresp");
  }

  close(): void {
    this.client.close();
  }

  async #publish(message: SnPublish): Promise<{ code: number }> {
    const { messageId, qos } = message;
    if (qos === 1) return this.#ask(message, "puback", messageId);
    return Promise.race([
      this.#ask(message, "pubrec", messageId).then(() => ({ code: 0 })),
      this.#await("puback", messageId),
    ]);
  }

  /** Sends a message until its answer has come. */
  async #ask<K extends SnMessage["kind"]>(message: SnMessage, kind: K, messageId?: number): Promise<Of<K>> {
    let answer: Of<K> | undefined;
    const answered = this.#await(kind, messageId).then((found) => {
      answer = found;
    });
    for (let tries = 0; tries < triesMax && answer === undefined; tries++) {
      const canSay = message.kind === "publish" || message.kind === "subscribe";
      this.client.send(canSay && tries > 0 ? { ...message, dup: true } : message);
      await Promise.race([answered, Bun.sleep(retryMs)]);
    }
    if (answer === undefined) throw new Error(`${this.clientId}: no ${kind} for a ${message.kind}`);
    return answer;
  }

  #await<K extends SnMessage["kind"]>(kind: K, messageId?: number): Promise<Of<K>> {
    return new Promise((resolve) => {
      this.#awaited.set(`${kind} ${messageId}`, (message) => resolve(message as Of<K>));
    });
  }

  #take(): void {
    for (const message of this.client.inbox.splice(0)) {
      if (message.kind === "publish") this.#receive(message);
      else if (message.kind === "pubrel") this.#release(message.messageId);
      else if (message.kind === "disconnect" && this.#version === 2) this.#isForgotten = true;
      else {
        const messageId = "messageId" in message && !unnumbered.has(message.kind) ? message.messageId : undefined;
        this.#awaited.get(`${message.kind} ${messageId}`)?.(message);
      }
    }
  }

  #receive({ qos, topicId, messageId, data }: SnPublish): void {
    const text = new TextDecoder().decode(data);
    const isNew = !this.#last.includes(text) && !this.#received.has(messageId);
    if (isNew) {
      this.got.push(text);
      this.#last = [...this.#last.slice(-7), text];
    }
    if (qos === 1) this.client.send({ kind: "puback", topicId, messageId, code: 0 });
    if (qos !== 2) return;
    this.#received.add(messageId);
    this.client.send({ kind: "pubrec", messageId });
  }

  #release(messageId: number): void {
    this.#received.delete(messageId);
    this.client.send({ kind: "pubcomp", messageId });
  }

  #nextId(): number {
    return ++this.#messageId;
  }
}
