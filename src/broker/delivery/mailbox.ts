/**
 * The mailbox of a session that outlives its connection: what is stored for it and not yet acknowledged, in
 * the order in which it must be sent. Nothing new overtakes what is in it.
 */
import { mailPageBytesMax, mailPageSlips } from "../../base/limits.ts";
import { Ring } from "../../base/ring.ts";
import type { Lying } from "../../mail/mail.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { fence, isHeldByClient, type Slip, type SlipDraft, unreadSlip } from "../../mail/slips.ts";
import type { LocalSession } from "./local-session.ts";
import { byNumber, MailboxNames } from "./mailbox-names.ts";
import { OutgoingMessage, type OutgoingTarget, reserved } from "./outgoing-message.ts";
import { SentBefore } from "./sent-before.ts";

/** A message that lies in a mail drop, as the session gets it. */
export interface Taken {
  readonly message: Lying;
  readonly target: OutgoingTarget;
}

interface InLine {
  readonly outgoing: OutgoingMessage;
  isReady: boolean;
}

export class Mailbox {
  /** Slips in the store, those included whose commit is under way. */
  count = 0;
  readonly #client: LocalSession;
  /** While connected: slips that have no packet id in this connection. */
  readonly #waiting = new Ring<Slip>();
  /** What has its packet id and is sent in this order, each as soon as it may be. */
  readonly #line = new Ring<InLine>();
  /** New QoS 2 messages whose slip and packet id are being committed together. */
  #committing = 0;
  #loading = false;
  #mustReload = false;
  /** Counts how often the mailbox was read anew. */
  #reading = 0;
  #fetching = false;
  readonly #sentBefore: SentBefore;
  readonly #names = new MailboxNames();
  /** Grows with everything that comes in and goes out: while it stays, nothing moves. */
  moves = 0;
  /** Bytes of a message, on average of the last page. */
  #messageBytes = mailPageBytesMax / 32;

  constructor(client: LocalSession) {
    this.#client = client;
    this.#sentBefore = new SentBefore(client);
  }

  /** True if nothing waits: what is published now may be sent now. Without contact nobody knows what others have stored. */
  get isEmpty(): boolean {
    return this.#isFirst && this.#committing === 0;
  }

