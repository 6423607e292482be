/**
 * The client side of MQTT-SN 1.2, without IO and told the time: what the tools speak. Its requests are made one after
 * the other, as the standard asks for (6.13), or, to put load on a broker, several at once; what is not answered is
 * sent again. It may sleep, and then wakes by itself now and then for what waits.
 */
import { Ring } from "../base/ring.ts";
import { snRetriesMax } from "../base/sn-limits.ts";
import type { Answered, Of, Publication, SnClientDoors, SnClientOptions } from "./client-terms.ts";
import { protocolId, ReturnCode, TopicKind } from "./constants.ts";
import {
  again,
  asked,
  choiceOf,
  type Exchange,
  exchangeIds,
  exchangeOf,
  ignore,
  nameOf,
  type Step,
  sentOnly,
} from "./exchange.ts";
import { Inward } from "./inward.ts";
import type { Malformed, SnMessage } from "./message-kinds.ts";
import { decodeMessage, encodeMessage } from "./messages.ts";
import { shortIdOf } from "./terms.ts";

/** over: it has left, or the connection is lost. */
type State = "new" | "active" | "asleep" | "awake" | "over";

/** An exchange whose turn has come. */
interface UnderWay {
  readonly exchange: Exchange;
  sent: SnMessage;
  tries: number;
  dueAt: number;
}

const backOff = 1.5;
/** The part of the Keep Alive after which a silent client is heard of, so that a lost datagram is no misfortune. */
const keepAlivePart = 0.75;

export class SnClient {
  readonly #options: SnClientOptions;
  readonly #doors: SnClientDoors;
  readonly #inward: Inward;
  readonly #waiting = new Ring<Exchange>();
  readonly #underWay = new Map<number, UnderWay>();
  /** The ids of topics that the gateway has told us. */
  readonly #topicIds = new Map<string, number>();
  #state: State = "new";
  #nextId: number;
  #sentAt = 0;
  #sleepSeconds = 0;
  #wakeAt = Infinity;
  #isPaused = false;

