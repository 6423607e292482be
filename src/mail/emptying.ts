/** Empties the mailbox of a session that ends: what was stored for it goes to somebody else, or nowhere. */
import { discardedSlipsMax, mailPageSlips, pageBytesMax } from "../base/limits.ts";
import type { Journal } from "./journal.ts";
import { type FencingToken, fence, type Slip, type Slips } from "./slips.ts";

/** Gives a slip's message to somebody else; `done(true)`: the slip is gone, `done(false)`: nobody needs it. */
export type ReassignSlip = (slip: Slip, done: (isGone: boolean) => void) => void;

export interface Emptying {
  readonly slips: Slips;
  readonly journal: Journal;
  readonly reassign: ReassignSlip;
  /** Each commit checks it: once another broker keeps the session, its mailbox is that one's. */
  readonly fencingToken: FencingToken;
  /** Called when nothing is left that lay there at the beginning, or its removal is under way. */
  readonly done: () => void;
}

/** Empties a mailbox of the slips that were found in it. */
export function emptyMailbox(listed: readonly Slip[], emptying: Emptying): void {
  emptyFrom(listed, 0, emptying);
}

function emptyFrom(listed: readonly Slip[], at: number, emptying: Emptying): void {
  const { slips, journal, reassign, done } = emptying;
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
    const unwanted: Slip[] = [];
    for (const slip of found) {
      reassign(slip, (isGone) => {
        if (!isGone) unwanted.push(slip);
        if (--left > 0) return;
        discardAll(unwanted, emptying);
        next();
      });
    }
  });
}

/** Removes slips that nobody needs any more, as many in one commit as may be. */
function discardAll(unwanted: readonly Slip[], emptying: Emptying): void {
  let page: Slip[] = [];
  let bytes = 0;
  for (const slip of unwanted) {
    const { length } = slip.record!.messagePath;
    if (page.length >= discardedSlipsMax || (page.length > 0 && bytes + length > pageBytesMax)) {
      discardPage(page, emptying);
      page = [];
      bytes = 0;
    }
    page.push(slip);
    bytes += length;
  }
  if (page.length > 0) discardPage(page, emptying);
}

/** Where somebody else has removed one of them meanwhile, each is removed for itself. */
function discardPage(page: readonly Slip[], { slips, journal, fencingToken }: Emptying): void {
  const removals = page.map((slip) => slips.removalOf(slip));
  const committed = (versions: readonly number[]): void => {
    // After the check.
    let at = 1;
    for (const removal of removals) {
      removal.committed(versions.slice(at, at + removal.operations.length));
      at += removal.operations.length;
    }
  };
  const all = [fence(fencingToken), ...removals.flatMap(({ operations }) => operations)];
  journal.commit(all, committed, ({ code }) => {
    // The lease is over: whoever has this client's session now empties it.
    if (code === "BadVersion") return;
    for (const slip of page) slips.discard(slip, fencingToken);
  });
}
