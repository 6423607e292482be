/**
 * The paths that a store takes: those that ZooKeeper takes, so that what works alone works in a cluster
 * (PathUtils.java). ZooKeeper looks at UTF-16 units: a character above U+FFFF is two that it forbids.
 */

import type { WriteOperation } from "./coordinator.ts";

/** An empty name, a relative one, a slash at the end, or a unit that no name may hold. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const forbidden = /\/\/|\/\.{1,2}(?:\/|$)|\/$|[\0-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]/;

export function isValidPath(path: string): boolean {
  return path === "/" || (path.startsWith("/") && !forbidden.test(path));
}

/**
 * False for what is refused before anything is looked for. Of what is to be created or removed ZooKeeper looks for the
 * parent first: a path that it would refuse may get NoNode.
 */
export function mayBeLookedFor({ kind, path }: Pick<WriteOperation, "kind" | "path">): boolean {
  return kind === "create" || kind === "delete" ? !path.includes("\0") : isValidPath(path);
}
