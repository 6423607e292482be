/**
 * Slips: what each mailbox says of the messages that are stored for it. Whoever removes the last slip removes the
 * message: with more than one recipient a counter beside it is set at each removal, and its version tells the last one
 * that it is the last.
 */

import type { Coordinator, CoordinatorError, ReadResult } from "../coordinator/coordinator.ts";
import {
  idOfMessage,
  isSlipName,
  mailPath,
  messageMark,
  parentPath,
  topicOfPath,
  topicsPath,
} from "../coordinator/paths.ts";
import { childrenOf, hasData, hasStat } from "../coordinator/read-results.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Journal } from "./journal.ts";
import type { Ledger } from "./ledger.ts";
import { MailboxNumbers } from "./mailbox-numbers.ts";
import type { JournalOperation } from "./operations.ts";
import { decodeStored, readPieces } from "./parts.ts";
import { Payloads } from "./payloads.ts";
import type { RecordReader } from "./record-reader.ts";
import { decodeSlip, emptyRecord, encodeSlip, type MessageHead, type SlipRecord } from "./records.ts";
import { SlipSearch } from "./slip-search.ts";

/** A slip that is to be written into a recipient's mailbox. */
export interface SlipDraft {
  readonly clientId: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** 0: not sent yet. */
  readonly packetId: number;
  /** The mark of the shared subscription that it is stored for; 0: for none. */
  readonly groupMark: number;
}

/** A slip in memory. */
export interface Slip {
  readonly clientId: string;
  /** The slip's number in the mailbox; undefined until the store has given it one. */
  name: string | undefined;
  /** Undefined until it has been read from the store. */
  record: SlipRecord | undefined;
  /** The message, while it is in memory. */
  publish: Publish | undefined;
  committed: boolean;
}

/** The znode of a session, as this broker last set it: whoever writes in its name must find it so. */
export interface FencingToken {
  readonly path: string;
  version: number;
}

export type MessagesRead = (messages: readonly (Publish | undefined)[], strangers: ReadonlySet<number>) => void;

export class Slips {
  readonly numbers: MailboxNumbers;
  readonly payloads: Payloads;
  readonly #coordinator: Coordinator;
  readonly #journal: Journal;
  readonly #ledger: Ledger;
  readonly #reader: RecordReader;
  /** Slips to be removed as soon as their number is known. */
  readonly #unwanted = new Map<Slip, FencingToken | undefined>();
  readonly #search: SlipSearch;
  /** Messages whose removal is under way, by their paths. */
  readonly #removing = new Set<string>();
  #stored = 0;

  constructor(parts: { coordinator: Coordinator; journal: Journal; ledger: Ledger; reader: RecordReader }) {
    this.#coordinator = parts.coordinator;
    this.numbers = new MailboxNumbers(parts.coordinator);
    this.payloads = new Payloads(parts);
    this.#journal = parts.journal;
    this.#ledger = parts.ledger;
    this.#search = new SlipSearch(parts.coordinator, parts.reader);
    this.#reader = parts.reader;
  }

  /** The number of slips that were committed together with their message, since the start. */
  get stored(): number {
    return this.#stored;
  }

  /** A slip that is about to be stored, and what stores it. */
  draw(
    clientId: string,
    record: SlipRecord,
    publish: Publish | undefined,
  ): { slip: Slip; operation: JournalOperation } {
    const slip: Slip = { clientId, name: undefined, record, publish, committed: false };
    const named = (given: string | undefined): void => {
      slip.name = given;
      // A message in a mail drop, which counts no recipients, was stored before its slips.
      if (record.recipients > 0) this.#stored++;
      if (given !== undefined) this.numbers.seen(clientId, given);
      if (given === undefined) this.#find(slip);
    };
    const path = `${mailPath(clientId)}/`;
    return { slip, operation: { kind: "create", path, data: encodeSlip(record), mode: "sequential", named } };
  }

  /** Commits that a slip has been given a packet id, before it is sent at QoS 2. */
  markSent(slip: Slip, packetId: number, how: Settling): void {
    const record = slip.record!;
    record.state = "sent";
    record.packetId = packetId;
    const set: JournalOperation = { kind: "set", path: slipPath(slip), data: encodeSlip(record) };
    this.#journal.commit([fence(how.fencingToken), set], how.done, how.refused);
  }

  /** Commits that the recipient has the message (PUBREC): only its packet id is still needed. */
  release(slip: Slip, how: Settling): void {
    const record = slip.record!;
    record.state = "released";
    const path = slipPath(slip);
    // It must be there, in any version: whoever has removed it has counted one recipient less.
    const set: JournalOperation = { kind: "set", path, data: encodeSlip(idSlipOf(record)), version: () => -1 };
    const done = (versions: readonly number[]): void => {
      this.#left(record, versions[2] ?? -1);
      how.done();
    };
    const refused = (error: CoordinatorError): void => (error.path === path ? how.done() : how.refused());
    this.#journal.commit([fence(how.fencingToken), set, ...leaveMessage(record)], done, refused);
  }

