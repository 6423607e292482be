/** The view of what becomes of messages on a topic: refused, held back, to whom they go, dropped for whom. */
import type { FindingRow } from "../api/explain-rows.ts";
import type { Broker } from "../broker/broker.ts";
import { describeDrop } from "../broker/core/recent-drops.ts";
import { PauseReason } from "../broker/delivery/connection.ts";
import type { LocalSession } from "../broker/delivery/local-session.ts";
import { isPeer, type Remote } from "../broker/peers/peer.ts";
import { isRemoteSession } from "../broker/peers/remote-session.ts";
import { isOwnTopic, ownTopicWords } from "../broker/publish/own-topics.ts";
import type { RetainedMessage } from "../router/retained.ts";
import type { Target } from "../router/router.ts";

/** A finding as it is made; the broker that has made it is added. */
export type Finding = Omit<FindingRow, "broker">;

/** Receivers, refusals and others that are told. */
const toldMax = 20;

const pauseWords: Record<keyof typeof PauseReason, string> = {
  connecting: "its CONNECT is not answered yet",
  stalled: "a subscriber of its publishes is behind",
  owed: "too many of its publishes are not settled yet",
  journal: "the store is behind",
  refused: "a publish of its was refused and is tried again (--bank-wait)",
  link: "another broker is behind",
  rate: "it sends more than --max-message-rate or --max-byte-rate allows",
  slice: "it has used up its turn",
  feeds: "retained messages are on their way to it",
  fanout: "a message to very many receivers is on its way",
};

interface Asked {
  readonly topic: string;
  readonly publisher: string | undefined;
}

export function* explainMessage(broker: Broker, { topic, publisher }: Asked): Generator<Finding> {
  const { context } = broker;
  if (isOwnTopic(topic)) yield { cause: "own topic", weight: "certain", text: ownTopicWords };
  yield* refusalsOn(broker, topic, publisher);
  yield* heldPublishers(broker, topic, publisher);
  if (context.coordinator.state !== "CONNECTED")
    yield {
      ...{ cause: "store", weight: "possible" },
      text: "this broker has no contact with the store: what must be stored waits, unacknowledged",
    };
  yield* receivers(broker, topic);
  for (const { clientId, drop } of [...context.drops.on(topic)].slice(-toldMax))
    yield {
      ...{ cause: "receiver", weight: "certain" },
      text: `dropped for ${clientId}, last ${timeOf(drop.topics.get(topic)!)}: ${describeDrop(drop.cause)}`,
    };
  const retained = context.retained.get(topic);
  if (retained !== undefined) yield { cause: "retained", weight: "fact", text: retainedWords(retained) };
}

/** Tells of the retained message, and who has set it, as far as it is known here. */
function retainedWords({ publish, origin }: RetainedMessage): string {
  const words = `the last retained message has ${publish.payloadLength} bytes`;
  if (origin === undefined) return words;
  const whose = [
    ...(origin.clientId === undefined ? [] : [`by client ${origin.clientId}`]),
    ...(publish.payer === "" ? [] : [`by user ${publish.payer}`]),
    `at broker ${origin.broker}`,
    ...(origin.at === undefined ? [] : [timeOf(origin.at)]),
  ];
  return `${words}, and was published ${whose.join(", ")}`;
}

