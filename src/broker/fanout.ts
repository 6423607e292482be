/**
 * From a route to its receivers. QoS 0 is copied into each receiver's output; QoS 1 and 2 end in a settlement
 * that says when everybody is taken care of.
 */
import { outputBytesHigh, outputBytesMax } from "../base/limits.ts";
import type { JournalOperation } from "../mail/journal.ts";
import { Settlement } from "../mail/settlement.ts";
import type { QoS } from "../mqtt/constants.ts";
import type { Publish } from "../mqtt/publish.ts";
import { memberTarget, type Route, type SharedGroup, type Target } from "../router/router.ts";
import type { Client } from "./client.ts";
import type { Connection } from "./connection.ts";
import type { Context } from "./context.ts";
import { Outgoing, type OutgoingTarget } from "./outgoing.ts";
import type { Stalls } from "./stalls.ts";

/** What `Route.note` says: whether all receivers take the packets of a publisher of one kind as they came. */
const Note = { unknown: 0, mixed: 1, all5: 2, allBefore5: 3 } as const;

/** Packets that follow each other in one chunk and have one route: they leave in one copy. */
export interface Run {
  route: Route<Client>;
  bytes: Uint8Array;
  start: number;
  end: number;
  count: number;
}

export interface Delivery {
  /** How many receivers there are. */
  readonly receivers: number;
  /** Undefined if nothing has to be waited for. */
  readonly settlement: Settlement | undefined;
}

/** One target for all: it is filled in and used up within a call. */
const to: { -readonly [Key in keyof OutgoingTarget]: OutgoingTarget[Key] } = {
  qos: 0,
  retain: false,
  subscriptionIds: [],
  group: undefined,
};

export class Fanout {
  readonly #context: Context;
  readonly #stalls: Stalls;

  constructor(context: Context, stalls: Stalls) {
    this.#context = context;
    this.#stalls = stalls;
  }

  /** True if QoS 0 packets of a publisher of this kind (MQTT 5, or before) may be copied to all as they are. */
  takesVerbatim(route: Route<Client>, version5: boolean): boolean {
    if (route.note === Note.unknown) route.note = noteOf(route);
    return route.note === (version5 ? Note.all5 : Note.allBefore5);
  }

  /** Copies a run to a route for which `takesVerbatim` holds. */
  copyRun(run: Run, publisher: Connection): void {
    const { metrics } = this.#context;
    for (const { subscriber } of run.route.targets) {
      const connection = subscriber.connection;
      if (connection === undefined) continue;
      const { writer } = connection;
      if (writer.unsent > outputBytesMax) {
        metrics.droppedOutput += run.count;
        continue;
      }
      writer.append(run.bytes, run.start, run.end);
      metrics.publishesSent += run.count;
      if (writer.unsent > outputBytesHigh) this.#stalls.hold(publisher, connection);
    }
  }

  /** QoS 0, one message. */
  live(publish: Publish, route: Route<Client>, publisher: Connection | undefined): void {
    const client = publisher?.client;
    for (const target of route.targets)
      this.#liveTo(publish, target.subscriber === client ? target.own : target, publisher);
    for (const group of route.groups) this.#liveTo(publish, this.choose(group), publisher);
  }

