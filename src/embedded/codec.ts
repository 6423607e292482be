/**
 * Requests and replies between the broker's thread and the store's, as one block of bytes: to clone thousands of small
 * objects for every transaction costs more than to commit them.
 */
import { readUint32 } from "../base/bytes.ts";
import { GrowingBytes } from "../base/growing-bytes.ts";
import type {
  CoordinatorErrorCode,
  CreateMode,
  ReadOperation,
  ReadResult,
  Stat,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import type { Reply, Request } from "./database.ts";

const writeKinds = ["create", "set", "delete", "check"] as const;
const readKinds = ["get", "children", "exists"] as const;
const createModes: readonly CreateMode[] = ["persistent", "ephemeral", "container", "sequential"];
/** Added to a mode: the missing levels above the node are made too. */
const levelsToo = createModes.length;
const requestKinds = ["read", "write", "repairable"] as const;
const replyKinds = ["read", "written", "failed"] as const;
const resultKinds = ["data", "children", "stat", "code"] as const;
/** A version that matches any, in 32 bits. */
const anyVersion = 0xffff_ffff;

/** Stands for the last check once more: most requests of a block begin with the same one. */
const checkAgain = writeKinds.length;

/** The memory that a block begins with. */
const blockBytesMin = 64 * 1024;

class BlockWriter extends GrowingBytes {
  /** The last check that was written. */
  check: WriteOperation | undefined;

  constructor() {
    super(blockBytesMin);
  }

  /** A whole number below 2^53. */
  long(value: number): this {
    return this.int(Math.floor(value / 2 ** 32)).int(value % 2 ** 32);
  }
}

/** The block that is being written: one at a time. */
const block = new BlockWriter();
/** The memory that is kept for the next block, at most. */
const keptBytesMax = 1024 * 1024;

/** Begins a block in the memory of the one before, which must have been copied. */
function beginBlock(): BlockWriter {
  block.length = 0;
  block.check = undefined;
  if (block.bytes.length > keptBytesMax) block.bytes = Buffer.allocUnsafe(blockBytesMin);
  return block;
}

class BlockReader {
  /** The last check that was read: its repetitions are the same object. */
  check: WriteOperation | undefined;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  int(): number {
    const value = readUint32(this.#bytes, this.#at);
    this.#at += 4;
    return value;
  }

  long(): number {
    return this.int() * 2 ** 32 + this.int();
  }

  text(): string {
    const length = this.int();
    const at = this.#at;
    this.#at += length;
    return this.#bytes.toString("utf8", at, at + length);
  }

  /** A copy: what is kept must not keep the whole block. */
  buffer(): Uint8Array {
    const length = this.int();
    const at = this.#at;
    this.#at += length;
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  many<Item>(read: () => Item): Item[] {
    return Array.from({ length: this.int() }, read);
  }
}

/** A block that is handed over: so many bytes in the memory of a `SharedBlock`, or, if it is larger, one of its own. */
export type HandedBlock = number | Uint8Array<ArrayBuffer>;

/**
 * Memory that two threads share: one puts a block into it, and the other has read that before the next one is put. A
 * block with memory of its own, for each transaction, comes to new pages from the system each time, which cost more
 * than to copy it twice.
 */
export class SharedBlock {
  readonly #shared: Buffer;
  /** The block that was taken last: strings are read faster from memory that is not shared. */
  #taken: Buffer = Buffer.alloc(0);

  constructor(memory: SharedArrayBuffer) {
    this.#shared = Buffer.from(memory);
  }

  put(block: GrowingBytes): HandedBlock {
    if (block.length > this.#shared.length) return block.copy();
    this.#shared.set(block.bytes.subarray(0, block.length));
    return block.length;
  }

  /** Returns the bytes of a block: valid until the next one is taken. */
  take(block: HandedBlock): Uint8Array {
    if (typeof block !== "number") return block;
    if (this.#taken.length < block) this.#taken = Buffer.allocUnsafe(this.#shared.length);
    this.#shared.copy(this.#taken, 0, 0, block);
    return this.#taken.subarray(0, block);
  }
}

export function encodeRequests(requests: readonly Request[]): Uint8Array<ArrayBuffer> {
  return writeRequests(requests).copy();
}

/** Hands requests over to another thread. */
export function putRequests(to: SharedBlock, requests: readonly Request[]): HandedBlock {
  return to.put(writeRequests(requests));
}

/** The block is valid until the next one is written. */
function writeRequests(requests: readonly Request[]): BlockWriter {
  const to = beginBlock().int(requests.length);
  for (const request of requests) {
    const kind = request.kind === "read" ? "read" : request.canBeRepaired ? "repairable" : "write";
    to.int(requestKinds.indexOf(kind)).int(request.operations.length);
    if (request.kind === "write") for (const operation of request.operations) writeWrite(to, operation);
    else for (const { kind: asked, path } of request.operations) to.int(readKinds.indexOf(asked)).text(path);
  }
  return to;
}

function writeWrite(to: BlockWriter, operation: WriteOperation): void {
  if (operation.kind === "check") {
    const { check } = to;
    if (check?.kind === "check" && check.path === operation.path && check.version === operation.version) {
      to.int(checkAgain);
      return;
    }
    to.check = operation;
  }
  to.int(writeKinds.indexOf(operation.kind)).text(operation.path);
  if (operation.kind === "create")
    to.int(createModes.indexOf(operation.mode) + (operation.withLevels ? levelsToo : 0)).buffer(operation.data);
  else {
    to.int(operation.version === -1 ? anyVersion : operation.version);
    if (operation.kind === "set") to.buffer(operation.data);
  }
}

export function decodeRequests(bytes: Uint8Array): Request[] {
  const from = new BlockReader(bytes);
  return from.many((): Request => {
    const kind = requestKinds[from.int()]!;
    if (kind === "read") return { kind, operations: from.many(() => readRead(from)) };
    return { kind: "write", canBeRepaired: kind === "repairable", operations: from.many(() => readWrite(from)) };
  });
}

function readRead(from: BlockReader): ReadOperation {
  return { kind: readKinds[from.int()]!, path: from.text() };
}

function readWrite(from: BlockReader): WriteOperation {
  const code = from.int();
  if (code === checkAgain) return from.check!;
  const kind = writeKinds[code]!;
  const path = from.text();
  if (kind === "create") {
    const code = from.int();
    return { kind, path, mode: createModes[code % levelsToo]!, withLevels: code >= levelsToo, data: from.buffer() };
  }
  const asked = from.int();
  const version = asked === anyVersion ? -1 : asked;
  if (kind === "set") return { kind, path, version, data: from.buffer() };
  const operation: WriteOperation = { kind, path, version };
  if (kind === "check") from.check = operation;
  return operation;
}

export function encodeReplies(replies: readonly Reply[]): Uint8Array<ArrayBuffer> {
  return writeReplies(replies).copy();
}

/** Hands replies over to another thread. */
export function putReplies(to: SharedBlock, replies: readonly Reply[]): HandedBlock {
  return to.put(writeReplies(replies));
}

/** The block is valid until the next one is written. */
function writeReplies(replies: readonly Reply[]): BlockWriter {
  const to = beginBlock().int(replies.length);
  for (const reply of replies) {
    to.int(replyKinds.indexOf(reply.kind));
    if (reply.kind === "failed") to.text(reply.code).text(reply.path).int(reply.index);
    else if (reply.kind === "written") {
      to.long(reply.zxid).int(reply.results.length);
      for (const result of reply.results) writeWritten(to, result);
    } else {
      to.int(reply.results.length);
      for (const result of reply.results) writeResult(to, result);
    }
  }
  return to;
}

export function decodeReplies(bytes: Uint8Array): Reply[] {
  const from = new BlockReader(bytes);
  return from.many((): Reply => {
    const kind = replyKinds[from.int()]!;
    if (kind === "failed")
      return { kind, code: from.text() as CoordinatorErrorCode, path: from.text(), index: from.int() };
    if (kind === "read") return { kind, results: from.many(() => readResult(from)) };
    const zxid = from.long();
    return { kind, zxid, results: from.many(() => readWritten(from)) };
  });
}

/** Most writes leave nothing behind that is not known: they share one object. */
const made: WriteResult = { path: "", version: 0 };
const gone: WriteResult = { path: "", version: -1 };

function writeWritten(to: BlockWriter, { path, version }: WriteResult): void {
  if (path !== "") to.int(3).text(path).int(version);
  else if (version > 0) to.int(2).int(version);
  else to.int(version === 0 ? 1 : 0);
}

function readWritten(from: BlockReader): WriteResult {
  const kind = from.int();
  if (kind < 2) return kind === 0 ? gone : made;
  return { path: kind === 3 ? from.text() : "", version: from.int() };
}

function writeResult(to: BlockWriter, result: ReadResult): void {
  if (typeof result === "string") to.int(resultKinds.indexOf("code")).text(result);
  else if ("data" in result) writeStat(to.int(resultKinds.indexOf("data")).buffer(result.data), result.stat);
  else if ("stat" in result) writeStat(to.int(resultKinds.indexOf("stat")), result.stat);
  else {
    to.int(resultKinds.indexOf("children")).int(result.children.length);
    for (const name of result.children) to.text(name);
  }
}

function readResult(from: BlockReader): ReadResult {
  switch (resultKinds[from.int()]!) {
    case "data":
      return { data: from.buffer(), stat: readStat(from) };
    case "stat":
      return { stat: readStat(from) };
    case "children":
      return { children: from.many(() => from.text()) };
    case "code":
      return from.text() as CoordinatorErrorCode;
  }
}

function writeStat(to: BlockWriter, { czxid, mzxid, version, childCount }: Stat): void {
  to.long(czxid).long(mzxid).int(version).int(childCount);
}

function readStat(from: BlockReader): Stat {
  return { czxid: from.long(), mzxid: from.long(), version: from.int(), childCount: from.int() };
}
