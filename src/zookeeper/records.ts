/**
 * The records of ZooKeeper's protocol (zookeeper.jute), by the spec's names: each request encoded, each response
 * decoded, side by side.
 */
import { errorCode, OpCode, ZooKeeperError, type ZooKeeperErrorCode } from "./codes.ts";
import { type JuteReader, JuteWriter } from "./jute.ts";

export interface Stat {
  readonly czxid: number;
  readonly mzxid: number;
  /** Milliseconds since 1970. */
  readonly ctime: number;
  readonly mtime: number;
  readonly version: number;
  readonly cversion: number;
  readonly aversion: number;
  /** The keeper session that an ephemeral node belongs to; 0n: none. Containers and TTL nodes have marks here. */
  readonly ephemeralOwner: bigint;
  readonly dataLength: number;
  readonly numChildren: number;
  readonly pzxid: number;
}

export interface Acl {
  /** read 1, write 2, create 4, delete 8, admin 16. */
  readonly perms: number;
  readonly scheme: string;
  readonly id: string;
}

/** Grants everything to the creator, by the credentials of his connection, and nothing to others. */
export const creatorAcl: readonly Acl[] = [{ perms: 31, scheme: "auth", id: "" }];
const openAcl: readonly Acl[] = [{ perms: 31, scheme: "world", id: "anyone" }];

export const createModes = [
  "persistent",
  "ephemeral",
  "persistentSequential",
  "ephemeralSequential",
  "container",
  "persistentWithTtl",
  "persistentSequentialWithTtl",
] as const;
export type ZooKeeperCreateMode = (typeof createModes)[number];

export interface CreateRequest {
  readonly kind: "create";
  readonly path: string;
  readonly data: Uint8Array;
  readonly mode: ZooKeeperCreateMode;
  readonly acl?: readonly Acl[];
  /** Milliseconds, for the modes with TTL. */
  readonly ttl?: number;
}

/** Writes; `version` -1 matches any. */
export type WriteRequest =
  | CreateRequest
  | { readonly kind: "delete"; readonly path: string; readonly version: number }
  | { readonly kind: "setData"; readonly path: string; readonly data: Uint8Array; readonly version: number }
  | { readonly kind: "check"; readonly path: string; readonly version: number };

export interface WriteResponse {
  /** As created: with its number, if sequential. */
  readonly path: string;
  /** Undefined for delete and check, and for a create in a multi. */
  readonly stat: Stat | undefined;
}

export type ReadRequest =
  | { readonly kind: "getData"; readonly path: string }
  | { readonly kind: "getChildren"; readonly path: string };

export type ReadResponse =
  | { readonly data: Uint8Array; readonly stat: Stat }
  | { readonly children: readonly string[] }
  | ZooKeeperErrorCode;

export interface ConnectRequest {
  readonly lastZxidSeen: number;
  readonly timeoutMs: number;
  readonly sessionId: bigint;
  readonly password: Uint8Array;
  readonly readOnly: boolean;
}

export interface ConnectResponse {
  /** As the server has granted it; 0 or less: the session that was asked for is over. */
  readonly timeoutMs: number;
  readonly sessionId: bigint;
  readonly password: Uint8Array;
  /** The server has lost its ensemble and only answers reads. */
  readonly readOnly: boolean;
}

export interface ReplyHeader {
  readonly xid: number;
  readonly zxid: number;
  readonly err: number;
}

export interface WatcherEvent {
  readonly type: number;
  readonly path: string;
}

export function encodeConnectRequest(request: ConnectRequest): Uint8Array {
  const to = new JuteWriter().int(0).long(request.lastZxidSeen).int(request.timeoutMs);
  return to.long(request.sessionId).buffer(request.password).bool(request.readOnly).packet();
}

