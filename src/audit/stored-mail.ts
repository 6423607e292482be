/**
 * Stored messages for whoever lists them, or has them removed: found a page of the store at a time, so that the store
 * is never in memory as a whole.
 */
import { mirrorPageMax } from "../base/limits.ts";
import { children, type MirrorNode, read, type Store } from "../coordinator/mirror.ts";
import {
  decodeName,
  isSlipName,
  mailPath,
  messageMark,
  nameOf,
  parentPath,
  retainedPath,
  sessionsPath,
  topicOfPath,
  topicsPath,
} from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import { TreeWalk, walkOrder } from "../coordinator/tree-walk.ts";
import { decodeMessageHead, decodeSlip, type SlipRecord } from "../mail/records.ts";
import { counterPath } from "../mail/slips.ts";
import { filterMatches } from "../mqtt/topic.ts";
import type { StoredMessage } from "./audit.ts";
import { slipAt, type Walked, walkSlips } from "./scan.ts";

/** The messages that are wanted. */
export interface MailChoice {
  /** The levels of a topic filter; undefined: all topics, those that begin with $ among them. */
  readonly levels: readonly string[] | undefined;
  /** Only what waits for this client; undefined: everything. */
  readonly clientId?: string | undefined;
  /** Only what comes after this beginning of a path, as `walkOrder` writes it; "" or absent: everything. */
  readonly after?: string | undefined;
}

/** A stored message as it was found. */
export interface FoundMessage extends StoredMessage {
  readonly topic: string;
  /** With how many slips it was stored; 0: it lies in a mail drop, or is retained. */
  readonly recipients: number;
  /** The part of the credits that pays for a payload in pieces. */
  readonly payloadCredits: number;
}

/** The messages of one page of the store. */
export interface FoundMail {
  readonly messages: readonly FoundMessage[];
  /** All that is still to come is this path, or comes after it in the walk's order; undefined: that is not known. */
  readonly ahead: string | undefined;
}

/** Returns the topic of a stored message. */
export function topicOf({ path, isRetained }: Pick<StoredMessage, "path" | "isRetained">): string {
  return isRetained ? topicOfPath(retainedPath, path) : topicOfPath(topicsPath, parentPath(path));
}

/** Returns the client in whose mailbox a slip is. */
export function clientOf(slipPath: string): string {
  return decodeName(nameOf(parentPath(parentPath(slipPath))));
}

/** Finds messages: of a client in the order of his slips, else in the walk's order. Rejects with `OperatingError`. */
export function findMail(walked: Walked, choice: MailChoice): AsyncGenerator<FoundMail> {
  return choice.clientId === undefined ? findAll(walked, choice) : findFor(walked, choice.clientId, choice);
}

async function* findAll(walked: Walked, { levels, after = "" }: MailChoice): AsyncGenerator<FoundMail> {
  for (const root of [retainedPath, topicsPath]) {
    const enters = (path: string): boolean =>
      !isBefore(path, after) && (levels === undefined || mayMatch(levels, topicBelow(root, path)));
    const tree = new TreeWalk(walked.store, root, { enters });
    while (tree.next !== undefined) {
      const messages: FoundMessage[] = [];
      await pageOf(tree, (path, node) => {
        const message = messageIn(walked, path, node);
        if (message !== undefined && isMatch(levels, message.topic)) messages.push(message);
      });
      yield { messages, ahead: tree.next ?? (root === retainedPath ? topicsPath : undefined) };
    }
  }
}

async function* findFor(walked: Walked, clientId: string, { levels }: MailChoice): AsyncGenerator<FoundMail> {
  for await (const slips of slipsOf(walked, clientId, levels)) {
    const paths = [...new Set(slips.map(({ record }) => record.messagePath))];
    for await (const nodes of nodesAt(walked.store, paths)) {
      const messages = [...nodes].flatMap(([path, node]) => messageIn(walked, path, node) ?? []);
      yield { messages, ahead: undefined };
    }
  }
}

/** A slip, and where it stands. */
export interface FoundSlip {
  readonly path: string;
  readonly record: SlipRecord;
}

/** Reads a client's mailbox: the slips of messages whose topics match a filter, some at a time. */
export async function* slipsOf(
  { store, reader }: Walked,
  clientId: string,
  levels: MailChoice["levels"],
): AsyncGenerator<readonly FoundSlip[]> {
  const above = mailPath(clientId);
  const names = (await children(store, above)).filter(isSlipName).sort();
  for (let at = 0; at < names.length; at += mirrorPageMax) {
    const paths = names.slice(at, at + mirrorPageMax).map((name) => `${above}/${name}`);
    const nodes = await read(
      store,
      paths.map((path) => ({ kind: "get", path })),
    );
    yield paths.flatMap((path, index) => {
      const node = nodes[index];
      const record = hasData(node) ? reader.read(path, () => decodeSlip(node.data)) : undefined;
      if (record === undefined) return [];
      const topic = topicOf({ path: record.messagePath, isRetained: false });
      return isMatch(levels, topic) ? [{ path, record }] : [];
    });
  }
}

