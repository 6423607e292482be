/**
 * Payloads in pieces, on their way into the store and out of it. They are paid for apart from their messages, from
 * before the first piece is written until the last one has been removed: whatever becomes of a message, and whoever
 * dies, nothing lies in the store that nobody pays for.
 */
import type { Coordinator, CoordinatorError } from "../coordinator/coordinator.ts";
import { payloadPath } from "../coordinator/paths.ts";
import { hasChildren } from "../coordinator/read-results.ts";
import { partsWeightOf, textWeightOf } from "../coordinator/weight.ts";
import type { Publish } from "../mqtt/publish.ts";
import type { Journal } from "./journal.ts";
import type { Ledger, Payment } from "./ledger.ts";
import type { JournalOperation, Mend } from "./operations.ts";
import { chargeOf, chargeTextsOf, claimOf, type Piece, piecesOf } from "./parts.ts";
import type { Parts } from "./records.ts";

/** A payload that is on its way into the store. */
export interface StoredPayload {
  readonly parts: Parts;
  /** The price in milli-credits, which the message does not pay. */
  readonly credits: number;
  /** Operations that are committed with its message. */
  readonly claim: readonly JournalOperation[];
}

/** A payload in pieces, and the branch that pays for it; undefined: it was paid for with its message alone. */
export interface PaidPayload {
  readonly id: string;
  readonly branch: string | undefined;
}

export class Payloads {
  readonly #coordinator: Coordinator;
  readonly #journal: Journal;
  readonly #ledger: Ledger;

  constructor(parts: { coordinator: Coordinator; journal: Journal; ledger: Ledger }) {
    this.#coordinator = parts.coordinator;
    this.#journal = parts.journal;
    this.#ledger = parts.ledger;
  }

  /** Has a payload written, each piece in a unit of its own: they are on their way when this returns. */
  store(publish: Publish, id: string, payment: Payment | undefined): StoredPayload {
    const { payer, payloadLength: payloadBytes } = publish;
    const { branch } = this.#ledger;
    const pieces = piecesOf(publish, id, this.#journal.unitBytesMax);
    const texts = chargeTextsOf(publish, textWeightOf(branch));
    const credits = this.#ledger.priceOf(payloadBytes + partsWeightOf(pieces.length, texts));
    const charge = chargeOf(id, { branch, credits, payer });
    this.#ledger.keep(payloadPath(id), { credits, payer, payloadBytes }, payment);
    for (const [number, piece] of pieces.entries())
      this.#journal.commit([this.#ledger.guard(), piece, ...(number === 0 ? [charge] : [])]);
    const parts = { id, count: pieces.length };
    const mend: Mend = (done) => {
      // Whoever has removed them has said so, perhaps.
      this.#ledger.keep(payloadPath(id), { credits, payer, payloadBytes }, undefined);
      this.#rewrite(pieces, charge, done);
    };
    return { parts, credits, claim: claimOf(parts, { charge, mend }) };
  }

  /**
   * Removes a payload whose message is gone; with a `guard` only as long as that check holds. The last piece goes
   * first: brokers of an older version look for that one only. The node above goes last, and only then are credits
   * free.
   */
  remove({ id, branch }: PaidPayload, guard?: JournalOperation): void {
    const path = payloadPath(id);
    const freed = (): void => {
      if (branch !== undefined) this.#ledger.freed(path, branch);
    };
    this.#coordinator.read([{ kind: "children", path }], (error, [result]) => {
      if (error !== undefined) return;
      if (!hasChildren(result)) return freed();
      const pieces = [...result.children].sort().reverse();
      this.#journal.commitAll(
        [...pieces.map((name) => `${path}/${name}`), path].map((gone) => ({ kind: "remove", path: gone })),
        { guard, done: freed, refused: () => {} },
      );
    });
  }

  /** Writes those pieces anew that are not there, whoever has removed them. */
  #rewrite(pieces: readonly Piece[], charge: JournalOperation, done: (error?: CoordinatorError) => void): void {
    this.#coordinator.read(
      pieces.map(({ path }) => ({ kind: "exists", path })),
      (error, results) => {
        if (error !== undefined) return;
        const missing = pieces.filter((_, index) => results[index] === "NoNode");
        let left = missing.length;
        if (left === 0) return done();
        let failed: CoordinatorError | undefined;
        const ended = (why?: CoordinatorError): void => {
          failed ??= why;
          left--;
          if (left === 0) done(failed);
        };
        for (const { path, data } of missing)
          this.#journal.commit([{ kind: "put", path, data, exists: false }, charge], () => ended(), ended);
      },
    );
  }
}
