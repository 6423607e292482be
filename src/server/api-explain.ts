/** The view of why a client does not get a message: session, filters, rights, and what was dropped for it. */

import { describeRule } from "../access/permissions.ts";
import type { FindingRow } from "../api/explain-rows.ts";
import type { AskedDelivery, Reading } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import type { Broker } from "../broker/broker.ts";
import { type DropCause, describeDrop, type RememberedDrop } from "../broker/core/recent-drops.ts";
import { isFight } from "../broker/core/recent-take-overs.ts";
import type { LocalSession } from "../broker/delivery/local-session.ts";
import { areApart } from "../broker/peers/clock-watch.ts";
import { isOwnTopic, ownTopicWords } from "../broker/publish/own-topics.ts";
import { aheadOfStore } from "../coordinator/store-clock.ts";
import { type Mismatch, mismatchOf } from "../mqtt/mismatch.ts";
import type { Subscription } from "../mqtt/subscription.ts";
import { filterMatches, isTopicName } from "../mqtt/topic.ts";
import { explainMessage, type Finding, heldPublishers, lastTaken, refusalsOn } from "./api-explain-message.ts";

/** Filters that do not match and are told, the nearest first. */
const mismatchesMax = 5;
const refusedConnectsMax = 3;

const dropCauses: Record<DropCause, FindingRow["cause"]> = {
  ...{ output: "slow", queue: "queue full", mailbox: "mailbox full" },
  ...{ size: "packet size", expired: "expired", forbidden: "no right" },
};

/** Returns what a broker knows of why messages come or do not. */
export function explainOf(broker: Broker): Pick<Reading, "explainDelivery" | "explainMessage"> {
  const { options } = broker.context;
  const rows = (topic: string, make: () => Iterable<Finding>): FindingRow[] | Problem =>
    isTopicName(topic)
      ? [...make()].map((finding) => ({ broker: options.id, ...finding }))
      : new Problem(400, `${JSON.stringify(topic.slice(0, 80))} is no topic: it must not hold wildcards`);
  return {
    explainDelivery: (asked) => rows(asked.topic, () => explainDelivery(broker, asked)),
    explainMessage: (asked) => rows(asked.topic, () => explainMessage(broker, asked)),
  };
}

function* explainDelivery(broker: Broker, { clientId, topic, waiting }: AskedDelivery): Generator<Finding> {
  const { context } = broker;
  const client = context.localSessions.get(clientId);
  yield* ownTopic(topic);
  yield* published(broker, topic);
  yield* refusalsOn(broker, topic);
  yield* heldPublishers(broker, topic);
  yield* lastTaken(broker, topic, clientId);
  for (const drop of context.drops.of(clientId)) yield dropFinding(drop, topic);
  const refused = [...context.refused.all()].filter((one) => one.clientId === clientId && one.kind === "connect");
  for (const { reason } of refused.slice(-refusedConnectsMax))
    yield { cause: "connect refused", weight: "possible", text: `${clientId} was not let in: ${reason}` };
  yield* takenOver(broker, clientId);
  yield* withoutStore(broker, clientId);
  yield* withoutLinks(broker);
  if (client !== undefined) yield* explainHere(client, topic, waiting);
}

/** Tells whether other connections with the same client id have taken its place. */
function* takenOver({ context }: Broker, clientId: string): Generator<Finding> {
  const known = context.takeOvers.of(clientId);
  if (known === undefined) return;
  const { since, at, times, remote } = known;
  const when = times === 1 ? timeOf(at) : `${times} times since ${timeOf(since)}, the last time ${timeOf(at)}`;
  const areTwo = isFight(known, context.clock.wall());
  const helps = areTwo
    ? "; two devices use one client id, and throw each other out: give each its own"
    : ", as when its client connects again before the old connection is found lost";
  yield {
    ...{ cause: "taken over", weight: areTwo ? "certain" : "possible" },
    text: `another connection with the client id ${clientId} has taken its place ${when} (from ${remote})${helps}`,
  };
}

