/**
 * The plan by which a `mosquitto.db` is brought into a store: sessions, and for each message those who wait for it, in
 * their order. What has ended, belongs to nobody, or is none of MQTT's is counted and left out.
 */

import { encodeUtf8, isMqttText, varintSize, writeVarint } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { importReceiversMax } from "../base/foreign-limits.ts";
import { remainingLengthMax } from "../base/limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import { Publish, parsePublish, topicOf } from "../mqtt/publish.ts";
import { isTopicName, parseFilter } from "../mqtt/topic.ts";
import {
  type ForeignClient,
  type ForeignDatabase,
  type ForeignDelivery,
  type ForeignMessage,
  type ForeignSubscription,
  states,
} from "./database.ts";

/** A session, with what it subscribes to. */
export interface PlannedSession {
  readonly client: ForeignClient;
  readonly subscriptions: readonly ForeignSubscription[];
}

/** A session that waits for a message. */
export interface Receiver {
  readonly clientId: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  /** The packet id under which its client may have it already, at QoS 2; 0: it has not been sent. */
  readonly packetId: number;
}

/** A message, and whose it is. */
export interface PlannedMessage {
  readonly publish: Publish;
  readonly user: string;
}

/** A message that waits in mailboxes. */
export interface PlannedMail extends PlannedMessage {
  readonly receivers: readonly Receiver[];
}

/** A message that a client has sent at QoS 2 and not released: it has not been published yet. */
export interface Unreleased extends PlannedMessage {
  readonly clientId: string;
  readonly packetId: number;
}

export interface Plan {
  readonly sessions: readonly PlannedSession[];
  readonly retained: readonly PlannedMessage[];
  /** The messages of a client stand in the order in which it is to be sent them. */
  readonly mail: readonly PlannedMail[];
  readonly unreleased: readonly Unreleased[];
  /** The things that are left out, in words, with how often. */
  readonly leftOut: ReadonlyMap<string, number>;
}

/** `now`: in milliseconds since 1970. */
export function planImport(database: ForeignDatabase, now: number): Plan {
  const leftOut = new Map<string, number>();
  const leave = (what: string): undefined => {
    leftOut.set(what, (leftOut.get(what) ?? 0) + 1);
    return undefined;
  };
  if (database.unknown > 0) leftOut.set("chunks of kinds that are not known", database.unknown);
  const sessions = sessionsOf(database, now, leave);
  const known = new Set(sessions.map(({ client }) => client.id));
  const publishes = new Map<ForeignMessage, Publish | undefined>();
  const messageOf = (id: bigint): PlannedMessage | undefined => {
    const message = database.messages.get(id);
    if (message === undefined) return leave("messages that are not there any more");
    if (!publishes.has(message)) publishes.set(message, publishOf(message));
    const publish = publishes.get(message);
    if (publish === undefined) return leave("messages that are none of MQTT's");
    if (publish.expiresAt <= now) return leave("messages whose time is over");
    return { publish, user: message.user };
  };
  const mine = database.deliveries.filter(
    ({ clientId }) => known.has(clientId) || leave("messages for sessions that are not there") !== undefined,
  );
  return {
    sessions,
    retained: database.retained.flatMap((id) => messageOf(id) ?? []),
    mail: mailOf(
      mine.filter(({ direction, qos }) => direction === "out" && qos > 0),
      messageOf,
    ),
    unreleased: mine
      .filter(({ direction, state, packetId }) => direction === "in" && state === states.waitForPubrel && packetId > 0)
      .flatMap(({ message, clientId, packetId }) => {
        const found = messageOf(message);
        return found === undefined ? [] : [{ ...found, clientId, packetId }];
      }),
    leftOut,
  };
}

