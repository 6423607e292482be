/**
 * What lies in mail drops below one level of the tree, mirrored in memory without payloads, in the order of the commits:
 * of whole transactions, and within one of the names. Feeds go along it.
 *
 * Invariant: while it is complete, whatever is added comes after all that lies on it.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import { partBytesMax } from "../../base/limits.ts";
import { Mirror, type MirrorNode } from "../../coordinator/mirror.ts";
import { isEncodedPath, messageMark, nameOf, parentPath, topicsPath } from "../../coordinator/paths.ts";
import type { Lying } from "../../mail/mail.ts";
import type { RecordReader } from "../../mail/record-reader.ts";
import { decodeMessage, decodeMessageHead } from "../../mail/records.ts";
import { topicOfMessage } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { Runtime } from "../core/runtime.ts";
import type { DropFeed } from "./drop-feed.ts";

/** A place in the order: everything up to it, itself included. */
export interface Cursor {
  readonly czxid: number;
  /** Of the message's znode. */
  readonly name: string;
}

export interface DropMessage extends Lying, Cursor {
  readonly topic: string;
  readonly levels: readonly string[];
  readonly qos: QoS;
  readonly retain: boolean;
  readonly publisher: string;
  /** About so many. */
  readonly bytes: number;
  /** The message itself: only until all feeds that have come as far have been given it. */
  publish: Publish | undefined;
  isGone: boolean;
}

export class DropLog {
  readonly feeds = new Set<DropFeed>();
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
    // The store is closing: nobody is handed anything any more.
    this.#mirror.start().catch(ignoreTheWorld);
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  stop(): void {
    this.#mirror.stop();
  }

  /** What comes next after a place; undefined at the end. */
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
    // What has come together is handed on together.
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

export function isAfter(a: Cursor, b: Cursor): boolean {
  return a.czxid > b.czxid || (a.czxid === b.czxid && a.name > b.name);
}
