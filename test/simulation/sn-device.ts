/**
 * A device of MQTT-SN in the simulated world, written from the standard: it asks one thing at a time, again until it
 * is answered, sleeps and wakes, changes its address, is restarted, and goes to another broker. What must outlive a
 * restart for QoS 1 and 2 is in its flash memory; all else is forgotten then.
 */
import { decodeUtf8, encodeUtf8 } from "../../src/base/bytes.ts";
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import type { SnMessage, SnPublish } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage } from "../../src/mqttsn/messages.ts";
import type { History } from "../chaos/history.ts";
import { type Datagram, type SnNetwork, underWayMs } from "./sn-network.ts";
import type { World } from "./world.ts";

type Of<K extends SnMessage["kind"]> = Extract<SnMessage, { kind: K }>;

/** away: it has left, and nobody waits for it. */
type State = "away" | "connecting" | "active" | "asleep" | "awake";

/** The message whose answer it waits for. */
interface Asked {
  message: SnMessage;
  readonly take: (answer: SnMessage) => boolean;
  tries: number;
}

/** A message of its own that is not acknowledged. */
interface Publishing {
  readonly messageId: number;
  readonly text: string;
  readonly qos: 1 | 2;
  isReceived: boolean;
}

export interface SnDeviceOptions {
  readonly world: World;
  readonly network: SnNetwork;
  readonly history: History;
  readonly version: 1 | 2;
  readonly subscribe?: string;
}

const retryMs = 350;
const triesMax = 6;
/** Seconds that it says it will be silent at most, and sleep. */
const keepAliveSeconds = 20;
const sleepSeconds = 30;

export class SnDevice {
  readonly name: string;
  state: State = "away";
  /** True while it has something to say. */
  isBusy = false;
  /** True: it stays where it is, and only sleeps and wakes. */
  isCalm = false;
  /** True once it leaves for good when it can. */
  isLeaving = false;
  wakings = 0;
  #hasConnected = false;
  readonly #world: World;
  readonly #network: SnNetwork;
  readonly #history: History;
  readonly #version: 1 | 2;
  readonly #filter: string | undefined;
  #broker: string;
  #port = 1000;
  #asked: Asked | undefined;
  /** Counts what it is about to do: what it was about to do before counts no more. */
  #turn = 0;
  // In memory.
  readonly #topics = new Map<number, string>();
  #topicId: number | undefined;
  // In flash memory.
  #isSubscribed = false;
  #messageId = 0;
  #sequence = 0;
  #publishing: Publishing | undefined;
  /** Messages of QoS 2 that it has taken and whose PUBREL has not come. */
  readonly #unreleased = new Map<number, string>();
  /** When PUBREL of each was sent: copies of PUBLISH that were sent before and come later are no new messages. */
  readonly #released = new Map<string, number>();

  constructor(name: string, { world, network, history, version, subscribe }: SnDeviceOptions) {
    this.name = name;
    this.#world = world;
    this.#network = network;
    this.#history = history;
    this.#version = version;
    this.#filter = subscribe;
    this.#broker = this.#anyBroker();
  }

  get isReady(): boolean {
    return this.#isSubscribed || (this.#filter === undefined && this.#hasConnected);
  }

  get isSettled(): boolean {
    return this.#publishing === undefined;
  }