  get #isFirst(): boolean {
    return this.isIdle && this.#client.context.coordinator.state === "CONNECTED";
  }

  /** True if nothing is known here that waits to be sent. */
  get isIdle(): boolean {
    return !this.#loading && this.#waiting.length === 0 && this.#line.length === 0 && this.#names.isQuiet;
  }

  /**
   * Reads the mailbox, with all that is on its way there now: of a client that has come back, and after lost contact,
   * when slips may have come from elsewhere, or of our own without their names being told.
   */
  load(): void {
    const { context, connection } = this.#client;
    if (connection === undefined) return;
    if (this.#loading) {
      // What is being read now may be older than what it was asked for.
      this.#mustReload = true;
      return;
    }
    this.#loading = true;
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
      // What has been sent before is among the first: no more than a window of it was ever on its way.
      const first = slips.slice(0, context.options.maxInflight);
      context.slips.readRecords(first, () => {
        if (this.#client.connection !== connection) return;
        this.#loading = this.#fetching = false;
        this.#reading++;
        this.moves++;
        for (const slip of first) this.#sentBefore.reserve(slip);
        // Without a name it is listed, for what is on its way was waited for.
        const known = new Set([undefined, ...listed.map(({ name }) => name)]);
        const newer = this.#waiting.drain().filter((slip) => !slip.committed || !known.has(slip.name));
        // What was known and is not there any more has gone while there was no contact.
        this.#names.know([...sent, ...[...slips, ...newer].map(({ name }) => name)]);
        for (const slip of [...slips, ...newer].sort(byNumber)) this.#waiting.push(slip);
        this.count = this.#names.size;
        this.#look();
        if (this.#mustReload) {
          this.#mustReload = false;
          return this.load();
        }
        this.pump();
      });
    });
  }

  /** The store tells of a slip: one of our own, or another broker's. */
  hear(name: string): void {
    this.#names.hear(name);
    this.#look();
  }

  /** The store tells that a slip is gone. */
  forget(name: string): void {
    this.#names.forget(name);
  }

  /** Takes up slips that others have stored: they are numbered in the order of their commits, and so they wait. */
  #look(upTo?: string): void {
    const { session, connection } = this.#client;
    if (this.#loading) return;
    const names = this.#names.takeNews(upTo);
    if (connection === undefined || names.length === 0) return;
    this.count += names.length;
    this.moves += names.length;
    const slips = names.map((name) => unreadSlip(session.clientId, name));
    for (const slip of slips) this.#waiting.insert(slip, (a, b) => byNumber(a, b) < 0);
    this.pump();
  }

  /** The connection is gone: slips stay in the store and are read again when the client comes back. */
  detach(unacknowledged: readonly OutgoingMessage[]): void {
    this.#loading = this.#fetching = this.#mustReload = false;
    this.#waiting.clear();
    this.#line.clear();
    this.#names.clear();
    this.#sentBefore.remember(unacknowledged);
  }

  /**
   * What the store must hold before an outgoing message may be sent. At QoS 2 it gets its packet id now if
   * nothing waits before it, so that one commit does for both.
   */
  draft(outgoing: OutgoingMessage): SlipDraft {
    if (outgoing.qos === 2 && this.#isFirst && this.#client.hasRoom) {
      outgoing.packetId = this.#client.inflight.add(outgoing);
      this.#committing++;
    }
    return outgoing.draftUnsent();
  }

  /** The draft has become a slip, whose commit is under way. */
  placed(outgoing: OutgoingMessage, slip: Slip): void {
    outgoing.placed(slip);
    if (outgoing.packetId === 0 && this.#client.connection !== undefined) this.#waiting.push(slip);
    else if (outgoing.packetId === 0) slip.publish = undefined;
  }

  /** The slip is committed. `connection` is the client's when the draft was made. */
  committed(outgoing: OutgoingMessage, connection: LocalSession["connection"]): void {
    this.moves++;
    outgoing.slip!.committed = true;
    this.arrived(
      outgoing.slip!,
      connection !== undefined && this.#client.connection === connection ? "placed" : "elsewhere",
    );
    // While the mailbox is read anew, what has its packet id is read back in its place too: an earlier one may be.
    const mustWait = outgoing.packetId !== 0 && this.#loading;
    if (outgoing.slip!.name === undefined || mustWait) return this.#readBack(outgoing);
    if (outgoing.packetId === 0) {
      // Memory is bounded by the window: what waits beyond it is read back when its turn comes.
      if (!this.#client.hasRoom || this.#waiting.peek() !== outgoing.slip) outgoing.slip!.publish = undefined;
    } else {
      this.#committing--;
      if (connection !== undefined && this.#client.connection === connection) this.#sendFirst(outgoing);
      outgoing.slip!.publish = outgoing.publish = undefined;
    }
    this.pump();
  }

  /** It is in the mailbox, but its name was not told since contact was lost over its commit, or it is not its turn. */
  #readBack(outgoing: OutgoingMessage): void {
    if (outgoing.packetId !== 0) {
      this.#committing--;
      if (this.#client.isInFlight(outgoing)) this.#client.inflight.replace(outgoing.packetId, reserved);
    }
    this.load();
  }

  /** It will not be committed: whoever published it is another broker's, and publishes it there. */
  withdrawn(outgoing: OutgoingMessage): void {
    this.count--;
    this.#names.arrived(undefined, "elsewhere");
    if (outgoing.packetId !== 0) {
      this.#committing--;
      if (this.#client.isInFlight(outgoing)) this.#client.inflight.remove(outgoing.packetId);
    }
    for (const slip of this.#waiting.drain()) if (slip !== outgoing.slip) this.#waiting.push(slip);
    this.#look();
    this.pump();
  }

  /** A slip of our own is on its way to the store. */
  expect(): void {
    this.count++;
    this.#names.expect();
  }

  /** The store has named it. placed: it has its place in this connection, so its name is not news any more. */
  arrived(slip: Slip, where: "placed" | "elsewhere"): void {
    if (this.#names.arrived(slip.name, where)) this.#giveUpPlace(slip);
    this.#look(slip.name);
  }

  /** A slip waits no longer; if it does not wait, the one that was read of the same name does not. */
  #giveUpPlace(slip: Slip): void {
    const all = this.#waiting.drain();
    const isWaiting = slip.name === undefined || all.includes(slip);
    for (const other of all) if (isWaiting ? other !== slip : other.name !== slip.name) this.#waiting.push(other);
  }

  /** Stores a message on its own, for this mailbox alone. */
  store(outgoing: OutgoingMessage): void {
    const { context, connection } = this.#client;
    const settlement = outgoing.takeSettlement();
    const name = { order: settlement.order, from: 0 };
    const [unit] = context.mail.store(outgoing.publish!, name, [this.draft(outgoing)], settlement.payment);
    this.placed(outgoing, unit!.slips[0]!);
    context.journal.commit(unit!.operations, () => {
      settlement.done();
      this.committed(outgoing, connection);
    });
  }

  /** Takes what lies in mail drops: slips for it are committed together with how far the session has come with that. */
  take(messages: readonly Taken[], saving: JournalOperation): void {
    const client = this.#client;
    const { context, connection, session } = client;
    const operations: JournalOperation[] = [fence(client.fencingToken)];
    const slips = messages.map(({ message, target: { qos, retain, subscriptionIds } }) => {
      const draft = { clientId: session.clientId, qos, retain, subscriptionIds, packetId: 0, groupMark: 0 };
      const { slip, operation } = context.mail.slipFor(draft, message);
      operations.push(operation);
      this.expect();
      this.#waiting.push(slip);
      return slip;
    });
    const committed = (): void => {
      const where = client.connection === connection ? "placed" : "elsewhere";
      for (const slip of slips) {
        slip.committed = true;
        this.arrived(slip, where);
      }
      // Contact was lost over the commit: their names have not been told.
      if (slips.some(({ name }) => name === undefined)) this.load();
      client.pump();
    };
    context.journal.commit([...operations, saving], committed, () => context.evict(client));
  }

  discard(slip: Slip): void {
    this.count--;
    this.moves++;
    this.#sentBefore.forget(slip);
    this.#client.context.slips.discard(slip, this.#client.fencingToken);
  }

  /** Sends what waits, in order, as far as there is room. */
  pump(): void {
    while (!this.#loading && !this.#fetching) {
      const slip = this.#waiting.peek();
      if (slip === undefined || !slip.committed) return;
      // The window is this connection's: what is sent again takes room in it, too; PUBREL does not [MQTT-4.9.0-1].
      if (!(slip.record?.state === "released" ? this.#client.isOpen : this.#client.hasRoom)) return;
      if (slip.record === undefined || (slip.publish === undefined && slip.record.state !== "released")) {
        return this.#fetchPage();
      }
      // A new QoS 2 message is before it, and not on its way yet.
      if (this.#committing > 0) return;
      this.#waiting.shift();
      this.#send(slip);
    }
  }

  #fetchPage(): void {
    const { context, connection } = this.#client;
    const size = Math.max(1, Math.min(mailPageSlips, Math.floor(mailPageBytesMax / this.#messageBytes)));
    const page: Slip[] = [];
    for (let slip = this.#waiting.at(0); slip?.committed && page.length < size; slip = this.#waiting.at(page.length)) {
      // A message in parts may be as large as all others together: it comes alone.
      const isLarge = slip.record?.hasParts === true;
      if (isLarge && page.length > 0) break;
      page.push(slip);
      if (isLarge) break;
    }
    this.#fetching = true;
    const reading = this.#reading;
    const fetched = (): void => {
      // Another connection, or the mailbox was read anew meanwhile.
      if (this.#client.connection !== connection || this.#reading !== reading) return;
      this.#fetching = false;
      let bytes = 0;
      for (const slip of page) bytes += slip.publish?.size ?? 0;
      const gone = new Set(page.filter((slip) => !this.#isThere(slip)));
      if (gone.size > 0) {
        for (const slip of this.#waiting.drain()) if (!gone.has(slip)) this.#waiting.push(slip);
      }
      this.#messageBytes = Math.max(1, bytes / page.length);
      this.pump();
    };
    context.slips.fetch(page, fetched, () => this.moves++);
  }

  /** False for a slip that is gone, or whose message is. */
  #isThere(slip: Slip): boolean {
    if (slip.record === undefined) {
      this.count--;
      return false;
    }
    if (slip.publish !== undefined || slip.record.state === "released") return true;
    this.#dismiss(slip);
    return false;
  }

  #send(slip: Slip): void {
    this.moves++;
    const client = this.#client;
    const record = slip.record!;
    if (record.state === "released") return this.#sentBefore.resume(slip);
    const before = this.#sentBefore.idOf(slip);
    const outgoing = new OutgoingMessage(client, { ...record, group: undefined }, slip.publish);
    outgoing.placed(slip);
    slip.publish = undefined;
    if (!client.isOwed(outgoing.publish!, outgoing, before !== undefined)) return this.#dismiss(slip);
    this.#sentBefore.forget(slip);
    if (before !== undefined && client.inflight.claim(before, outgoing, reserved)) {
      outgoing.packetId = before;
      client.transmit(outgoing, true);
      outgoing.publish = undefined;
      return;
    }
    outgoing.packetId = client.inflight.add(outgoing);
    const place: InLine = { outgoing, isReady: record.qos === 1 };
    this.#line.push(place);
    if (record.qos === 2) this.#commitId(place, slip);
    else this.#advance();
  }

  /** The client will not get the message of a slip, which may have been sent to it before. */
  #dismiss(slip: Slip): void {
    if (isHeldByClient(slip)) return this.#sentBefore.giveUp(slip);
    this.#sentBefore.free(slip);
    this.discard(slip);
  }

  /** A QoS 2 message is not sent before its packet id is committed; what comes after it waits for it. */
  #commitId(place: InLine, slip: Slip): void {
    const client = this.#client;
    const { connection } = client;
    client.context.slips.markSent(slip, place.outgoing.packetId, {
      fencingToken: client.fencingToken,
      done: () => {
        place.isReady = true;
        if (client.connection !== connection) return;
        this.#advance();
        this.pump();
      },
      refused: () => client.context.evict(client),
    });
  }

  #advance(): void {
    for (let place = this.#line.peek(); place?.isReady; place = this.#line.peek()) {
      this.#line.shift();
      this.#sendFirst(place.outgoing);
      place.outgoing.publish = undefined;
    }
  }

  /** Sends a message for the first time, unless its time has ended while the store was asked: nobody has its packet id then. */
  #sendFirst(outgoing: OutgoingMessage): void {
    const client = this.#client;
    if (!client.isExpired(outgoing.publish!)) return client.transmit(outgoing, false);
    client.inflight.remove(outgoing.packetId);
    this.discard(outgoing.slip!);
  }
}
