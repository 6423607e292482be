/**
 * Finds the numbers of slips whose commit was in doubt: they were stored, but contact was lost before their numbers
 * were told. One search goes through a mailbox at a time, for all of its slips that are looked for, and it begins with
 * the newest: those that were just stored. So what a doubt costs grows neither with the slips in doubt nor, mostly,
 * with the mailbox.
 */

import { mailPageSlips } from "../base/limits.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { isSlipName, mailPath } from "../coordinator/paths.ts";
import { childrenOf, hasData } from "../coordinator/read-results.ts";
import type { RecordReader } from "./record-reader.ts";
import { decodeSlip } from "./records.ts";

/** A slip whose number is not known. */
export interface Nameless {
  readonly clientId: string;
  readonly messagePath: string;
  /** Undefined: it is not there any more. */
  readonly found: (name: string | undefined) => void;
}

export class SlipSearch {
  readonly #coordinator: Pick<Coordinator, "read">;
  /** Slips that have come for the next search, by the client ids whose mailboxes are being searched. */
  readonly #searches = new Map<string, Nameless[]>();

  readonly #reader: RecordReader;

  constructor(coordinator: Pick<Coordinator, "read">, reader: RecordReader) {
    this.#coordinator = coordinator;
    this.#reader = reader;
  }

  find(slip: Nameless): void {
    const { clientId } = slip;
    const coming = this.#searches.get(clientId);
    if (coming !== undefined) {
      coming.push(slip);
      return;
    }
    this.#searches.set(clientId, [slip]);
    // All whose doubt ends in this turn are looked for together.
    queueMicrotask(() => this.#search(clientId));
  }

  #search(clientId: string): void {
    const wanted = new Map<string, Nameless[]>();
    for (const slip of this.#searches.get(clientId)!) {
      const same = wanted.get(slip.messagePath);
      if (same === undefined) wanted.set(slip.messagePath, [slip]);
      else same.push(slip);
    }
    this.#searches.set(clientId, []);
    const path = mailPath(clientId);
    this.#coordinator.read([{ kind: "children", path }], (error, [result]) => {
      if (error !== undefined) return;
      const names = childrenOf(result).filter(isSlipName).sort();
      this.#searchBack(clientId, { names, wanted });
    });
  }

  /** Looks at a page of the names that are left, the newest. */
  #searchBack(clientId: string, search: { names: string[]; wanted: Map<string, Nameless[]> }): void {
    const { names, wanted } = search;
    const page = names.splice(-mailPageSlips);
    if (page.length === 0 || wanted.size === 0) return this.#end(clientId, wanted);
    const operations = page.map((name) => ({ kind: "get", path: `${mailPath(clientId)}/${name}` }) as const);
    this.#coordinator.read(operations, (error, results) => {
      if (error !== undefined) return;
      for (let index = page.length - 1; index >= 0; index--) {
        const result = results[index];
        if (!hasData(result)) continue;
        const slip = this.#reader.read(operations[index]!.path, () => decodeSlip(result.data));
        const same = slip && wanted.get(slip.messagePath);
        if (slip === undefined || same === undefined) continue;
        // Slips are numbered in the order in which they are stored: the last one is the newest.
        same.pop()?.found(page[index]!);
        if (same.length === 0) wanted.delete(slip.messagePath);
      }
      this.#searchBack(clientId, search);
    });
  }

  #end(clientId: string, wanted: ReadonlyMap<string, readonly Nameless[]>): void {
    for (const slips of wanted.values()) for (const { found } of slips) found(undefined);
    if (this.#searches.get(clientId)!.length > 0) this.#search(clientId);
    else this.#searches.delete(clientId);
  }
}
