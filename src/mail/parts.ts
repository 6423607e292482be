/**
 * Payloads that are too large for one commit, in pieces: each a znode of its own, written before the message that names
 * them. The message appears with all of its payload, or not at all; pieces that no message names are nobody's, and are
 * swept. The node above them says who pays for them, as long as they are there.
 */

import { noBytes } from "../base/bytes.ts";
import { partBytesMax, partsReadMax, remainingLengthMax, topicTreeBytesMax, unitBytesReserve } from "../base/limits.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { partPath, payloadPath } from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import { jsonTextWeightOf } from "../coordinator/weight.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { JournalOperation, Mend } from "./operations.ts";
import { encodePaid, type Paid } from "./paid.ts";
import { decodeMessage, decodeMessageHead, type Parts, setPayload } from "./records.ts";

/** The operation that writes one piece of a payload. */
export type Piece = Extract<JournalOperation, { kind: "create" }>;

export type StoredAt = Pick<Coordinator, "read">;

/**
 * Returns the operations that write the pieces of a payload, each a unit of its own; `unitBytesMax`: the bytes that a
 * unit may hold.
 */
export function piecesOf(
  { payloadBytes, payloadStart, payloadEnd }: Publish,
  id: string,
  unitBytesMax: number,
): Piece[] {
  const size = pieceBytesOf(unitBytesMax);
  const pieces: Piece[] = [];
  for (let at = payloadStart; at < payloadEnd; at += size) {
    const data = payloadBytes.subarray(at, Math.min(payloadEnd, at + size));
    pieces.push({ kind: "create", path: partPath(id, pieces.length), data, mode: "persistent", isPiece: true });
  }
  return pieces;
}

/**
 * Returns the number of pieces that a message's payload may come to; 0: it stands in the message for sure.
 * `unitBytesMax`: as above.
 */
export function piecesMax({ size, payloadLength }: Publish, unitBytesMax: number): number {
  const isSmall = size + topicTreeBytesMax + 2 * unitBytesReserve < unitBytesMax;
  return isSmall ? 0 : Math.ceil(payloadLength / pieceBytesOf(unitBytesMax));
}

/** Bytes of a piece where a unit may hold so many. */
function pieceBytesOf(unitBytesMax: number): number {
  return Math.min(partBytesMax, Math.floor((unitBytesMax - unitBytesReserve) / 2));
}

/** Returns the operation that writes above a payload's pieces who pays for them; a piece of it is there. */
export function chargeOf(id: string, paid: Required<Paid>): JournalOperation {
  return { kind: "set", path: payloadPath(id), data: encodePaid(paid) };
}

/** Bytes that the texts in that record take at most; `branchBytes`: those of the branch's name. */
export function chargeTextsOf({ payer }: Publish, branchBytes: number): number {
  return branchBytes + jsonTextWeightOf(payer);
}

/**
 * Returns the operations that are committed with the message: all pieces are there, since a sweep may have taken them
 * for nobody's while this broker slept; and the node above them is set, so that a broker which has not seen the message
 * yet does not sweep them now. `mend` writes anew what is not there.
 */
export function claimOf({ id, count }: Parts, { charge, mend }: Claim): JournalOperation[] {
  const checks = Array.from({ length: count }, (_, number): JournalOperation => {
    return { kind: "check", path: partPath(id, number), version: () => -1, mend };
  });
  return [...checks, charge];
}

/** The operation that says who pays for the pieces, and what makes them be there. */
interface Claim {
  readonly charge: JournalOperation;
  readonly mend: Mend;
}

/** Bytes that `claimOf` takes in a unit at most. */
export function claimBytesOf(payloadLength: number, unitBytesMax: number): number {
  return (Math.ceil(payloadLength / pieceBytesOf(unitBytesMax)) + 1) * claimBytes;
}

/** Bytes of one check: its path, the chroot before it, and what is around them. */
const claimBytes = 128;

/** A message as its znode has it: without its payload, if that is in parts. */
export interface StoredMessage {
  readonly publish: Publish;
  readonly parts: Parts | undefined;
}

/** Throws `OperatingError` with EFORMAT. */
export function decodeStored(topic: string, data: Uint8Array): StoredMessage {
  return { publish: decodeMessage(topic, data), parts: decodeMessageHead(data)?.parts };
}

/** Completes a message; undefined if pieces of it are gone. `progress` is called as they come. */
export function readPieces(
  store: StoredAt,
  { publish, parts }: StoredMessage,
  done: (publish: Publish | undefined) => void,
  progress: () => void = () => {},
): void {
  if (parts === undefined) return done(publish);
  let payload = noBytes;
  let length = 0;
  const next = (from: number): void => {
    if (from === parts.count) {
      setPayload(publish, payload.subarray(0, length));
      return done(publish);
    }
    const count = Math.min(partsReadMax, parts.count - from);
    const operations = Array.from({ length: count }, (_, index) => {
      return { kind: "get", path: partPath(parts.id, from + index) } as const;
    });
    store.read(operations, (error, results) => {
      if (error !== undefined) return;
      const found = results.flatMap((result) => (hasData(result) ? [result.data] : []));
      if (found.length < count) return done(undefined);
      // There is room for all of it at once, for to join it in the end would be to copy all of it in one turn.
      if (from === 0) payload = new Uint8Array(Math.min(remainingLengthMax, parts.count * found[0]!.length));
      for (const piece of found) {
        // Others have written to it: pieces are of one length, but for the last.
        if (length + piece.length > payload.length) return done(undefined);
        payload.set(piece, length);
        length += piece.length;
      }
      progress();
      next(from + count);
    });
  };
  next(0);
}
