/**
 * Stores messages: a message is stored once, and each recipient's mailbox gets a slip in the same commit; or it lies in
 * a mail drop, or is retained.
 */

import { slipsPerUnitMax, topicTreeBytesMax, unitBytesReserve } from "../base/limits.ts";
import { idOfMessage, messagePath } from "../coordinator/paths.ts";
import { counterWeightOf, placeOfTopic, slipWeightOf, textWeightOf } from "../coordinator/weight.ts";
import { type Publish, topicOf } from "../mqtt/publish.ts";
import type { Journal } from "./journal.ts";
import type { Ledger, Payment } from "./ledger.ts";
import type { JournalOperation } from "./operations.ts";
import { claimBytesOf } from "./parts.ts";
import { emptyRecord, encodeMessage, type MessageHead, type Parts, type SlipRecord } from "./records.ts";
import { counterPath, type Slip, type SlipDraft, type Slips } from "./slips.ts";

export class Mail {
  readonly #journal: Journal;
  readonly #ledger: Ledger;
  readonly #slips: Slips;
  readonly #epoch: string;
  #sequence = 0;
  #storedInDrops = 0;
  readonly #countInDrops = (): void => {
    this.#storedInDrops++;
  };

  constructor(parts: { journal: Journal; ledger: Ledger; slips: Slips; epoch: number }) {
    const { journal, ledger, slips, epoch } = parts;
    this.#journal = journal;
    this.#ledger = ledger;
    this.#slips = slips;
    this.#epoch = nameOfEpoch(epoch);
  }

  /** The number of copies in mailboxes, and of messages in mail drops, that were committed since the start. */
  get stored(): number {
    return this.#slips.stored + this.#storedInDrops;
  }

  /** A number for a message. */
  nextOrder(): number {
    return ++this.#sequence;
  }

  #nextName(): string {
    return this.#nameOf({ order: this.nextOrder(), from: 0 });
  }

  /** Names sort as the messages' numbers do, and after all names given by earlier lives of this broker. */
  #nameOf({ order, from }: MessageName): string {
    return `${this.#epoch}${order.toString(36).padStart(orderDigits, "0")}-${from}`;
  }

  /**
   * Prepares a message with a slip for each draft: one unit, or several with a copy each where one could not hold all
   * slips. Slips are numbered by the store, in the order of their commits, whichever broker commits them.
   */
  store(publish: Publish, name: MessageName, drafts: readonly SlipDraft[], payment?: Payment): StoredMail[] {
    const room = this.#journal.unitBytesMax - this.#bytesOf(publish);
    // At QoS 2 a unit holds as much as it can: half of them in the store would be sent twice after a crash.
    const slipsMax = publish.qos === 2 ? Infinity : slipsPerUnitMax;
    const units: StoredMail[] = [];
    for (let from = 0; from < drafts.length; ) {
      const path = pathOf(publish, this.#nameOf({ order: name.order, from: name.from + from }));
      let to = from;
      for (let bytes = 0; to < drafts.length && to - from < slipsMax && (to === from || bytes < room); to++) {
        const { clientId, subscriptionIds } = drafts[to]!;
        bytes += slipOverhead + 3 * clientId.length + path.length + 4 * subscriptionIds.length;
      }
      units.push(this.#store(publish, path, { drafts: drafts.slice(from, to), payment }));
      from = to;
    }
    return units;
  }

  #store(publish: Publish, path: string, { drafts, payment }: Copy): StoredMail {
    const { branch } = this.#ledger;
    const terms = this.#ledger.termsOf(publish, "mailbox");
    const recipients = drafts.length;
    // Slips are paid for with their message, and until the last recipient has it.
    const credits = terms.credits + this.#ledger.priceOf(slipsWeightOf(publish, drafts, branch));
    const head = { ...terms, credits, branch, recipients };
    const { data, checks, parts, credits: own } = this.#encode(publish, { id: idOfMessage(path), head, payment });
    const payloadBytes = parts === undefined ? publish.payloadLength : 0;
    this.#ledger.keep(path, { credits: own, payer: publish.payer, payloadBytes }, payment);
    const operations: JournalOperation[] = [...checks, { kind: "create", path, data, mode: "persistent" }];
    if (recipients > 1)
      operations.push({ kind: "create", path: counterPath(path), data: emptyRecord, mode: "persistent" });
    const slips = drafts.map((draft): Slip => {
      const { clientId, qos, retain, packetId, subscriptionIds, groupMark } = draft;
      const record: SlipRecord = {
        qos,
        retain,
        packetId,
        subscriptionIds,
        groupMark,
        state: packetId === 0 ? "waiting" : "sent",
        recipients,
        keepUntil: Math.min(terms.keepUntil, publish.expiresAt),
        branch,
        messagePath: path,
        hasParts: parts !== undefined,
      };
      const { slip, operation } = this.#slips.draw(clientId, record, publish);
      operations.push(operation);
      return slip;
    });
    return { path, parts, operations, slips };
  }

  /** Prepares a message for a mail drop, where it lies, without slips, until its time is over. */
  storeInDrop(given: Publish, { publisher, payment, keeping }: DropStorage): Omit<StoredMail, "slips"> {
    const publish = given.kept();
    const { branch } = this.#ledger;
    const terms = this.#ledger.termsOf(publish, keeping);
    const credits = terms.credits + this.#ledger.priceOf(textWeightOf(publisher));
    const path = pathOf(publish, this.#nextName());
    const head = { ...terms, credits, branch, recipients: 0, publisher };
    const { data, checks, parts, credits: own } = this.#encode(publish, { id: idOfMessage(path), head, payment });
    const payloadBytes = parts === undefined ? publish.payloadLength : 0;
    this.#ledger.keep(path, { credits: own, payer: publish.payer, payloadBytes }, payment);
    if (publish.retain) publish.copyUntil = Math.min(terms.keepUntil, publish.expiresAt);
    const create = { kind: "create", path, data, mode: "persistent", named: this.#countInDrops } as const;
    return { path, parts, operations: [...checks, create] };
  }

  /** A slip for a message that lies in a mail drop: whoever has it leaves it there. */
  slipFor({ clientId, ...draft }: SlipDraft, { path, branch, keepUntil }: DropEntry) {
    const fixed = { state: "waiting", recipients: 0, hasParts: false } as const;
    return this.#slips.draw(clientId, { ...draft, ...fixed, keepUntil, branch, messagePath: path }, undefined);
  }

  /** The bytes of a retained message that costs so much, in milli-credits, and what must hold when they are written. */
  retain(publish: Publish, credits: number, payment?: Payment): Encoded {
    const head = { credits, keepUntil: Infinity, branch: this.#ledger.branch, recipients: 0 };
    return this.#encode(publish, { id: this.#nextName(), head, payment });
  }

  /**
   * Encodes a message. If it does not fit into a unit its payload is on its way in parts, each in a unit of its own,
   * when this returns.
   */
  #encode(publish: Publish, { id, head, payment }: Naming): Encoded {
    const checks = [this.#ledger.guard()];
    const { credits } = head;
    if (!this.#isLarge(publish)) return { data: encodeMessage(publish, head), checks, parts: undefined, credits };
    const payload = this.#slips.payloads.store(publish, id, payment);
    const { parts, claim } = payload;
    const own = credits - payload.credits;
    const data = encodeMessage(publish, { ...head, credits: own, payloadCredits: payload.credits, parts });
    return { data, checks: [...checks, ...claim], parts, credits: own };
  }

  /** True if the store can take a message, whatever it takes. */
  fits(publish: Publish): boolean {
    return this.#bytesOf(publish) <= this.#journal.unitBytesMax;
  }

  /** Bytes that a message takes in its unit besides slips. */
  #bytesOf(publish: Publish): number {
    const { unitBytesMax } = this.#journal;
    const { payloadLength } = publish;
    return fixedBytesOf(publish) + (this.#isLarge(publish) ? claimBytesOf(payloadLength, unitBytesMax) : payloadLength);
  }

  #isLarge(publish: Publish): boolean {
    return fixedBytesOf(publish) + publish.payloadLength > this.#journal.unitBytesMax;
  }

  /** Gives back the credits, and the parts, of a message that was to be stored and will not be. */
  withdrawn({ path, parts }: Pick<StoredMail, "path" | "parts">): void {
    const { branch } = this.#ledger;
    this.#ledger.freed(path, branch);
    if (parts !== undefined) this.#slips.payloads.remove({ id: parts.id, branch });
  }
}

const epochDigits = 8;
/** Digits into which any number below 2^53 fits. */
const wideDigits = 11;
const orderDigits = 8;

/**
 * An epoch as ids begin with it: in eight digits of base 36, as long as it fits; after 656 of ZooKeeper's elections in
 * eleven, behind a mark that sorts after all digits.
 */
function nameOfEpoch(epoch: number): string {
  const digits = epoch.toString(36);
  return digits.length <= epochDigits ? digits.padStart(epochDigits, "0") : `~${digits.padStart(wideDigits, "0")}`;
}

/** The epoch of the broker that has given a message its id; NaN if none has. */
export function epochOfId(id: string): number {
  const [, digits] = /^~?([0-9a-z]+)[0-9a-z]{8}-\d+$/.exec(id) ?? [];
  return digits === undefined ? Number.NaN : Number.parseInt(digits, 36);
}

/** Slips that are stored with one copy of a message, and what pays for all of it. */
interface Copy {
  readonly drafts: readonly SlipDraft[];
  readonly payment: Payment | undefined;
}

/** The weight of slips, and of the znode that counts who has the message if there are several. */
function slipsWeightOf(publish: Publish, drafts: readonly SlipDraft[], branch: string): number {
  const place = placeOfTopic(topicOf(publish));
  const branchBytes = textWeightOf(branch);
  let weight = drafts.length > 1 ? counterWeightOf(place) : 0;
  for (const { clientId, subscriptionIds } of drafts)
    weight += slipWeightOf(place, { clientId, subscriptionIds: subscriptionIds.length, branchBytes });
  return weight;
}

/** Bytes of a slip's znode and the request that makes it, besides names. */
const slipOverhead = 160;

function pathOf(publish: Publish, id: string): string {
  return messagePath(topicOf(publish), id);
}

/** Bytes that a message takes in a unit at least, besides its payload and slips. */
function fixedBytesOf(publish: Publish): number {
  return publish.size - publish.payloadLength + topicBytesMax(publish) + unitBytesReserve;
}

/** Bytes that the levels of a topic, and the paths below them, may take in a unit at most. */
function topicBytesMax({ topicBytes, topicStart, topicEnd }: Publish): number {
  let levels = 1;
  for (let at = topicStart; at < topicEnd; at++) if (topicBytes[at] === 0x2f) levels++;
  return Math.min(topicTreeBytesMax, 3 * (topicEnd - topicStart) * (levels / 2 + 4));
}

export interface MessageName {
  readonly order: number;
  /** Sets apart slips that are stored for one message at different times. */
  readonly from: number;
}

/** How a message is put into a mail drop. */
export interface DropStorage {
  /** Client id; empty: the broker itself. */
  readonly publisher: string;
  readonly payment: Payment | undefined;
  /** mailbox: a session is owed it, so it lies there as long as if it were in that one's mailbox. */
  readonly keeping: "mailbox" | "drop";
}

/** A message in a mail drop. */
export interface DropEntry {
  readonly path: string;
  /** The branch that pays for it. */
  readonly branch: string;
  /** The time until which it lies there, in ms since 1970. */
  readonly keepUntil: number;
}

export interface StoredMail {
  /** The message's znode. */
  readonly path: string;
  readonly parts: Parts | undefined;
  readonly operations: JournalOperation[];
  readonly slips: Slip[];
}

/** The id of a message, what its record begins with, and what pays for all of it. */
interface Naming {
  readonly id: string;
  readonly head: MessageHead;
  readonly payment: Payment | undefined;
}

export interface Encoded {
  readonly data: Uint8Array;
  /** The price that its record names, in milli-credits; a payload in parts is paid for beside it. */
  readonly credits: number;
  /** Checks that must hold when they are written. */
  readonly checks: readonly JournalOperation[];
  readonly parts: Parts | undefined;
}
