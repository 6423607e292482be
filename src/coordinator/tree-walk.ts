/**
 * A walk through a part of the tree, a page at a time, so that the tree is never in memory as a whole: what is known
 * and not read yet are the children of those on one way down, and of one page.
 */
import { OperatingError } from "../base/errors.ts";
import { mirrorPageBytesMax, mirrorPageMax, mirrorPageMin } from "../base/limits.ts";
import type { Coordinator, ReadResult, Stat } from "./coordinator.ts";
import { childrenOf, hasData } from "./read-results.ts";

/** A node as it was read. */
export interface WalkedNode {
  readonly data: Uint8Array;
  readonly stat: Stat;
}

/** Returns a text by whose order nodes are walked: each before those below it, and these before its next sibling. */
export function walkOrder(path: string): string {
  // No name in the tree holds so low a character.
  return path.replaceAll("/", "\u0001");
}

export interface WalkOptions {
  /** False: neither the node nor what is below it is read. */
  readonly enters?: (path: string) => boolean;
}

/** Visits the nodes below a path; parents before what is below them. */
export class TreeWalk {
  readonly #store: Pick<Coordinator, "read">;
  readonly #root: string;
  readonly #enters: (path: string) => boolean;
  /** Paths that are known and not read yet, in the walk's order, the next one last. */
  readonly #unread: string[];
  #size = mirrorPageMin;

  constructor(store: Pick<Coordinator, "read">, root: string, { enters = () => true }: WalkOptions = {}) {
    this.#store = store;
    this.#root = root;
    this.#enters = enters;
    this.#unread = [root];
  }

  /** The path that is read next: all that is still to come is this, or comes after it. Undefined: the walk is over. */
  get next(): string | undefined {
    return this.#unread.at(-1);
  }

  /**
   * Reads the next page and visits what is there, as the answer comes. `done` is told an error if the store cannot be
   * read, or what `visit` has thrown.
   */
  readPage(visit: (path: string, node: WalkedNode) => void, done: (error: unknown) => void): void {
    const page = this.#unread.splice(-this.#size).reverse();
    const parents: string[] = [];
    const take = (results: readonly ReadResult[]): void => {
      let bytes = 1;
      page.forEach((path, index) => {
        const node = results[index]!;
        if (!hasData(node)) return;
        bytes += node.data.length;
        if (node.stat.childCount > 0) parents.push(path);
        if (path !== this.#root) visit(path, node);
      });
      // Where nodes are large fewer are read at once.
      const fitting = Math.floor((mirrorPageBytesMax * page.length) / bytes);
      this.#size = Math.min(mirrorPageMax, 2 * this.#size, Math.max(1, fitting));
    };
    const goBelow = (results: readonly ReadResult[]): void => {
      for (let index = parents.length - 1; index >= 0; index--)
        this.#goBelow(parents[index]!, childrenOf(results[index]));
    };
    this.#read(page, "get", take, (error) => {
      // Most nodes have no children, and are not asked for them.
      if (error !== undefined || parents.length === 0) return done(error);
      this.#read(parents, "children", goBelow, done);
    });
  }

  #read(
    paths: readonly string[],
    kind: "get" | "children",
    use: (results: readonly ReadResult[]) => void,
    done: (error: unknown) => void,
  ): void {
    const operations = paths.map((path) => ({ kind, path }));
    this.#store.read(operations, (error, results) => {
      if (error !== undefined) return done(new OperatingError("ESTORE", `cannot read the store: ${error.message}`));
      try {
        use(results);
      } catch (cause) {
        return done(cause);
      }
      done(undefined);
    });
  }

  #goBelow(path: string, children: readonly string[]): void {
    const names = isSorted(children) ? children : [...children].sort();
    for (let index = names.length - 1; index >= 0; index--) {
      const below = `${path}/${names[index]!}`;
      if (this.#enters(below)) this.#unread.push(below);
    }
  }
}

function isSorted(names: readonly string[]): boolean {
  for (let index = 1; index < names.length; index++) if (names[index]! < names[index - 1]!) return false;
  return true;
}