/** Tells to whom messages on the topic go from here. */
function* receivers({ context }: Broker, topic: string): Generator<Finding> {
  const route = context.router.look(topic);
  if (route.isMailDrop)
    yield {
      cause: "mail drop",
      weight: "fact",
      text: "the topic has a mail drop: each message is stored for later subscribers",
    };
  for (const group of route.groups) {
    const last = group.last === undefined ? "" : `; the last one went to ${nameOf(group.last)}`;
    const away = [...group.members.keys()].filter(isAway).length;
    const gone = away === 0 ? "" : `, ${away} of them ${away === 1 ? "is" : "are"} away, and kept here`;
    const text = `one of ${group.members.size} members of ${group.text} gets each message${gone}${last}`;
    yield { cause: "shared", weight: "fact", text };
    if (away === group.members.size)
      yield {
        cause: "away",
        weight: "certain",
        text: `no member of ${group.text} is connected: messages of QoS 1 and 2 wait in the mailbox of one of them`,
      };
  }
  for (const target of route.targets.slice(0, toldMax)) yield hereFinding(target);
  for (const { subscriber } of route.elsewhere.slice(0, toldMax)) {
    if (!isPeer(subscriber)) continue;
    const text = subscriber.isLinked ? "" : ", but the link to it is down: they do not get there now";
    const weight = subscriber.isLinked ? "fact" : "certain";
    yield {
      cause: subscriber.isLinked ? "receiver" : "link",
      weight,
      text: `clients at broker ${subscriber.id} subscribe${text}`,
    };
  }
  const count = route.targets.length + route.elsewhere.length + route.groups.length;
  if (count === 0 && !route.isMailDrop)
    yield { cause: "nobody", weight: "possible", text: `no subscription that this broker knows matches ${topic}` };
}

function hereFinding({ subscriber, qos }: Target<LocalSession>): Finding {
  const { connection, session, mailbox } = subscriber;
  const granted = `at QoS ${qos} at most`;
  if (connection !== undefined)
    return {
      cause: "receiver",
      weight: "fact",
      text: `${session.clientId} is connected here and gets them ${granted}`,
    };
  const kept = qos === 0 || mailbox === undefined ? "gets nothing: QoS 0 is not kept" : "finds them in its mailbox";
  return { cause: "away", weight: "possible", text: `${session.clientId} is away and ${kept}` };
}

/** Tells what was refused on the topic. */
export function* refusalsOn({ context }: Broker, topic: string, publisher?: string): Generator<Finding> {
  const found = [...context.refused.all()].filter(
    ({ topics, clientId }) => topics.has(topic) && (publisher === undefined || publisher === clientId),
  );
  for (const { kind, cause, clientId, topics, at, times } of found.slice(-toldMax)) {
    const who = `${kind === "will" ? "the will" : "a publish"} of ${clientId ?? "nobody known"} on ${topic}`;
    const text = `${who} was refused (${cause}), last ${timeOf(at)}, ${times} in a row: ${topics.get(topic)}`;
    yield { cause: "refused", weight: "certain", text };
  }
}

/** Tells of publishers on the topic that are not read now. */
export function* heldPublishers({ context }: Broker, topic: string, publisher?: string): Generator<Finding> {
  for (const { connection, session } of context.localSessions.values()) {
    if (connection?.isHeld !== true || connection.route?.topic !== topic) continue;
    if (publisher !== undefined && publisher !== session.clientId) continue;
    const names = Object.keys(pauseWords) as (keyof typeof PauseReason)[];
    const why = names.filter((name) => connection.isHeldBy(PauseReason[name])).map((name) => pauseWords[name]);
    const text = `${session.clientId}, which publishes on ${topic}, is not read now: ${why.join("; ")}`;
    yield { cause: "held back", weight: "certain", text };
  }
}

/** Tells which member of a group was sent the last message, if that was another one than this client. */
export function* lastTaken({ context }: Broker, topic: string, clientId: string): Generator<Finding> {
  for (const { text, last, members } of context.router.look(topic).groups) {
    const name = last === undefined ? undefined : nameOf(last);
    const isMember = [...members.keys()].some((member) => isPeer(member) || nameOf(member) === clientId);
    if (name === undefined || name === clientId || !isMember) continue;
    yield {
      ...{ cause: "shared", weight: "certain" },
      text: `the last message that was published at this broker for ${text} was given to another member: ${name}`,
    };
  }
}

/** Returns true for a member whose session is here, and which is not connected. */
function isAway(member: LocalSession | Remote): boolean {
  return !isPeer(member) && !isRemoteSession(member) && member.connection === undefined;
}

function nameOf(member: LocalSession | Remote): string {
  if (isPeer(member)) return `a client at broker ${member.id}`;
  return isRemoteSession(member) ? member.clientId : member.session.clientId;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
