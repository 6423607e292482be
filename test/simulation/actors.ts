/** Clients of the simulated world: they come back with their sessions, and tell the history what they did and saw. */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions, Message } from "../../src/client/connection-options.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { Turn } from "../../src/net/writer.ts";
import type { History } from "../chaos/history.ts";
import type { Wire } from "./wire.ts";
import type { World } from "./world.ts";

/** Publishes of one publisher that are not acknowledged, at most. */
const window = 8;
/** A client that gets no answer to CONNECT tries another broker. */
const patienceMs = 3000;
/** A hasty client waits so long at most, so many times of a hundred. */
const hasteMs = 60;
const hastePart = 0.3;

/** Now and then a message is larger than what the keeper takes at once, where the world has such. */
const largeEvery = 6;
/** Larger than what one commit takes: of the keeper at the port, and of an ensemble. */
const largeBytes = [60_000, 1_060_000];

/** The payload without what makes it large; damaged, if it is neither small nor whole. */
export function unpadded(text: string): string {
  const payload = text.replace(/\.+$/, "");
  return text.length === payload.length || largeBytes.includes(text.length) ? payload : `${payload} damaged`;
}

export interface ActorOptions {
  readonly world: World;
  readonly history: History;
  /** True if the actor's session ends with its connection. */
  readonly isBrief?: boolean;
  /** Brokers that it connects to; undefined: all. */
  readonly at?: readonly string[];
  /** True if it subscribes at QoS 1; otherwise at QoS 2. */
  readonly readsAtQoS1?: boolean;
  /** Further options of its connections. */
  readonly connection?: Partial<ConnectionOptions>;
}

export class Actor {
  readonly name: string;
  readonly #qos: QoS;
  readonly session: ClientSession;
  readonly history: History;
  readonly world: World;
  client: MqttConnection | undefined;
  up = false;
  /** True while it must not come back. */
  isAway = false;
  /** True if the bank could not pay for its session when it asked last. */
  isUnpaid = false;
  readonly #isBrief: boolean;
  readonly #connection: Partial<ConnectionOptions>;
  /** Brokers that it connects to; undefined: all. */
  readonly #at: readonly string[] | undefined;
  #subscribedTo: string | undefined;
  #isSubscribed = false;
  /** True once it has been connected: its session is there from then on, unless it was ended. */
  #hasSession = false;
  /** True from when it is told that its session has ended until it has subscribed again. */
  #isAnew = false;
  #isClean = false;
  #attempt = 0;
  #wire: Wire | undefined;

  constructor(name: string, options: ActorOptions & { subscribe?: string; session?: ClientSession }) {
    this.name = name;
    this.#qos = options.readsAtQoS1 === true ? 1 : 2;
    if (this.#qos === 1) options.history.readsAtQoS1(name);
    this.#at = options.at;
    this.#isBrief = options.isBrief === true;
    this.#connection = options.connection ?? {};
    this.world = options.world;
    this.history = options.history;
    this.session = options.session ?? new ClientSession();
    this.#subscribedTo = options.subscribe;
  }

  /** When it last had subscribed again after its session had ended, in ms; undefined: it never had to. */
  anewAt: number | undefined;
  /** Each end of its session that it was not told of as it should, in words. */
  readonly untold: string[] = [];

  get isReady(): boolean {
    return this.up && (this.#subscribedTo === undefined || this.#isSubscribed);
  }

  /** Connects to a broker by chance, and again whenever the connection is lost. */
  live(): void {
    if (!this.up && !this.isAway && this.client === undefined) this.#connect();
    this.world.after(20 + this.world.random.next() * 60, () => this.live());
  }

  leave(): void {
    if (this.up) this.client!.disconnect();
    // Two connections of one client at once would be the client's fault, not the broker's.
    else this.client?.abort("it has left");
    this.#gone();
  }

  /** Changes brokers: what it has sent is still on its way when it connects again. */
  hop(): void {
    if (this.up) this.#connectAnew("it changes brokers");
  }

  /** Is somewhere else all of a sudden: the broker that it was connected to does not hear of it. */
  roam(): void {
    if (!this.up) return;
    this.#cutOff();
    this.hop();
  }

  /** Has nobody hear any more what it sends, nor that it has gone. */
  #cutOff(): void {
    if (this.#wire !== undefined) this.#wire.isCut = () => true;
  }

  #connectAnew(why: string): void {
    this.client!.abort(why);
    this.#gone();
    this.#connect();
  }

  /** Notes what CONNACK says of its session: only one whose mailbox was full ends, and its client is told why. */
  #judgeSession({ sessionPresent, granted }: MqttConnection): void {
    const isLasting = !this.#isBrief && this.#connection.sessionExpiryInterval === undefined && !this.#isClean;
    if (isLasting && this.#hasSession && !sessionPresent) {
      if (!granted.reasonString?.includes("its mailbox"))
        this.untold.push(`${this.name} has no session any more, and is told ${granted.reasonString ?? "nothing"}`);
      this.#isAnew = true;
      this.history.ends(this.name);
      this.beginsAnew();
    }
    this.#hasSession = true;
  }

  /** Called when its subscriptions are no more. */
  protected beginsAnew(): void {
    this.#isSubscribed = false;
  }

  /** Does not read for so long, in ms. */
  dawdle(forMs: number): void {
    const { client } = this;
    if (client === undefined || !this.up) return;
    client.pause();
    this.world.after(forMs, () => client.resume());
  }