/** Tells whether the broker keeps no persistent sessions just now. */
function* withoutStore({ context }: Broker, clientId: string): Generator<Finding> {
  const { coordinator, self } = context;
  if (coordinator.state === "CONNECTED" && !self.isFenced) return;
  const what = self.isFenced
    ? "persistent sessions are not served until it is back, and none is known here"
    : "what must be stored waits, unacknowledged";
  yield {
    ...{ cause: "store", weight: self.isFenced && !context.localSessions.has(clientId) ? "certain" : "possible" },
    text: `this broker has no contact with the store: ${what}`,
  };
}

/** Tells from whose clients messages do not come by a link, or may have expired on their way. */
function* withoutLinks({ context }: Broker): Generator<Finding> {
  const { peers, coordinator, machineClock } = context;
  for (const { id, isMember, isLinked, whyDown } of peers.values())
    if (isMember && !isLinked)
      yield {
        ...{ cause: "link", weight: "possible" },
        text:
          `this broker has no link to broker ${id}${whyDown === undefined ? "" : ` (${whyDown})`}: what is published ` +
          "at one of them reaches clients of the other late, by the store, and at QoS 0 not at all",
      };
  const ahead = aheadOfStore(machineClock, coordinator.storeTime);
  if (areApart(ahead))
    yield {
      ...{ cause: "clock", weight: "possible" },
      text:
        `the clock of this broker's machine is wrong by ${Math.round(Math.abs(ahead.aheadMs) / 1000)} s: what has a ` +
        "Message Expiry Interval may expire some seconds too early or too late",
    };
}

/** Tells whether messages have come by this broker. */
function* published({ context }: Broker, topic: string): Generator<Finding> {
  for (const known of context.router.topics())
    if (known === topic)
      return yield { cause: "published", weight: "fact", text: `messages on ${topic} have lately come to this broker` };
}

/** Explains for a session that this broker keeps. */
function* explainHere(client: LocalSession, topic: string, waiting: number | undefined): Generator<Finding> {
  yield* whereItIs(client, waiting);
  const levels = topic.split("/");
  const subscriptions = [...client.session.subscriptions.values()];
  const matching = subscriptions.filter(({ filter }) => filterMatches(filter.levels, levels));
  if (matching.length === 0) return yield* mismatches(client, subscriptions, topic);
  yield* rightOf(client, topic);
  for (const subscription of matching) yield* bySubscription(client, subscription, topic);
  if (matching.every(({ noLocal }) => noLocal) && client.connection?.route?.topic === topic)
    yield {
      ...{ cause: "no local", weight: "certain" },
      text: `it has published on ${topic} itself, and its subscription has No Local: what it publishes does not come back to it`,
    };
  yield* onItsWay(client);
}

/** Tells where the session is, and whether its client is connected. */
function* whereItIs(client: LocalSession, waiting: number | undefined): Generator<Finding> {
  const { session, connection, mailbox, context } = client;
  const { clientId } = session;
  const here = `broker ${context.options.id}`;
  if (connection !== undefined)
    return yield {
      ...{ cause: "session elsewhere", weight: "fact" },
      text: `the session of ${clientId} is at ${here}, and its client is connected there from ${connection.transport.remote}`,
    };
  const count = waiting ?? Math.max(0, mailbox?.count ?? 0);
  const waits = `messages of QoS 1 and 2 wait in its mailbox (${count} do), those of QoS 0 are not kept`;
  yield { cause: "away", weight: "certain", text: `${clientId} is not connected; ${here} keeps its session: ${waits}` };
}

/** Tells why none of its filters matches; the nearest first. */
function* mismatches(client: LocalSession, subscriptions: readonly Subscription[], topic: string): Generator<Finding> {
  const { clientId } = client.session;
  if (subscriptions.length === 0)
    return yield { cause: "not subscribed", weight: "certain", text: `${clientId} has no subscription at all` };
  const levels = topic.split("/");
  const why = subscriptions.map(({ filter }) => ({ filter, why: mismatchOf(filter.levels, levels) as Mismatch }));
  why.sort((a, b) => b.why.agreeing - a.why.agreeing);
  const more = why.length > mismatchesMax ? `, nor is any of ${why.length - mismatchesMax} further ones nearer` : "";
  yield {
    ...{ cause: "not subscribed", weight: "certain" },
    text: `none of the ${subscriptions.length} filters of ${clientId} matches ${topic}${more}`,
  };
  for (const { filter, why: one } of why.slice(0, mismatchesMax))
    yield { cause: "filter", weight: "certain", text: `${filter.text} does not match ${topic}: ${one.text}` };
}

