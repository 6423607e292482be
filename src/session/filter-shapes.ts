/**
 * The shapes of one session's filters (`mqtt/filter-shape.ts`), each group of shared subscriptions for itself. A topic
 * matches one filter of each at most, so their number bounds what one message costs for the session.
 */
import { shapesPerSessionMax, sharedShapesPerSessionMax } from "../base/limits.ts";
import { filterShape } from "../mqtt/filter-shape.ts";
import type { Filter } from "../mqtt/topic.ts";

export class FilterShapes {
  /** The number of filters by shape, and by group and shape. */
  readonly #plain = new Map<string, number>();
  readonly #shared = new Map<string, number>();

  /** False if there are as many shapes as there may be, and this filter has another one. */
  hasRoomFor(filter: Filter): boolean {
    if (filter.group === undefined)
      return this.#plain.size < shapesPerSessionMax || this.#plain.has(filterShape(filter.levels));
    return this.#shared.size < sharedShapesPerSessionMax || this.#shared.has(keyOf(filter));
  }

  /** Counts one filter more, or less. */
  count(filter: Filter, change: 1 | -1): void {
    const counts = filter.group === undefined ? this.#plain : this.#shared;
    const key = keyOf(filter);
    const count = (counts.get(key) ?? 0) + change;
    if (count > 0) counts.set(key, count);
    else counts.delete(key);
  }
}

function keyOf({ group, levels }: Filter): string {
  const shape = filterShape(levels);
  // No group has a slash in its name.
  return group === undefined ? shape : `${group}/${shape}`;
}