  /**
   * A message that is promised to its receivers, together with operations that must be committed for it. The
   * settlement, if there is one, is not settled yet.
   */
  promise(
    publish: Publish,
    route: Route<Client>,
    publisher: Client | undefined,
    operations: JournalOperation[],
  ): Delivery {
    const promise = new PromiseInMaking(this.#context, publish);
    for (const target of route.targets) promise.add(target.subscriber === publisher ? target.own : target);
    for (const group of route.groups) promise.add(this.choose(group));
    promise.commit(operations);
    return promise;
  }

  /** A message that another member of a shared subscription has not acknowledged. */
  redeliver(publish: Publish, target: Target<Client>, done: () => void): void {
    const promise = new PromiseInMaking(this.#context, publish);
    promise.add(target);
    promise.commit([]);
    if (promise.settlement === undefined || promise.settlement.isSettled) done();
    else promise.settlement.whenSettled(done);
  }

  /** The persistent session among the receivers whose mailbox has no room; then the publish is refused. */
  fullMailbox(route: Route<Client>, qos: QoS): Client | undefined {
    for (const { subscriber, qos: granted } of route.targets) {
      if (Math.min(qos, granted) > 0 && this.#isFull(subscriber)) return subscriber;
    }
    for (const group of route.groups) {
      const members = [...group.members.keys()];
      if (members.every((member) => this.#isFull(member))) return members[0];
    }
    return undefined;
  }

  /** Whose turn it is in a group: members take turns; one with room goes before one without, and that before one away. */
  choose(group: SharedGroup<Client>, except?: Client): Target<Client> | undefined {
    group.order ??= [...group.members.keys()];
    const members = group.order;
    let best: Client | undefined;
    let bestRank = 0;
    let bestAt = 0;
    for (let step = 0; step < members.length; step++) {
      const at = (group.turn + step) % members.length;
      const member = members[at]!;
      const rank = member === except ? 0 : this.#rankOf(member);
      if (rank <= bestRank) continue;
      best = member;
      bestRank = rank;
      bestAt = at;
      if (rank === 3) break;
    }
    if (best === undefined) return undefined;
    group.turn = (bestAt + 1) % members.length;
    return memberTarget(group, best, group.members.get(best)!);
  }

  #rankOf(member: Client): number {
    if (this.#isFull(member)) return 0;
    if (member.connection === undefined) return 1;
    return member.hasRoom && (member.mailbox?.isEmpty ?? true) ? 3 : 2;
  }

  #isFull({ mailbox }: Client): boolean {
    return mailbox !== undefined && mailbox.count >= this.#context.options.maxQueued;
  }

  #liveTo(publish: Publish, target: Target<Client> | undefined, publisher: Connection | undefined): void {
    if (target === undefined) return;
    to.qos = 0;
    to.retain = publish.retain && target.retainAsPublished;
    to.subscriptionIds = target.subscriptionIds;
    to.group = undefined;
    target.subscriber.sendQoS0(publish, to);
    const { connection } = target.subscriber;
    if (publisher !== undefined && connection !== undefined && connection.writer.unsent > outputBytesHigh) {
      this.#stalls.hold(publisher, connection);
    }
  }
}

/** A promised message while its receivers are gone through. */
class PromiseInMaking implements Delivery {
  receivers = 0;
  settlement: Settlement | undefined;
  readonly #context: Context;
  readonly #publish: Publish;
  #stored: Outgoing[] | undefined;

  constructor(context: Context, publish: Publish) {
    this.#context = context;
    this.#publish = publish;
  }

  add(target: Target<Client> | undefined): void {
    if (target === undefined) return;
    this.receivers++;
    const client = target.subscriber;
    to.qos = Math.min(this.#publish.qos, target.qos) as QoS;
    to.retain = this.#publish.retain && target.retainAsPublished;
    to.subscriptionIds = target.subscriptionIds;
    to.group = target.group;
    if (to.qos === 0) client.sendQoS0(this.#publish, to);
    else if (client.mailbox === undefined) client.offer(this.#publish, to.qos, to);
    else if (client.fits(this.#publish, to)) this.#addPersistent(client, to);
  }

  /** Commits what must be committed: the caller's operations, and the mail for those who cannot be sent it now. */
  commit(operations: JournalOperation[]): void {
    const { journal, mail, settlements, clock, metrics } = this.#context;
    const stored = this.#stored ?? [];
    const live = this.settlement !== undefined && this.settlement.live.length > 0;
    if (stored.length > 0 || operations.length > 0) {
      const settlement = this.#settle();
      settlement.waitFor();
      const connections = stored.map((outgoing) => outgoing.client!.connection);
      if (stored.length > 0) {
        const drafts = stored.map((outgoing) => outgoing.client!.mailbox!.draft(outgoing));
        const mailed = mail.store(settlement.publish, { order: settlement.order, from: settlement.slips }, drafts);
        settlement.slips += drafts.length;
        operations.push(...mailed.operations);
        for (let index = 0; index < stored.length; index++) {
          const outgoing = stored[index]!;
          outgoing.client!.mailbox!.placed(outgoing, mailed.slips[index]!);
        }
        metrics.stored += stored.length;
      }
      journal.commit(operations, () => {
        for (let index = 0; index < stored.length; index++) {
          const outgoing = stored[index]!;
          outgoing.client!.mailbox!.committed(outgoing, connections[index]);
        }
        settlement.done();
      });
    }
    if (live) settlements.watch(this.settlement!, clock.now());
  }

  #addPersistent(client: Client, target: OutgoingTarget): void {
    const settlement = this.#settle();
    const outgoing = new Outgoing(client, target, settlement.publish);
    if (target.qos === 1 && client.mailbox!.isEmpty && client.hasRoom) {
      outgoing.settlement = settlement;
      settlement.waitFor(outgoing);
      client.sendLive(outgoing);
    } else {
      this.#stored ??= [];
      this.#stored.push(outgoing);
    }
  }

  #settle(): Settlement {
    this.settlement ??= new Settlement(this.#publish.kept(), this.#context.mail.nextOrder());
    return this.settlement;
  }
}

/** Only the broker publishes below `$SYS`. */
export function isOwnTopic(topic: string): boolean {
  return topic.startsWith("$SYS/");
}

function noteOf(route: Route<Client>): number {
  if (route.groups.length > 0 || route.targets.length === 0 || isOwnTopic(route.topic)) return Note.mixed;
  let note: number = Note.unknown;
  for (const target of route.targets) {
    const channel = target.subscriber.connection?.channel;
    if (channel?.phase !== "open" || !channel.takesVerbatim) return Note.mixed;
    if (target.own !== target || target.subscriptionIds.length > 0) return Note.mixed;
    const kind = channel.version === 5 ? Note.all5 : Note.allBefore5;
    if (note !== Note.unknown && note !== kind) return Note.mixed;
    note = kind;
  }
  return note;
}
