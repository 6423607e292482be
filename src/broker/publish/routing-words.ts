/** The way of a publish in words, for whoever follows it: to whom it goes, and how it is answered. */
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import { describeReason, Reason } from "../../mqtt/reason.ts";
import type { Target } from "../../router/router.ts";
import type { AckOutcome } from "../../session/owed-acks.ts";
import type { Trace } from "../core/trace.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import { subjectOf } from "../delivery/wire-tap.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import { isPeer, type Remote } from "../peers/peer.ts";
import { isRemoteSession } from "../peers/remote-session.ts";

/** Receivers that are named. */
const namedMax = 20;

/** Tells of a publish that has come from a client, and to whom it goes. */
export function tellPublished(
  trace: Trace,
  { connection, publish, route }: { connection: Connection; publish: Publish; route: ClusterRoute },
): void {
  const subject = subjectOf(connection);
  const { qos, packetId, retain, payloadLength } = publish;
  const id = qos === 0 ? "" : `, packet id ${packetId}`;
  trace.message("published", publish, subject, () => {
    return `published at QoS ${qos}${id}${retain ? ", retained" : ""}, ${payloadLength} bytes`;
  });
  trace.message("routed", publish, subject, () => routeWords(route, { qos, publisher: connection.client }));
}

/** Tells of a message that has come from another broker. */
export function tellArrived(
  trace: Trace,
  { broker, publish, route }: { broker: string; publish: Publish; route: ClusterRoute },
): void {
  const nobody = { clientId: undefined, user: "", address: "" };
  const { qos } = publish;
  trace.message("arrived", publish, nobody, () => {
    return `arrived from broker ${broker}; ${routeWords({ ...route, elsewhere: [] }, { qos, publisher: undefined })}`;
  });
}

interface Routed {
  readonly qos: number;
  readonly publisher: LocalSession | undefined;
}

/** Returns to whom a message on a route goes, in words. */
export function routeWords(
  { targets, elsewhere, groups, isMailDrop }: Pick<ClusterRoute, "targets" | "elsewhere" | "groups" | "isMailDrop">,
  { qos, publisher }: Routed,
): string {
  const here = targets.map((target) => hereWords(target, qos, publisher));
  const others = elsewhere.map(({ subscriber, qos: granted }) => elsewhereWords(subscriber, Math.min(qos, granted)));
  const shared = groups.map((group) => `one member of ${group.text} (${group.members.size} members)`);
  const all = [...here, ...others, ...shared, ...(isMailDrop ? ["the mail drop of its topic"] : [])];
  if (all.length === 0) return "goes to nobody: no subscription matches";
  const more = all.length > namedMax ? ` and ${all.length - namedMax} more` : "";
  return `goes to ${all.slice(0, namedMax).join("; ")}${more}`;
}

function hereWords({ subscriber, qos: granted, own }: Target<LocalSession>, qos: number, publisher?: LocalSession) {
  const { clientId } = subscriber.session;
  if (subscriber === publisher && own === undefined) return `not back to ${clientId} (No Local)`;
  const state = subscriber.connection === undefined ? "away" : "connected";
  const lowered = granted < qos ? `, lowered from ${qos}` : "";
  return `client ${clientId} (${state}, QoS ${Math.min(qos, granted)}${lowered})`;
}

function elsewhereWords(subscriber: Remote, qos: number): string {
  if (isPeer(subscriber)) return `broker ${subscriber.id}${subscriber.isLinked ? "" : " (its link is down)"}`;
  const at = subscriber.host === undefined ? "away" : `connected at broker ${subscriber.host.id}`;
  return `client ${subscriber.clientId} (${at}, QoS ${qos})`;
}

/** Returns what tells how a publish is answered, in this turn or a later one. */
export function settling(
  trace: Trace,
  { connection, publish }: { connection: Connection; publish: Publish },
): (outcome: AckOutcome) => void {
  const subject = subjectOf(connection);
  const topic = topicOf(publish);
  const { qos, packetId } = publish;
  return ({ reason, text }) => {
    const what = reason >= Reason.unspecifiedError ? "refused" : "settled";
    const why = text === undefined ? "" : `: ${text}`;
    const words = (): string =>
      `${what}: ${qos === 1 ? "PUBACK" : "PUBREC"} for packet id ${packetId}: ${describeReason(reason)}${why}`;
    trace.tell({ kind: "settled", subject, topic, reason, text: words });
  };
}

/** Returns the client ids of receivers. */
export function namesOf(
  stored: readonly { readonly client?: LocalSession | undefined }[],
  mailed: readonly { readonly session: Remote }[],
): string[] {
  const there = mailed.flatMap(({ session }) => (isRemoteSession(session) ? [session.clientId] : []));
  return [...stored.flatMap(({ client }) => (client === undefined ? [] : [client.session.clientId])), ...there];
}
