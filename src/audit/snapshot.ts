/** A picture of everything that the bank's audit, and whoever asks for a statement, wants to know of the tree. */

import { decodeGrant, decodeVault } from "../bank/account-records.ts";
import { type MirrorNode, read, type Store, walk } from "../coordinator/mirror.ts";
import {
  bankPath,
  branchesPath,
  decodeName,
  messageMark,
  nameOf,
  payloadPath,
  publishersPath,
  retainedPath,
  sessionsPath,
  subscribersPath,
  topicsPath,
  willsPath,
} from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import { refuseNewer } from "../coordinator/tree-format.ts";
import { nodeWeightOf } from "../coordinator/weight.ts";
import { notingReader, type RecordReader } from "../mail/record-reader.ts";
import { decodeMessageHead } from "../mail/records.ts";
import type { PaidPlace, Snapshot, StoredMessage, StoredSlip, WeighedSnapshot } from "./audit.ts";
import { placeAt, walkPayloadPlaces } from "./places.ts";
import { slipAt, type Walked } from "./scan.ts";
import { weighPieces } from "./weigh.ts";

/** Bytes of what stands where an account should be. */
const damagedShown = 80;

/** A picture that is being taken, and its parts; one walk over the tree fills them all. */
interface Picture {
  readonly messages: (StoredMessage & { credits: number })[];
  readonly places: PaidPlace[];
  readonly slips: StoredSlip[];
  readonly strangers: Map<string, string>;
}

/** Called with each znode that is there for clients, but for pieces of large messages. */
type Weighing = (path: string, node: MirrorNode) => void;

/**
 * Undefined: there is no bank. A tree that is written meanwhile is seen at several times. Rejects with `OperatingError`
 * if it is written in a format that is newer than what this executable reads.
 */
export function takeSnapshot(store: Store, now: number): Promise<Snapshot | undefined> {
  return take(store, now, () => {});
}

/** Takes a snapshot for an audit, which weighs the tree, too. As `takeSnapshot`. Rejects with `OperatingError`. */
export async function takeWeighed(store: Store, now: number): Promise<WeighedSnapshot | undefined> {
  let weight = 0;
  const taken = await take(store, now, (path, { data }) => {
    weight += nodeWeightOf(path, data.length);
  });
  return taken && { ...taken, weight: weight + (await weighPieces(store)) };
}

async function take(store: Store, now: number, weigh: Weighing): Promise<Snapshot | undefined> {
  await refuseNewer(store);
  const picture: Picture = { messages: [], places: [], slips: [], strangers: new Map() };
  const { messages, places, slips, strangers } = picture;
  await walkClients({ store, reader: notingReader(strangers) }, picture, weigh);
  const grants = new Map<string, number>();
  const refused = new Map<string, number>();
  const damaged = new Map<string, string>();
  const note = (path: string, data: Uint8Array): void => {
    damaged.set(path, JSON.stringify(Buffer.from(data.subarray(0, damagedShown)).toString("latin1")));
  };
  const [bank] = await read(store, [{ kind: "get", path: bankPath }]);
  if (!hasData(bank)) return undefined;
  const vault = decodeVault(bank.data);
  if (vault === undefined) note(bankPath, bank.data);
  await walk(store, branchesPath, (path, { data }) => {
    const name = nameOf(path);
    const broker = decodeName(name.startsWith(messageMark) ? name.slice(1) : name);
    const record = decodeGrant(data);
    if (record === undefined) note(path, data);
    grants.set(broker, (grants.get(broker) ?? 0) + (record?.grant ?? 0));
    refused.set(broker, (refused.get(broker) ?? 0) + (record?.refused ?? 0));
  });
  return {
    ...(vault ?? { capital: 0, vault: 0 }),
    damaged,
    strangers,
    grants,
    refused,
    messages,
    places,
    slips,
    takenAt: now,
  };
}

/**
 * Walks once over all that clients have the store keep. Slips come before messages: who is handed a message loses the
 * slip first, or with it.
 */
async function walkClients(walked: Walked, picture: Picture, weigh: Weighing): Promise<void> {
  const { store, reader } = walked;
  const { messages, places, slips } = picture;
  const place: Weighing = (path, node) => {
    const paid = placeAt(reader, path, node);
    if (paid !== undefined) places.push({ path, ...paid });
  };
  await walk(store, sessionsPath, (path, node) => {
    weigh(path, node);
    const slip = slipAt(reader, path, node);
    if (slip === undefined) return place(path, node);
    const { messagePath, state, recipients } = slip;
    slips.push({ path, messagePath, isReleased: state === "released", recipients });
  });
  for (const root of [topicsPath, retainedPath])
    await walk(store, root, (path, node) => {
      weigh(path, node);
      const message = messageAt(reader, path, node);
      if (message !== undefined) messages.push(message);
    });
  for (const root of [subscribersPath, publishersPath, willsPath])
    await walk(store, root, (path, node) => {
      weigh(path, node);
      place(path, node);
    });
  const byPayload = new Map(
    messages.flatMap((message) => (message.parts ? [[payloadPath(message.parts.id), message]] : [])),
  );
  await walkPayloadPlaces(walked, (path, charge) => {
    const message = byPayload.get(path);
    // Who reads a statement wants to know what the message costs, wherever its payload is.
    if (message?.branch === charge.branch) message.credits += charge.credits;
    else places.push({ path, ...charge });
  });
}

/** Returns the message that a node below `/topics` or `/retained` is; undefined: it is none. */
function messageAt(reader: RecordReader, path: string, { data, stat }: MirrorNode): Picture["messages"][0] | undefined {
  const isRetained = path.startsWith(`${retainedPath}/`);
  if (!isRetained && !nameOf(path).startsWith(messageMark)) return undefined;
  const head = reader.read(path, () => decodeMessageHead(data));
  if (head === undefined) return undefined;
  const { branch, credits, payer = "", keepUntil, parts } = head;
  const expiresAt = keepUntil === Infinity ? 0 : keepUntil;
  return { path, branch, credits, payer, expiresAt, parts, bytes: data.length, version: stat.version, isRetained };
}
