/** Slips that nobody pays for: looked for by the simulation, and in the stores of brokers. */
import { weightPaidBy } from "../../src/bank/price.ts";
import { slipsFreeMax } from "../../src/base/bank-limits.ts";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { type Store, walk } from "../../src/coordinator/mirror.ts";
import {
  cursorsPath,
  decodeName,
  isMailbox,
  nameOf,
  parentPath,
  prepaidName,
  sessionsPath,
  subscriberPath,
  subscribersPath,
} from "../../src/coordinator/paths.ts";
import {
  idSlipWeightOf,
  jsonTextWeightOf,
  nodeWeightOf,
  sessionWeightOf,
  subscriptionWeightOf,
  textWeightOf,
} from "../../src/coordinator/weight.ts";
import { decodeSlip } from "../../src/mail/records.ts";

type Nodes = ReadonlyMap<string, Uint8Array>;

/**
 * Says which sessions have slips that nobody pays for. The messages of most slips pay for them, too; their sessions pay
 * at QoS 2 for those whose messages may be gone, and for all of what lies in mail drops, whose messages are paid for
 * once, however many sessions take them. No session has more of these than come with it, and than it has paid for; and
 * with one that was begun before there were mail drops none of theirs comes.
 */
export function unpaidSlipsOf(nodes: Nodes): string[] {
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
    const prepaid = recordAt(nodes, `${session}/in/${prepaidName}`);
    const weightMax = slipsFreeMax * idSlipWeightOf(session) + besidesSession(nodes, session) + paidIn(prepaid);
    return weight <= weightMax ? [] : [`${session} has slips of ${weight} bytes, ${weightMax} are paid for`];
  });
}

/** Says which places in mail drops are paid for by no subscription. */
export function unpaidPlacesOf(nodes: Nodes): string[] {
  return [...nodes.keys()].flatMap((path) => {
    const [, , , client, level, name] = path.split("/");
    if (name === undefined || level !== nameOf(cursorsPath("c")) || !path.startsWith(`${sessionsPath}/`)) return [];
    const subscriber = subscriberPath(decodeName(name), decodeName(client!));
    const record = recordAt(nodes, subscriber);
    const texts = textWeightOf(record.branch ?? "") + jsonTextWeightOf(record.payer ?? "");
    const isPaid = paidIn(record) >= subscriptionWeightOf(subscriber, texts, path);
    return isPaid ? [] : [`${path} is not paid for`];
  });
}

/** As `unpaidSlipsOf`, of all that there is in a store. */
export async function unpaidSlipsIn(store: Store): Promise<string[]> {
  return unpaidSlipsOf(await nodesIn(store));
}

/** As `unpaidSlipsOf` and `unpaidPlacesOf`, of all that there is in a store. */
export async function unpaidIn(store: Store): Promise<string[]> {
  const nodes = await nodesIn(store);
  return [...unpaidSlipsOf(nodes), ...unpaidPlacesOf(nodes)];
}

async function nodesIn(store: Store): Promise<Nodes> {
  const nodes = new Map<string, Uint8Array>();
  for (const root of [sessionsPath, subscribersPath])
    await walk(store, root, (path, { data }) => void nodes.set(path, data));
  return nodes;
}

/** Returns the weight that is paid for with a session besides itself, and the will that it began with. */
function besidesSession(nodes: Nodes, session: string): number {
  const record = recordAt(nodes, session);
  const { user = "", payer = "", branch = "", willBytes = 0 } = record;
  const texts = jsonTextWeightOf(user) + jsonTextWeightOf(payer) + 2 * jsonTextWeightOf(branch);
  return Math.max(0, paidIn(record) - sessionWeightOf(session, texts) - willBytes);
}

interface PaidRecord {
  readonly credits?: number;
  readonly branch?: string;
  readonly payer?: string;
  readonly user?: string;
  readonly willBytes?: number;
}

function recordAt(nodes: Nodes, path: string): PaidRecord {
  const data = nodes.get(path);
  return data === undefined ? {} : JSON.parse(decodeUtf8(data));
}

function paidIn({ credits = 0 }: PaidRecord): number {
  return weightPaidBy(credits);
}
