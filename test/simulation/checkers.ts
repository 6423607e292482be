/** Checks of the simulated world when it has come to rest, besides those of the history. */

import { audit, boundBy, heldBy, type WeighedSnapshot } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { weightPaidBy } from "../../src/bank/price.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { decodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { Store } from "../../src/coordinator/mirror.ts";
import { isRetainedLevel, nameOf, partPath, prepaidName } from "../../src/coordinator/paths.ts";
import { decodeMessageHead } from "../../src/mail/records.ts";
import type { Publish } from "../../src/mqtt/publish.ts";
import type { History } from "../chaos/history.ts";
import { unpaidPlacesOf, unpaidSlipsOf } from "../support/unpaid-slips.ts";
import { unpadded } from "./actors.ts";
import { wallStart } from "./broker-node.ts";
import type { World } from "./world.ts";

/** Brokers' clocks differ by less than this. */
const lyingMs = 15_000;

/**
 * Mail and half-received publishes that nobody will ever ask for. What lies in mail drops lies there for its time, and
 * what has paid for slips for a while.
 */
export function leftovers(world: World): string[] {
  const isLeft = (path: string, data: Uint8Array): boolean => {
    if (/^\/topics\/.*\/=[^/]+$/.test(path)) return decodeMessageHead(data)?.publisher === undefined;
    return /^\/sessions\/..\/[^/]+\/(mail\/.|in\/[1-9])/.test(path);
  };
  return [...world.tree.nodes].filter(([path, { data }]) => isLeft(path, data)).map(([path]) => path);
}

/** Levels of retained messages below which nothing is left: no containers, so ZooKeeper never removes them. */
export function emptyLevels(world: World): string[] {
  return [...world.tree.nodes]
    .filter(([path, { data, children }]) => isRetainedLevel(path) && data.length === 0 && children.size === 0)
    .map(([path]) => `${path} is an empty level`);
}

/** Pieces of payloads that no message names. */
export function orphanParts(world: World): string[] {
  const named = new Set<string>();
  const found = new Set<string>();
  for (const [path, { data }] of world.tree.nodes) {
    if (/^\/parts\/[^/]+\/[^/]+$/.test(path)) found.add(path.split("/")[2]!);
    const isMessage = /^\/topics\/.*\/=[^/]+$/.test(path) || path.startsWith("/retained/");
    const parts = isMessage ? decodeMessageHead(data)?.parts : undefined;
    if (parts !== undefined) named.add(parts.id);
  }
  return [...found].filter((id) => !named.has(id)).map((id) => `parts of ${id} are nobody's`);
}

/** The messages that lie in mail drops and will lie there for a while, oldest first. */
export function lying(world: World): string[] {
  const found: { czxid: number; path: string; data: Uint8Array }[] = [];
  for (const [path, { data, czxid }] of world.tree.nodes) {
    const head = /^\/topics\/.*\/=[^/]+$/.test(path) ? decodeMessageHead(data) : undefined;
    if (head?.publisher !== undefined && head.keepUntil > wallStart + world.now() + lyingMs)
      found.push({ czxid, path, data });
  }
  found.sort((a, b) => a.czxid - b.czxid || (nameOf(a.path) < nameOf(b.path) ? -1 : 1));
  return found.map(({ data }) => lastWords(world, data));
}

/** A late subscriber to everything gets what lies in mail drops: all of it once, in its order. */
export function unlikeLying(world: World, subscriber: string, received: readonly string[]): string[] {
  const due = lying(world);
  const isDue = new Set(due);
  const got = received.filter((payload) => isDue.has(payload));
  const at = due.findIndex((payload, index) => payload !== got[index]);
  if (at === -1 && got.length === due.length) return [];
  return [`${subscriber}: ${got[at]} of ${got.length} where ${due[at]} of ${due.length} lies in the mail drop`];
}

/** A client id is connected at one broker, and that one is the owner that the session's znode names. */
export function wrongOwners(world: World): string[] {
  const wrong: string[] = [];
  const homes = new Map<string, string>();
  for (const { id, broker } of world.nodes.values()) {
    for (const [clientId, client] of broker?.context.localSessions ?? []) {
      if (client.connection === undefined) continue;
      if (homes.has(clientId)) wrong.push(`${clientId} is connected to ${homes.get(clientId)} and ${id}`);
      homes.set(clientId, id);
    }
  }
  for (const [path, { data }] of world.tree.nodes) {
    if (!/^\/sessions\/..\/[^/]+$/.test(path) || data.length === 0) continue;
    const clientId = path.slice(path.lastIndexOf("/") + 1);
    const { owner, connected } = JSON.parse(decodeUtf8(data));
    if (connected && homes.get(clientId) !== owner)
      wrong.push(`${clientId} is owned by ${owner}, and connected to ${homes.get(clientId) ?? "nobody"}`);
  }
  return wrong;
}

