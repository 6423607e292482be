/** Mailboxes for the operator: what waits in one is read a page at a time, little of it in memory, or is dropped. */
import { mailReadAtOnce, pageBytesMax, shownPayloadBytesMax } from "../../base/api-limits.ts";
import { type Slip, topicOfMessage } from "../../mail/slips.ts";
import type { LocalSession } from "./local-session.ts";
import type { Mailbox } from "./mailbox.ts";

/** A message in a mailbox. */
export interface WaitingMessage {
  readonly name: string;
  readonly state: "waiting" | "sent" | "released";
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** The time until which it is kept, in ms since 1970; Infinity: as long as it is needed. */
  readonly keepUntil: number;
  /** The payload's length and beginning; undefined: it was not read, being in pieces, or only its packet id is left. */
  readonly payloadLength: number | undefined;
  readonly beginning: Uint8Array | undefined;
}

export interface WaitingPage {
  readonly messages: readonly WaitingMessage[];
  /** The name after which the next page begins; null: this is the last one. */
  readonly next: string | null;
  /** How many slips there are in the mailbox. */
  readonly total: number;
}

/** Reads what waits for a client, `limit` messages at most behind a slip's name; undefined: the store cannot tell. */
export function readWaiting(
  { context: { slips }, session }: LocalSession,
  { after, limit }: { readonly after: string; readonly limit: number },
  done: (page: WaitingPage | undefined) => void,
): void {
  slips.list(session.clientId, (listed) => {
    if (listed === undefined) return done(undefined);
    const wanted = listed.filter(({ name }) => name! > after);
    const messages: WaitingMessage[] = [];
    let [at, bytes] = [0, 0];
    const next = (): void => {
      // Few are read at once: a message may be as large as a znode.
      const some = wanted.slice(at, Math.min(at + mailReadAtOnce, limit));
      if (some.length === 0 || bytes > pageBytesMax) {
        const end = at < wanted.length ? wanted[at - 1]!.name! : null;
        return done({ messages, next: end, total: listed.length });
      }
      at += some.length;
      slips.readRecords(some, () => {
        // Others were sent and acknowledged meanwhile.
        const there = some.filter(({ record }) => record !== undefined);
        const whole = there.filter(({ record }) => !record!.hasParts);
        slips.fetch(whole, () => {
          for (const slip of there) {
            // What stands there is not ours.
            if (slip.record === undefined) continue;
            const message = messageOf(slip);
            bytes += message.topic.length + shownPayloadBytesMax;
            messages.push(message);
          }
          next();
        });
      });
    };
    next();
  });
}

function messageOf({ name, record, publish }: Slip): WaitingMessage {
  const { state, qos, retain, keepUntil, messagePath } = record!;
  const payload = publish?.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd);
  // Copied: a part would keep all of it in memory.
  const shown = { payloadLength: payload?.length, beginning: payload?.slice(0, shownPayloadBytesMax) };
  return { name: name!, state, topic: topicOfMessage(messagePath), qos, retain, keepUntil, ...shown };
}

/** Numbers of messages: dropped of a mailbox; kept, since its client may hold them (QoS 2); not looked at. */
export interface DroppedMail {
  readonly dropped: number;
  readonly kept: number;
  readonly remaining: number;
}

export interface DropOptions {
  /** Most messages that are looked at. */
  readonly max: number;
  /** Returns true if the client is away, and its session this broker's; asked when the mailbox has been read. */
  readonly isAway: () => boolean;
}

/**
 * Drops what waits for a client that is away, and is done when it is gone from the store. "back": the client is there;
 * "unread": the store cannot tell what waits.
 */
export function dropWaiting(
  { context: { journal, slips }, session }: LocalSession,
  mailbox: Mailbox,
  { max, isAway, done }: DropOptions & { readonly done: (mail: DroppedMail | "back" | "unread") => void },
): void {
  // What is on its way there must be in the list.
  journal.drained(() =>
    slips.list(session.clientId, (listed) => {
      if (listed === undefined) return done("unread");
      const some = listed.slice(0, max);
      slips.readRecords(some, () => {
        if (!isAway()) return done("back");
        const there = some.filter(({ record }) => record !== undefined);
        const dropped = there.filter((slip) => mailbox.drop(slip)).length;
        const rest = { kept: there.length - dropped, remaining: listed.length - some.length };
        journal.drained(() => done({ dropped, ...rest }));
      });
    }),
  );
}
