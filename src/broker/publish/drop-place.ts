/** The place of a message in a mail drop: what stores it there, beside what else its publish has committed. */
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import { keepingOf } from "./publish-admission.ts";

/** A message that is being stored in a mail drop. */
export interface InDrop {
  readonly operations: readonly JournalOperation[];
  /** Takes the message back: its commit was refused. */
  readonly withdrawn: () => void;
}

/** The publisher of a message, and what was set aside for all its copies. */
export interface DropSource {
  readonly route: ClusterRoute;
  readonly publisher: LocalSession | undefined;
  readonly payment: Payment | undefined;
}

const notInDrop: InDrop = { operations: [], withdrawn: () => {} };

/** Prepares a message for the mail drop of its topic, if that is one: returns the operations that store it. */
export function placeInDrop({ mail }: ClusterContext, publish: Publish, from: DropSource): InDrop {
  const { route, payment } = from;
  if (!route.isMailDrop) return notInDrop;
  const publisher = from.publisher?.session.clientId ?? "";
  const keeping = keepingOf(route, publish.qos);
  const inDrop = mail.storeInDrop(publish, { publisher, payment, keeping });
  return { operations: inDrop.operations, withdrawn: () => mail.withdrawn(inDrop) };
}
