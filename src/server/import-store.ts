/**
 * Brings what another broker has kept into an embedded store: by a broker of ours that nobody can reach, so that all of
 * it is checked, stored and paid for as if its clients had come. It ends in order when all is there.
 */
import { Access } from "../access/access.ts";
import { setAlarm } from "../base/alarm.ts";
import { systemClock } from "../base/clock.ts";
import {
  importCreditTries,
  importCreditWaitMs,
  importMessagesAtOnce,
  importSessionsAtOnce,
} from "../base/foreign-limits.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import { heldIdPriceOf, holdId } from "../broker/publish/held-ids.ts";
import { counterWeightOf, placeOfTopic } from "../coordinator/weight.ts";
import { EmbeddedCoordinator } from "../embedded/embedded-coordinator.ts";
import type { Payment } from "../mail/ledger.ts";
import { payerOf } from "../mail/paid.ts";
import type { Plan, PlannedMail, PlannedMessage, PlannedSession, Unreleased } from "../mosquitto/plan.ts";
import { encodeConnect, encodeControl, type Packet } from "../mqtt/control.ts";
import { topicOf } from "../mqtt/publish.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";
import { type FromBroker, InnerConnection } from "../mqttsn/inner-connection.ts";
import { Turn } from "../net/writer.ts";
import { clientEvents } from "./server.ts";

/** The numbers of what has been brought over. */
export interface Imported {
  sessions: number;
  subscriptions: number;
  retained: number;
  /** Copies of messages in mailboxes. */
  mail: number;
  unreleased: number;
  /** The things that were refused, in words, with how often. */
  readonly refused: Map<string, number>;
}

/**
 * Brings a plan into the store in `options.data`, where there must be none. Rejects with `OperatingError` if the store
 * cannot be used.
 */
export async function importIntoStore(options: BrokerOptions, plan: Plan, log: Log): Promise<Imported> {
  const coordinator = await EmbeddedCoordinator.open(options.data, {
    acceptDamage: false,
    report: (words) => log.warn(words),
    foundDamaged: (words) => log.error(words),
  });
  const failed = Promise.withResolvers<never>();
  const turn = new Turn((flush) => void setImmediate(flush), options.maxQueueMemory, systemClock);
  const broker = await Broker.start({
    // What was taken there is taken here: what is stored must only be paid for.
    options: {
      ...options,
      topicLevelsMax: 200,
      filterBytesMax: 65_535,
      bankShare: 100,
      maxQueued: 10_000_000,
      ...none,
    },
    ...{ coordinator, log, turn, clock: systemClock, random: systemRandom, linkSecret: undefined },
    dialLink: () => {},
    access: new Access({ allowAnonymous: true, hook: undefined, warn: (why) => log.warn(why) }, systemClock),
    fatal: (error) => failed.reject(error),
  });
  const alarm = setAlarm(
    { nextDeadline: () => broker.nextDeadline(), tick: () => broker.handle({ kind: "tick" }) },
    systemClock,
  );
  broker.onSooner(() => alarm.wake());
  try {
    return await Promise.race([new Import(broker, turn).run(plan), failed.promise]);
  } finally {
    await new Promise<void>((resolve) => {
      const close = (): void => broker.context.journal.drained(() => coordinator.close(resolve));
      broker.handle({ kind: "shutdown", done: close });
    });
    alarm.stop();
  }
}

/** Options that would keep something out, or store it elsewhere as well. */
const none = { mailDrop: [], clientIdPrefix: "", maxRetained: 0, connectRate: 0, maxConnectionsPerAddress: 0 };

const remote = "an import";
const unpaid = "the bank cannot pay for them";
/** Retained messages are not sent for a subscription: who has subscribed has had them. */
const notRetained = 2;

