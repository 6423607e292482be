/**
 * Mail drops: topics whose messages are stored until they expire, also when nobody subscribes. The filters that define
 * them stand in the tree, since all brokers must agree. A message on such a topic goes into the store only, and every
 * subscriber gets it from there (`drop-feed.ts`).
 */

import { encodeUtf8, noBytes } from "../../base/bytes.ts";
import { badFormat, OperatingError } from "../../base/errors.ts";
import { dropCloseMs, logTextMax } from "../../base/limits.ts";
import { LineLimit, standingFor } from "../../base/line-limit.ts";
import type { CoordinatorError } from "../../coordinator/coordinator.ts";
import { Fields } from "../../coordinator/fields.ts";
import { children, Mirror, type MirrorNode, read } from "../../coordinator/mirror.ts";
import {
  cursorPath,
  cursorsPath,
  decodeName,
  dropPath,
  dropsPath,
  isEncodedPath,
  nameOf,
  parentPath,
  topicPath,
  topicsPath,
} from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { Price } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { filterMatches, filtersOverlap, parseFilter } from "../../mqtt/topic.ts";
import type { DropFeeds, LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { cursorOperation, DropFeed } from "./drop-feed.ts";
import { type Cursor, DropLog } from "./drop-log.ts";
import { LatePlaces } from "./late-places.ts";

/** A mail drop's filter, as its znode says. */
interface DropRecord {
  /** False once no broker asks for the mail drop any more; what lies there is still handed out. */
  readonly isOpen: boolean;
}

/** A mail drop's filter, split into levels, and the transaction that created its znode. */
interface DropFilter extends DropRecord {
  readonly levels: readonly string[];
  readonly czxid: number;
}

/** The position before all messages. */
const start: Cursor = { czxid: 0, name: "" };
/** A name that sorts after all names of messages. */
const lastName = "~";

/** The feeds of one session, by the filters of its subscriptions. */
class FeedsByFilter extends Map<string, DropFeed> implements DropFeeds {
  pump(): void {
    for (const feed of this.values()) feed.pump();
  }
}

/** Knows which topics are mail drops, and feeds sessions whose subscriptions match them. */
export class MailDrops {
  readonly #context: ClusterContext;
  readonly #mirror: Mirror;
  readonly #filters = new Map<string, DropFilter>();
  /** The feeds of connected sessions. */
  readonly #feeds = new Map<LocalSession, FeedsByFilter>();
  /** The drop logs, by the path that they begin at. */
  readonly #logs = new Map<string, DropLog>();
  readonly #lines = new LineLimit<"unpaid">();
  readonly #places: LatePlaces;
  /** When this broker first saw, in ms by the clock's `now`, that no live broker asks for a filter. */
  readonly #unwantedSince = new Map<string, number>();

  constructor(context: ClusterContext) {
    this.#context = context;
    this.#places = new LatePlaces(context, {
      unpaid: (client, price) => this.#tellUnpaid(client, price),
      retry: (client) => this.resume(client),
    });
    this.#mirror = new Mirror(context.coordinator, {
      root: dropsPath,
      concerns: (path) => parentPath(path) === dropsPath && isEncodedPath(dropsPath, path),
      needsData: () => true,
      apply: (path, node) => {
        const text = decodeName(nameOf(path));
        const levels = parseFilter(text)?.levels;
        const record =
          typeof node === "object" ? context.strangers.read(path, () => decodeDrop(levels, node.data)) : undefined;
        if (record === undefined) this.#filters.delete(text);
        else this.#filters.set(text, { ...record, czxid: (node as MirrorNode).stat.czxid });
        this.#changed();
      },
    });
  }

  /**
   * Writes the mail drops that this broker is configured with into the tree, and reads those of all brokers. Rejects
   * with `OperatingError`.
   */
  async start(): Promise<void> {
    await this.#write(dropsPath, noBytes);
    const data = encodeUtf8(JSON.stringify({ isOpen: true } satisfies DropRecord));
    for (const filter of this.#context.options.mailDrop) await this.#write(dropPath(filter), data);
    await this.#mirror.start();
  }

  /** Returns true if there are mail drops. */
  get exist(): boolean {
    return this.#filters.size > 0;
  }

  /** Returns true if messages for a subscription may lie in a mail drop. */
  concerns({ filter }: Subscription): boolean {
    if (filter.group !== undefined) return false;
    for (const { levels } of this.#filters.values()) if (filtersOverlap(levels, filter.levels)) return true;
    return false;
  }

  /** Returns the operations that must be committed with a new subscription. */
  entering(client: LocalSession, subscription: Subscription): JournalOperation[] {
    if (client.mailbox === undefined || !this.concerns(subscription)) return [];
    return [cursorOperation(client, subscription, this.#startOf(subscription))];
  }

  /** Closes a subscription's feed. Returns the operations that must be committed with the subscription's end. */
  leaving(client: LocalSession, filter: string): JournalOperation[] {
    this.#closeFeed(client, filter);
    if (client.mailbox === undefined || this.#filters.size === 0) return [];
    return [{ kind: "remove", path: cursorPath(client.session.clientId, filter) }];
  }

  /** Starts to hand a client what lies in mail drops that its new subscription matches. */
  subscribed(client: LocalSession, subscription: Subscription): void {
    if (client.connection === undefined || !this.concerns(subscription)) return;
    const feed =
      this.#feeds.get(client)?.get(subscription.filter.text) ??
      this.#openLate(client, subscription, this.#startOf(subscription));
    if (feed === undefined) return;
    feed.subscription = subscription;
    feed.pump();
  }

  /** Reopens the feeds of a session whose client has come back: each goes on at its cursor. */
  resume(client: LocalSession): void {
    const { journal } = this.#context;
    if (![...client.session.subscriptions.values()].some((subscription) => this.concerns(subscription))) return;
    const { connection } = client;
    // The session's cursors may be on their way into the store.
    journal.drained(() => {
      this.#readCursors(client).then(
        (cursors) => {
          if (client.connection !== connection) return;
          for (const [text, subscription] of client.session.subscriptions) {
            if (client.followsDrops(text) || !this.concerns(subscription)) continue;
            const cursor = cursors.get(text);
            if (cursor !== undefined) this.#open(client, subscription, cursor);
            else this.#openLate(client, subscription, this.#beginningOf(subscription));
          }
          client.pump();
        },
        // The store is closing.
        () => {},
      );
    });
  }

  /** Closes all feeds of a session whose connection is gone. */
  detach(client: LocalSession): void {
    this.#places.forget(client);
    for (const text of [...(this.#feeds.get(client)?.keys() ?? [])]) this.#closeFeed(client, text);
  }

  /**
   * Closes mail drops that no live broker has asked for in a long time, and removes them once nothing lies there any
   * more. For the teller. `wanted`: the filters that live brokers ask for; `topics`: those on which something lies.
   */
  sweep(wanted: ReadonlySet<string>, topics: ReadonlySet<string>): void {
    const now = this.#context.clock.now();
    for (const [text, { isOpen, levels }] of this.#filters) {
      if (wanted.has(text)) this.#unwantedSince.delete(text);
      else if (!this.#unwantedSince.has(text)) this.#unwantedSince.set(text, now);
      else if (now - this.#unwantedSince.get(text)! >= dropCloseMs) {
        const isEmpty = ![...topics].some((topic) => filterMatches(levels, topic.split("/")));
        if (isOpen) this.#change(text, { isOpen: false });
        else if (isEmpty) this.#change(text, undefined);
      }
    }
  }

  /** Changes or removes a mail drop's znode in the version just read: a broker that asks for it writes it meanwhile. */
  #change(text: string, record: DropRecord | undefined): void {
    const { coordinator, log } = this.#context;
    const path = dropPath(text);
    coordinator.read([{ kind: "get", path }], (_, [node]) => {
      if (!hasData(node)) return;
      const { version } = node.stat;
      const isGone = record === undefined;
      coordinator.write(
        [
          isGone
            ? { kind: "delete", path, version }
            : { kind: "set", path, data: encodeUtf8(JSON.stringify(record)), version },
        ],
        (error) => {
          if (error === undefined)
            log.info({ filter: text }, isGone ? "the mail drop is gone" : "the mail drop is closed");
        },
      );
    });
  }

  /** Returns true if what is published on a topic goes into a mail drop. */
  isOpenFor(topic: string): boolean {
    if (this.#filters.size === 0) return false;
    const levels = topic.split("/");
    for (const filter of this.#filters.values()) if (filter.isOpen && filterMatches(filter.levels, levels)) return true;
    return false;
  }

  /** Follows a change of the mail drops: makes routes stale, and opens feeds for older subscriptions that match now. */
  #changed(): void {
    const { router, localSessions } = this.#context;
    router.touch();
    for (const client of localSessions.values()) if (client.connection !== undefined) this.#reach(client);
  }

  #reach(client: LocalSession): void {
    if (client.mailbox !== undefined) return this.resume(client);
    for (const [text, subscription] of client.session.subscriptions) {
      if (!client.followsDrops(text) && this.concerns(subscription))
        this.#open(client, subscription, this.#beginningOf(subscription)).pump();
    }
  }

  /**
   * Opens the feed of a subscription that may be older than the mail drop, so nobody has paid for its place there yet.
   * Returns undefined where nobody can: it is tried again.
   */
  #openLate(client: LocalSession, subscription: Subscription, cursor: Cursor): DropFeed | undefined {
    const paid = client.mailbox === undefined ? subscription : this.#places.pay(client, subscription, cursor);
    return paid && this.#open(client, paid, cursor);
  }

  #open(client: LocalSession, subscription: Subscription, cursor: Cursor): DropFeed {
    const dropLog = this.#logOf(subscription);
    const unpaid = (unfed: LocalSession, price: Price): void => this.#tellUnpaid(unfed, price);
    const feed = new DropFeed(client, subscription, { dropLog, cursor, unpaid });
    const feeds = this.#feeds.get(client) ?? new FeedsByFilter();
    feeds.set(subscription.filter.text, feed);
    this.#feeds.set(client, feeds);
    client.followDrops(feeds);
    dropLog.feeds.add(feed);
    return feed;
  }

  /** Says that nobody can pay for what a client would be handed next. */
  #tellUnpaid({ session, connection }: LocalSession, price: Price): void {
    const { bankAccount, clock, log } = this.#context;
    const stands = this.#lines.take("unpaid", clock.now(), connection?.transport.address);
    if (stands === 0) return;
    const why = bankAccount.describe(price);
    const client = session.clientId.slice(0, logTextMax);
    log.warn({ client }, standingFor(`messages in mail drops wait, or are sent one by one: ${why}`, stands));
  }

  #closeFeed(client: LocalSession, text: string): void {
    const feeds = this.#feeds.get(client);
    const feed = feeds?.get(text);
    if (feeds === undefined || feed === undefined) return;
    feeds.delete(text);
    if (feeds.size === 0) {
      this.#feeds.delete(client);
      client.followDrops(undefined);
    }
    feed.close();
    feed.dropLog.feeds.delete(feed);
    if (feed.dropLog.feeds.size > 0) return;
    feed.dropLog.stop();
    this.#logs.delete(rootOf(feed.subscription));
  }

  #logOf(subscription: Subscription): DropLog {
    const root = rootOf(subscription);
    let dropLog = this.#logs.get(root);
    if (dropLog === undefined) {
      dropLog = new DropLog(this.#context, root);
      this.#logs.set(root, dropLog);
    }
    return dropLog;
  }

  /**
   * Returns where a new subscription starts: before all that lies there, or after it, if it does not want retained
   * messages either (Retain Handling 2).
   */
  #startOf({ retainHandling }: Subscription): Cursor {
    return retainHandling === 2 ? { czxid: this.#context.coordinator.seenZxid, name: lastName } : start;
  }

  /**
   * Returns where a subscription starts that is older than the mail drop: with the first message that has come into it.
   */
  #beginningOf(subscription: Subscription): Cursor {
    let czxid = Infinity;
    for (const filter of this.#filters.values())
      if (filtersOverlap(filter.levels, subscription.filter.levels)) czxid = Math.min(czxid, filter.czxid);
    return { czxid, name: lastName };
  }

  async #readCursors({ session }: LocalSession): Promise<Map<string, Cursor>> {
    const above = cursorsPath(session.clientId);
    const paths = (await children(this.#context.coordinator, above)).map((name) => `${above}/${name}`);
    const results = await read(
      this.#context.coordinator,
      paths.map((path) => ({ kind: "get", path })),
    );
    const cursors = new Map<string, Cursor>();
    results.forEach((result, index) => {
      if (!hasData(result)) return;
      const path = paths[index]!;
      const cursor = this.#context.strangers.read(path, () => decodeCursor(result.data));
      if (cursor !== undefined) cursors.set(decodeName(nameOf(path)), cursor);
    });
    return cursors;
  }

  #write(path: string, data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const refused = ({ message }: CoordinatorError): void =>
        reject(new OperatingError("ESTORE", `cannot write to the store: ${message}`));
      this.#context.journal.commit([{ kind: "put", path, data, exists: false }], () => resolve(), refused);
    });
  }
}

/** Decodes a mail drop's record. Throws `OperatingError` with EFORMAT, as `decodeCursor` does. */
function decodeDrop(levels: readonly string[] | undefined, data: Uint8Array) {
  if (levels === undefined) throw badFormat("is named by what is no filter");
  return { isOpen: new Fields(data).flag("isOpen"), levels };
}

function decodeCursor(data: Uint8Array): Cursor {
  const fields = new Fields(data);
  return { czxid: fields.whole("czxid"), name: fields.text("name") };
}

/** Returns the level of the tree below which lies all that a subscription may match. */
function rootOf({ filter }: Subscription): string {
  const wildcard = filter.levels.findIndex((level) => level === "+" || level === "#");
  const fixed = wildcard === -1 ? filter.levels : filter.levels.slice(0, wildcard);
  return fixed.length === 0 ? topicsPath : topicPath(topicsPath, fixed.join("/"));
}
