/**
 * The tree's paths. One MQTT topic level is one znode level; what ZooKeeper forbids in a name, and the marks
 * `@ ~ =` at its beginning, are percent-encoded; an empty level is `%`.
 */
import { encodeUtf8, hashBytes } from "../base/bytes.ts";
import { sessionShards } from "../base/limits.ts";
import type { CreateMode } from "./coordinator.ts";
import { isValidPath } from "./valid-path.ts";

export const brokersPath = "/brokers";
export const subscribersPath = "/subscribers";
export const publishersPath = "/publishers";
export const retainedPath = "/retained";
export const topicsPath = "/topics";
export const sessionsPath = "/sessions";
export const willsPath = "/wills";
/** Notices of sessions that were ended for their full mailboxes, for clients that have not come back yet. */
export const endedPath = "/ended";
/** Pieces of payloads that are too large for one znode. */
export const partsPath = "/parts";
/** Capital and vault; below it what each branch has been granted. */
export const bankPath = "/bank";
export const branchesPath = `${bankPath}/branches`;
/** The filters of mail drops. */
export const dropsPath = `${bankPath}/drops`;
/** One node a broker; its version counts the broker's commits. ZooKeeper only. */
export const commitsPath = "/commits";

/** The format in which the tree was last written. */
export const formatPath = "/format";

/** The counters of senders that protect what they send over MQTT-SN: the lowest that no broker was granted. */
export const snCountersPath = "/sn-counters";

/** The secret that brokers prove to each other that they know, where no file gives one. */
export const linkSecretPath = "/link-secret";

/** The certificate and key by which brokers know each other over TLS, where no files give them. */
export const linkCertificatePath = "/link-certificate";

export const rootPaths = [
  brokersPath,
  subscribersPath,
  publishersPath,
  retainedPath,
  topicsPath,
  sessionsPath,
  willsPath,
  endedPath,
  partsPath,
] as const;

const emptyLevel = "%";

