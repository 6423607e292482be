/**
 * Reads a mailbox from the store: which slips lie there when a client has come back, and their messages page by page when it is
 * their turn. One thing is read at a time, and what was asked for an earlier connection counts no more.
 */
import { mailPageBytesMax, mailPageSlips } from "../../base/limits.ts";
import type { Ring } from "../../base/ring.ts";
import type { Slip } from "../../mail/slips.ts";
import type { LocalSession } from "./local-session.ts";

/** The slips of a mailbox, as they were listed. */
export interface Listing {
  /** Names of the slips whose messages are under way in this connection. */
  readonly sent: ReadonlySet<string>;
  /** All slips that are listed, those included. */
  readonly listed: readonly Slip[];
  /** Slips that are not under way. */
  readonly slips: readonly Slip[];
  /** As many of these as a window holds, with their records: slips sent in earlier connections are among them. */
  readonly first: readonly Slip[];
}

export class MailboxReader {
  readonly #client: LocalSession;
  readonly #take: (listing: Listing) => void;
  #state: "idle" | "listing" | "fetching" = "idle";
  /** True if the list that is under way may not show what another one was asked for. */
  #mustList = false;
  /** Counts how often the mailbox was listed. */
  #listings = 0;
  /** Bytes of a message, on average of the last page. */
  #messageBytes = mailPageBytesMax / 32;

  /** `take`: told what was listed; the reader is idle by then. */
  constructor(client: LocalSession, take: (listing: Listing) => void) {
    this.#client = client;
    this.#take = take;
  }

  get isIdle(): boolean {
    return this.#state === "idle";
  }

  get isListing(): boolean {
    return this.#state === "listing";
  }

  /** Lists the mailbox, with all that is on its way there now. */
  list(): void {
    const { context, connection } = this.#client;
    if (connection === undefined) return;
    if (this.isListing) {
      this.#mustList = true;
      return;
    }
    this.#state = "listing";
    context.journal.drained(() => {
      if (this.#client.connection === connection) this.#list();
    });
  }

  #list(): void {
    const { context, session, connection } = this.#client;
    context.slips.list(session.clientId, (listed) => {
      if (this.#client.connection !== connection) return;
      const sent = this.#client.slipsInFlight();
      const slips = listed.filter(({ name }) => !sent.has(name!));
      const first = slips.slice(0, context.options.maxInflight);
      context.slips.readRecords(first, () => {
        if (this.#client.connection !== connection) return;
        this.#state = "idle";
        this.#listings++;
        this.#take({ sent, listed, slips, first });
      });
    });
  }

  /** True, once, if the mailbox must be listed again: that was asked for while it was being listed. */
  takeMustList(): boolean {
    const mustList = this.#mustList;
    this.#mustList = false;
    return mustList;
  }

  /** The connection is gone: nobody waits for what is being read. */
  detach(): void {
    this.#state = "idle";
    this.#mustList = false;
  }

  /** Fetches the messages of the first slips that wait, as many as a page holds. `moved`: told of each that is there. */
  fetch(waiting: Ring<Slip>, done: (page: readonly Slip[]) => void, moved: () => void): void {
    const { context, connection } = this.#client;
    const page = this.#pageOf(waiting);
    this.#state = "fetching";
    const listings = this.#listings;
    const fetched = (): void => {
      // Another connection, or the mailbox was listed anew meanwhile.
      if (this.#client.connection !== connection || this.#listings !== listings) return;
      // It is listed just now: what is waited for is the listing.
      if (!this.isListing) this.#state = "idle";
      let bytes = 0;
      for (const slip of page) bytes += slip.publish?.size ?? 0;
      this.#messageBytes = Math.max(1, bytes / page.length);
      done(page);
    };
    context.slips.fetch(page, fetched, moved);
  }

  #pageOf(waiting: Ring<Slip>): Slip[] {
    const size = Math.max(1, Math.min(mailPageSlips, Math.floor(mailPageBytesMax / this.#messageBytes)));
    const page: Slip[] = [];
    for (let slip = waiting.at(0); slip?.committed && page.length < size; slip = waiting.at(page.length)) {
      // A message in parts may be as large as all others together: it comes alone.
      const isLarge = slip.record?.hasParts === true;
      if (isLarge && page.length > 0) break;
      page.push(slip);
      if (isLarge) break;
    }
    return page;
  }
}