  get #address(): string {
    return `${this.name}:${this.#port}`;
  }

  /** Begins, or begins again with what is in its flash memory. */
  start(): void {
    this.#port++;
    this.#network.bind(this.#address, (datagram) => this.#receive(datagram));
    this.#connect();
  }

  #anyBroker(): string {
    const ids = [...this.#world.nodes.keys()];
    return ids[Math.floor(this.#world.random.next() * ids.length)]!;
  }

  /** Another address, as behind a NAT that has forgotten it, or after a restart. */
  #changeAddress(): void {
    this.#network.unbind(this.#address);
    this.#port++;
    this.#network.bind(this.#address, (datagram) => this.#receive(datagram));
  }

  #after(ms: number, run: () => void): void {
    const turn = ++this.#turn;
    this.#world.after(ms, () => {
      if (turn === this.#turn) run();
    });
  }

  #send(message: SnMessage): void {
    this.#network.send(this.#address, this.#broker, this.#encode(message));
  }

  #encode(message: SnMessage): Uint8Array {
    return this.#version === 2 ? encodeMessage2(message) : encodeMessage(message);
  }

  /** Asks until `take` says that it was answered; in vain: it looks for another broker. */
  #ask(message: SnMessage, take: (answer: SnMessage) => boolean): void {
    this.#asked = { message, take, tries: 0 };
    this.#askAgain();
  }

  #askAgain(): void {
    const asked = this.#asked!;
    if (asked.tries++ >= triesMax) {
      this.#broker = this.#anyBroker();
      return this.#after(underWayMs, () => this.#connect());
    }
    this.#send(asked.message);
    const { message } = asked;
    if (message.kind === "publish" || message.kind === "subscribe") asked.message = { ...message, dup: true };
    this.#after(retryMs, () => this.#askAgain());
  }

  #connect(): void {
    this.state = "connecting";
    this.#topics.clear();
    this.#topicId = undefined;
    const none = { will: undefined, packetBytesMax: 0, allowsMoves: true, method: undefined, awakeMax: 0 };
    const messageId = this.#nextId();
    const message: SnMessage = {
      ...{ kind: "connect", will: false, clean: false, protocolId: this.#version, duration: keepAliveSeconds },
      ...{ clientId: this.name, ...(this.#version === 2 && { of2: { messageId, expiry: 3600, ...none } }) },
    } as Of<"connect">;
    this.#ask(message, (answer) => {
      if (answer.kind !== "connack") return false;
      this.#hasConnected ||= answer.code === 0;
      if (answer.code === 0) this.#goOn("active");
      else this.#after(retryMs, () => this.#connect());
      return true;
    });
  }

  /** Nothing is asked any more: it does what comes next. */
  #goOn(state: "active" | "asleep"): void {
    this.state = state;
    this.#asked = undefined;
    this.#after(0, () => (state === "active" ? this.#act() : this.#rest()));
  }

  #act(): void {
    const { random } = this.#world;
    if (this.#filter !== undefined && !this.#isSubscribed) return this.#subscribe(this.#filter);
    if (this.#publishing !== undefined) return this.#publish(this.#publishing);
    if (this.isLeaving) return this.#leave();
    const chance = random.next();
    if (this.isBusy && chance < 0.7) return this.#publishNew();
    if (chance < 0.8) return this.#sleep();
    if (chance < 0.9 && !this.isCalm) return this.#after(random.next() * 500, () => this.#restart());
    this.#ask({ kind: "pingreq", clientId: "", messageId: this.#nextId() }, (answer) => {
      if (answer.kind !== "pingresp") return false;
      this.#after(random.next() * 500, () => this.#act());
      this.#asked = undefined;
      return true;
    });
  }

  #subscribe(topic: string): void {
    const messageId = this.#nextId();
    this.#ask({ kind: "subscribe", dup: false, qos: 2, messageId, topicKind: 0, topic }, (answer) => {
      if (answer.kind !== "suback" || answer.messageId !== messageId) return false;
      this.#isSubscribed ||= answer.code === 0;
      this.#goOn("active");
      return true;
    });
  }

  #publishNew(): void {
    const qos = this.#world.random.next() < 0.5 ? 1 : 2;
    const topic = `sim/${this.name}`;
    const text = this.#history.send({ publisher: this.name, topic, sequence: this.#sequence++, qos });
    this.#publishing = { messageId: this.#nextId(), text, qos, isReceived: false };
    this.#publish(this.#publishing);
  }

  #publish(publishing: Publishing): void {
    const { messageId, text, qos } = publishing;
    if (publishing.isReceived) return this.#release(publishing);
    const topicId = this.#topicId;
    if (topicId === undefined) return this.#register();
    const data = encodeUtf8(text);
    const dup = publishing.isReceived;
    this.#ask({ kind: "publish", dup, qos, retain: false, topicKind: 0, topicId, messageId, data }, (answer) => {
      if (answer.kind === "pubrec" && answer.messageId === messageId && qos === 2) {
        publishing.isReceived = true;
        this.#history.acknowledge(text);
        this.#release(publishing);
        return true;
      }
      if (answer.kind !== "puback" || answer.messageId !== messageId) return false;
      if (answer.code === 2) this.#topicId = undefined;
      if (answer.code === 0) {
        this.#history.acknowledge(text);
        this.#publishing = undefined;
      }
      if (answer.code === 1) this.#after(retryMs, () => this.#publish(publishing));
      else this.#goOn("active");
      return true;
    });
  }

  #release({ messageId }: Publishing): void {
    this.#ask({ kind: "pubrel", messageId }, (answer) => {
      if (answer.kind !== "pubcomp" || answer.messageId !== messageId) return false;
      this.#publishing = undefined;
      this.#goOn("active");
      return true;
    });
  }

  #register(): void {
    const messageId = this.#nextId();
    this.#ask({ kind: "register", topicId: 0, messageId, topic: `sim/${this.name}` }, (answer) => {
      if (answer.kind !== "regack" || answer.messageId !== messageId) return false;
      if (answer.code === 0) this.#topicId = answer.topicId;
      this.#goOn("active");
      return true;
    });
  }

  #sleep(): void {
    const messageId = this.#nextId();
    const asleep = (isSo: boolean): boolean => {
      if (isSo) this.#goOn("asleep");
      return isSo;
    };
    if (this.#version === 1)
      return this.#ask({ kind: "disconnect", duration: sleepSeconds }, ({ kind }) => asleep(kind === "disconnect"));
    this.#ask({ kind: "sleepreq", messageId, duration: sleepSeconds, keepsTopics: true }, (answer) =>
      asleep(answer.kind === "sleepresp" && answer.messageId === messageId),
    );
  }

  #rest(): void {
    const { random } = this.#world;
    // Longer than anything may be under way to where it was before.
    this.#after(underWayMs + random.next() * 1500, () => {
      const chance = this.isCalm ? 0.6 : random.next();
      if (chance < 0.1) return this.#restart();
      if (chance < 0.3) this.#broker = this.#anyBroker();
      if (chance < 0.5) this.#changeAddress();
      if (this.#publishing !== undefined || this.isBusy || this.isLeaving)
        return chance < 0.8 ? this.#connect() : this.#wake();
      this.#wake();
    });
  }

  #wake(): void {
    this.state = "awake";
    this.wakings++;
    const messageId = this.#nextId();
    const ping: SnMessage = { kind: "pingreq", clientId: this.#version === 1 ? this.name : "", messageId };
    const inner = this.#encode(ping);
    const message: SnMessage = this.#version === 1 ? ping : { kind: "identified", clientId: this.name, inner };
    this.#ask(message, (answer) => {
      if (answer.kind !== "pingresp") return false;
      if (this.#version === 2 && answer.messageId !== messageId) return false;
      this.#goOn("asleep");
      return true;
    });
  }

  /** Restarts it, somewhere else perhaps. */
  #restart(): void {
    this.#broker = this.#anyBroker();
    this.#changeAddress();
    this.#asked = undefined;
    this.#after(underWayMs, () => this.#connect());
  }

  #leave(): void {
    this.#ask({ kind: "disconnect", duration: undefined }, ({ kind }) => {
      if (kind !== "disconnect") return false;
      this.state = "away";
      this.#asked = undefined;
      this.#turn++;
      return true;
    });
  }

  #receive({ bytes, from, sentAt }: Datagram): void {
    // Its radio is off, or it is not for it.
    if (this.state === "asleep" || this.state === "away" || from !== this.#broker) return;
    const message = this.#version === 2 ? decodeMessage2(bytes) : decodeMessage(bytes);
    if (message.kind === "malformed") return void this.#network.wrong.push(`malformed, ${message.why}`);
    if (message.kind === "publish") return this.#take(message, sentAt);
    if (message.kind === "pubrel") return this.#complete(message.messageId, sentAt);
    if (message.kind === "register") {
      this.#topics.set(message.topicId, message.topic);
      const { topicId, messageId } = message;
      return this.#send({ kind: "regack", topicId, messageId, code: 0 });
    }
    if (this.#asked?.take(message) === true) return;
    // What it said does not count any more where its session is not known.
    if (message.kind === "disconnect" && this.state !== "connecting") this.#after(retryMs, () => this.#connect());
  }

  #take({ qos, retain, topicKind, topicId, messageId, data }: SnPublish, sentAt: number): void {
    if (topicKind === 0 && !this.#topics.has(topicId))
      return this.#send({ kind: "puback", topicId, messageId, code: 2 });
    const text = decodeUtf8(data);
    // Each SUBSCRIBE brings what is retained, one that somebody forges, too.
    if (qos === 1) {
      if (!retain) this.#history.receive(this.name, text);
      return this.#send({ kind: "puback", topicId, messageId, code: 0 });
    }
    const releasedAt = this.#released.get(text) ?? -1;
    if (!this.#unreleased.has(messageId) && sentAt > releasedAt) {
      this.#unreleased.set(messageId, text);
      if (!retain) this.#history.receive(this.name, text);
    }
    this.#send({ kind: "pubrec", messageId });
  }

  #complete(messageId: number, sentAt: number): void {
    const text = this.#unreleased.get(messageId);
    if (text !== undefined) this.#released.set(text, sentAt);
    this.#unreleased.delete(messageId);
    this.#send({ kind: "pubcomp", messageId });
  }

  #nextId(): number {
    this.#messageId = this.#messageId >= 0xffff ? 1 : this.#messageId + 1;
    return this.#messageId;
  }
}
