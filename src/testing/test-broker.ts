/**
 * The broker of `mqttzoo/testing`: MQTT 3.1.1 and 5 in this process, for tests of applications. It has no sockets, no
 * disk, and time stands still until the test moves it on; it refuses, cuts and forgets when it is told to.
 */
import { Buffer } from "node:buffer";
import type { IConnectPacket, IPublishPacket, ISubscribePacket } from "mqtt-packet";
import { type MemoryDial, memoryBrokers } from "../client/memory-brokers.ts";
import type { QoS } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { filterMatches, isTopicName } from "../mqtt/topic.ts";
import { openLine } from "./memory-line.ts";
import { TestConnection, willOf } from "./test-connection.ts";
import type { TestMessage } from "./test-message.ts";
import { readFilter, TestSession, type TestSubscription } from "./test-session.ts";

export type { TestMessage } from "./test-message.ts";

export interface TestPublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: IPublishPacket["properties"];
}

/** The packets of clients that can be refused. */
export type Refusable = "connect" | "publish" | "subscribe";

export interface RefusalOptions {
  /** The refusals that follow; 1 unless set, `Infinity`: all. */
  readonly times?: number;
  /** Only this client; unless set, any. */
  readonly clientId?: string;
  /** Only topics, or filters, that match; unless set, any. */
  readonly filter?: string;
}

interface Refusal extends RefusalOptions {
  readonly what: Refusable;
  readonly reasonCode: number;
  left: number;
}

let brokers = 0;

export class TestBroker {
  /** The URL for `connect`, of any copy of the library in this process. */
  readonly url: string;
  /** Every message that was published, wills included, in their order. */
  readonly published: TestMessage[] = [];
  readonly #name = `test-${++brokers}-${Math.trunc(performance.timeOrigin)}`;
  readonly #sessions = new Map<string, TestSession>();
  readonly #connections = new Set<TestConnection>();
  readonly #retained = new Map<string, TestMessage>();
  #refusals: Refusal[] = [];
  readonly #cuts: string[] = [];
  /** Wills that wait for their delay. */
  #wills: { readonly session: TestSession; readonly packet: IPublishPacket; readonly at: number }[] = [];
  #waiting: { readonly filter: string; readonly resolve: (message: TestMessage) => void }[] = [];
  #turns = 0;
  #now = 0;

  /** Takes connections at once. */
  constructor() {
    this.url = `memory://${this.#name}`;
    this.start();
  }

  /** Client ids that are connected. */
  get clients(): string[] {
    return [...this.#connections].flatMap(({ session }) => session?.clientId ?? []);
  }

  /** Returns the filters of a client's session; undefined: it has none. */
  subscriptions(clientId: string): string[] | undefined {
    const session = this.#sessions.get(clientId);
    return session && [...session.subscriptions.keys()];
  }

  retained(topic: string): TestMessage | undefined {
    const message = this.#retained.get(topic);
    return message !== undefined && message.expiresAt > this.#now ? message : undefined;
  }

  /** Publishes as another client would. Throws a `TypeError` if it is no topic. */
  publish(
    topic: string,
    payload: string | Uint8Array,
    { qos = 0, retain = false, properties = {} }: TestPublishOptions = {},
  ): void {
    if (!isTopicName(topic)) throw new TypeError(`${JSON.stringify(topic)} is not a topic`);
    const bytes = typeof payload === "string" ? Buffer.from(payload) : Buffer.from(payload);
    this.#route(
      { cmd: "publish", topic, payload: bytes, qos, retain, dup: false, properties } as IPublishPacket,
      undefined,
    );
  }

