/**
 * Stored messages and the slips that point to them. A message is stored once; each recipient's mailbox gets a
 * slip in the same commit. Whoever removes the last slip removes the message: with more than one recipient a
 * counter beside it is set at each removal, and its version tells the last one that it is the last.
 */

import { decodeUtf8 } from "../base/bytes.ts";
import { mailPageSlips, topicTreeBytesMax, unitBytesReserve } from "../base/limits.ts";
import type { Coordinator, ReadResult } from "../coordinator/coordinator.ts";
import { mailPath, messagePath, parentPath, topicOfPath, topicsPath } from "../coordinator/paths.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Journal } from "./journal.ts";
import type { Ledger, Payment } from "./ledger.ts";
import type { JournalOperation } from "./operations.ts";
import { decodeMessage, decodeSlip, emptyRecord, encodeMessage, encodeSlip, type SlipRecord } from "./records.ts";

/** What a recipient's slip will say. */
export interface SlipDraft {
  readonly clientId: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** 0: not sent yet. */
  readonly packetId: number;
}

/** A slip in memory. */
export interface Slip {
  readonly clientId: string;
  /** Its number in the mailbox; undefined until the store has given it one. */
  name: string | undefined;
  /** Undefined until it has been read from the store. */
  record: SlipRecord | undefined;
  /** The message, while it is in memory. */
  publish: Publish | undefined;
  committed: boolean;
}

/** The znode of a session, as this broker last set it: whoever writes in its name must find it so. */
export interface Owned {
  readonly path: string;
  version: number;
}

export class Mail {
  readonly #coordinator: Coordinator;
  readonly #journal: Journal;
  readonly #epoch: string;
  readonly #ledger: Ledger;
  #sequence = 0;
  /** Slips to be removed as soon as their number is known. */
  readonly #unwanted = new Set<Slip>();

  constructor(parts: { coordinator: Coordinator; journal: Journal; ledger: Ledger; epoch: number }) {
    const { coordinator, journal, ledger, epoch } = parts;
    this.#coordinator = coordinator;
    this.#journal = journal;
    this.#ledger = ledger;
    this.#epoch = epoch.toString(36).padStart(8, "0");
  }

  /** A number for a message. */
  nextOrder(): number {
    return ++this.#sequence;
  }