export function decodeConnectResponse(from: JuteReader): ConnectResponse {
  from.int();
  const timeoutMs = from.int();
  const sessionId = from.bigLong();
  const password = from.buffer();
  // Servers before 3.4 do not say.
  return { timeoutMs, sessionId, password, readOnly: from.remaining > 0 && from.bool() };
}

/** A request's header; its body is written behind it. */
export function requestHeader(xid: number, type: number): JuteWriter {
  return new JuteWriter().int(xid).int(type);
}

export function decodeReplyHeader(from: JuteReader): ReplyHeader {
  return { xid: from.int(), zxid: from.long(), err: from.int() };
}

export function decodeWatcherEvent(from: JuteReader): WatcherEvent {
  const type = from.int();
  from.int();
  return { type, path: from.text() };
}

/** The bytes of a stat. */
const statBytes = 68;

export function decodeStat(from: JuteReader): Stat {
  return {
    czxid: from.long(),
    mzxid: from.long(),
    ctime: from.long(),
    mtime: from.long(),
    version: from.int(),
    cversion: from.int(),
    aversion: from.int(),
    ephemeralOwner: from.bigLong(),
    dataLength: from.int(),
    numChildren: from.int(),
    pzxid: from.long(),
  };
}

export function writeAcl(to: JuteWriter, acl: readonly Acl[]): JuteWriter {
  return to.vector(acl, (into, { perms, scheme, id }) => into.int(perms).text(scheme).text(id));
}

export function decodeAcl(from: JuteReader): Acl[] {
  return from.vector((entry) => ({ perms: entry.int(), scheme: entry.text(), id: entry.text() }));
}

/** The access control list that almost every node is created with, encoded. */
const openAclBytes = writeAcl(new JuteWriter(), openAcl).copy();

/** The type that a write is sent under: creates that answer with the stat, where the server has them. */
export function writeType(request: WriteRequest): number {
  if (request.kind !== "create") return OpCode[request.kind];
  if (request.mode === "container") return OpCode.createContainer;
  return request.ttl === undefined ? OpCode.create2 : OpCode.createTtl;
}

/** The view that a client has of the tree, below its chroot. */
export interface View {
  /** Returns a path as the server knows it. */
  readonly full: (path: string) => string;
  /** Returns a path as the client knows it. */
  readonly stripped: (path: string) => string;
  /** The access control list of nodes that are created without one of their own; undefined: everybody's. */
  readonly acl: readonly Acl[] | undefined;
}

export function encodeWrite(to: JuteWriter, request: WriteRequest, view: Pick<View, "full" | "acl">): void {
  to.text(view.full(request.path));
  switch (request.kind) {
    case "create": {
      to.buffer(request.data);
      const acl = request.acl ?? view.acl;
      if (acl === undefined) to.raw(openAclBytes);
      else writeAcl(to, acl);
      to.int(createModes.indexOf(request.mode));
      if (request.ttl !== undefined) to.long(request.ttl);
      return;
    }
    case "setData":
      to.buffer(request.data).int(request.version);
      return;
    default:
      to.int(request.version);
  }
}

/** Decodes the answer to a write that was sent for itself. */
export function decodeWrite(from: JuteReader, request: WriteRequest, view: Pick<View, "stripped">): WriteResponse {
  if (request.kind === "create") return { path: createdPath(from, request, view), stat: decodeStat(from) };
  return { path: request.path, stat: request.kind === "setData" ? decodeStat(from) : undefined };
}

const multiEnd = { type: -1, done: true, err: -1 } as const;

function writeMultiHeader(to: JuteWriter, { type, done, err }: { type: number; done: boolean; err: number }): void {
  to.int(type).bool(done).int(err);
}

export function encodeMulti(to: JuteWriter, requests: readonly WriteRequest[], view: Pick<View, "full" | "acl">): void {
  for (const request of requests) {
    to.int(typeInMulti(request)).bool(false).int(-1);
    encodeWrite(to, request, view);
  }
  writeMultiHeader(to, multiEnd);
}