/** One name from one topic level, client id or broker id. */
export function encodeName(level: string): string {
  if (level === "") return emptyLevel;
  if (/^[\w$+# -][\w$+# .,:;!*()-]*$/.test(level)) return level;
  let name = "";
  for (const char of level) name += mustEncode(char, name === "") ? percent(char) : char;
  // ZooKeeper reserves the relative names.
  return name === "." || name === ".." ? name.replaceAll(".", "%2E") : name;
}

/** Undoes `encodeName`. A name that it did not make, a stranger's, is returned as it is where it cannot be decoded. */
export function decodeName(name: string): string {
  if (name === emptyLevel) return "";
  if (!name.includes("%")) return name;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** True for a name that `encodeName` makes. Others are strangers': they stand for what has another name already. */
export function isEncoded(name: string): boolean {
  return encodeName(decodeName(name)) === name;
}

/** True for a path whose levels below `root` are all encoded as ours are. */
export function isEncodedPath(root: string, path: string): boolean {
  const below = path.slice(root.length);
  if (!/%|\/[@~=]/.test(below)) return true;
  return below.split("/").slice(1).every(isEncoded);
}

/** Slips are numbered by the store, which counts in 32 bits. */
export function isSlipName(name: string): boolean {
  return /^-?\d{10}$/.test(name);
}

/**
 * A path in which what is above U+FFFF is encoded too: format 1 of the embedded store did not do that, and messages are
 * named by their paths in its slips.
 */
export function encodeAstral(path: string): string {
  return /[\ud800-\udfff]/.test(path) ? path.replace(/[\ud800-\udbff][\udc00-\udfff]/g, percent) : path;
}

function mustEncode(char: string, first: boolean): boolean {
  if (char === "%" || char === "/") return true;
  if (first && (char === "@" || char === "~" || char === "=")) return true;
  // What is more than one unit of UTF-16 is made of two that no path may hold.
  return !isValidPath(`/_${char}`);
}

function percent(char: string): string {
  return [...encodeUtf8(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}

/** A topic, or a part of a path, in which no level is encoded otherwise than it reads: most are such. */
const plainLevels = /^[\w$+# -][\w$+# .,:;!*()-]*(?:\/[\w$+# -][\w$+# .,:;!*()-]*)*$/;

export function topicPath(root: string, topic: string): string {
  if (plainLevels.test(topic)) return `${root}/${topic}`;
  return `${root}/${topic.split("/").map(encodeName).join("/")}`;
}

/** The topic of a path that `topicPath` made below `root`. */
export function topicOfPath(root: string, path: string): string {
  const topic = path.slice(root.length + 1);
  return topic.includes("%") ? topic.split("/").map(decodeName).join("/") : topic;
}

export function brokerPath(id: string): string {
  return `${brokersPath}/${encodeName(id)}`;
}

/** The counters of one sender, whose id is hex. */
export function snCounterPath(sender: string): string {
  return `${snCountersPath}/${sender}`;
}

export function commitPath(id: string): string {
  return `${commitsPath}/${encodeName(id)}`;
}

/** The path that was made last: whatever happens to a session asks for it several times in a row. */
let lastSession = { clientId: "", path: "" };

export function sessionPath(clientId: string): string {
  if (lastSession.path !== "" && lastSession.clientId === clientId) return lastSession.path;
  const bytes = encodeUtf8(clientId);
  const shard = hashBytes(bytes, 0, bytes.length) % sessionShards;
  const path = `${sessionsPath}/${shard.toString(16).padStart(2, "0")}/${encodeName(clientId)}`;
  lastSession = { clientId, path };
  return path;
}

/** The notice that a client's session was ended. */
export function endedSessionPath(clientId: string): string {
  return `${endedPath}/${encodeName(clientId)}`;
}

export function mailPath(clientId: string): string {
  return `${sessionPath(clientId)}/mail`;
}

export function isMailbox(path: string): boolean {
  return path.startsWith(`${sessionsPath}/`) && path.endsWith("/mail") && path.split("/").length === 5;
}

/** Packet ids of QoS 2 publishes that were received from the client and not yet released by it. */
export function incomingPath(clientId: string): string {
  return `${sessionPath(clientId)}/in`;
}

/**
 * The node that pays for slips of a session that their messages do not pay for. It stands where a packet id would, and
 * 0 is none, so brokers that do not know it count and remove it as one that is paid for.
 */
export function prepaidSlipsPath(clientId: string): string {
  return `${incomingPath(clientId)}/${prepaidName}`;
}

/** The name of that node. */
export const prepaidName = "0";

/** True for the node of such a packet id, or of what pays for slips. */
export function isHeldId(path: string): boolean {
  const [, root, , , level, id] = path.split("/");
  return `/${root}` === sessionsPath && level === "in" && id !== undefined;
}

/** The node above the pieces of a payload; `id` is that of the message. */
export function payloadPath(id: string): string {
  return `${partsPath}/${id}`;
}

/** A piece of a payload. */
export function partPath(id: string, number: number): string {
  return `${payloadPath(id)}/${String(number).padStart(4, "0")}`;
}

/** How far a session has been handed what lies in mail drops: a node for each of its filters. */
export function cursorsPath(clientId: string): string {
  return `${sessionPath(clientId)}/drops`;
}

export function cursorPath(clientId: string, filter: string): string {
  return `${cursorsPath(clientId)}/${encodeName(filter)}`;
}

export function dropPath(filter: string): string {
  return `${dropsPath}/${encodeName(filter)}`;
}

export const brokerMark = "@";
export const subscriberMark = "~";
export const messageMark = "=";

export function subscriberPath(filter: string, clientId: string): string {
  return `${topicPath(subscribersPath, filter)}/${subscriberMark}${encodeName(clientId)}`;
}

/** A broker's interest in a filter: at least one of its sessions that end with their connections has it. */
export function interestPath(filter: string, brokerId: string): string {
  return `${topicPath(subscribersPath, filter)}/${brokerMark}${encodeName(brokerId)}`;
}

/** A client of that broker publishes on the topic. */
export function publisherPath(topic: string, brokerId: string): string {
  return `${topicPath(publishersPath, topic)}/${brokerMark}${encodeName(brokerId)}`;
}

export function messagePath(topic: string, id: string): string {
  return `${topicPath(topicsPath, topic)}/${messageMark}${id}`;
}

/** The id of a stored message. */
export function idOfMessage(path: string): string {
  return nameOf(path).slice(messageMark.length);
}

export function willPath(brokerId: string, clientId: string): string {
  return `${willsPath}/${encodeName(brokerId)}/${encodeName(clientId)}`;
}

/** The znode that says how much a broker's branch has been granted. */
export function branchPath(id: string): string {
  return `${branchesPath}/${encodeName(id)}`;
}

/** The znode that says how much the messages of a broker still bind after its branch was closed. */
export function estatePath(id: string): string {
  return `${branchesPath}/${messageMark}${encodeName(id)}`;
}

/** True for a level of retained messages, which may hold one itself. */
export function isRetainedLevel(path: string): boolean {
  return path.startsWith(`${retainedPath}/`);
}

/** The tree's own: they are never removed. */
export function isRootLevel(path: string): boolean {
  return path.lastIndexOf("/") === 0;
}

/**
 * A level of depth 1 is the tree's own. A level of retained messages may be given one: as a container it would vanish
 * with what is below it. A mailbox stays as long as its session: a new one would number its slips from 0 again.
 */
export function levelMode(path: string): CreateMode {
  const isContainer = !isRootLevel(path) && !path.startsWith(`${retainedPath}/`) && !isMailbox(path);
  return isContainer ? "container" : "persistent";
}

/** True for a level that is there only for what stands below it, and is one of many. */
export function isContainerLevel(path: string): boolean {
  const name = nameOf(path);
  if (path.startsWith(`${sessionsPath}/`)) return path.split("/").length === 5 && (name === "in" || name === "drops");
  if (path.startsWith(`${partsPath}/`)) return true;
  const isTopic = [topicsPath, subscribersPath, publishersPath].some((root) => path.startsWith(`${root}/`));
  return isTopic && !name.startsWith(messageMark) && !name.startsWith(subscriberMark) && !name.startsWith(brokerMark);
}

export function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
