/**
 * A run: QoS 0 or QoS 1 packets on one topic that follow each other and are passed on as they are, in one piece; and
 * for which routes that may be done.
 */
import { noBytes } from "../../base/bytes.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import { isPeer } from "../peers/peer.ts";
import { isWide } from "./wide-fanouts.ts";

/** The values of `Route.note`: whether all receivers here take a publisher's packets as they came, by its version. */
export const Note = { unknown: 0, mixed: 1, all5: 2, allBefore5: 3, none: 4 } as const;

/**
 * The receivers of messages with a promise. `here`: sessions of this broker that end with their connections, so that
 * nothing is stored and nobody is waited for; `live`: such sessions, and other brokers that have such; `any`: any.
 */
export type Reach = "here" | "live" | "any";

/** Packets of one route that follow each other in one chunk. */
export interface Run {
  route: ClusterRoute;
  bytes: Uint8Array;
  start: number;
  end: number;
  count: number;
  version5: boolean;
  /** True if the bytes lie in memory of their own, which never changes: a large packet is sent from there. */
  isApart: boolean;
  /** The bytes of all payloads in it. */
  payloadBytes: number;
}

/** Returns a run without packets, to be filled in. */
export function emptyRun(): Run {
  const empty = { bytes: noBytes, start: 0, end: 0, count: 0, version5: false, isApart: false, payloadBytes: 0 };
  return { route: undefined as unknown as ClusterRoute, ...empty };
}

/** Returns whether all receivers of a route here take a publisher's packets as they came, by its version. */
export function noteOf(route: ClusterRoute): number {
  if (route.groups.length > 0 || route.isMailDrop) return Note.mixed;
  if (route.targets.length === 0) return Note.none;
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

/** Returns who receives messages with a promise on a route, which remembers it. Groups, mail drops, crowds: `any`. */
export function reachOf(route: ClusterRoute): Reach {
  route.reach ??= lookForReach(route);
  return route.reach as Reach;
}

function lookForReach(route: ClusterRoute): Reach {
  const { targets, elsewhere, groups, isMailDrop } = route;
  if (groups.length > 0 || isMailDrop || isWide(route)) return "any";
  if (!targets.every((target) => target.own === target && target.subscriber.mailbox === undefined)) return "any";
  if (elsewhere.length === 0) return "here";
  return elsewhere.every(({ subscriber }) => isPeer(subscriber)) ? "live" : "any";
}
