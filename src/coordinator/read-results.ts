/** Results of reads from the store, told apart: a node with its data, its stat alone, its children, or no node. */
import type { ReadResult, Stat } from "./coordinator.ts";

/** Returns true for a node that was read with its data. */
export function hasData(result: ReadResult | undefined): result is { readonly data: Uint8Array; readonly stat: Stat } {
  return typeof result === "object" && "data" in result;
}

/** Returns true for a node that is there, if its stat was asked for. */
export function hasStat(result: ReadResult | undefined): result is { readonly stat: Stat } {
  return typeof result === "object" && "stat" in result;
}

/** Returns true for a node that is there, if its children were asked for. */
export function hasChildren(result: ReadResult | undefined): result is { readonly children: readonly string[] } {
  return typeof result === "object" && "children" in result;
}

/** Returns the names of a node's children; none if there is no such node. */
export function childrenOf(result: ReadResult | undefined): readonly string[] {
  return hasChildren(result) ? result.children : [];
}
