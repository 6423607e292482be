/** The reason why a topic filter does not match a topic, in words that name the level. */
import { filterMatches } from "./topic.ts";

/** Where a filter and a topic part, and why; undefined: the filter matches. */
export interface Mismatch {
  /** Levels that agree before; the more, the nearer the filter is. */
  readonly agreeing: number;
  readonly text: string;
}

/** Returns why a filter does not match a topic; undefined: it does. */
export function mismatchOf(filter: readonly string[], topic: readonly string[]): Mismatch | undefined {
  if (filterMatches(filter, topic)) return undefined;
  // [MQTT-4.7.2-1]
  if (topic[0]!.startsWith("$") && (filter[0] === "+" || filter[0] === "#"))
    return { agreeing: 0, text: `a wildcard at the beginning does not match topics that begin with $ (${topic[0]})` };
  for (let at = 0; at < filter.length; at++) {
    const level = filter[at]!;
    if (at >= topic.length)
      return { agreeing: at, text: `it has ${countOf(filter)}, the topic ends after level ${topic.length}` };
    if (level === "+" || level === topic[at]) continue;
    const isCase = level.toLowerCase() === topic[at]!.toLowerCase() ? ": they differ in case, which counts" : "";
    const wanted = `level ${at + 1} must be ${JSON.stringify(level)}`;
    return { agreeing: at, text: `${wanted}, and is ${JSON.stringify(topic[at])}${isCase}` };
  }
  const more = `it ends after level ${filter.length}, and the topic has ${topic.length}`;
  return { agreeing: filter.length, text: `${more}: only # at the end matches further levels` };
}

function countOf(filter: readonly string[]): string {
  return filter.at(-1) === "#" ? `${filter.length - 1} levels before #` : `${filter.length} levels`;
}
