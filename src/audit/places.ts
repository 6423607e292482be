/**
 * Znodes that the bank pays for besides messages: each names the branch that pays for it, in its record or in its path.
 * What brokers of older versions have written names none, and is nobody's to pay.
 */
import { markPriceOf } from "../bank/price.ts";
import { mirrorPageMax } from "../base/limits.ts";
import { Fields } from "../coordinator/fields.ts";
import { children, type MirrorNode, read, walk } from "../coordinator/mirror.ts";
import {
  brokerMark,
  decodeName,
  isHeldId,
  isMailbox,
  nameOf,
  parentPath,
  partsPath,
  payloadPath,
  publishersPath,
  sessionsPath,
  subscriberMark,
  subscribersPath,
  willsPath,
} from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import type { Price } from "../mail/ledger.ts";
import { paidIn } from "../mail/paid.ts";
import type { RecordReader } from "../mail/record-reader.ts";
import { isPaidStamp } from "../mail/stamp.ts";
import { willPriceOf } from "../mail/will-record.ts";
import type { Walked } from "./scan.ts";

const roots = [subscribersPath, publishersPath, willsPath, sessionsPath] as const;

/** The branch that pays for something, how much, and for which user; null: it is the broker's own. */
export interface Charge extends Price {
  readonly branch: string;
}

/** Returns who pays for what stands at a path; undefined: nobody. Throws `OperatingError` with EFORMAT. */
export function paidAt(path: string, data: Uint8Array): Charge | undefined {
  if (data.length === 0) return undefined;
  if (path.startsWith(`${willsPath}/`)) return paidForWill(path, data);
  if (path.startsWith(`${sessionsPath}/`)) return paidForSession(path, data);
  if (path.startsWith(`${partsPath}/`)) return paidByRecord(data);
  const name = nameOf(path);
  if (name.startsWith(subscriberMark)) return paidByRecord(data);
  if (!name.startsWith(brokerMark) || !isPaidStamp(data)) return undefined;
  return { branch: decodeName(name.slice(brokerMark.length)), credits: markPriceOf(path), payer: null };
}

function paidByRecord(data: Uint8Array): Charge | undefined {
  const paid = paidIn(new Fields(data));
  return paid && { payer: "", ...paid };
}

function paidForWill(path: string, data: Uint8Array): Charge | undefined {
  const [, , broker, client] = path.split("/");
  if (client === undefined) return undefined;
  const price = willPriceOf(data);
  return price.credits === 0 ? undefined : { branch: decodeName(broker!), ...price };
}

/**
 * Returns who pays for a session's record, or for a packet id that it holds; what else stands below it is paid for with
 * it, or with messages.
 */
function paidForSession(path: string, data: Uint8Array): Charge | undefined {
  return path.split("/").length === 4 || isHeldId(path) ? paidByRecord(data) : undefined;
}

/** Visits all that is paid for besides messages. Rejects with `OperatingError`. */
export async function walkPlaces(
  { store, reader }: Walked,
  visit: (path: string, charge: Charge, node: MirrorNode) => void,
): Promise<void> {
  for (const root of roots) {
    await walk(store, root, (path, node) => {
      const paid = placeAt(reader, path, node);
      if (paid !== undefined) visit(path, paid, node);
    });
  }
  await walkPayloadPlaces({ store, reader }, visit);
}

/** Returns who pays for a node that was read, payloads in parts apart; undefined: nobody, or it is a stranger's. */
export function placeAt(reader: RecordReader, path: string, { data }: MirrorNode): Charge | undefined {
  // Slips are paid for with their messages.
  if (isMailbox(parentPath(path))) return undefined;
  return reader.read(path, () => paidAt(path, data));
}

/** Visits payloads in parts that are paid for. Rejects with `OperatingError`. */
export async function walkPayloadPlaces(
  walked: Walked,
  visit: (path: string, charge: Charge, node: MirrorNode) => void,
): Promise<void> {
  await walkPayloads(walked, (path, node) => {
    const paid = isPayloadGone(path, node) ? undefined : walked.reader.read(path, () => paidAt(path, node.data));
    if (paid !== undefined) visit(path, paid, node);
  });
}

/**
 * Returns true if the node above a payload in parts has nothing below it. Its first part is written with it; brokers of
 * format 1 remove the parts alone, and leave the node until ZooKeeper sweeps it, for a minute perhaps.
 */
export function isPayloadGone(path: string, { stat }: Pick<MirrorNode, "stat">): boolean {
  return path.startsWith(`${partsPath}/`) && stat.childCount === 0;
}

/** Visits the nodes above payloads in parts, without reading the parts. Rejects with `OperatingError`. */
export async function walkPayloads({ store }: Walked, visit: (path: string, node: MirrorNode) => void): Promise<void> {
  const paths = (await children(store, partsPath)).map(payloadPath);
  for (let at = 0; at < paths.length; at += mirrorPageMax) {
    const page = paths.slice(at, at + mirrorPageMax);
    const nodes = await read(
      store,
      page.map((path) => ({ kind: "get", path })),
    );
    for (const [index, node] of nodes.entries()) if (hasData(node)) visit(page[index]!, node);
  }
}