  /** The options of the next connection, besides the rest. */
  protected nextConnection(): Partial<ConnectionOptions> {
    return {};
  }

  /** A connection is up, or over. */
  protected connected(_client: MqttConnection): void {}
  protected disconnected(): void {}
  /** Called when it has subscribed. */
  protected granted(): void {}

  protected received({ payload, retain }: Message): void {
    // Whoever subscribes again is handed what is retained, which it may have had before.
    if (retain && (this.#isAnew || this.anewAt !== undefined)) return;
    this.history.receive(this.name, unpadded(decodeUtf8(payload)));
  }

  #gone(): void {
    const wasUp = this.up;
    this.up = false;
    this.client = undefined;
    if (this.#isBrief) this.#isSubscribed = false;
    if (wasUp) this.disconnected();
  }

  #connect(): void {
    const ids = this.#at ?? [...this.world.nodes.keys()];
    const node = this.world.node(ids[Math.floor(this.world.random.next() * ids.length)]!);
    const attempt = ++this.#attempt;
    const next = this.nextConnection();
    this.#isClean = next.clean === true;
    const client = new MqttConnection({
      clientId: this.name,
      clean: this.#isBrief,
      keepAlive: 0,
      sessionExpiryInterval: this.#isBrief ? 0 : 0xffff_ffff,
      session: this.session,
      turn: new Turn((flush) => queueMicrotask(flush)),
      ...this.#connection,
      ...next,
      onMessage: (message) => this.received(message),
      onClose: () => {
        if (this.#attempt === attempt) this.#gone();
      },
    });
    const wire = node.dialWire({
      received: (bytes) => client.received(bytes),
      closed: (why) => client.closed(why),
      drained: () => client.drained(),
    });
    if (wire === undefined) return;
    this.#wire = wire;
    this.client = client;
    client.opened(wire.transport(0, node.id));
    const isOurs = (): boolean => this.client === client;
    this.world.after(patienceMs, () => {
      if (isOurs() && !this.up) client.abort("no answer");
    });
    this.#hasten(isOurs);
    client.ready.then(
      () => {
        if (!isOurs()) return;
        this.up = true;
        this.isUnpaid = false;
        this.#judgeSession(client);
        this.connected(client);
        if (this.#subscribedTo !== undefined && !this.#isSubscribed) void this.#subscribe(client, this.#subscribedTo);
      },
      (error: Error) => {
        if (this.#attempt === attempt) this.isUnpaid = error.message.includes("quota exceeded");
      },
    );
  }

  /** Connects anew before CONNACK has come, perhaps: both CONNECTs are handled at once, at one broker or at two. */
  #hasten(isOurs: () => boolean): void {
    const { haste } = this.world;
    if (haste === undefined || haste.next() >= hastePart) return;
    const hearsOfIt = haste.next() < 0.5;
    this.world.after(haste.next() * hasteMs, () => {
      if (!isOurs() || this.up) return;
      if (!hearsOfIt) this.#cutOff();
      this.#connectAnew("it is in haste");
    });
  }

  async #subscribe(client: MqttConnection, filter: string): Promise<void> {
    const codes = await client.subscribe([filter], { qos: this.#qos }).catch(() => undefined);
    if (codes === undefined || codes[0]! >= 0x80 || this.client !== client) return;
    this.#isSubscribed = true;
    if (this.#isAnew) {
      this.#isAnew = false;
      this.anewAt = this.world.now();
      this.history.beginsAnew(this.name);
    }
    this.granted();
  }
}

export class PublishingActor extends Actor {
  readonly #qos: QoS;
  /** A message comes within so many ms. */
  readonly #pace: number;
  readonly #topic: string;
  readonly #expiry: number | undefined;
  #sequence = 0;
  isBusy = false;

  constructor(
    name: string,
    options: ActorOptions & {
      qos: QoS;
      pace?: number;
      topic?: string;
      /** Seconds that its messages live. */
      expiry?: number;
    },
  ) {
    const { history } = options;
    const session = new ClientSession(({ publish }, reason) => {
      if (reason < 0x80)
        history.acknowledge(unpadded(decodeUtf8(publish.payloadBytes, publish.payloadStart, publish.payloadEnd)));
    });
    super(name, { ...options, session });
    this.#qos = options.qos;
    this.#pace = options.pace ?? 60;
    this.#topic = options.topic ?? `sim/${name}`;
    this.#expiry = options.expiry;
  }

  get isSettled(): boolean {
    return this.session.outgoing.size === 0;
  }

  work(): void {
    if (this.isBusy && this.up && this.session.outgoing.size < window) {
      const topic = this.#topic;
      const payload = this.history.send({ publisher: this.name, topic, sequence: this.#sequence++, qos: this.#qos });
      // Now and then it is retained: everything of a topic is in one order, whether it is kept or not.
      const retain = this.world.random.next() < 0.1 && this.#expiry === undefined;
      if (retain) this.history.retain(topic, payload);
      const properties = this.#expiry === undefined ? {} : { properties: { messageExpiryInterval: this.#expiry } };
      const isLarge = this.world.hasLarge && this.#sequence % largeEvery === 0;
      const bytes = largeBytes[this.world.ensemble === undefined ? 0 : 1]!;
      const text = isLarge ? payload.padEnd(bytes, ".") : payload;
      this.client!.publish(topic, text, { qos: this.#qos, retain, ...properties }).catch(() => {});
    }
    this.world.after(this.world.random.next() * this.#pace, () => this.work());
  }
}
