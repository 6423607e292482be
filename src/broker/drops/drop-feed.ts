/**
 * A feed of mail-drop messages to one subscription: first what lies there already, oldest first, then what comes. All
 * of it comes from the store, so nothing is missed, nothing comes twice and nothing overtakes.
 *
 * A session that outlives its connection gets slips for messages at QoS 1 and 2, committed together with its cursor, so
 * that it goes on there at any broker. While it is away nothing is done for it.
 */

import { slipsRetryMs } from "../../base/bank-limits.ts";
import { encodeUtf8 } from "../../base/bytes.ts";
import { dropFetchBytesMax, dropFetchMax, dropSaveMs, dropTakeMax, pumpOutputBytesMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { cursorPath } from "../../coordinator/paths.ts";
import type { Price } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { fence } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { filterMatches } from "../../mqtt/topic.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { OutgoingTarget } from "../delivery/outgoing-message.ts";
import type { Cursor, DropLog, DropMessage } from "./drop-log.ts";

/** One subscription's position (cursor) in a drop log, and the delivery of what comes after it. */
export class DropFeed {
  /** The subscription, replaced when the client subscribes again. */
  subscription: Subscription;
  readonly #client: LocalSession;
  readonly #dropLog: DropLog;
  /** The last message that the client was handed, or that was not for it. */
  #cursor: Cursor;
  /** Messages that were read from the store for this feed, by path; undefined: gone. */
  #fetched = new Map<string, Publish | undefined>();
  /** True while messages are being read from the store. */
  #isReading = false;
  #isClosed = false;
  /** True if the cursor in the store is behind: QoS 0 messages are not worth a commit each. */
  #isUnsaved = false;
  readonly #timer = new Timer(() => this.#save());
  readonly #unpaid: (client: LocalSession, price: Price) => void;
  readonly #retry = new Timer(() => this.pump());

  /** Creates a feed from a cursor on. `unpaid` is told when nobody can pay for the slip of the next message. */
  constructor(
    client: LocalSession,
    subscription: Subscription,
    from: { dropLog: DropLog; cursor: Cursor; unpaid: (client: LocalSession, price: Price) => void },
  ) {
    this.#client = client;
    this.subscription = subscription;
    this.#dropLog = from.dropLog;
    this.#cursor = from.cursor;
    this.#unpaid = from.unpaid;
  }

  get dropLog(): DropLog {
    return this.#dropLog;
  }

  /** Ends the feed. A persistent session goes on from here when it comes back. */
  close(): void {
    this.#isClosed = true;
    this.#client.context.timers.cancel(this.#timer);
    this.#client.context.timers.cancel(this.#retry);
    if (this.#isUnsaved && !this.#client.isReleased) this.#save();
  }

  /** Sends the next messages, as far as there is room. */
  pump(): void {
    while (!this.#isReading && !this.#isClosed && this.#dropLog.isComplete && this.#client.isOpen) {
      const message = this.#next();
      if (message === undefined) return;
      const isTaken = this.#client.mailbox !== undefined && this.#qosOf(message) > 0;
      if (!(isTaken ? this.#take() : this.#send(message))) return;
    }
  }

  /** Returns the next message that the subscription is to get, and moves past those that it is not. */
  #next(): DropMessage | undefined {
    for (const message of this.#dropLog.after(this.#cursor)) {
      if (this.#wants(message)) return message;
      this.#goTo(message);
    }
    return undefined;
  }

  /** Yields all messages that the subscription is to get, from the cursor on. */
  *#ahead(): Generator<DropMessage> {
    for (const message of this.#dropLog.after(this.#cursor)) if (this.#wants(message)) yield message;
  }

  #wants(message: DropMessage): boolean {
    const { subscription } = this;
    const { session, context } = this.#client;
    if (!filterMatches(subscription.filter.levels, message.levels)) return false;
    if (subscription.noLocal && message.publisher === session.clientId) return false;
    return message.keepUntil > context.clock.wall();
  }

  /**
   * Sends a QoS 0 message, or any to a session that ends with its connection. Returns false if there is no room, or the
   * message must be read from the store first.
   */
  #send(message: DropMessage): boolean {
    const client = this.#client;
    const qos = this.#qosOf(message);
    const hasRoom = qos === 0 ? client.connection!.writer.unsent <= pumpOutputBytesMax : client.hasRoom;
    if (!hasRoom) return false;
    const publish = message.publish ?? this.#fetched.get(message.path);
    if (publish === undefined && !this.#fetched.has(message.path)) {
      this.#fetch();
      return false;
    }
    this.#fetched.delete(message.path);
    // It is undefined if the message has gone meanwhile.
    if (publish !== undefined && client.mayReceive(publish)) {
      if (qos === 0) client.sendQoS0(publish, this.#targetOf(message));
      else client.offer(publish, this.#targetOf(message));
    }
    this.#goTo(message);
    this.#isUnsaved = client.mailbox !== undefined;
    const { timers, clock } = client.context;
    if (this.#isUnsaved && this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + dropSaveMs);
    return true;
  }

  #fetch(): void {
    const page: DropMessage[] = [];
    let bytes = 0;
    for (const message of this.#ahead()) {
      page.push(message);
      bytes += message.bytes;
      if (page.length >= dropFetchMax || bytes >= dropFetchBytesMax) break;
    }
    const paths = page.map(({ path }) => path);
    this.#isReading = true;
    this.#client.context.slips.readMessages(paths, (messages) => {
      this.#isReading = false;
      this.#fetched = new Map(paths.map((path, index) => [path, messages[index]]));
      this.pump();
    });
  }

  /**
   * Stores slips in the session's mailbox for the next messages at QoS 1 and 2. Returns false if the mailbox holds
   * enough, or nobody can pay for more of them.
   */
  #take(): boolean {
    const client = this.#client;
    const mailbox = client.mailbox!;
    const { maxInflight, maxQueued } = client.context.options;
    // What it takes itself must leave room for what is published beside it.
    if (mailbox.count > Math.min(maxInflight, maxQueued) / 2) return false;
    const takeMax = Math.min(dropTakeMax, Math.ceil(maxQueued / 4));
    const page: DropMessage[] = [];
    for (const message of this.#ahead()) {
      if (this.#qosOf(message) === 0 || page.length >= takeMax) break;
      page.push(message);
    }
    const wanted = page.map((message) => ({ message, target: this.#targetOf(message) }));
    const weights = wanted.map(({ message: { path, branch }, target: { subscriptionIds } }) =>
      mailbox.prepaid.dropWeightOf({ messagePath: path, branch, subscriptionIds }),
    );
    const taken = wanted.slice(0, mailbox.prepaid.coveredDrops(weights));
    if (taken.length === 0) {
      this.#waitForCredits(mailbox.prepaid.priceOf(weights[0]!));
      return false;
    }
    this.#goTo(taken.at(-1)!.message);
    this.#isUnsaved = false;
    mailbox.take(taken, this.#saveOperation());
    return true;
  }

  /** Tries again after a while: nobody can pay for the slip of the next message. */
  #waitForCredits(price: Price): void {
    const { timers, clock } = this.#client.context;
    if (this.#retry.dueAt !== Infinity) return;
    timers.set(this.#retry, clock.now() + slipsRetryMs);
    this.#unpaid(this.#client, price);
  }

  #qosOf({ qos }: DropMessage): QoS {
    return Math.min(qos, this.subscription.qos) as QoS;
  }

  #targetOf(message: DropMessage): OutgoingTarget {
    const { id, retainAsPublished } = this.subscription;
    const retain = message.retain && retainAsPublished;
    return { qos: this.#qosOf(message), retain, subscriptionIds: id === 0 ? [] : [id], group: undefined };
  }

  #goTo({ czxid, name }: Cursor): void {
    this.#cursor = { czxid, name };
  }

  #saveOperation(): JournalOperation {
    return { ...cursorOperation(this.#client, this.subscription, this.#cursor), exists: true };
  }

  #save(): void {
    const { context, fencingToken } = this.#client;
    if (!this.#isUnsaved) return;
    this.#isUnsaved = false;
    context.journal.commit([fence(fencingToken), this.#saveOperation()], undefined, () => context.evict(this.#client));
  }
}

/** Returns the operation that stores a session's cursor for a subscription, in a new node. */
export function cursorOperation({ session }: LocalSession, { filter }: Subscription, cursor: Cursor) {
  const path = cursorPath(session.clientId, filter.text);
  return { kind: "put", path, data: encodeUtf8(JSON.stringify(cursor)), exists: false } as const;
}