function sessionsOf(
  { clients, subscriptions }: ForeignDatabase,
  now: number,
  leave: (what: string) => undefined,
): PlannedSession[] {
  const sessions = new Map<string, PlannedSession & { readonly subscriptions: ForeignSubscription[] }>();
  for (const client of clients) {
    const bytes = encodeUtf8(client.id);
    if (client.id === "" || !isMqttText(bytes, 0, bytes.length)) leave("sessions without a client id");
    else if (client.expiryInterval === 0) leave("sessions that end with their connections");
    else if (client.expiresAt > 0 && client.expiresAt * 1000 <= now) leave("sessions whose time is over");
    else sessions.set(client.id, { client, subscriptions: [] });
  }
  for (const subscription of subscriptions) {
    const session = sessions.get(subscription.clientId);
    const bytes = encodeUtf8(subscription.filter);
    if (session === undefined) leave("subscriptions of sessions that are not there");
    else if (parseFilter(subscription.filter) === undefined || !isMqttText(bytes, 0, bytes.length))
      leave("subscriptions to what is no topic filter");
    else session.subscriptions.push(subscription);
  }
  return [...sessions.values()];
}

/**
 * Puts deliveries together by their messages, so that each message is stored once. Ids grow with time, so that this
 * keeps the order of clients whose deliveries have theirs in order; those of other clients go by themselves.
 */
function mailOf(
  deliveries: readonly ForeignDelivery[],
  messageOf: (id: bigint) => PlannedMessage | undefined,
): PlannedMail[] {
  const last = new Map<string, bigint>();
  const isOut = new Set<string>();
  for (const { clientId, message } of deliveries) {
    if (message <= (last.get(clientId) ?? -1n)) isOut.add(clientId);
    last.set(clientId, message);
  }
  const together = new Map<bigint, ForeignDelivery[]>();
  const apart: PlannedMail[] = [];
  for (const delivery of deliveries) {
    const { clientId, message } = delivery;
    if (isOut.has(clientId)) {
      const found = messageOf(message);
      if (found !== undefined) apart.push({ ...found, receivers: [receiverOf(delivery)] });
    } else if (together.has(message)) together.get(message)!.push(delivery);
    else together.set(message, [delivery]);
  }
  const inOrder = [...together].sort(([a], [b]) => (a < b ? -1 : 1));
  const shared = inOrder.flatMap(([id, all]): PlannedMail[] => {
    const found = messageOf(id);
    if (found === undefined) return [];
    const parts: PlannedMail[] = [];
    for (let at = 0; at < all.length; at += importReceiversMax)
      parts.push({ ...found, receivers: all.slice(at, at + importReceiversMax).map(receiverOf) });
    return parts;
  });
  return [...shared, ...apart];
}

function receiverOf({ clientId, qos, retain, subscriptionId, packetId, state }: ForeignDelivery): Receiver {
  // A client that has it answers PUBREC to what comes under the same id, and takes it no second time.
  const mayHaveIt =
    qos === 2 && [states.waitForPubrec, states.resendPubrel, states.waitForPubcomp].includes(state as 5);
  const subscriptionIds = subscriptionId === 0 ? [] : [subscriptionId];
  return { clientId, qos: qos as QoS, retain, subscriptionIds, packetId: mayHaveIt ? packetId : 0 };
}

/** Returns a message as it is published here; undefined: it is none of MQTT's. */
function publishOf({ topic, payload, properties, qos, retain, expiresAt }: ForeignMessage): Publish | undefined {
  const section = properties.length === 0 ? Uint8Array.of(0) : properties;
  const idBytes = qos > 0 ? Uint8Array.of(0, 1) : new Uint8Array(0);
  const length = 2 + topic.length + idBytes.length + section.length + payload.length;
  if (length > remainingLengthMax) return undefined;
  const bytes = new Uint8Array(1 + varintSize(length) + length);
  bytes[0] = 0x30 | (qos << 1) | (retain ? 1 : 0);
  const body = writeVarint(bytes, 1, length);
  let at = body;
  for (const part of [Uint8Array.of(topic.length >> 8, topic.length & 0xff), topic, idBytes, section, payload]) {
    bytes.set(part, at);
    at += part.length;
  }
  const publish = new Publish();
  try {
    parsePublish(publish, bytes, bytes[0], body, bytes.length, 5);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
  const isText = isMqttText(bytes, publish.topicStart, publish.topicEnd);
  if (!isText || !isTopicName(topicOf(publish)) || publish.payloadLength !== payload.length) return undefined;
  // What the properties would say counts from now; the time counts that was worked out when it was published.
  publish.expiresAt = expiresAt === 0 ? Infinity : expiresAt * 1000;
  publish.packetId = 0;
  publish.subscriptionIds = [];
  return publish.kept();
}