/**
 * True if a broker whose branch was closed while it slept cannot open it again, since nobody has the credits that its
 * parked commits were promised: they wait until some come back.
 */
export function isShortOfCredits(world: World): boolean {
  const accounts = [...world.nodes.values()].flatMap(({ broker }) => broker?.context.bankAccount.account ?? []);
  const spare = accounts.reduce((sum, { free }) => sum + Math.max(0, free), 0);
  const { vault } = JSON.parse(decodeUtf8(world.tree.nodes.get("/bank")!.data));
  return accounts.some(({ isOpen, free }) => !isOpen && free < 0 && vault + spare < -free);
}

/** Nothing is under way at rest: a queue that nobody empties would grow without bound. */
export function unsettled(world: World): string[] {
  const wrong: string[] = [];
  for (const { id, broker } of world.nodes.values()) {
    if (broker === undefined) continue;
    const { journal, peers, remoteSessions } = broker.context;
    if (journal.pendingUnits > 0) wrong.push(`${id}: ${journal.pendingUnits} commits are pending`);
    for (const peer of peers.values())
      if (peer.pending.size > 0) wrong.push(`${id}: ${peer.pending.size} deliveries to ${peer.id} are pending`);
    for (const session of remoteSessions.values()) {
      const { clientId, underWay, waiting } = session;
      if (underWay !== 0 || waiting > 0)
        wrong.push(`${id}: ${underWay} messages under way to ${clientId}, ${waiting} wait`);
    }
  }
  return wrong;
}

/**
 * The retained message is the last one committed: the same in the store and at every broker, and not older than an ack.
 */
export function unequalRetained(world: World, history: History): string[] {
  const wrong: string[] = [];
  for (const [topic, allowed] of history.retainable()) {
    const values = retainedTexts(world, topic);
    if (new Set(values.values()).size > 1 || !allowed.includes(values.get("the store")))
      wrong.push(`retained ${topic}: ${[...values].map((entry) => entry.join(" has ")).join(", ")}; due ${allowed[0]}`);
  }
  return wrong;
}

/** The retained message of a topic: in the store, and at each broker. */
export function retainedTexts(world: World, topic: string): Map<string, string | undefined> {
  const stored = world.tree.nodes.get(`/retained/${topic}`)?.data;
  const values = new Map([["the store", stored && lastWords(world, stored)]]);
  for (const { id, broker } of world.nodes.values()) {
    const publish = broker?.context.retained.get(topic)?.publish;
    values.set(id, publish && unpadded(textOf(publish)));
  }
  return values;
}

/** The bank's audit, on the tree as it is at one moment. */
export async function overdrawn(world: World): Promise<string[]> {
  const snapshot = await snapshotOf(world);
  return snapshot === undefined ? [] : audit(snapshot, { graceMs: 2 * sweepMs }).map((what) => `audit: ${what}`);
}

/** Returns what each user holds at this moment, in milli-credits. */
export async function holdings(world: World): Promise<Map<string | null, number>> {
  const snapshot = await snapshotOf(world);
  const held = snapshot === undefined ? [] : [...heldBy(snapshot)];
  return new Map(held.map(([user, { credits }]) => [user, credits]));
}

/** No user holds more than his share, whichever brokers pay for what is stored for him. */
export async function greedy(world: World, sharePercent: number): Promise<string[]> {
  const snapshot = await snapshotOf(world);
  return snapshot === undefined ? [] : audit(snapshot, { graceMs: 2 * sweepMs, sharePercent });
}

/** Where full mailboxes end their sessions nobody's publish is refused, unless the bank cannot pay. */
export function refusals(world: World): string[] {
  const wrong: string[] = [];
  for (const { id, broker } of world.nodes.values()) {
    if (broker === undefined || broker.context.options.mailboxFull === "refuse") continue;
    const { refused, refusedByBank } = broker.context.metrics;
    if (refused > refusedByBank) wrong.push(`${id} has refused ${refused - refusedByBank} publishes that can be paid`);
  }
  return wrong;
}