  /**
   * Removes a slip whose recipient has the message, or will never want it, with all that is left of it. `owned`: only
   * as long as the session is this broker's; one that has begun anew numbers its slips from 0, and the name may be
   * another one's.
   */
  discard(slip: Slip, fencingToken?: FencingToken): void {
    // Its number is being found out; it is removed when that is known.
    if (slip.name === undefined) {
      this.#unwanted.set(slip, fencingToken);
      return;
    }
    const guard = fencingToken === undefined ? [] : [fence(fencingToken)];
    const { operations, committed } = this.removalOf(slip);
    const gone = (versions: readonly number[]): void => committed(versions.slice(guard.length));
    // Refused: others have removed it.
    this.#journal.commit([...guard, ...operations], gone, () => {});
  }

  /** Returns what removes a slip with all that is left of it; `committed` is told the versions that are left behind. */
  removalOf(slip: Slip): { operations: JournalOperation[]; committed: (versions: readonly number[]) => void } {
    const record = slip.record!;
    const left = record.state === "released" ? [] : leaveMessage(record);
    const committed = (versions: readonly number[]): void => {
      if (left.length > 0) this.#left(record, versions[1] ?? -1);
      this.numbers.left(slip.clientId);
    };
    return { operations: [{ kind: "take", path: slipPath(slip), ofLease: true }, ...left], committed };
  }

  /**
   * The message of a slip that was sent at QoS 2 has outlived its time: only the packet id is still needed, until the
   * client has given it back. `version`: the slip's, as it was read.
   */
  lapse(slip: Slip, version: number): void {
    const record = slip.record!;
    const data = encodeSlip(idSlipOf(record));
    const set: JournalOperation = { kind: "set", path: slipPath(slip), data, version: () => version, ofLease: true };
    const changed = (): void => {};
    this.#journal.commit([set, ...leaveMessage(record)], (versions) => this.#left(record, versions[1] ?? -1), changed);
  }

