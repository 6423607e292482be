/** The plan of a load: who connects, who publishes what how fast, who subscribes to what; and how much must arrive. */
import { systemRandom } from "../base/random.ts";
import type { ProtocolVersion, QoS } from "../mqtt/constants.ts";
import { filterMatches, parseFilter } from "../mqtt/topic.ts";
import { stampBytes } from "./stamp.ts";

export interface Plan {
  readonly version: ProtocolVersion;
  readonly publishers: number;
  readonly subscribers: number;
  /** Connections that do neither. */
  readonly idle: number;
  /** Number of the first client of each kind. */
  readonly firstNumber: number;
  readonly prefix: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** %i: number of the client, %c: its id, %u: its user name. */
  readonly topic: string;
  readonly filter: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly payloadBytes: number;
  /** Undefined: payloads are stamped, and filled up. */
  readonly payload: string | undefined;
  /** Messages per second of all publishers together; 0: as fast as it goes. */
  readonly rate: number;
  /** Messages of each publisher; `unlimited`: until time is up. */
  readonly limit: number;
  /** Publishes at QoS 1 and 2 of one publisher that are not acknowledged, at most. */
  readonly inflight: number;
  /** Connections per second; 0: as fast as it goes. */
  readonly connectRate: number;
  readonly keepAlive: number;
  readonly clean: boolean;
  /** Seconds for which sessions outlive their connections (MQTT 5). */
  readonly sessionExpiry: number;
  /** Client ids are the prefix and the number. */
  readonly shortIds?: boolean;
  /** The times that a connection that fails is tried again. */
  readonly connectRetries?: number;
  /** A payload whose places are filled for each message, a character a byte; see `template.ts`. */
  readonly template?: string;
}

/** A plan is told as JSON, which has no Infinity. */
export const unlimited = Number.MAX_SAFE_INTEGER;

/** The part of a plan's clients that one process is: number n of each kind where n modulo `of` is `at`. */
export interface Share {
  readonly at: number;
  readonly of: number;
}

export type Kind = "pub" | "sub" | "idle";

export function clientIdOf({ prefix, firstNumber, shortIds }: Plan, kind: Kind, index: number): string {
  if (shortIds === true) return `${prefix}${firstNumber + index}`;
  return `${prefix}_${kind}_${firstNumber + index}`;
}

/** The places of a topic that differ from message to message. */
const varying = /%s|%rand_\d+/;

/** The topic is another one for each message. */
export function isVarying({ topic, subscribers }: Pick<Plan, "topic" | "subscribers">): boolean {
  return subscribers === 0 && varying.test(topic);
}

/** Puts a client's names into a template; `sequence`: the number of the message, from 1. */
export function fill(plan: Plan, template: string, kind: Kind, index: number, sequence = 1): string {
  const names: Record<string, string> = {
    "%s": String(sequence),
    "%i": String(plan.firstNumber + index),
    "%c": clientIdOf(plan, kind, index),
    "%u": fillUsername(plan, index) ?? "",
  };
  return drawn(template.replace(plan.subscribers === 0 ? /%[icus]/g : /%[icu]/g, (place) => names[place]!));
}

export function fillUsername({ username, firstNumber }: Plan, index: number): string | undefined {
  return username && drawn(username.replaceAll("%i", String(firstNumber + index)));
}

/** Puts a number from 1 to N at random in each place `%rand_N`. */
function drawn(text: string): string {
  return text.replace(/%rand_(\d{1,15})/g, (_, most: string) =>
    String(1 + Math.floor(systemRandom.next() * Math.max(1, Number(most)))),
  );
}

/** The indices of a share's clients. */
export function* indicesOf(count: number, { at, of }: Share): Generator<number> {
  for (let index = at; index < count; index += of) yield index;
}

/** Payloads say who has sent them, as which of his and when. */
export function isStamped({ payload, template, payloadBytes }: Plan): boolean {
  return payload === undefined && template === undefined && payloadBytes >= stampBytes;
}

/** The subscribers are a group of which each message comes to one. */
export function isShared({ filter }: Plan): boolean {
  return filter.startsWith("$share/");
}

/**
 * For each publisher, the deliveries that one message of his comes to. A subscriber whose filter is none gets nothing.
 */
export function receiversOf(plan: Plan): number[] {
  const filters = new Map<string, { readonly levels: readonly string[]; isGroup: boolean; count: number }>();
  for (let index = 0; index < plan.subscribers; index++) {
    const text = fill(plan, plan.filter, "sub", index);
    const known = filters.get(text);
    if (known !== undefined) {
      known.count++;
      continue;
    }
    const filter = parseFilter(text);
    if (filter === undefined) continue;
    filters.set(text, { levels: filter.levels, isGroup: filter.group !== undefined, count: 1 });
  }
  const exact = new Map([...filters].filter(([text]) => !/[+#$]/.test(text)));
  const others = [...filters].filter(([text]) => /[+#$]/.test(text)).map(([, filter]) => filter);
  const byTopic = new Map<string, number>();
  return Array.from({ length: plan.publishers }, (_, index) => {
    const topic = fill(plan, plan.topic, "pub", index);
    const known = byTopic.get(topic);
    if (known !== undefined) return known;
    const levels = topic.split("/");
    let count = exact.get(topic)?.count ?? 0;
    for (const other of others) if (filterMatches(other.levels, levels)) count += other.isGroup ? 1 : other.count;
    byTopic.set(topic, count);
    return count;
  });
}