/** Bytes for the packet ids of publishes at QoS 2, and for levels whose sweeper has died. */
const unpaidWeightMax = 64 * 1024;

/** The weight of what stands in the tree for clients is no more than what branches have bound for it. */
export async function tooHeavy(world: World): Promise<string[]> {
  const snapshot = await snapshotOf(world);
  if (snapshot === undefined) return [];
  const bound = [...boundBy(snapshot).values()];
  // What is gone may have left levels, which no record in the tree says to be paid for.
  const unswept = [...world.nodes.values()].map(({ broker }) => broker?.context.bankAccount.account.unswept ?? 0);
  const paid = weightPaidBy([...bound, ...unswept].reduce((sum, credits) => sum + credits, 0));
  return snapshot.weight <= paid + unpaidWeightMax ? [] : [`${snapshot.weight} bytes are stored, and ${paid} paid for`];
}

/** Slips and places in mail drops are paid for by their sessions and subscriptions, as `unpaidSlipsOf` says. */
export function unpaidSlips({ tree }: World): string[] {
  const nodes = new Map([...tree.nodes].map(([path, { data }]) => [path, data] as const));
  return [...unpaidSlipsOf(nodes), ...unpaidPlacesOf(nodes)];
}

/** A session that has no slips any more pays for none. */
export function idlePrepaid({ tree }: World): string[] {
  const paths = [...tree.nodes.keys()].filter((path) => path.endsWith(`/in/${prepaidName}`));
  return paths.filter((path) => (tree.nodes.get(path.replace(/in\/0$/, "mail"))?.children.size ?? 0) === 0);
}

/** No credit is lost for good: what a branch takes for bound is bound by its messages, to the milli-credit. */
export async function lostCredits(world: World): Promise<string[]> {
  const snapshot = await snapshotOf(world);
  const bound = snapshot === undefined ? new Map<string, number>() : boundBy(snapshot);
  const wrong: string[] = [];
  for (const { id, broker } of world.nodes.values()) {
    const account = broker?.context.bankAccount.account;
    if (account !== undefined && account.bound !== (bound.get(id) ?? 0))
      wrong.push(`${id} takes ${account.bound} for bound, the store says ${bound.get(id) ?? 0}`);
    if (account !== undefined && account.grant !== snapshot?.grants.get(id))
      wrong.push(`${id} takes ${account.grant} for its grant, the store says ${snapshot?.grants.get(id)}`);
  }
  return wrong;
}

/** Looks at the credits of a world at rest, after which some may still be on their way. */
export const creditLooksMax = 50;

/**
 * Credits that are lost still after some more looks: where a bank is poor its branches go on asking each other, and
 * some credits may be on their way at the first.
 */
export async function creditsStillLost(world: World, looksMax: number): Promise<string[]> {
  let lost = await lostCredits(world);
  for (let look = 0; lost.length > 0 && look < looksMax; look++) {
    await world.pass(77);
    lost = await lostCredits(world);
  }
  return lost;
}

function snapshotOf(world: World): Promise<WeighedSnapshot | undefined> {
  const { tree } = world;
  const read: Store["read"] = (operations, done) =>
    done(
      undefined,
      operations.map((operation) => tree.read(operation)),
    );
  return takeWeighed({ read }, wallStart + world.now());
}

function textOf({ payloadBytes, payloadStart, payloadEnd }: Publish): string {
  return decodeUtf8(payloadBytes, payloadStart, payloadEnd);
}

/** The payload of a stored message: what follows its head and its properties, as `src/FORMATS.md` has it. */
function lastWords({ tree }: World, bytes: Uint8Array): string {
  const parts = decodeMessageHead(bytes)?.parts;
  const pieces = Array.from({ length: parts?.count ?? 0 }, (_, number) => partPath(parts!.id, number));
  if (pieces.length > 0)
    return unpadded(pieces.map((path) => decodeUtf8(tree.nodes.get(path)?.data ?? noBytes)).join(""));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const texts = view.getUint16(26) + view.getUint16(28) + view.getUint16(30);
  const copy = (bytes[17]! & 32) === 0 ? 0 : 8;
  return unpadded(decodeUtf8(bytes, 34 + texts + copy + view.getUint32(22)));
}