  /** The slips of a mailbox, oldest first, not yet read; undefined: the store could not tell. */
  list(clientId: string, done: (slips: Slip[] | undefined) => void): void {
    this.#coordinator.read([{ kind: "children", path: mailPath(clientId) }], (error, [result]) =>
      done(error === undefined ? this.named(clientId, childrenOf(result)) : undefined),
    );
  }

  /** The slips of a mailbox in which these names were found, oldest first, not yet read. */
  named(clientId: string, found: readonly string[]): Slip[] {
    const names = found.filter(isSlipName);
    // Mostly they are, and to find that out costs much less.
    if (names.some((name, at) => at > 0 && name < names[at - 1]!)) names.sort();
    if (names.length > 0) this.numbers.seen(clientId, names.at(-1)!);
    return names.map((name) => unreadSlip(clientId, name));
  }

  /** Reads records and messages that are not in memory. A slip whose record stays undefined is gone. */
  fetch(slips: readonly Slip[], done: () => void, progress?: () => void): void {
    this.readRecords(slips, () => {
      const empty = slips.filter(
        (slip) => slip.publish === undefined && slip.record && slip.record.state !== "released",
      );
      this.readMessages(
        empty.map((slip) => slip.record!.messagePath),
        (messages, strangers) => {
          empty.forEach((slip, index) => {
            slip.publish = messages[index];
            // A slip is not removed for a message that a newer broker may read.
            if (strangers.has(index)) slip.record = undefined;
          });
          done();
        },
        progress,
      );
    });
  }

  /** Reads stored messages; undefined for one that is gone. `strangers`: what stands at these places is not ours. */
  readMessages(paths: readonly string[], done: MessagesRead, progress?: () => void): void {
    this.#readAll(paths, (results) => {
      const messages: (Publish | undefined)[] = new Array(paths.length).fill(undefined);
      const strangers = new Set<number>();
      let left = 1;
      const settle = (): void => {
        if (--left === 0) done(messages, strangers);
      };
      for (const [index, result] of results.entries()) {
        if (!hasData(result)) continue;
        const path = paths[index]!;
        const stored = this.#reader.read(path, () => decodeStored(topicOfMessage(path), result.data));
        if (stored === undefined) {
          strangers.add(index);
          continue;
        }
        left++;
        const completed = (message: Publish | undefined): void => {
          messages[index] = message;
          settle();
        };
        readPieces(this.#coordinator, stored, completed, progress);
      }
      settle();
    });
  }

  /** Reads the records of slips, without their messages. */
  readRecords(slips: readonly Slip[], done: () => void): void {
    const unread = slips.filter((slip) => slip.record === undefined);
    this.#readAll(unread.map(slipPath), (results) => {
      for (let index = 0; index < unread.length; index++) {
        const result = results[index];
        if (!hasData(result)) continue;
        const slip = unread[index]!;
        slip.record = this.#reader.read(slipPath(slip), () => decodeSlip(result.data));
      }
      done();
    });
  }

  /** Finds the number of a slip that was stored, but contact was lost before its number was told. */
  #find(slip: Slip): void {
    const found = (name: string | undefined): void => {
      slip.name = name;
      const fencingToken = this.#unwanted.get(slip);
      if (this.#unwanted.delete(slip) && name !== undefined) this.discard(slip, fencingToken);
    };
    this.#search.find({ clientId: slip.clientId, messagePath: slip.record!.messagePath, found });
  }

  #readAll(paths: readonly string[], done: (results: readonly ReadResult[]) => void): void {
    if (paths.length === 0) return done([]);
    const operations = paths.map((path) => ({ kind: "get", path }) as const);
    this.#coordinator.read(operations, (error, results) => {
      if (error === undefined) done(results);
    });
  }

  /** One recipient less is committed: the only one has removed the message, the last of several does it now. */
  #left({ recipients, messagePath, branch, hasParts }: SlipRecord, counterVersion: number): void {
    // In a mail drop it lies until its time is over.
    if (recipients === 0) return;
    const counted = { path: messagePath, branch, recipients, hasParts };
    if (recipients === 1) return this.#removed(counted);
    if (counterVersion !== -1) return this.removeIfDone(counted, counterVersion);
    // It was committed, but the answer was lost.
    this.#coordinator.read([{ kind: "exists", path: counterPath(messagePath) }], (_, [counter]) => {
      if (hasStat(counter)) this.removeIfDone(counted, counter.stat.version);
    });
  }

  /** Removes a message with several recipients if its counter says that all of them have it. */
  removeIfDone(message: CountedMessage, counterVersion: number): void {
    if (counterVersion >= message.recipients) this.remove(message);
  }

  /** Removes a message that nobody needs any more. */
  remove(message: CountedMessage): void {
    const { path, recipients } = message;
    // Its last recipient has it just now, and whoever sweeps sees it.
    if (this.#removing.has(path)) return;
    this.#removing.add(path);
    const counter: JournalOperation[] = recipients > 1 ? [{ kind: "remove", path: counterPath(path) }] : [];
    this.#journal.commit([...counter, { kind: "remove", path }], () => {
      this.#removing.delete(path);
      this.#removed(message);
    });
  }

  #removed({ path, branch, hasParts }: CountedMessage): void {
    this.#ledger.freed(path, branch);
    if (hasParts) this.payloads.remove({ id: idOfMessage(path), branch });
  }
}

/**
 * Returns what a slip says when only its packet id is needed: it names no message, for topics may be long, and others
 * pay for it from now on.
 */
function idSlipOf({ qos, retain, packetId, keepUntil }: SlipRecord): SlipRecord {
  const nothing = { subscriptionIds: [], branch: "", hasParts: false, groupMark: 0, recipients: 1 } as const;
  return { ...nothing, qos, retain, packetId, keepUntil, state: "released", messagePath: noMessagePath };
}

/** The path of no message; it looks like one, for brokers that read it. */
const noMessagePath = `${topicsPath}/${messageMark}0`;

/** How something is written in a session's name. */
export interface Settling {
  readonly fencingToken: FencingToken;
  readonly done: () => void;
  /** The session is another broker's. */
  readonly refused: () => void;
}

export interface CountedMessage {
  readonly path: string;
  /** The branch that pays for it. */
  readonly branch: string;
  readonly recipients: number;
  readonly hasParts: boolean;
}

export function countedOf(path: string, { branch, recipients, parts }: MessageHead): CountedMessage {
  return { path, branch, recipients, hasParts: parts !== undefined };
}

/** One that stands in the store. */
export function unreadSlip(clientId: string, name: string): Slip {
  return { clientId, name, record: undefined, publish: undefined, committed: true };
}

/**
 * True if the client may know the packet id of a slip as that of a message it has, and takes another for a repetition.
 */
export function isHeldByClient({ record }: Slip): boolean {
  return record?.qos === 2 && record.state === "sent";
}

/** True if a slip names what lies in a mail drop, which its session has to pay for. */
export function isOfDrop({ record }: Slip): boolean {
  return record?.recipients === 0 && record.state !== "released";
}

export function slipPath(slip: Slip): string {
  return `${mailPath(slip.clientId)}/${slip.name}`;
}

/** The check that keeps a broker which has lost a session from writing in its name. */
export function fence(fencingToken: FencingToken): JournalOperation {
  return { kind: "check", path: fencingToken.path, version: () => fencingToken.version, ofLease: true };
}

export function counterPath(messagePath: string): string {
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
