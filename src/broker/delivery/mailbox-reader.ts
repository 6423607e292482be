/**
 * The reader of a mailbox in the store: it lists the slips when a client has come back, and fetches their messages page
 * by page in their turn. It reads one thing at a time, and drops what was requested for an earlier connection.
 */
import { mailPageBytesMax, mailPageSlips } from "../../base/limits.ts";
import type { Ring } from "../../base/ring.ts";
import type { Slip } from "../../mail/slips.ts";
import type { LocalSession } from "./local-session.ts";

/** The slips of a mailbox, as they were listed. */
export interface Listing {
  /** Names of the slips whose messages are under way in this connection. */
  readonly sent: ReadonlySet<string>;
  /** All slips that are listed, including those of `sent`. */
  readonly listed: readonly Slip[];
  /** The slips that are listed and not in `sent`. */
  readonly slips: readonly Slip[];
  /**
   * The first of `slips`, as many as a window holds, with their records: slips sent in earlier connections are among
   * them.
   */
  readonly first: readonly Slip[];
}

/** Lists and fetches one session's slips. */
export class MailboxReader {
  readonly #client: LocalSession;
  readonly #take: (listing: Listing) => void;
  #state: "idle" | "listing" | "fetching" = "idle";
  /**
   * True if the mailbox must be listed once more: that was requested while a list was under way, which may be too old.
   */
  #mustList = false;
  /** The last slip that was listed; undefined: the list could not be read. */
  #lastListed: string | undefined = "";
  /** Counts the lists of the mailbox. */
  #listings = 0;
  /** Bytes of the page fetched last. */
  #pageBytes = 0;
  /** Bytes of a message, on average of that page. */
  #messageBytes = mailPageBytesMax / 32;

  /** Creates a reader. `take` is called with each list; the reader is idle by then. */
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

  /** Bytes of the messages that were fetched last: no more of those that wait are in memory. */
  get pageBytes(): number {
    return this.#pageBytes;
  }

  /** Lists the mailbox, once all that is on its way there is stored. */
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
      // Whoever watches over mail finds that it waits, and has it listed again.
      this.#lastListed = listed === undefined ? undefined : (listed.at(-1)?.name ?? "");
      if (listed === undefined) {
        this.#state = "idle";
        return;
      }
      const sent = this.#client.slipsInFlight();
      const slips = sent.size === 0 ? listed : listed.filter(({ name }) => !sent.has(name!));
      const first = slips.slice(0, context.options.maxInflight);
      context.slips.readRecords(first, () => {
        if (this.#client.connection !== connection) return;
        this.#state = "idle";
        this.#listings++;
        this.#take({ sent, listed, slips, first });
      });
    });
  }

  /** Returns true, once, if the mailbox must be listed again: that was requested while it was being listed. */
  takeMustList(): boolean {
    const mustList = this.#mustList;
    this.#mustList = false;
    return mustList;
  }

  /**
   * Returns the slips that wait whose records were read; undefined: some of those that were listed were not. What is
   * not read and was not listed others have stored since.
   */
  readOf(waiting: Ring<Slip>): Slip[] | undefined {
    const last = this.#lastListed;
    if (this.isListing || last === undefined) return undefined;
    const read: Slip[] = [];
    for (let index = 0; index < waiting.length; index++) {
      const slip = waiting.at(index)!;
      if (slip.record !== undefined) read.push(slip);
      else if (slip.name !== undefined && slip.name <= last) return undefined;
    }
    return read;
  }

  /** Drops what is being read, since the connection is gone. */
  detach(): void {
    this.#lastListed = "";
    this.#state = "idle";
    this.#mustList = false;
    this.#pageBytes = 0;
  }

  /**
   * Fetches the messages of the first slips that wait, as many as a page holds. `moved` is called for each that is
   * there.
   */
  fetch(waiting: Ring<Slip>, done: (page: readonly Slip[]) => void, moved: () => void): void {
    const { context, connection } = this.#client;
    const page = this.#pageOf(waiting);
    this.#state = "fetching";
    const listings = this.#listings;
    const fetched = (): void => {
      // The connection has changed, or the mailbox was listed meanwhile.
      if (this.#client.connection !== connection || this.#listings !== listings) return;
      // While the mailbox is being listed, the end of the list makes the reader idle.
      if (!this.isListing) this.#state = "idle";
      let bytes = 0;
      for (const slip of page) bytes += slip.publish?.size ?? 0;
      this.#pageBytes = bytes;
      this.#messageBytes = Math.max(1, bytes / page.length);
      done(page);
    };
    context.slips.fetch(page, fetched, moved);
  }

  #pageOf(waiting: Ring<Slip>): Slip[] {
    const size = Math.max(1, Math.min(mailPageSlips, Math.floor(mailPageBytesMax / this.#messageBytes)));
    const page: Slip[] = [];
    for (let slip = waiting.at(0); slip?.committed && page.length < size; slip = waiting.at(page.length)) {
      // A message in parts may be as large as a page: it comes alone.
      const isLarge = slip.record?.hasParts === true;
      if (isLarge && page.length > 0) break;
      page.push(slip);
      if (isLarge) break;
    }
    return page;
  }
}
