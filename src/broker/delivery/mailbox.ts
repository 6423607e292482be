/**
 * The mailbox of a session that outlives its connection: messages that are stored for it and not yet acknowledged, in
 * the order in which they must be sent. Nothing new overtakes what is in it.
 */
import { slipMemoryBytes } from "../../base/memory-limits.ts";
import { Ring } from "../../base/ring.ts";
import type { DropEntry } from "../../mail/mail.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { fence, isHeldByClient, type Slip, type SlipDraft, unreadSlip } from "../../mail/slips.ts";
import type { LocalSession } from "./local-session.ts";
import { byNumber, MailboxNames } from "./mailbox-names.ts";
import { type Listing, MailboxReader } from "./mailbox-reader.ts";
import { OutgoingMessage, type OutgoingTarget, reserved } from "./outgoing-message.ts";
import { PrepaidSlips } from "./prepaid-slips.ts";
import { SentBefore } from "./sent-before.ts";

/** A message in a mail drop, with how the session is to receive it. */
export interface DropDelivery {
  readonly message: DropEntry;
  readonly target: OutgoingTarget;
}

/** A message that has its packet id. Again: it was sent before. Ready: it may be sent after those before it. */
interface InLine {
  readonly outgoing: OutgoingMessage;
  readonly isAgain: boolean;
  isReady: boolean;
}

/** One session's mailbox: in the store always, and in memory as far as its client is about to be sent it. */
export class Mailbox {
  /** The number of slips in the store, including those whose commits are under way. */
  count = 0;
  readonly #client: LocalSession;
  /** Slips that have no packet id in this connection, in the order in which their messages are sent. */
  readonly #waiting = new Ring<Slip>();
  /** Messages that have their packet ids and are sent in this order, each as soon as it may be. */
  readonly #line = new Ring<InLine>();
  /** The number of new QoS 2 messages whose slip and packet id are being committed together. */
  #committing = 0;
  readonly #reader: MailboxReader;
  readonly #sentBefore: SentBefore;
  readonly #names = new MailboxNames();
  #prepaid: PrepaidSlips | undefined;
  /** Grows with every slip that comes, is sent or goes: while it stays the same, nothing moves (`MailWatch`). */
  moves = 0;

  constructor(client: LocalSession) {
    this.#client = client;
    this.#sentBefore = new SentBefore(client);
    this.#reader = new MailboxReader(client, (listing) => this.#listed(listing));
  }

  /** True if what is published now may be sent now. Never without contact: others may have stored something. */
  get isEmpty(): boolean {
    return this.#isFirst && this.#committing === 0;
  }

