/**
 * The drop log: messages in mail drops below one level of the tree, mirrored in memory without payloads, in the order
 * of their commits (within one transaction, of their names). Feeds go along it.
 *
 * Invariant: while the log is complete, whatever is added comes after all that is in it.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import { partBytesMax } from "../../base/limits.ts";
import { Mirror, type MirrorNode } from "../../coordinator/mirror.ts";
import { isEncodedPath, messageMark, nameOf, parentPath, topicsPath } from "../../coordinator/paths.ts";
import type { DropEntry } from "../../mail/mail.ts";
import type { RecordReader } from "../../mail/record-reader.ts";
import { decodeMessage, decodeMessageHead } from "../../mail/records.ts";
import { topicOfMessage } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Runtime } from "../core/runtime.ts";

/** A position in the log: everything up to it, itself included. */
export interface Cursor {
  /** The transaction that created the message's znode. */
  readonly czxid: number;
  /** Name of the message's znode. */
  readonly name: string;
}

/** A message in a mail drop, as the log has it. */
export interface DropMessage extends DropEntry, Cursor {
  readonly topic: string;
  readonly levels: readonly string[];
  readonly qos: QoS;
  readonly retain: boolean;
  readonly publisher: string;
  /** The size of the stored message, approximately. */
  readonly bytes: number;
  /** The message itself, only until all feeds that are at this point have been given it. */
  publish: Publish | undefined;
  /** True once the message is gone from the store. */
  isGone: boolean;
}

/** The log of one level of the tree, which all feeds below that level share. */
export class DropLog {
  /** The feeds that go along this log; `pump` hands on what has come. */
  readonly feeds = new Set<{ pump(): void }>();
  readonly #mirror: Mirror;
  readonly #reader: RecordReader;
  #messages: DropMessage[] = [];
  readonly #byPath = new Map<string, DropMessage>();
  #isComplete = false;
  #fresh: DropMessage[] = [];

  constructor({ coordinator, strangers }: Runtime, root: string) {
    this.#reader = strangers;
    this.#mirror = new Mirror(coordinator, {
      root,
      concerns: (path) => nameOf(path).startsWith(messageMark) && isEncodedPath(topicsPath, parentPath(path)),
      needsData: () => true,
      apply: (path, node) => {
        if (node === undefined) this.#remove(path);
        else if (node !== "exists") this.#add(path, node);
      },
      completed: (isComplete) => this.#complete(isComplete),
    });
    // It fails only while the store is closing: nobody is handed anything any more.
    this.#mirror.start().catch(ignoreTheWorld);
  }

  /** True while the log holds all that the store holds; feeds wait until then. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Stops mirroring: the last feed is gone. */
  stop(): void {
    this.#mirror.stop();
  }

  /** Yields the messages after a position, in order. */
  *after(cursor: Cursor): Generator<DropMessage> {
    const messages = this.#messages;
    let low = 0;
    for (let high = messages.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (isAfter(messages[middle]!, cursor)) high = middle;
      else low = middle + 1;
    }
    for (; low < messages.length; low++) if (!messages[low]!.isGone) yield messages[low]!;
  }

  #add(path: string, { data, stat }: MirrorNode): void {
    if (this.#byPath.has(path)) return;
    const topic = topicOfMessage(path);
    const stored = this.#reader.read(path, () => ({
      head: decodeMessageHead(data),
      publish: decodeMessage(topic, data),
    }));
    if (stored?.head?.publisher === undefined) return;
    const { head, publish } = stored;
    const message: DropMessage = {
      path,
      czxid: stat.czxid,
      name: nameOf(path),
      topic,
      levels: topic.split("/"),
      qos: publish.qos,
      retain: publish.retain,
      publisher: stored.head.publisher,
      branch: head.branch,
      keepUntil: head.keepUntil,
      bytes: data.length + (head.parts?.count ?? 0) * partBytesMax,
      publish: undefined,
      isGone: false,
    };
    this.#byPath.set(path, message);
    this.#messages.push(message);
    if (!this.#isComplete) return;
    if (head.parts === undefined) message.publish = publish;
    this.#fresh.push(message);
    // Messages that have come together are handed out together.
    if (this.#fresh.length === 1) queueMicrotask(() => this.#handOn());
  }

  #handOn(): void {
    const fresh = this.#fresh;
    this.#fresh = [];
    this.#pump();
    for (const message of fresh) message.publish = undefined;
  }

  #remove(path: string): void {
    const message = this.#byPath.get(path);
    if (message === undefined) return;
    message.isGone = true;
    this.#byPath.delete(path);
    if (this.#messages.length > 2 * this.#byPath.size + 64)
      this.#messages = this.#messages.filter(({ isGone }) => !isGone);
  }

  #complete(isComplete: boolean): void {
    this.#isComplete = isComplete;
    if (!isComplete) return;
    this.#messages = this.#messages.filter(({ isGone }) => !isGone).sort((a, b) => (isAfter(a, b) ? 1 : -1));
    this.#pump();
  }

  #pump(): void {
    for (const feed of [...this.feeds]) feed.pump();
  }
}

/** Returns true if position `a` comes after `b`. */
export function isAfter(a: Cursor, b: Cursor): boolean {
  return a.czxid > b.czxid || (a.czxid === b.czxid && a.name > b.name);
}
