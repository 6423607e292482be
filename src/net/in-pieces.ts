/**
 * A connection whose chunks are handed on in pieces: one of hundreds of kilobytes may be thousands of answers, and each
 * of them work. After a slice of the event loop the rest waits for the next turn, and the connection is not read.
 */
import { pieceBytes, sliceMs } from "../base/limits.ts";
import type { Transport, TransportEvents } from "./transport.ts";

export interface PiecesDoors {
  readonly now: () => number;
  /** Calls back in a later turn of the event loop. */
  readonly later: (go: () => void) => void;
  /** Does something as one turn. */
  readonly run: (go: () => void) => void;
}

/** Returns the events of one connection that hand on what comes so, in its order; its end comes after all of it. */
export function inPieces<Owner extends Pick<Transport, "pause" | "resume">>(
  events: TransportEvents<Owner>,
  { now, later, run }: PiecesDoors,
): TransportEvents<Owner> {
  const waiting: Uint8Array[] = [];
  let isWaiting = false;
  let end: { readonly error: string | undefined } | undefined;
  const goOn = (owner: Owner): void => {
    const until = now() + sliceMs;
    run(() => {
      for (let bytes = waiting.shift(); bytes !== undefined; bytes = waiting.shift()) {
        const piece = bytes.subarray(0, pieceBytes);
        if (piece.length < bytes.length) waiting.unshift(bytes.subarray(pieceBytes));
        events.received(owner, piece);
        if (waiting.length > 0 && now() >= until) break;
      }
    });
    if (waiting.length > 0) {
      if (!isWaiting) owner.pause();
      isWaiting = true;
      return later(() => goOn(owner));
    }
    if (!isWaiting) return;
    isWaiting = false;
    if (end !== undefined) events.closed(owner, end.error);
    else owner.resume();
  };
  return {
    ...events,
    received(owner, bytes) {
      waiting.push(bytes);
      if (!isWaiting) goOn(owner);
    },
    closed(owner, error) {
      if (isWaiting) end = { error };
      else events.closed(owner, error);
    },
  };
}
