/** Empties the mailbox of a session that ends: what was stored for it goes to somebody else, or nowhere. */
import { mailPageSlips } from "../base/limits.ts";
import type { Journal } from "./journal.ts";
import type { Slip, Slips } from "./slips.ts";

/** Gives a slip's message to somebody else; `done(true)`: the slip is gone, `done(false)`: nobody needs it. */
export type HandOn = (slip: Slip, done: (isGone: boolean) => void) => void;

export interface Emptying {
  readonly slips: Slips;
  readonly journal: Journal;
  readonly handOn: HandOn;
  /** Called when nothing is left that lay there at the beginning, or its removal is under way. */
  readonly done: () => void;
}

export function emptyMailbox(clientId: string, emptying: Emptying): void {
  emptying.slips.list(clientId, (listed) => emptyFrom(listed, 0, emptying));
}

function emptyFrom(listed: readonly Slip[], at: number, emptying: Emptying): void {
  const { slips, journal, handOn, done } = emptying;
  if (at >= listed.length) return done();
  const page = listed.slice(at, at + mailPageSlips);
  const next = (): void => {
    if (page.length < mailPageSlips) return done();
    // A long mailbox must not fill the journal.
    journal.drained(() => emptyFrom(listed, at + mailPageSlips, emptying));
  };
  slips.readRecords(page, () => {
    const found = page.filter(({ record }) => record !== undefined);
    let left = found.length;
    if (left === 0) return next();
    for (const slip of found) {
      handOn(slip, (isGone) => {
        if (!isGone) slips.discard(slip);
        if (--left === 0) next();
      });
    }
  });
}
