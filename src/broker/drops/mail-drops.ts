/**
 * Mail drops: topics whose messages lie in the store until their time is over, also when nobody subscribes. The filters that
 * say which they are stand in the tree, for all brokers must agree; what is published on such a topic goes into the store
 * only, and every subscriber gets it from there (`drop-feed.ts`).
 */
import { encodeUtf8, noBytes } from "../../base/bytes.ts";
import { badFormat, OperatingError } from "../../base/errors.ts";
import { dropCloseMs } from "../../base/limits.ts";
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
import type { JournalOperation } from "../../mail/operations.ts";
import { isData } from "../../mail/parts.ts";
import type { Subscription } from "../../mqtt/subscription.ts";
import { filterMatches, filtersOverlap, parseFilter } from "../../mqtt/topic.ts";
import type { DropFeeds, LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import { cursorOperation, DropFeed } from "./drop-feed.ts";
import { type Cursor, DropLog } from "./drop-log.ts";

/** A mail drop's filter, as its znode says. */
interface DropRecord {
  /** False: no broker asks for it any more; what lies there is still handed out. */
  readonly isOpen: boolean;
}

interface DropFilter extends DropRecord {
  readonly levels: readonly string[];
  readonly czxid: number;
}

const start: Cursor = { czxid: 0, name: "" };
/** After all names. */
const lastName = "~";

class FeedsByFilter extends Map<string, DropFeed> implements DropFeeds {
  pump(): void {
    for (const feed of this.values()) feed.pump();
  }
}

export class MailDrops {
  readonly #context: ClusterContext;
  readonly #mirror: Mirror;
  readonly #filters = new Map<string, DropFilter>();
  /** Of clients that are connected. */
  readonly #feeds = new Map<LocalSession, FeedsByFilter>();
  /** By the path that they begin at. */
  readonly #logs = new Map<string, DropLog>();
  /** Since when no live broker has asked for a filter, as far as this one has looked. */
  readonly #unwantedSince = new Map<string, number>();

  constructor(context: ClusterContext) {
    this.#context = context;
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

  /** Says in the tree what this broker has been told, and reads what the others have. Rejects with `OperatingError`. */
  async start(): Promise<void> {
    await this.#write(dropsPath, noBytes);
    const data = encodeUtf8(JSON.stringify({ isOpen: true } satisfies DropRecord));
    for (const filter of this.#context.options.mailDrop) await this.#write(dropPath(filter), data);
    await this.#mirror.start();
  }

  /** True if what a subscription matches may lie in a mail drop. */
  concerns({ filter }: Subscription): boolean {
    if (filter.group !== undefined) return false;
    for (const { levels } of this.#filters.values()) if (filtersOverlap(levels, filter.levels)) return true;
    return false;
  }

  /** What must be committed with a new subscription. */
  entering(client: LocalSession, subscription: Subscription): JournalOperation[] {
    if (client.mailbox === undefined || !this.concerns(subscription)) return [];
    return [cursorOperation(client, subscription, this.#startOf(subscription))];
  }

  /** ... and with the end of one. */
  leaving(client: LocalSession, filter: string): JournalOperation[] {
    this.#closeFeed(client, filter);
    if (client.mailbox === undefined || this.#filters.size === 0) return [];
    return [{ kind: "remove", path: cursorPath(client.session.clientId, filter) }];
  }

  /** A client has subscribed: it is handed what lies there. */
  subscribed(client: LocalSession, subscription: Subscription): void {
    if (client.connection === undefined || !this.concerns(subscription)) return;
    const feed =
      this.#feeds.get(client)?.get(subscription.filter.text) ??
      this.#open(client, subscription, this.#startOf(subscription));
    feed.subscription = subscription;
    feed.pump();
  }

  /** A client has come back to its session: it goes on where it was. */
  resume(client: LocalSession): void {
    const { journal } = this.#context;
    if (![...client.session.subscriptions.values()].some((subscription) => this.concerns(subscription))) return;
    const { connection } = client;
    // How far it has come may just be on its way into the store.
    journal.drained(() => {
      this.#readCursors(client).then(
        (cursors) => {
          if (client.connection !== connection) return;
          for (const [text, subscription] of client.session.subscriptions) {
            if (!client.followsDrops(text) && this.concerns(subscription))
              this.#open(client, subscription, cursors.get(text) ?? this.#beginningOf(subscription));
          }
          client.pump();
        },
        // The store is closing.
        () => {},
      );
    });
  }

  /** The connection is gone. */
  detach(client: LocalSession): void {
    for (const text of [...(this.#feeds.get(client)?.keys() ?? [])]) this.#closeFeed(client, text);
  }

  /**
   * For the teller: filters that no live broker has asked for for long are closed, and go when nothing lies there any more.
   * `wanted`: what live brokers ask for; `topics`: on which something lies.
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

  /** Only as it was seen: a broker that asks for it writes it. */
  #change(text: string, record: DropRecord | undefined): void {
    const { coordinator, log } = this.#context;
    const path = dropPath(text);
    coordinator.read([{ kind: "get", path }], (_, [node]) => {
      if (!isData(node)) return;
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

  /** True if what is published on the topic goes into a mail drop. */
  isOpenFor(topic: string): boolean {
    if (this.#filters.size === 0) return false;
    const levels = topic.split("/");
    for (const filter of this.#filters.values()) if (filter.isOpen && filterMatches(filter.levels, levels)) return true;
    return false;
  }

  /** Routes know which topics are mail drops'; and who has long subscribed gets from now on what lies there. */
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

  #open(client: LocalSession, subscription: Subscription, cursor: Cursor): DropFeed {
    const dropLog = this.#logOf(subscription);
    const feed = new DropFeed(client, subscription, { dropLog, cursor });
    const feeds = this.#feeds.get(client) ?? new FeedsByFilter();
    feeds.set(subscription.filter.text, feed);
    this.#feeds.set(client, feeds);
    client.followDrops(feeds);
    dropLog.feeds.add(feed);
    return feed;
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

  /** A new subscription gets all that lies there; unless it wants nothing of the past, as with retained messages. */
  #startOf({ retainHandling }: Subscription): Cursor {
    return retainHandling === 2 ? { czxid: this.#context.coordinator.seenZxid, name: lastName } : start;
  }

  /** A subscription that is older than the mail drop gets all that has come into it. */
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
      if (!isData(result)) return;
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

/** Throws `OperatingError` with EFORMAT, as `decodeCursor` does. */
function decodeDrop(levels: readonly string[] | undefined, data: Uint8Array) {
  if (levels === undefined) throw badFormat("is named by what is no filter");
  return { isOpen: new Fields(data).flag("isOpen"), levels };
}

function decodeCursor(data: Uint8Array): Cursor {
  const fields = new Fields(data);
  return { czxid: fields.whole("czxid"), name: fields.text("name") };
}

/** The level of the tree below which all is that a subscription may match. */
function rootOf({ filter }: Subscription): string {
  const wildcard = filter.levels.findIndex((level) => level === "+" || level === "#");
  const fixed = wildcard === -1 ? filter.levels : filter.levels.slice(0, wildcard);
  return fixed.length === 0 ? topicsPath : topicPath(topicsPath, fixed.join("/"));
}