  /** Names sort as the messages' numbers do, and after all names given by earlier lives of this broker. */
  #nameOf({ order, from }: MessageName): string {
    return `${this.#epoch}${order.toString(36).padStart(8, "0")}-${from}`;
  }

  /**
   * What stores a message with a slip for each draft: one unit, or several with a copy each where one could not hold all
   * slips. Slips are numbered by the store, in the order of their commits, whoever commits them.
   */
  store(publish: Publish, name: MessageName, drafts: readonly SlipDraft[], payment?: Payment): StoredMail[] {
    const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
    const room = this.#journal.unitBytesMax - publish.size - topicBytesMax(publish) - unitBytesReserve;
    const units: StoredMail[] = [];
    for (let from = 0; from < drafts.length; ) {
      const path = messagePath(topic, this.#nameOf({ order: name.order, from: name.from + from }));
      let to = from;
      for (let bytes = 0; to < drafts.length && (to === from || bytes < room); to++) {
        const { clientId, subscriptionIds } = drafts[to]!;
        bytes += slipOverhead + 3 * clientId.length + path.length + 4 * subscriptionIds.length;
      }
      const unit = this.#store(publish, path, drafts.slice(from, to));
      this.#ledger.keep(path, this.#ledger.termsOf(publish).credits, payment);
      units.push(unit);
      from = to;
    }
    return units;
  }

  #store(publish: Publish, path: string, drafts: readonly SlipDraft[]): StoredMail {
    const { branch } = this.#ledger;
    const terms = this.#ledger.termsOf(publish);
    const data = encodeMessage(publish, { ...terms, branch, recipients: drafts.length });
    const operations: JournalOperation[] = [this.#ledger.guard(), { kind: "create", path, data, mode: "persistent" }];
    if (drafts.length > 1)
      operations.push({ kind: "create", path: counterPath(path), data: emptyRecord, mode: "persistent" });
    const slips = drafts.map((draft): Slip => {
      const record: SlipRecord = {
        state: draft.packetId === 0 ? "waiting" : "sent",
        qos: draft.qos,
        retain: draft.retain,
        packetId: draft.packetId,
        recipients: drafts.length,
        keepUntil: Math.min(terms.keepUntil, publish.expiresAt),
        subscriptionIds: draft.subscriptionIds,
        branch,
        messagePath: path,
      };
      const { slip, operation } = this.#slip(draft.clientId, record, publish);
      operations.push(operation);
      return slip;
    });
    return { path, operations, slips };
  }

  #slip(
    clientId: string,
    record: SlipRecord,
    publish: Publish | undefined,
  ): { slip: Slip; operation: JournalOperation } {
    const slip: Slip = { clientId, name: undefined, record, publish, committed: false };
    const named = (given: string | undefined): void => {
      slip.name = given;
      if (given === undefined) this.#find(slip);
    };
    const path = `${mailPath(clientId)}/`;
    return { slip, operation: { kind: "create", path, data: encodeSlip(record), mode: "sequential", named } };
  }

  /** What puts a message into a mail drop, where it lies until its time is over: for whoever comes, without slips. */
  lay(given: Publish, publisher: string, payment: Payment | undefined): Omit<StoredMail, "slips"> {
    const publish = given.kept();
    const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
    const path = messagePath(topic, this.#nameOf({ order: this.nextOrder(), from: 0 }));
    const terms = this.#ledger.termsOf(publish);
    const data = encodeMessage(publish, { ...terms, branch: this.#ledger.branch, recipients: 0, publisher });
    this.#ledger.keep(path, terms.credits, payment);
    if (publish.retain) publish.copyUntil = Math.min(terms.keepUntil, publish.expiresAt);
    return { path, operations: [this.#ledger.guard(), { kind: "create", path, data, mode: "persistent" }] };
  }

  /** Slips for a message that lies in a mail drop: whoever has it leaves it there. */
  slipFor(draft: SlipDraft, { path, branch, keepUntil }: Lying): { slip: Slip; operation: JournalOperation } {
    const { qos, retain, packetId, subscriptionIds } = draft;
    const record: SlipRecord = {
      state: "waiting",
      qos,
      retain,
      packetId,
      recipients: 0,
      keepUntil,
      subscriptionIds,
      branch,
      messagePath: path,
    };
    return this.#slip(draft.clientId, record, undefined);
  }

  /** What was to be stored will not be. */
  withdrawn(path: string): void {
    this.#ledger.freed(path, this.#ledger.branch);
  }

  /** Commits that a slip has been given a packet id, before it is sent at QoS 2. */
  markSent(slip: Slip, packetId: number, how: Settling): void {
    const record = slip.record!;
    record.state = "sent";
    record.packetId = packetId;
    const set: JournalOperation = { kind: "set", path: slipPath(slip), data: encodeSlip(record) };
    this.#journal.commit([checkOf(how.owned), set], how.done, how.refused);
  }

  /** Commits that the recipient has the message (PUBREC): only its packet id is still needed. */
  release(slip: Slip, how: Settling): void {
    const record = slip.record!;
    record.state = "released";
    const set: JournalOperation = { kind: "set", path: slipPath(slip), data: encodeSlip(record) };
    const done = (versions: readonly number[]): void => {
      this.#left(record, versions[2] ?? -1);
      how.done();
    };
    this.#journal.commit([checkOf(how.owned), set, ...leaveMessage(record)], done, how.refused);
  }

  /** Removes a slip whose recipient has the message, or will never want it, with all that is left of it. */
  discard(slip: Slip): void {
    const record = slip.record!;
    // Its number is being found out; it is removed when that is known.
    if (slip.name === undefined) {
      this.#unwanted.add(slip);
      return;
    }
    const take: JournalOperation = { kind: "take", path: slipPath(slip) };
    const gone = (): void => {};
    if (record.state === "released") return this.#journal.commit([take], gone, gone);
    this.#journal.commit([take, ...leaveMessage(record)], (versions) => this.#left(record, versions[1] ?? -1), gone);
  }

  /** The slips of a mailbox, oldest first, not yet read. */
  list(clientId: string, done: (slips: Slip[]) => void): void {
    this.#coordinator.read([{ kind: "children", path: mailPath(clientId) }], (error, [result]) => {
      if (error !== undefined) return;
      const names = isChildren(result) ? [...result.children].sort() : [];
      done(names.map((name) => unreadSlip(clientId, name)));
    });
  }

  /** Removes everything from a mailbox. */
  empty(clientId: string, done: () => void): void {
    this.list(clientId, (slips) => this.#emptyFrom(slips, 0, done));
  }

  #emptyFrom(slips: readonly Slip[], at: number, done: () => void): void {
    if (at >= slips.length) return done();
    const page = slips.slice(at, at + mailPageSlips);
    this.readRecords(page, () => {
      for (const slip of page) if (slip.record !== undefined) this.discard(slip);
      this.#emptyFrom(slips, at + mailPageSlips, done);
    });
  }

  /** Reads records and messages that are not in memory. A slip whose record stays undefined is gone. */
  fetch(slips: readonly Slip[], done: () => void): void {
    this.readRecords(slips, () => {
      const empty = slips.filter(
        (slip) => slip.publish === undefined && slip.record && slip.record.state !== "released",
      );
      this.readMessages(
        empty.map((slip) => slip.record!.messagePath),
        (messages) => {
          empty.forEach((slip, index) => {
            slip.publish = messages[index];
          });
          done();
        },
      );
    });
  }

  /** Reads stored messages; undefined for one that is gone. */
  readMessages(paths: readonly string[], done: (messages: readonly (Publish | undefined)[]) => void): void {
    this.#readAll(paths, (results) =>
      done(
        results.map((result, index) =>
          isData(result) ? decodeMessage(topicOfMessage(paths[index]!), result.data) : undefined,
        ),
      ),
    );
  }

  /** Reads the records of slips, without their messages. */
  readRecords(slips: readonly Slip[], done: () => void): void {
    const unread = slips.filter((slip) => slip.record === undefined);
    this.#readAll(unread.map(slipPath), (results) => {
      for (let index = 0; index < unread.length; index++) {
        const result = results[index];
        if (isData(result)) unread[index]!.record = decodeSlip(result.data);
      }
      done();
    });
  }

  /** A slip was stored, but contact was lost before its number was told: it is the one that names its message. */
  #find(slip: Slip): void {
    const { messagePath } = slip.record!;
    this.list(slip.clientId, (slips) => {
      this.readRecords(slips, () => {
        const found = slips.find(({ record }) => record?.messagePath === messagePath);
        slip.name = found?.name;
        if (found !== undefined && this.#unwanted.delete(slip)) this.discard(slip);
      });
    });
  }

  #readAll(paths: readonly string[], done: (results: readonly ReadResult[]) => void): void {
    if (paths.length === 0) return done([]);
    const operations = paths.map((path) => ({ kind: "get", path }) as const);
    this.#coordinator.read(operations, (error, results) => {
      if (error === undefined) done(results);
    });
  }

  /** One recipient less is committed: the only one has removed the message, the last of several does it now. */
  #left({ recipients, messagePath, branch }: SlipRecord, counterVersion: number): void {
    // In a mail drop it lies until its time is over.
    if (recipients === 0) return;
    if (recipients === 1) return this.#ledger.freed(messagePath, branch);
    const counted = { path: messagePath, branch, recipients };
    if (counterVersion !== -1) return this.removeIfDone(counted, counterVersion);
    // It was committed, but the answer was lost.
    this.#coordinator.read([{ kind: "exists", path: counterPath(messagePath) }], (_, [counter]) => {
      if (typeof counter === "object" && "stat" in counter) this.removeIfDone(counted, counter.stat.version);
    });
  }

  /** Removes a message with several recipients if its counter says that all of them have it. */
  removeIfDone(message: CountedMessage, counterVersion: number): void {
    if (counterVersion >= message.recipients) this.remove(message);
  }

  /** Removes a message that nobody needs any more. */
  remove({ path, branch, recipients }: CountedMessage): void {
    const counter: JournalOperation[] = recipients > 1 ? [{ kind: "remove", path: counterPath(path) }] : [];
    this.#journal.commit([...counter, { kind: "remove", path }], () => this.#ledger.freed(path, branch));
  }
}