  constructor(options: SnClientOptions, doors: SnClientDoors) {
    this.#options = options;
    this.#doors = doors;
    this.#nextId = options.firstId;
    this.#inward = new Inward({
      tell: (message) => this.#send(message),
      received: (message) => doors.received(message),
    });
  }

  get state(): State {
    return this.#state;
  }

  /** The number of requests that are under way or wait for their turn. */
  get pending(): number {
    return this.#underWay.size + this.#waiting.length;
  }

  /** Takes no messages while it is so; what is not acknowledged comes again. */
  set isPaused(isPaused: boolean) {
    this.#isPaused = isPaused;
  }

  /** Returns when `tick` must be called next. */
  nextDeadline(): number {
    if (this.#state === "over") return Infinity;
    let next = Math.min(this.#wakeAt, this.#pingAt);
    for (const { dueAt } of this.#underWay.values()) next = Math.min(next, dueAt);
    return next;
  }

  /** CONNECT, with the will if there is one. */
  connect(answered: Answered<"connack">): void {
    const { clientId, clean, keepAlive, will } = this.#options;
    const duration = keepAlive === 0 ? 0xffff : keepAlive;
    this.#begin({
      ...asked(exchangeIds.connect, answered),
      begin: () => ({ kind: "connect", will: will !== undefined, clean, protocolId, duration, clientId }),
      take: (answer): Step => {
        if (answer.kind === "willtopicreq" && will !== undefined)
          return { kind: "willtopic", topic: will.topic, qos: will.qos, retain: will.retain };
        if (answer.kind === "willmsgreq" && will !== undefined) return { kind: "willmsg", data: will.data };
        if (answer.kind !== "connack") return "no answer";
        if (answer.code === ReturnCode.accepted) this.#state = "active";
        return "over";
      },
    });
  }

  subscribe(filter: string, qos: 0 | 1 | 2, answered: Answered<"suback">): void {
    const messageId = this.#newId();
    this.#begin({
      ...asked(messageId, answered),
      begin: () => ({ kind: "subscribe", dup: false, qos, messageId, ...choiceOf(filter) }),
      take: (answer) => {
        if (answer.kind !== "suback") return "no answer";
        if (answer.code === ReturnCode.congestion) return "later";
        if (answer.code === ReturnCode.accepted && answer.topicId !== 0) this.#learn(answer.topicId, filter);
        return "over";
      },
    });
  }

  unsubscribe(filter: string, answered: Answered<"unsuback">): void {
    const messageId = this.#newId();
    this.#begin({
      ...asked(messageId, answered),
      begin: () => ({ kind: "unsubscribe", messageId, ...choiceOf(filter) }),
      take: ({ kind }) => (kind === "unsuback" ? "over" : "no answer"),
    });
  }

  /** Publishes, after REGISTER if the topic has no id yet. The answer of QoS 0 is PUBACK though none comes. */
  publish(publication: Publication, answered: Answered<"puback">): void {
    const { topic, qos } = publication;
    if (qos === 0 && this.pending === 0 && this.#topicOf(topic) !== undefined) {
      this.#send(this.#publishOf(publication, 0));
      return answered(sentOnly);
    }
    const messageId = this.#newId();
    let unknown = 0;
    let isRegistered = false;
    this.#begin({
      ...asked<"puback">(messageId, (answer) => answered(answer && { ...sentOnly, code: answer.code ?? 0 })),
      isUnanswered: qos === 0,
      begin: () => {
        // Where no id was granted, the gateway says so once more.
        if (isRegistered || this.#topicOf(topic) !== undefined)
          return this.#publishOf(publication, qos === 0 ? 0 : messageId);
        isRegistered = true;
        return { first: this.#registering(topic) };
      },
      take: (answer) => {
        if (answer.kind !== "puback" || answer.code !== ReturnCode.invalidTopicId || unknown++ >= snRetriesMax)
          return published(answer, qos, messageId);
        // The gateway knows the id no more: it makes room for others.
        return this.#topicIds.delete(topic) ? { first: this.#registering(topic) } : "over";
      },
    });
  }

  /** Finds out whether the gateway is there; of a client that sleeps, it fetches what waits for it first. */
  ping(answered: Answered<"pingresp">): void {
    const isAsleep = this.#state === "asleep";
    this.#begin({
      ...asked(exchangeIds.ping, answered),
      isAlone: isAsleep,
      begin: () => {
        if (isAsleep) this.#state = "awake";
        return { kind: "pingreq", clientId: isAsleep ? this.#options.clientId : "" };
      },
      take: ({ kind }) => {
        if (kind !== "pingresp") return "no answer";
        if (isAsleep) this.#fallAsleep();
        return "over";
      },
    });
  }

  /** Sleeps from now on, and wakes by itself every so many seconds for what waits. */
  sleep(seconds: number, answered: Answered<"disconnect">): void {
    this.#sleepSeconds = seconds;
    this.#begin({
      ...asked(exchangeIds.disconnect, answered),
      isAlone: true,
      begin: () => ({ kind: "disconnect", duration: seconds }),
      take: () => {
        this.#fallAsleep();
        return "over";
      },
    });
  }

  /** SEARCHGW: whoever is asked answers, connected or not. */
  search(answered: Answered<"gwinfo">): void {
    this.#begin({
      ...asked(exchangeIds.search, answered),
      begin: () => ({ kind: "searchgw", radius: 0 }),
      take: () => "over",
    });
  }

  /** Leaves, and waits until that is known. */
  disconnect(answered: Answered<"disconnect">): void {
    this.#wakeAt = Infinity;
    this.#begin({
      ...asked(exchangeIds.disconnect, (answer: Of<"disconnect"> | undefined) => {
        this.#state = "over";
        answered(answer);
      }),
      isAlone: true,
      begin: () => ({ kind: "disconnect", duration: undefined }),
      take: () => "over",
    });
  }

  /** Handles a datagram of the gateway's; it is read, not kept. */
  receive(bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    if (message.kind === "malformed" || this.#state === "over") return;
    const id = exchangeOf(message);
    if (id === undefined) return this.#receiveUnasked(message);
    const one = this.#underWay.get(id);
    if (one !== undefined) return this.#take(one, message);
    if (message.kind === "disconnect") return this.#lose("the gateway has ended the connection");
    // PUBREC of a message that is over: its PUBREL was lost.
    if (message.kind === "pubrec") this.#send({ kind: "pubrel", messageId: message.messageId });
  }

  tick(now: number): void {
    for (const one of [...this.#underWay.values()]) {
      if (one.dueAt > now) continue;
      if (one.tries >= snRetriesMax) return this.#lose(`${nameOf(one.sent.kind as "connect")} was not answered`);
      one.tries++;
      one.sent = again(one.sent);
      this.#transmit(one, now);
    }
    if (now >= this.#wakeAt) {
      this.#wakeAt = Infinity;
      this.ping(ignore);
    }
    if (now >= this.#pingAt) this.ping(ignore);
  }

  get #pingAt(): number {
    const { keepAlive } = this.#options;
    if (this.#state !== "active" || keepAlive === 0 || this.#underWay.size > 0) return Infinity;
    return this.#sentAt + keepAlive * 1000 * keepAlivePart;
  }

  #receiveUnasked(message: Exclude<SnMessage | Malformed, Malformed>): void {
    switch (message.kind) {
      case "register":
        this.#topicIds.set(message.topic, message.topicId);
        return this.#inward.register(message);
      case "publish":
        if (!this.#isPaused) this.#inward.publish(message);
        return;
      case "pubrel":
        return this.#inward.release(message.messageId);
    }
  }

  /** Returns the exchange that asks for a topic's id. */
  #registering(topic: string): Exchange {
    const messageId = this.#newId();
    return {
      ...asked<"regack">(messageId, ignore),
      isAlone: true,
      begin: () => ({ kind: "register", topicId: 0, messageId, topic }),
      take: (answer) => {
        if (answer.kind !== "regack") return "no answer";
        if (answer.code === ReturnCode.congestion) return "later";
        if (answer.code === ReturnCode.accepted) this.#learn(answer.topicId, topic);
        return "over";
      },
    };
  }

  #publishOf({ topic, payload, qos, retain }: Publication, messageId: number): SnMessage {
    const known = this.#topicOf(topic) ?? { topicKind: TopicKind.name, topicId: 0 };
    return { kind: "publish", dup: false, qos, retain, ...known, messageId, data: payload };
  }

  #topicOf(topic: string): { readonly topicKind: TopicKind; readonly topicId: number } | undefined {
    const id = this.#topicIds.get(topic);
    if (id !== undefined) return { topicKind: TopicKind.name, topicId: id };
    const short = shortIdOf(topic);
    return short === undefined ? undefined : { topicKind: TopicKind.short, topicId: short };
  }

  #learn(topicId: number, topic: string): void {
    this.#topicIds.set(topic, topicId);
    this.#inward.learn(topicId, topic);
  }

  #fallAsleep(): void {
    this.#state = "asleep";
    this.#wakeAt = this.#doors.clock.now() + this.#sleepSeconds * 1000;
  }

  #begin(exchange: Exchange): void {
    if (this.#state === "over") return exchange.over(undefined);
    this.#waiting.push(exchange);
    this.#next();
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#underWay.size < this.#options.window) {
      const [first] = this.#underWay.values();
      const next = this.#waiting.peek()!;
      const isBusy = first?.exchange.isAlone === true || this.#underWay.has(next.id);
      if (isBusy || (next.isAlone && this.#underWay.size > 0)) return;
      const sent = next.begin();
      if ("first" in sent) {
        this.#waiting.unshift(sent.first);
        continue;
      }
      this.#waiting.shift();
      const one: UnderWay = { exchange: next, sent, tries: 0, dueAt: Infinity };
      if (!next.isUnanswered) this.#underWay.set(next.id, one);
      this.#transmit(one, this.#doors.clock.now());
      if (next.isUnanswered) next.over(sentOnly);
    }
  }

  #take(one: UnderWay, message: SnMessage): void {
    const step = one.exchange.take(message);
    const now = this.#doors.clock.now();
    if (step === "no answer") return;
    if (step === "later") {
      one.dueAt = now + this.#options.retryMs;
      if (one.tries < snRetriesMax) return;
    } else if (step !== "over" && "first" in step) {
      this.#underWay.delete(one.exchange.id);
      this.#waiting.unshift(one.exchange);
      this.#waiting.unshift(step.first);
      return this.#next();
    } else if (step !== "over") {
      one.sent = step;
      one.tries = 0;
      return this.#transmit(one, now);
    }
    this.#underWay.delete(one.exchange.id);
    one.exchange.over(message);
    this.#next();
  }

  #transmit(one: UnderWay, now: number): void {
    one.dueAt = now + this.#options.retryMs * backOff ** one.tries;
    this.#send(one.sent);
  }

  #send(message: SnMessage): void {
    this.#sentAt = this.#doors.clock.now();
    this.#doors.send(encodeMessage(message));
  }

  #lose(why: string): void {
    this.#state = "over";
    const left = [...[...this.#underWay.values()].map(({ exchange }) => exchange), ...this.#waiting.drain()];
    this.#underWay.clear();
    for (const exchange of left) exchange.over(undefined);
    this.#doors.lost(why);
  }

  #newId(): number {
    this.#nextId = this.#nextId >= 0xffff ? 1 : this.#nextId + 1;
    return this.#nextId;
  }
}

/** Returns how a publish of QoS 1 or 2 goes on. */
function published(answer: SnMessage, qos: 0 | 1 | 2, messageId: number): Step {
  if (answer.kind === "puback") {
    if (answer.code === ReturnCode.congestion) return "later";
    return qos === 1 || answer.code !== ReturnCode.accepted ? "over" : "no answer";
  }
  if (qos === 2 && answer.kind === "pubrec") return { kind: "pubrel", messageId };
  return qos === 2 && answer.kind === "pubcomp" ? "over" : "no answer";
}