  get #isFirst(): boolean {
    return this.isIdle && this.#client.context.coordinator.state === "CONNECTED";
  }

  /** The payment of slips at QoS 2 from when they are sent on. */
  get prepaid(): PrepaidSlips {
    this.#prepaid ??= new PrepaidSlips(this.#client);
    return this.#prepaid;
  }

  /** True while messages wait since nobody can pay for what their slips may leave. */
  get isHeldUp(): boolean {
    return this.#prepaid?.isShort === true;
  }

  /** True if no message is known here that waits to be sent. */
  get isIdle(): boolean {
    return !this.#reader.isListing && this.#waiting.length === 0 && this.#line.length === 0 && this.#names.isQuiet;
  }

  /** The memory of the slips that are known here, and of messages that are about to be sent, in bytes, about. */
  get memoryBytes(): number {
    const fetched = this.#waiting.length + this.#line.length === 0 ? 0 : this.#reader.pageBytes;
    return this.#names.size * slipMemoryBytes + fetched;
  }

  /**
   * Reads the whole mailbox, once all that is on its way there is stored: when the client has come back, and after lost
   * contact, when slips may have come from other brokers, or own ones without their names being told.
   */
  load(): void {
    this.#reader.list();
  }

  /** Takes up a list of the mailbox; slips that are known here already stay the same objects. */
  #listed({ sent, listed, slips, first }: Listing): void {
    this.moves++;
    for (const slip of first) this.#sentBefore.reserve(slip);
    const newer = this.#newerThan(listed);
    // A mailbox may be long, and mostly nothing has come meanwhile: then the list is in order.
    const all = newer.length === 0 ? slips : [...slips, ...newer].sort(byNumber);
    // Slips that were known and are not listed went while there was no contact.
    this.#names.know(sent, all);
    for (const slip of all) this.#waiting.push(slip);
    this.count = this.#names.size;
    this.#prepaid?.watch();
    this.#look();
    if (this.#reader.takeMustList()) return this.load();
    this.#client.pump();
  }

  /** Takes out all slips that wait, and returns those that are not in the list, since they came after it. */
  #newerThan(listed: readonly Slip[]): Slip[] {
    if (this.#waiting.length === 0) return [];
    // A committed slip without a name is in the list: commits on their way were waited for.
    const known = new Set([undefined, ...listed.map(({ name }) => name)]);
    return this.#waiting.drain().filter((slip) => !slip.committed || !known.has(slip.name));
  }

  /** Takes the name of a slip that the store tells of: this broker's own, or another's. */
  slipAdded(name: string): void {
    this.#names.notice(name);
    this.#look();
  }

  /** Forgets a slip that is gone from the store. */
  forget(name: string): void {
    this.#names.forget(name);
  }

  /** Lines up slips that others have stored, by their numbers, which are in the order of the commits. */
  #look(upTo?: string): void {
    const { session, connection } = this.#client;
    if (this.#reader.isListing) return;
    const names = this.#names.takeNews(upTo);
    if (connection === undefined || names.length === 0) return;
    this.count += names.length;
    this.moves += names.length;
    this.#client.context.mailboxes.filled(session.clientId, this.count);
    const slips = names.map((name) => unreadSlip(session.clientId, name));
    for (const slip of slips) this.#waiting.insert(slip, (a, b) => byNumber(a, b) < 0);
    this.pump();
  }

  /** Empties the memory at the end of a connection: slips stay in the store, and are read for the next one. */
  detach(unacknowledged: readonly OutgoingMessage[]): void {
    this.#prepaid?.detach(unacknowledged, this.waiting);
    this.#reader.detach();
    this.#waiting.clear();
    this.#line.clear();
    this.#names.clear();
    this.#sentBefore.remember(unacknowledged);
  }

  /**
   * Returns the draft of the slip that must be stored before a message is sent. At QoS 2 it gets its packet id now if
   * nothing waits before it, so that one commit does for both.
   */
  draft(outgoing: OutgoingMessage): SlipDraft {
    if (outgoing.qos === 2 && this.#isFirst && this.#client.hasRoom && this.prepaid.coversOneMore()) {
      outgoing.packetId = this.#client.inflight.add(outgoing);
      this.#committing++;
    }
    return outgoing.draftUnsent();
  }

  /** Gives a message its slip, whose commit is under way. */
  placed(outgoing: OutgoingMessage, slip: Slip): void {
    outgoing.placed(slip);
    if (outgoing.packetId === 0 && this.#client.connection !== undefined) this.#waiting.push(slip);
    else if (outgoing.packetId === 0) slip.publish = undefined;
  }

  /** Goes on after the commit of a slip. `connection`: the client's when the slip was drafted. */
  committed(outgoing: OutgoingMessage, connection: LocalSession["connection"]): void {
    this.moves++;
    outgoing.slip!.committed = true;
    this.arrived(
      outgoing.slip!,
      connection !== undefined && this.#client.connection === connection ? "placed" : "elsewhere",
    );
    // While the whole mailbox is read, a message with a packet id is read back in its place too: one before it may be.
    const mustWait = outgoing.packetId !== 0 && this.#reader.isListing;
    if (outgoing.slip!.name === undefined || mustWait) return this.#readBack(outgoing);
    if (outgoing.packetId === 0) {
      // Memory is bounded by the window: messages beyond it are read back when their turn comes.
      if (!this.#client.hasRoom || this.#waiting.peek() !== outgoing.slip) outgoing.slip!.publish = undefined;
    } else {
      this.#committing--;
      if (connection !== undefined && this.#client.connection === connection) this.#sendFirst(outgoing);
      outgoing.slip!.publish = outgoing.publish = undefined;
    }
    this.pump();
  }

  /** Has a committed slip read back: lost contact has kept its name from us, or it is not its turn. */
  #readBack(outgoing: OutgoingMessage): void {
    if (outgoing.packetId !== 0) {
      this.#committing--;
      if (this.#client.isInFlight(outgoing)) this.#client.inflight.replace(outgoing.packetId, reserved);
    }
    this.load();
  }

  /** Drops a slip that will not be committed: the publisher's session is another broker's, which publishes it there. */
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

  /** Counts a slip of this broker that is on its way to the store. */
  expect(): void {
    this.#expect();
    this.#client.context.mailboxes.filled(this.#client.session.clientId, this.count);
  }

  #expect(): void {
    this.count++;
    this.#names.expect();
  }

  /** Takes the name of a committed slip. "placed": it has its place in this connection, so its name is no news. */
  arrived(slip: Slip, where: "placed" | "elsewhere"): void {
    this.#names.arrived(slip.name, where);
    this.#look(slip.name);
  }

  /** Stores a message for this mailbox alone; its settlement ends with the commit. */
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

  /** Takes messages from mail drops: commits their slips with `saving`, the session's new position there. */
  take(messages: readonly DropDelivery[], saving: JournalOperation): void {
    const client = this.#client;
    const { context, connection, session } = client;
    const operations: JournalOperation[] = [fence(client.fencingToken)];
    const slips = messages.map(({ message, target: { qos, retain, subscriptionIds } }) => {
      const draft = { clientId: session.clientId, qos, retain, subscriptionIds, packetId: 0, groupMark: 0 };
      const { slip, operation } = context.mail.slipFor(draft, message);
      operations.push(operation);
      this.#expect();
      this.#waiting.push(slip);
      return slip;
    });
    const committed = (): void => {
      const where = client.connection === connection ? "placed" : "elsewhere";
      for (const slip of slips) {
        slip.committed = true;
        this.arrived(slip, where);
      }
      // Contact was lost over the commit, so that names were not told.
      if (slips.some(({ name }) => name === undefined)) this.load();
      client.pump();
    };
    context.journal.commit([...operations, saving], committed, () => context.evict(client));
  }

  /** Removes a slip: its client has the message, or is not owed it any more. */
  discard(slip: Slip): void {
    this.count--;
    this.moves++;
    this.#sentBefore.forget(slip);
    this.#client.context.slips.discard(slip, this.#client.fencingToken);
  }

  /**
   * Drops a message whose client is away. Returns false if the client may hold it, or its packet id (QoS 2): that stays
   * until the client has given the id back.
   */
  drop(slip: Slip): boolean {
    if (slip.record?.state !== "waiting") return false;
    this.#sentBefore.free(slip);
    this.discard(slip);
    return true;
  }

  /** The slips that wait whose records were read; undefined: some were not that this broker may have stored. */
  get waiting(): Slip[] | undefined {
    return this.#reader.readOf(this.#waiting);
  }

  /** Sends the messages that wait, in order, as far as there is room. */
  pump(): void {
    while (this.#reader.isIdle) {
      const slip = this.#waiting.peek();
      if (slip === undefined || !slip.committed) return;
      // A message that is sent again takes room in this connection's window, too; PUBREL does not [MQTT-4.9.0-1].
      if (!(slip.record?.state === "released" ? this.#client.isOpen : this.#client.hasRoom)) return;
      if (slip.record === undefined || (slip.publish === undefined && slip.record.state !== "released")) {
        return this.#fetchPage();
      }
      // A new QoS 2 message comes before it, and is not sent yet.
      if (this.#committing > 0) return;
      if (slip.record.qos === 2 && slip.record.state === "waiting" && !this.prepaid.coversOneMore()) return;
      this.#waiting.shift();
      this.#send(slip);
    }
  }

  #fetchPage(): void {
    const fetched = (page: readonly Slip[]): void => {
      const gone = new Set(page.filter((slip) => !this.#isThere(slip)));
      if (gone.size > 0) {
        for (const slip of this.#waiting.drain()) if (!gone.has(slip)) this.#waiting.push(slip);
      }
      this.pump();
    };
    this.#reader.fetch(this.#waiting, fetched, () => this.moves++);
  }

  /** Returns false for a slip that is gone, or whose message is. */
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
      // One before it may be new: another broker has stored it while this one had no contact.
      this.#line.push({ outgoing, isAgain: true, isReady: true });
      return this.#advance();
    }
    outgoing.packetId = client.inflight.add(outgoing);
    const place: InLine = { outgoing, isAgain: false, isReady: record.qos === 1 };
    this.#line.push(place);
    if (record.qos === 2) this.#commitId(place, slip);
    else this.#advance();
  }

  /** Gives up the message of a slip, which may have been sent to the client in an earlier connection. */
  #dismiss(slip: Slip): void {
    if (isHeldByClient(slip)) return this.#sentBefore.giveUp(slip);
    this.#sentBefore.free(slip);
    this.discard(slip);
  }

  /** Commits the packet id of a QoS 2 message, which is sent only then; messages after it wait for that. */
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
      if (place.isAgain) this.#client.transmit(place.outgoing, true);
      else this.#sendFirst(place.outgoing);
      place.outgoing.publish = undefined;
    }
  }

  /** Sends a message for the first time; removes it if it has expired meanwhile: no client knows its packet id. */
  #sendFirst(outgoing: OutgoingMessage): void {
    const client = this.#client;
    if (!client.isExpired(outgoing.publish!)) return client.transmit(outgoing, false);
    client.inflight.remove(outgoing.packetId);
    this.discard(outgoing.slip!);
  }
}