  /** Resolves with the next message that is published on a topic that the filter matches. Throws a `TypeError`. */
  next(filter: string): Promise<TestMessage> {
    if (readFilter(filter) === undefined) throw new TypeError(`${JSON.stringify(filter)} is not a topic filter`);
    return new Promise((resolve) => this.#waiting.push({ filter, resolve }));
  }

  /** Refuses what comes next of a kind, with a reason code of MQTT 5; before, clients are told what comes nearest. */
  refuse(what: Refusable, reasonCode: number, options: RefusalOptions = {}): void {
    this.#refusals.push({ ...options, what, reasonCode, left: options.times ?? 1 });
  }

  /** Cuts the connection of a client, or all, as a broken cable would: wills are published. */
  cut(clientId?: string): void {
    for (const connection of [...this.#connections])
      if (clientId === undefined || connection.session?.clientId === clientId) connection.cut();
  }

  /** Cuts the connection that the next packet of a kind comes over: it is dealt with, and the answer is lost. */
  cutAt(packet: "connect" | "publish" | "pubrel" | "puback" | "pubrec" | "subscribe"): void {
    this.#cuts.push(packet);
  }

  /** Forgets a client's session, as a broker whose disk was lost; its connection ends. */
  forget(clientId: string): void {
    this.cut(clientId);
    this.#sessions.delete(clientId);
  }

  /** Cuts all connections, and takes no more. Sessions and retained messages stay. */
  stop(): void {
    memoryBrokers().delete(this.#name);
    this.cut();
  }

  start(): void {
    const dial: MemoryDial = async (events) =>
      openLine(events, (line) => {
        const connection = new TestConnection(this.#side, line);
        this.#connections.add(connection);
        return connection;
      });
    memoryBrokers().set(this.#name, dial);
  }

  /** Moves the time on: sessions and messages expire, wills that were delayed are published. */
  advance(ms: number): void {
    this.#now += ms;
    const due = this.#wills.filter(({ at }) => at <= this.#now);
    this.#wills = this.#wills.filter(({ at }) => at > this.#now);
    for (const { packet, session } of due) this.#route(packet, session.clientId);
    for (const [clientId, { expiresAt, line }] of this.#sessions)
      if (line === undefined && expiresAt <= this.#now) this.#sessions.delete(clientId);
  }

  readonly #side = {
    now: (): number => this.#now,
    isCutAt: (cmd: string): boolean => {
      const at = this.#cuts.indexOf(cmd);
      if (at >= 0) this.#cuts.splice(at, 1);
      return at >= 0;
    },
    admit: (connect: IConnectPacket, connection: TestConnection) => this.#admit(connect, connection),
    publish: (connection: TestConnection, packet: IPublishPacket): number => {
      const clientId = connection.session!.clientId;
      return this.#refusalOf("publish", clientId, packet.topic) ?? this.#route(packet, clientId);
    },
    subscribe: (connection: TestConnection, packet: ISubscribePacket) => this.#subscribe(connection.session!, packet),
    ended: (connection: TestConnection, isProper: boolean): void => this.#ended(connection, isProper),
  };

  #admit(connect: IConnectPacket, connection: TestConnection) {
    const clientId = connect.clientId || `made-up-${this.#sessions.size + 1}`;
    const refused = this.#refusalOf("connect", clientId, undefined);
    if (refused !== undefined) return refused;
    for (const other of [...this.#connections])
      if (other !== connection && other.session?.clientId === clientId) other.disconnect(Reason.sessionTakenOver);
    // A will that waits is not published for a client that is back [MQTT-3.1.3-9].
    this.#wills = this.#wills.filter(({ session }) => session.clientId !== clientId);
    const kept = connect.clean ? undefined : this.#sessions.get(clientId);
    const session = kept ?? new TestSession(clientId);
    session.expiresAt = Infinity;
    this.#sessions.set(clientId, session);
    return { session, isPresent: kept !== undefined };
  }

  #ended(connection: TestConnection, isProper: boolean): void {
    this.#connections.delete(connection);
    const { session, connect, version } = connection;
    if (session === undefined || connect === undefined) return;
    const interval = connect.properties?.sessionExpiryInterval ?? 0;
    const isForEver = version === 4 ? !connect.clean : interval === 0xffff_ffff;
    const expiryMs = isForEver ? Infinity : interval * 1000;
    session.expiresAt = this.#now + expiryMs;
    const will = isProper ? undefined : willOf(connect);
    const delayMs = Math.min(expiryMs, (connect.will?.properties?.willDelayInterval ?? 0) * 1000);
    if (will !== undefined && delayMs > 0) this.#wills.push({ session, packet: will, at: this.#now + delayMs });
    else if (will !== undefined) this.#route(will, session.clientId);
    if (expiryMs === 0 && session.line === undefined && this.#sessions.get(session.clientId) === session)
      this.#sessions.delete(session.clientId);
  }

  #subscribe(session: TestSession, { subscriptions, properties }: ISubscribePacket) {
    const stored: (() => void)[] = [];
    const codes = subscriptions.map(({ topic, qos, nl = false, rap = false, rh = 0 }) => {
      const parsed = readFilter(topic);
      if (parsed === undefined) return Reason.topicFilterInvalid;
      const refused = this.#refusalOf("subscribe", session.clientId, topic);
      if (refused !== undefined) return refused;
      const id = properties?.subscriptionIdentifier as number | undefined;
      const one = { ...parsed, filter: topic, qos: qos as QoS, noLocal: nl, retainAsPublished: rap, id };
      const isNew = !session.subscriptions.has(topic);
      session.subscriptions.set(topic, one);
      if (parsed.group === undefined && (rh === 0 || (rh === 1 && isNew)))
        stored.push(() => this.#sendRetained(session, one));
      return qos;
    });
    return {
      codes,
      after: () => {
        for (const send of stored) send();
      },
    };
  }

  #sendRetained(session: TestSession, { levels, qos, id }: TestSubscription): void {
    for (const topic of this.#retained.keys()) {
      const message = this.retained(topic);
      if (message !== undefined && filterMatches(levels, topic.split("/")))
        session.deliver(message, { qos: Math.min(qos, message.qos) as QoS, retain: true, id });
    }
  }

  /** Returns the reason code: 0x10 if nobody is subscribed. */
  #route(packet: IPublishPacket, clientId: string | undefined): number {
    const { topic, qos, retain, properties = {} } = packet;
    const payload = new Uint8Array(Buffer.from(packet.payload));
    const { messageExpiryInterval: seconds } = properties;
    const expiresAt = seconds === undefined ? Infinity : this.#now + seconds * 1000;
    const text = new TextDecoder().decode(payload);
    const own = { topic, payload, text, qos, retain, clientId, properties };
    const message: TestMessage = { ...own, publishedAt: this.#now, expiresAt };
    if (retain && payload.length === 0) this.#retained.delete(topic);
    else if (retain) this.#retained.set(topic, message);
    this.published.push(message);
    const isHeard = this.#deliver(message);
    const levels = topic.split("/");
    const isMeant = ({ filter }: { readonly filter: string }): boolean =>
      filterMatches(readFilter(filter)!.levels, levels);
    const told = this.#waiting.filter(isMeant);
    this.#waiting = this.#waiting.filter((one) => !isMeant(one));
    for (const { resolve } of told) resolve(message);
    return isHeard ? Reason.success : Reason.noMatchingSubscribers;
  }

  #deliver(message: TestMessage): boolean {
    const groups = new Map<string, { session: TestSession; one: TestSubscription }[]>();
    let isHeard = false;
    const give = (session: TestSession, one: TestSubscription): void => {
      isHeard = true;
      const qos = Math.min(one.qos, message.qos) as QoS;
      session.deliver(message, { qos, retain: one.retainAsPublished && message.retain, id: one.id });
    };
    for (const session of this.#sessions.values())
      for (const one of session.matching(message.topic)) {
        if (one.noLocal && session.clientId === message.clientId) continue;
        if (one.group === undefined) give(session, one);
        else groups.set(one.filter, [...(groups.get(one.filter) ?? []), { session, one }]);
      }
    for (const members of groups.values()) {
      const here = members.filter(({ session }) => session.line !== undefined);
      const { session, one } = (here.length > 0 ? here : members)[this.#turns++ % (here.length || members.length)]!;
      give(session, one);
    }
    return isHeard;
  }

  /** Returns the reason code of a refusal that the test wants; undefined: there is none. */
  #refusalOf(what: Refusable, clientId: string, topic: string | undefined): number | undefined {
    const refusal = this.#refusals.find(
      (one) =>
        one.what === what &&
        (one.clientId ?? clientId) === clientId &&
        (one.filter === undefined ||
          topic === one.filter ||
          filterMatches(readFilter(one.filter)?.levels ?? [], topic?.split("/") ?? [])),
    );
    if (refusal === undefined) return undefined;
    refusal.left--;
    this.#refusals = this.#refusals.filter(({ left }) => left > 0);
    return refusal.reasonCode;
  }
}