/** Reads the slips of all mailboxes, some at a time. Rejects with `OperatingError`. */
export async function* allSlips({ store, reader }: Walked): AsyncGenerator<readonly FoundSlip[]> {
  const tree = new TreeWalk(store, sessionsPath);
  while (tree.next !== undefined) {
    const slips: FoundSlip[] = [];
    await pageOf(tree, (path, node) => {
      const record = slipAt(reader, path, node);
      if (record !== undefined) slips.push({ path, record });
    });
    yield slips;
  }
}

/** Nodes that are read at once where each may be as large as a message can be. */
const nodesAtOnce = 16;

/** Reads nodes, some at a time; those that are gone are left out. */
export async function* nodesAt(
  store: Store,
  paths: readonly string[],
): AsyncGenerator<ReadonlyMap<string, MirrorNode>> {
  for (let at = 0; at < paths.length; at += nodesAtOnce) {
    const some = paths.slice(at, at + nodesAtOnce);
    const nodes = await read(
      store,
      some.map((path) => ({ kind: "get", path })),
    );
    yield new Map(
      some.flatMap((path, index) => {
        const node = nodes[index];
        return hasData(node) ? [[path, node] as const] : [];
      }),
    );
  }
}

/**
 * Returns for how many clients each of some messages still waits, by its path. In a mail drop nobody is counted: there
 * it is the number of slips that name it.
 */
export async function waitingFor(
  walked: Walked,
  messages: readonly Pick<FoundMessage, "path" | "recipients" | "isRetained">[],
): Promise<ReadonlyMap<string, number>> {
  const waiting = new Map(messages.map(({ path, recipients }) => [path, recipients]));
  const counted = messages.filter(({ recipients }) => recipients > 1);
  const counters = await read(
    walked.store,
    // Tools cannot ask ZooKeeper whether several exist; a counter has no data.
    counted.map(({ path }) => ({ kind: "get", path: counterPath(path) })),
  );
  for (const [index, { path, recipients }] of counted.entries()) {
    const counter = counters[index];
    if (hasData(counter)) waiting.set(path, Math.max(0, recipients - counter.stat.version));
  }
  const dropped = messages.filter(({ recipients, isRetained }) => recipients === 0 && !isRetained);
  const open = new Set(dropped.map(({ path }) => path));
  if (open.size > 0)
    await walkSlips(walked, (_, { messagePath }) => {
      if (open.has(messagePath)) waiting.set(messagePath, waiting.get(messagePath)! + 1);
    });
  return waiting;
}

/** Reads the next page of a walk. Rejects with `OperatingError`. */
export function pageOf(tree: TreeWalk, visit: (path: string, node: MirrorNode) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    tree.readPage(visit, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

/** Returns the message that a node is, if it is one. */
export function messageIn({ reader }: Walked, path: string, { data, stat }: MirrorNode): FoundMessage | undefined {
  const isRetained = path.startsWith(`${retainedPath}/`);
  if (!isRetained && !nameOf(path).startsWith(messageMark)) return undefined;
  const head = reader.read(path, () => decodeMessageHead(data));
  if (head === undefined) return undefined;
  const { branch, payer = "", keepUntil, parts, recipients, payloadCredits = 0 } = head;
  return {
    ...{ path, version: stat.version, branch, payer, parts, recipients, isRetained, bytes: data.length },
    topic: topicOf({ path, isRetained }),
    ...{ payloadCredits, credits: head.credits + payloadCredits },
    expiresAt: keepUntil === Infinity ? 0 : keepUntil,
  };
}

function isMatch(levels: MailChoice["levels"], topic: string): boolean {
  return levels === undefined || filterMatches(levels, topic.split("/"));
}

/** Returns the levels of a topic to which a path below a root leads. */
function topicBelow(root: string, path: string): string[] {
  const isMessage = nameOf(path).startsWith(messageMark);
  const level = isMessage ? parentPath(path) : path;
  return level === root ? [] : topicOfPath(root, level).split("/");
}

/** Returns true if a filter matches topics that begin with these levels, or that topic itself. */
function mayMatch(filter: readonly string[], levels: readonly string[]): boolean {
  for (let at = 0; at < levels.length; at++) {
    if (filter[at] === "#") return true;
    if (at >= filter.length || (filter[at] !== "+" && filter[at] !== levels[at])) return false;
  }
  return true;
}

/** Returns true if a path, and all that is below it, comes before a place in the walk's order. */
function isBefore(path: string, place: string): boolean {
  if (place === "") return false;
  const order = walkOrder(path);
  return order < place && !`${place}\u0001`.startsWith(`${order}\u0001`);
}
