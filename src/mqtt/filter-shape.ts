/**
 * The shape of a filter: where its wildcards stand. It bounds how many filters one topic can match: of all filters of
 * one shape there is one at most, whose names are the topic's own.
 */

/** Returns a character for each level: `.` for a name, and the wildcards themselves. */
export function filterShape(levels: readonly string[]): string {
  let shape = "";
  for (const level of levels) shape += level === "+" || level === "#" ? level : ".";
  return shape;
}

/** Returns how many single-level wildcards there are. */
export function wildcardsOf(levels: readonly string[]): number {
  let count = 0;
  for (const level of levels) if (level === "+") count++;
  return count;
}
