/** Slips that nobody pays for: looked for by the simulation, and in the stores of brokers. */
import { weightPaidBy } from "../../src/bank/price.ts";
import { dropSlipsFreeMax, dropSlipTextsFreeMax, slipsFreeMax } from "../../src/base/bank-limits.ts";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { type Store, walk } from "../../src/coordinator/mirror.ts";
import { isMailbox, parentPath, prepaidName, sessionsPath } from "../../src/coordinator/paths.ts";
import { idSlipWeightOf, nodeWeightOf } from "../../src/coordinator/weight.ts";
import { decodeSlip } from "../../src/mail/records.ts";

/**
 * Says which sessions have slips that nobody pays for. The messages of most slips pay for them, too; their sessions pay
 * at QoS 2 for those whose messages may be gone, and for all of what lies in mail drops, whose messages are paid for
 * once, however many sessions take them. No session has more of these than come with it, and than it has paid for.
 */
export function unpaidSlipsOf(nodes: ReadonlyMap<string, Uint8Array>, drops: "drops" | "no drops"): string[] {
  const weights = new Map<string, number>();
  for (const [path, data] of nodes) {
    const mailbox = parentPath(path);
    if (!isMailbox(mailbox)) continue;
    const { state, recipients } = decodeSlip(data);
    const session = parentPath(mailbox);
    const ofDrop = state === "released" || recipients > 0 ? 0 : nodeWeightOf(path, data.length);
    const ofId = state === "waiting" ? 0 : idSlipWeightOf(session);
    weights.set(session, (weights.get(session) ?? 0) + Math.max(ofDrop, ofId));
  }
  return [...weights].flatMap(([session, weight]) => {
    const prepaid = nodes.get(`${session}/in/${prepaidName}`);
    const paid = prepaid === undefined ? 0 : weightPaidBy(JSON.parse(decodeUtf8(prepaid)).credits);
    const ofDrop = drops === "drops" ? dropSlipsFreeMax * (idSlipWeightOf(session) + dropSlipTextsFreeMax) : 0;
    const weightMax = slipsFreeMax * idSlipWeightOf(session) + ofDrop + paid;
    return weight <= weightMax ? [] : [`${session} has slips of ${weight} bytes, ${weightMax} are paid for`];
  });
}

/** As `unpaidSlipsOf`, of all that there is in a store; of a broker with mail drops. */
export async function unpaidSlipsIn(store: Store): Promise<string[]> {
  const nodes = new Map<string, Uint8Array>();
  await walk(store, sessionsPath, (path, { data }) => void nodes.set(path, data));
  return unpaidSlipsOf(nodes, "drops");
}