class Import {
  readonly #broker: Broker;
  readonly #turn: Turn;
  readonly #done: Imported = {
    ...{ sessions: 0, subscriptions: 0, retained: 0, mail: 0, unreleased: 0 },
    refused: new Map(),
  };

  constructor(broker: Broker, turn: Turn) {
    this.#broker = broker;
    this.#turn = turn;
  }

  /** Retained messages come first, while there is nobody to whom they would be sent. */
  async run({ retained, sessions, mail, unreleased }: Plan): Promise<Imported> {
    await atOnce(retained, importMessagesAtOnce, async (message) => {
      if (await this.#publish(message)) this.#done.retained++;
    });
    await atOnce(sessions, importSessionsAtOnce, (session) => this.#beginSession(session));
    // The order of commits is the order in mailboxes.
    for (const [at, one] of mail.entries()) {
      await this.#store(one);
      if (at % importMessagesAtOnce === 0) await this.#drained();
    }
    for (const one of unreleased) await this.#take(one);
    await this.#drained();
    return this.#done;
  }

  #refuse(what: string): undefined {
    this.#done.refused.set(what, (this.#done.refused.get(what) ?? 0) + 1);
    return undefined;
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => this.#broker.context.journal.drained(resolve));
  }

  /** Publishes a message; true: it is settled. */
  async #publish({ publish, user }: PlannedMessage): Promise<boolean> {
    publish.payer = payerOf(user);
    const { bankAccount } = this.#broker.context;
    for (let tries = 0; ; tries++) {
      let why = await new Promise<string | undefined>((done) =>
        this.#broker.handle({ kind: "publish", publish, done }),
      );
      if (why === undefined) return true;
      const price = { credits: bankAccount.prices.ofRetained(publish), payer: publish.payer };
      if (!bankAccount.canPay(price)) why = unpaid;
      if (why === unpaid || tries >= importCreditTries) {
        this.#refuse(`messages: ${why}`);
        return false;
      }
      await Bun.sleep(importCreditWaitMs);
    }
  }

  /** Sets credits aside; undefined: the bank has too few. */
  async #reserve(credits: number, payer: string): Promise<Payment | undefined> {
    const { bankAccount } = this.#broker.context;
    for (let tries = 0; ; tries++) {
      const payment = bankAccount.reserve(credits, payer);
      if (payment !== undefined) return payment;
      if (tries >= importCreditTries || !bankAccount.mayPay({ credits, payer })) return undefined;
      await Bun.sleep(importCreditWaitMs);
    }
  }

  /** Has a client connect, subscribe, and go. */
  #beginSession({ client, subscriptions }: PlannedSession): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let answers = 0;
    const heard = (packet: FromBroker): void => {
      const isRefused = "reason" in packet && packet.reason >= Reason.unspecifiedError;
      if (packet.kind === "connack") {
        if (isRefused) this.#refuse(`sessions: ${describeReason(packet.reason)}`);
        else this.#done.sessions++;
        if (isRefused || subscriptions.length === 0) return connection.close();
        for (const [at, subscription] of subscriptions.entries())
          connection.send(subscribePacket((at % 65_535) + 1, subscription));
      } else if (packet.kind === "suback") {
        if (isRefused) this.#refuse(`subscriptions: ${describeReason(packet.reason)}`);
        else this.#done.subscriptions++;
        if (++answers === subscriptions.length) connection.close();
      } else if (packet.kind === "disconnect") this.#refuse(`sessions: ${describeReason(packet.reason)}`);
    };
    const facts = { remote, address: "", user: client.user === "" ? undefined : client.user, state: undefined };
    const events = clientEvents(this.#broker, this.#turn, "");
    const doors = { events, later: (go: () => void) => void setImmediate(go) };
    const connection = new InnerConnection(doors, facts, { heard, closed: () => resolve() });
    const properties = { sessionExpiryInterval: client.expiryInterval };
    const connect = { cmd: "connect", protocolVersion: 5, clientId: client.id, clean: true, keepalive: 0 } as const;
    connection.send(encodeConnect({ ...connect, properties }, 5));
    return promise;
  }

  /** Stores a message in mailboxes. */
  async #store({ publish, user, receivers }: PlannedMail): Promise<void> {
    const { mail, journal, bankAccount, localSessions } = this.#broker.context;
    const present = receivers.filter(({ clientId }) => localSessions.has(clientId));
    if (present.length === 0) return this.#refuse("messages for sessions that were refused");
    const owned = publish.paidBy(payerOf(user));
    if (!mail.fits(owned)) return this.#refuse("messages that are larger than what the store takes");
    const place = placeOfTopic(topicOf(owned));
    let weight = counterWeightOf(place);
    for (const { clientId, subscriptionIds } of present)
      weight += bankAccount.prices.slipWeightOf(place, clientId, subscriptionIds);
    const credits = bankAccount.termsOf(owned, "mailbox", place).credits + bankAccount.priceOf(weight);
    const payment = await this.#reserve(credits, owned.payer);
    if (payment === undefined) return this.#refuse(`messages: ${unpaid}`);
    const drafts = present.map((receiver) => ({ ...receiver, groupMark: 0 }));
    for (const unit of mail.store(owned, { order: mail.nextOrder(), from: 0 }, drafts, payment)) {
      const withdrawn = (): void => {
        mail.withdrawn(unit);
        this.#refuse("messages that the store has refused");
      };
      const committed = (): void => {
        this.#done.mail += unit.slips.length;
      };
      journal.commit(unit.operations, committed, withdrawn);
    }
    // What it was set aside for is taken from it by now.
    payment.close();
  }

  /** Publishes what a client has sent at QoS 2 and not released, and holds its packet id until it does. */
  async #take({ clientId, packetId, publish, user }: Unreleased): Promise<void> {
    const { context } = this.#broker;
    const client = context.localSessions.get(clientId);
    if (client === undefined) return this.#refuse("messages of sessions that were refused");
    if (!(await this.#publish({ publish, user }))) return;
    const held = publish.kept();
    held.packetId = packetId;
    const payment = await this.#reserve(heldIdPriceOf(context, held, client), held.payer);
    if (payment === undefined) return this.#refuse(`packet ids: ${unpaid}`);
    context.journal.commit(holdId(context, client, { publish: held, payment }));
    this.#done.unreleased++;
  }
}

function subscribePacket(messageId: number, one: PlannedSession["subscriptions"][number]): Uint8Array {
  const { filter: topic, qos, noLocal: nl, retainAsPublished: rap, id } = one;
  const properties = id === 0 ? {} : { subscriptionIdentifier: id };
  const subscriptions = [{ topic, qos, nl, rap, rh: notRetained }];
  return encodeControl({ cmd: "subscribe", messageId, subscriptions, properties } as Packet, 5);
}

/** Does something with all, some at a time. */
async function atOnce<One>(all: readonly One[], most: number, go: (one: One) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += most) await Promise.all(all.slice(at, at + most).map(go));
}
