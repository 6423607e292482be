/**
 * The check of what a branch pays for against the store: all of it is counted at a start, and since others may remove
 * some of it without telling, a few things are looked for now and then, in turn.
 */
import { type Charge, isPayloadGone, paidAt, walkPlaces } from "../../audit/places.ts";
import { walkMessages, walkRetained } from "../../audit/scan.ts";
import { type Branch, isMessagePath } from "../../bank/branch.ts";
import { bankVerifyBusyMax, bankVerifyMax } from "../../base/bank-limits.ts";
import type { ReadResult } from "../../coordinator/coordinator.ts";
import type { MirrorNode } from "../../coordinator/mirror.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { Journal } from "../../mail/journal.ts";
import type { Paid } from "../../mail/paid.ts";
import { payloadBytesIn } from "../../mail/records.ts";
import type { Runtime } from "./runtime.ts";

export interface PaymentCheckParts {
  readonly journal: Journal;
  readonly account: Branch;
  /** The name of the branch. */
  readonly branch: string;
}

/** Counts what a branch pays for, looks for it, and frees the credits of what is gone. */
export class PaymentCheck {
  readonly #runtime: Runtime;
  readonly #parts: PaymentCheckParts;
  #isBusy = false;

  constructor(runtime: Runtime, parts: PaymentCheckParts) {
    this.#runtime = runtime;
    this.#parts = parts;
  }

  /** Counts all that is stored and paid for, when the branch has been opened. Rejects with `OperatingError`. */
  async count(): Promise<void> {
    const { coordinator, strangers } = this.#runtime;
    const { account, branch } = this.#parts;
    const count = (path: string, charge: Paid | Charge, payloadBytes = 0): void => {
      const { credits, payer = "" } = charge;
      if (charge.branch === branch) account.found(path, { credits, payer, payloadBytes });
    };
    const message = (path: string, head: Paid, { data }: MirrorNode): void => count(path, head, payloadBytesIn(data));
    const walked = { store: coordinator, reader: strangers };
    await walkMessages(walked, { message });
    await walkRetained(walked, message);
    await walkPlaces(walked, (path, charge) => count(path, charge));
  }

  /** Looks for some of what is paid for, unless it is still doing so: for more of it when credits are short. */
  look(credits: "short" | "enough"): void {
    if (this.#isBusy) return;
    const most = credits === "short" ? bankVerifyBusyMax : bankVerifyMax;
    this.#lookForSome(Math.min(this.#parts.account.things, most));
  }

  #lookForSome(left: number): void {
    const paths = this.#parts.account.takeSome(Math.min(left, bankVerifyMax));
    this.#isBusy = paths.length > 0;
    // One page at a time, so that other reads, and the keeper session's pings, do not wait behind all of them.
    this.verify(paths, () => this.#lookForSome(left - paths.length));
  }

  /** Looks for what stands at these paths, after what is on its way into the store. */
  verify(paths: readonly string[], done: () => void = () => {}): void {
    if (paths.length === 0) return;
    const { coordinator } = this.#runtime;
    const { journal, account } = this.#parts;
    const readOf = (path: string) => ({ kind: isMessagePath(path) ? "exists" : "get", path }) as const;
    // What is still on its way into the store would be taken for missing.
    journal.drained(() =>
      coordinator.read(paths.map(readOf), (error, results) => {
        if (error !== undefined) return;
        paths.forEach((path, index) => {
          if (this.#isGone(path, results[index])) account.freed(path);
        });
        done();
      }),
    );
  }

  /** Returns true if the branch pays no longer for what stands at a path. */
  #isGone(path: string, node: ReadResult | undefined): boolean {
    if (node === "NoNode" || isMessagePath(path)) return node === "NoNode";
    const { branch } = this.#parts;
    if (hasData(node) && isPayloadGone(path, node)) return true;
    return hasData(node) && this.#runtime.strangers.read(path, () => paidAt(path, node.data))?.branch !== branch;
  }
}
