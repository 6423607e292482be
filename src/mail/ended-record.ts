/**
 * The bytes of the notice that a session was ended: it waits in the store for the client to come back, so that the
 * client can be told why, by whichever broker it comes to.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { badFormat } from "../base/errors.ts";
import { Fields } from "../coordinator/fields.ts";

/**
 * The cause for which a session was ended. full: its mailbox held the maximum; numbers: the store could number no more
 * slips.
 */
export type EndedCause = "full" | "numbers";

export interface EndedRecord {
  readonly cause: EndedCause;
  /** The number of messages that waited in the mailbox. */
  readonly messages: number;
  /** When the session was ended, and until when the notice is kept, in ms since 1970. */
  readonly endedAt: number;
  readonly until: number;
}

/** A notice, as JSON. */
export function encodeEnded(record: EndedRecord): Uint8Array {
  return encodeUtf8(JSON.stringify(record));
}

/** Throws `OperatingError` with EFORMAT. */
export function decodeEnded(bytes: Uint8Array): EndedRecord {
  const fields = new Fields(bytes);
  const cause = fields.text("cause");
  if (cause !== "full" && cause !== "numbers") throw badFormat(`names a cause that is not known`);
  return {
    cause,
    messages: fields.amount("messages"),
    endedAt: fields.amount("endedAt"),
    until: fields.amount("until"),
  };
}

/** Returns what the client is told, in words. */
export function describeEnded({ cause, messages, endedAt }: EndedRecord): string {
  // A stranger may have written any number.
  const time = new Date(Math.min(endedAt, 8.64e15)).toISOString();
  const why = cause === "full" ? "was full" : "had used up its numbers";
  return `the session was ended at ${time}: its mailbox ${why}, ${messages} messages waited`;
}