function* rightOf({ permissions, session, context, user }: LocalSession, topic: string): Generator<Finding> {
  const decision = permissions?.decide(topic, "read");
  if (decision?.isAllowed !== false) return;
  const who = user === "" ? session.clientId : `${session.clientId} (user ${user})`;
  const rule = describeRule(decision, context.options.aclFile);
  yield { cause: "no right", weight: "certain", text: `${who} may not read ${topic}: ${rule}` };
}

/** Tells what follows of how it has subscribed. */
function* bySubscription(client: LocalSession, subscription: Subscription, topic: string): Generator<Finding> {
  const { filter, qos, retainHandling, noLocal } = subscription;
  const { context } = client;
  if (qos < 2)
    yield {
      ...{ cause: "qos", weight: qos === 0 && client.connection === undefined ? "certain" : "fact" },
      text:
        `${filter.text} was granted QoS ${qos}: what is published at a higher one comes at ${qos}` +
        (qos === 0 ? ", is not kept while the client is away, and is dropped when it reads too slowly" : ""),
    };
  if (noLocal) yield { cause: "no local", weight: "fact", text: `${filter.text} has No Local` };
  if (filter.group !== undefined)
    yield {
      ...{ cause: "shared", weight: "possible" },
      text: `${filter.text} is shared: each message goes to one member of the group, and retained ones to none`,
    };
  if (context.retained.get(topic) === undefined || retainHandling === 0) return;
  const how = retainHandling === 2 ? "is never sent when it subscribes" : "is sent only with a new subscription";
  yield {
    ...{ cause: "retain handling", weight: retainHandling === 2 ? "certain" : "possible" },
    text: `a message is retained on ${topic}; ${filter.text} has Retain Handling ${retainHandling}, so it ${how}`,
  };
}

/** Tells what is on its way to the client, and why it is not further. */
function* onItsWay(client: LocalSession): Generator<Finding> {
  const { connection, mailbox, inflightCount, context } = client;
  const { options, mailboxes } = context;
  const { clientId } = client.session;
  const waiting = Math.max(0, mailbox?.count ?? 0);
  if (mailbox !== undefined && mailboxes.isFull(clientId, waiting))
    yield {
      ...{ cause: "mailbox full", weight: "certain" },
      text: `its mailbox holds its maximum of ${options.maxQueued} messages (--max-queued)`,
    };
  if (connection === undefined) return;
  const unsent = connection.writer.unsent;
  if (!client.isOpen)
    yield {
      ...{ cause: "slow", weight: "certain" },
      text: `the client reads too slowly: ${unsent} bytes are written and not taken, so nothing more is sent, and QoS 0 is dropped`,
    };
  else if (!client.hasRoom)
    yield {
      ...{ cause: "window full", weight: "certain" },
      text: `the client has not acknowledged ${inflightCount} messages, which is its Receive Maximum or --max-inflight: further ones of QoS 1 and 2 wait`,
    };
  if (waiting > 0 && connection !== undefined)
    yield {
      cause: "waiting",
      weight: "fact",
      text: `${waiting} messages wait in its mailbox, or for its acknowledgement`,
    };
}

function timeOf(at: number): string {
  return new Date(at).toISOString();
}

function dropFinding({ cause, at, times, topics }: RememberedDrop, topic: string): Finding {
  const isOn = topics.has(topic);
  const when = new Date(isOn ? topics.get(topic)! : at).toISOString();
  const what = isOn ? `a message on ${topic} was dropped` : `messages were dropped, maybe also on ${topic}`;
  const words = `${what} for it, last ${when} (${times} in all): ${describeDrop(cause)}`;
  return { cause: dropCauses[cause], weight: isOn ? "certain" : "possible", text: words };
}

/** Tells of a topic that is the broker's own. */
function* ownTopic(topic: string): Generator<Finding> {
  if (isOwnTopic(topic))
    yield { cause: "own topic", weight: "certain", text: `${ownTopicWords}: no client publishes there` };
}