/** As Apache's clients send it: a plain create, whose answer is the path alone. */
function typeInMulti(request: WriteRequest): number {
  const type = writeType(request);
  return type === OpCode.create2 ? OpCode.create : type;
}

/** Decodes the answers, or throws the `ZooKeeperError` of the operation that made all of them fail. */
export function decodeMulti(from: JuteReader, requests: readonly WriteRequest[], view: View): WriteResponse[] {
  const responses: WriteResponse[] = [];
  let failed: ZooKeeperError | undefined;
  for (let index = 0; ; index++) {
    const type = from.int();
    if (from.bool()) break;
    from.int();
    const request = requests[index]!;
    if (type !== OpCode.error) {
      responses.push(decodeInMulti(from, request, type, view));
      continue;
    }
    // Those before the one that failed say 0, those after it RuntimeInconsistency.
    const err = from.int();
    if (err !== 0 && failed === undefined) failed = new ZooKeeperError(errorCode(err), view.full(request.path), index);
  }
  if (failed !== undefined) throw failed;
  return responses;
}

/**
 * Decodes the answer to one write of several. A stat that the server sends for a new node, as for containers, is passed
 * over: nobody asks for it.
 */
function decodeInMulti(from: JuteReader, request: WriteRequest, type: number, view: View): WriteResponse {
  const { path, kind } = request;
  if (kind !== "create") return { path, stat: kind === "setData" ? decodeStat(from) : undefined };
  const created = createdPath(from, request, view);
  if (type !== OpCode.create) from.pass(statBytes);
  return { path: created, stat: undefined };
}

/** Returns true for a node to whose name the server appends a number. */
function isSequential(request: WriteRequest): boolean {
  return request.kind === "create" && sequentialModes.has(request.mode);
}

const sequentialModes: ReadonlySet<ZooKeeperCreateMode> = new Set([
  "persistentSequential",
  "ephemeralSequential",
  "persistentSequentialWithTtl",
]);

/** The path that the server has given a node: another one than was asked for only if it is sequential. */
function createdPath(from: JuteReader, request: WriteRequest, { stripped }: Pick<View, "stripped">): string {
  if (isSequential(request)) return stripped(from.text());
  from.skip();
  return request.path;
}

export function encodeMultiRead(to: JuteWriter, requests: readonly ReadRequest[]): void {
  for (const { kind, path } of requests) {
    writeMultiHeader(to, { type: OpCode[kind], done: false, err: -1 });
    to.text(path).bool(false);
  }
  writeMultiHeader(to, multiEnd);
}

/** Each read answers or fails for itself. */
export function decodeMultiRead(from: JuteReader, requests: readonly ReadRequest[]): ReadResponse[] {
  const responses: ReadResponse[] = [];
  for (const request of requests) {
    const type = from.int();
    from.bool();
    from.int();
    if (type === OpCode.error) responses.push(errorCode(from.int()));
    else if (request.kind === "getData") responses.push({ data: from.buffer(), stat: decodeStat(from) });
    else responses.push({ children: from.vector((entry) => entry.text()) });
  }
  return responses;
}

/** The watches of a client, as a server that it comes to must know them. */
export interface WatchTable {
  readonly data: readonly string[];
  readonly exist: readonly string[];
  readonly child: readonly string[];
  readonly persistent: readonly string[];
  readonly persistentRecursive: readonly string[];
}

export function encodeSetWatches2(to: JuteWriter, relativeZxid: number, table: WatchTable): void {
  to.long(relativeZxid);
  for (const paths of [table.data, table.exist, table.child, table.persistent, table.persistentRecursive]) {
    to.vector(paths, (into, path) => into.text(path));
  }
}

export function encodeAuth(scheme: string, credentials: Uint8Array): Uint8Array {
  return requestHeader(-4, OpCode.auth).int(0).text(scheme).buffer(credentials).packet();
}

export const emptyPassword = new Uint8Array(16);
