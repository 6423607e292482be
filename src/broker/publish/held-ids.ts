/**
 * The packet ids of QoS 2 publishes that persistent sessions have not released: they stand in the store from the
 * publish until PUBREL, which a client may never send. A few of them are paid for with the session (`heldIdsFreeMax`).
 * Whoever has more under way, or has left more unfinished in earlier connections, pays for each.
 */
import { heldIdsFreeMax } from "../../base/bank-limits.ts";
import { encodeUtf8 } from "../../base/bytes.ts";
import { Fields } from "../../coordinator/fields.ts";
import { incomingPath } from "../../coordinator/paths.ts";
import { heldIdWeightOf, jsonTextWeightOf } from "../../coordinator/weight.ts";
import type { HeldBy } from "../../link/delivery-frame.ts";
import type { Payment } from "../../mail/ledger.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { paidBy } from "../../mail/paid.ts";
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
  const by = context.coordinator.isAlone ? 0 : heldByBytes;
  const texts = jsonTextWeightOf(options.id) + jsonTextWeightOf(publish.payer) + by;
  return bankAccount.priceOf(heldIdWeightOf(heldIdPath(publisher, publish.packetId), texts));
}

/** A publish at QoS 2, and what was set aside for its packet id. */
export interface HeldId {
  readonly publish: Publish;
  readonly payment: Payment | undefined;
  /** The name by which others are sent it again; undefined: nobody is. */
  readonly by?: HeldBy | undefined;
}

/** Bytes in which a record names the publish, at most. */
const heldByBytes = 56;

/** Returns who has committed a packet id, from its record; undefined: it does not say. Throws EFORMAT. */
export function heldByIn(data: Uint8Array): HeldBy | undefined {
  if (data.length === 0) return undefined;
  const fields = new Fields(data);
  if (!fields.has("epoch") || !fields.has("number")) return undefined;
  return { epoch: fields.whole("epoch", 0), number: fields.whole("number", 0) };
}

/** Holds the packet id of a publish. Returns the operations that do so in the store; none if the session ends soon. */
export function holdId(context: DeliveryContext, client: LocalSession, held: HeldId): JournalOperation[] {
  const { publish, payment } = held;
  const { packetId, payer } = publish;
  const credits = heldIdPriceOf(context, publish, client);
  client.session.addIncoming(packetId);
  if (client.mailbox === undefined) return [];
  const path = heldIdPath(client, packetId);
  const { bankAccount, coordinator } = context;
  // Where there are no other brokers nobody asks.
  const by = coordinator.isAlone ? undefined : held.by;
  const free = by === undefined ? emptyRecord : encodeUtf8(JSON.stringify(by));
  if (credits === 0) return [{ kind: "create", path, data: free, mode: "persistent" }];
  const { account, branch } = bankAccount;
  const { settle } = new Bill(account, { path, credits, payer, payment });
  const data = encodeUtf8(JSON.stringify({ ...paidBy({ branch, credits, payer }), ...by }));
  return [bankAccount.guard(), { kind: "create", path, data, mode: "persistent", after: settle }];
}

/** Returns the operation that has the store forget a packet id; then it is paid for no longer. */
export function forgettingOf(client: LocalSession, packetId: number): JournalOperation {
  return { kind: "remove", path: heldIdPath(client, packetId) };
}

/** Returns the path of a packet id of a client. */
export function heldIdPath({ session }: LocalSession, packetId: number): string {
  return `${incomingPath(session.clientId)}/${packetId}`;
}
