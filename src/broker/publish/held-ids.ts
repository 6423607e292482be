/**
 * The packet ids of QoS 2 publishes that persistent sessions have not released: they stand in the store from the
 * publish until PUBREL, which a client may never send. A few of them are paid for with the session (`heldIdsFreeMax`).
 * Whoever has more under way, or has left more unfinished in earlier connections, pays for each.
 */
import { heldIdsFreeMax } from "../../base/bank-limits.ts";
import { incomingPath } from "../../coordinator/paths.ts";
import { heldIdWeightOf, jsonTextWeightOf } from "../../coordinator/weight.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { encodePaid } from "../../mail/paid.ts";
import { emptyRecord } from "../../mail/records.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { Bill } from "../core/bill.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";

/** Returns what it costs to hold the packet id of a publish, in milli-credits. 0: nothing, or it is not held. */
export function heldIdPriceOf(context: DeliveryContext, publish: Publish, publisher: LocalSession | undefined): number {
  const { options, bankAccount } = context;
  // Wills, and what the broker publishes itself, have no packet id.
  if (publish.qos < 2 || publish.packetId === 0 || publisher?.mailbox === undefined) return 0;
  if (publisher.session.incomingCount < Math.min(heldIdsFreeMax, options.maxInflight)) return 0;
  const texts = jsonTextWeightOf(options.id) + jsonTextWeightOf(publish.payer);
  return bankAccount.priceOf(heldIdWeightOf(pathOf(publisher, publish.packetId), texts));
}

/** A publish at QoS 2, and what was set aside for its packet id. */
export interface HeldId {
  readonly publish: Publish;
  readonly payment: Payment | undefined;
}

/** Holds the packet id of a publish. Returns the operations that do so in the store; none if the session ends soon. */
export function holdId(context: DeliveryContext, client: LocalSession, held: HeldId): JournalOperation[] {
  const { publish, payment } = held;
  const { packetId, payer } = publish;
  const credits = heldIdPriceOf(context, publish, client);
  client.session.addIncoming(packetId);
  if (client.mailbox === undefined) return [];
  const path = pathOf(client, packetId);
  if (credits === 0) return [{ kind: "create", path, data: emptyRecord, mode: "persistent" }];
  const { bankAccount } = context;
  const { account, branch } = bankAccount;
  const { settle } = new Bill(account, { path, credits, payer, payment });
  const data = encodePaid({ branch, credits, payer });
  return [bankAccount.guard(), { kind: "create", path, data, mode: "persistent", after: settle }];
}

/** Returns the operation that has the store forget a packet id; then it is paid for no longer. */
export function forgettingOf(client: LocalSession, packetId: number): JournalOperation {
  return { kind: "remove", path: pathOf(client, packetId) };
}

function pathOf({ session }: LocalSession, packetId: number): string {
  return `${incomingPath(session.clientId)}/${packetId}`;
}