/** Bytes of a slip's znode and the request that makes it, besides names. */
const slipOverhead = 160;

/** What the levels of a topic, and the paths below them, may take in a unit at most. */
export function topicBytesMax({ topicBytes, topicStart, topicEnd }: Publish): number {
  let levels = 1;
  for (let at = topicStart; at < topicEnd; at++) if (topicBytes[at] === 0x2f) levels++;
  return Math.min(topicTreeBytesMax, 3 * (topicEnd - topicStart) * (levels / 2 + 4));
}

export interface MessageName {
  readonly order: number;
  /** Sets apart slips that are stored for one message at different times. */
  readonly from: number;
}

/** How something is written in a session's name. */
export interface Settling {
  readonly owned: Owned;
  readonly done: () => void;
  /** The session is another broker's. */
  readonly refused: () => void;
}

export interface CountedMessage {
  readonly path: string;
  /** Who pays for it. */
  readonly branch: string;
  readonly recipients: number;
}

/** A message in a mail drop. */
export interface Lying {
  readonly path: string;
  /** Who pays for it. */
  readonly branch: string;
  /** Until when it lies there, in ms since 1970. */
  readonly keepUntil: number;
}

export interface StoredMail {
  /** The message's znode. */
  readonly path: string;
  readonly operations: JournalOperation[];
  readonly slips: Slip[];
}

/** One that stands in the store. */
export function unreadSlip(clientId: string, name: string): Slip {
  return { clientId, name, record: undefined, publish: undefined, committed: true };
}

function slipPath(slip: Slip): string {
  return `${mailPath(slip.clientId)}/${slip.name}`;
}

/** Whoever has lost a session must not write in its name. */
export function checkOf(owned: Owned): JournalOperation {
  return { kind: "check", path: owned.path, version: () => owned.version };
}

function counterPath(messagePath: string): string {
  return `${messagePath}/left`;
}

/** One recipient less: the only one removes the message, another counts. */
function leaveMessage(record: SlipRecord): JournalOperation[] {
  if (record.recipients === 0) return [];
  if (record.recipients === 1) return [{ kind: "remove", path: record.messagePath }];
  return [{ kind: "set", path: counterPath(record.messagePath), data: emptyRecord }];
}

export function topicOfMessage(path: string): string {
  return topicOfPath(topicsPath, parentPath(path));
}

function isData(result: ReadResult | undefined): result is Extract<ReadResult, { data: Uint8Array }> {
  return typeof result === "object" && "data" in result;
}

function isChildren(result: ReadResult | undefined): result is Extract<ReadResult, { children: readonly string[] }> {
  return typeof result === "object" && "children" in result;
}
