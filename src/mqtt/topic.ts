/** Topic names and topic filters: what the standard allows (4.7, 4.8.2), and their levels. */
import { topicLevelsMax, topicTreeBytesMax } from "../base/limits.ts";

export interface Filter {
  /** As the client wrote it; the key of its subscription. */
  readonly text: string;
  /** Levels of the filter itself, without `$share/group`. */
  readonly levels: readonly string[];
  /** The group's name, if this is a shared subscription. */
  readonly group: string | undefined;
}

const sharePrefix = "$share/";

/** Parses a filter; undefined if the standard forbids it or its levels are too many or too long. */
export function parseFilter(text: string): Filter | undefined {
  let group: string | undefined;
  let filter = text;
  if (text.startsWith(sharePrefix) || text === "$share") {
    const slash = text.indexOf("/", sharePrefix.length);
    if (slash === -1) return undefined;
    group = text.slice(sharePrefix.length, slash);
    // [MQTT-4.8.2-1] and [MQTT-4.8.2-2]: a share name has at least one character, and no wildcard.
    if (group === "" || /[+#]/.test(group)) return undefined;
    filter = text.slice(slash + 1);
  }
  const levels = filterLevels(filter);
  return levels && { text, levels, group };
}

function filterLevels(filter: string): string[] | undefined {
  if (filter === "") return undefined;
  const levels = filter.split("/");
  if (!fitsTree(levels)) return undefined;
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at]!;
    // [MQTT-4.7.1-1] and [MQTT-4.7.1-2]: a wildcard is a whole level, and # the last one.
    if (level.length > 1 && /[+#]/.test(level)) return undefined;
    if (level === "#" && at !== levels.length - 1) return undefined;
  }
  return levels;
}

/** True if `topic` may be published to: not empty, no wildcard, not too deep. */
export function isTopicName(topic: string): boolean {
  return topic !== "" && !/[+#\0]/.test(topic) && fitsTree(topic.split("/"));
}

/** Returns the number of levels of the topic in these bytes. */
export function levelsIn(bytes: Uint8Array, start: number, end: number): number {
  let count = 1;
  for (let at = start; at < end; at++) if (bytes[at] === slash) count++;
  return count;
}

const slash = 0x2f;

/** True if the levels are not too many, nor too long for a tree in which each is a node below the one before. */
export function fitsTree(levels: readonly string[]): boolean {
  if (levels.length > topicLevelsMax) return false;
  let path = 0;
  let tree = 0;
  for (const level of levels) {
    // Percent-encoded, or in UTF-8, a character may take three bytes.
    const longer = level.length < 64 ? level.length : (level.match(/[^\x20-\x24\x26-\x7e]/g)?.length ?? 0);
    path += 1 + level.length + 2 * longer;
    tree += path;
  }
  return tree <= topicTreeBytesMax;
}

/** True if there may be a topic that both filters match. */
export function filtersOverlap(a: readonly string[], b: readonly string[]): boolean {
  for (let at = 0; ; at++) {
    if (a[at] === "#" || b[at] === "#") return true;
    if (at >= a.length || at >= b.length) return a.length === b.length;
    if (a[at] !== b[at] && a[at] !== "+" && b[at] !== "+") return false;
  }
}

/** The naive matcher: the standard's rules, written down to be read. The trie is tested against it. */
export function filterMatches(filter: readonly string[], topic: readonly string[]): boolean {
  // [MQTT-4.7.2-1]: a wildcard in the first level does not match topics that begin with $.
  if (topic[0]!.startsWith("$") && (filter[0] === "+" || filter[0] === "#")) return false;
  for (let at = 0; at < filter.length; at++) {
    // "a/#" matches "a" as well (4.7.1.2), so # is looked at before the topic's end.
    if (filter[at] === "#") return true;
    if (at >= topic.length) return false;
    if (filter[at] !== "+" && filter[at] !== topic[at]) return false;
  }
  return filter.length === topic.length;
}
