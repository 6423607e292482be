/** Between the port's terms and ZooKeeper's: operations, results and error codes. */
import type {
  CoordinatorErrorCode,
  ReadOperation,
  ReadResult,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import type { ZooKeeperError, ZooKeeperErrorCode } from "./codes.ts";
import { lowestLong } from "./jute.ts";
import type { ReadRequest, ReadResponse, Stat, WriteRequest, WriteResponse } from "./records.ts";

const modes = {
  persistent: "persistent",
  ephemeral: "ephemeral",
  container: "container",
  sequential: "persistentSequential",
} as const;

/**
 * The meaning of a ZooKeeper error to users of the port. unknown: the answer is lost, what was asked may have happened.
 * trouble: ZooKeeper says it of itself or of us, not of the tree: what was asked is asked again, until it is answered.
 */
const codes: Record<ZooKeeperErrorCode, CoordinatorErrorCode | "unknown" | "trouble"> = {
  NoNode: "NoNode",
  NodeExists: "NodeExists",
  BadVersion: "BadVersion",
  NotEmpty: "NotEmpty",
  NoChildrenForEphemerals: "NoChildrenForEphemerals",
  BadArguments: "InvalidPath",
  MarshallingError: "InvalidPath",
  PacketTooLarge: "TooLarge",
  NoAuth: "NoAuth",
  InvalidAcl: "NoAuth",
  Closed: "Closed",
  ConnectionLoss: "unknown",
  OperationTimeout: "unknown",
  RequestTimeout: "unknown",
  SessionExpired: "unknown",
  SessionMoved: "unknown",
  // Of a request that is not sent, since too many wait for a connection: it waits for contact too.
  QueueFull: "unknown",
  SystemError: "trouble",
  RuntimeInconsistency: "trouble",
  DataInconsistency: "trouble",
  Unimplemented: "trouble",
  NewConfigNoQuorum: "trouble",
  ReconfigInProgress: "trouble",
  ReconfigDisabled: "trouble",
  ApiError: "trouble",
  InvalidCallback: "trouble",
  AuthFailed: "trouble",
  NotReadOnly: "trouble",
  EphemeralOnLocalSession: "trouble",
  NoWatcher: "trouble",
  SessionClosedRequireSaslAuth: "trouble",
  QuotaExceeded: "trouble",
  ThrottledOp: "trouble",
  UnknownError: "trouble",
};

/** True if what was asked may have happened all the same. */
export function isDoubtful(error: ZooKeeperError): boolean {
  return codes[error.code] === "unknown";
}

export function sizeOf(operation: WriteOperation): number {
  // Path, lengths, header and access control list.
  return 64 + operation.path.length * 2 + ("data" in operation ? operation.data.length : 0);
}

export function toRequest(operation: WriteOperation): WriteRequest {
  if (operation.kind === "check" || operation.kind === "delete") return operation;
  const { path, data } = operation;
  if (operation.kind === "create") return { kind: "create", path, data, mode: modes[operation.mode] };
  return { kind: "setData", path, data, version: operation.version };
}

export function toReadRequest({ kind, path }: ReadOperation): ReadRequest {
  return { kind: kind === "get" ? "getData" : "getChildren", path };
}

export function toWriteResult(operation: WriteOperation, { path, stat }: WriteResponse): WriteResult {
  return { path, version: versionOf(operation, stat) };
}

function versionOf({ kind }: WriteOperation, stat: Stat | undefined): number {
  return kind === "create" ? 0 : kind === "set" ? stat!.version : -1;
}

export function toStat({ czxid, mzxid, mtime, version, numChildren, ephemeralOwner, dataLength }: Stat) {
  return { czxid, mzxid, mtime, version, childCount: numChildren, isEphemeral: isSession(ephemeralOwner), dataLength };
}

/** Containers have the lowest number there is as their owner, nodes with a time to live one whose first byte is 255. */
function isSession(owner: bigint): boolean {
  return owner !== 0n && owner !== lowestLong && owner >> 56n !== -1n;
}

/** The port's code; undefined for what says nothing of the tree. */
export function toCode({ code: given }: Pick<ZooKeeperError, "code">): CoordinatorErrorCode | undefined {
  const code = codes[given];
  return code === "unknown" || code === "trouble" ? undefined : code;
}

/** Undefined if one of the answers says nothing of the tree: then none of them counts. */
export function toReadResults(responses: readonly ReadResponse[]): ReadResult[] | undefined {
  const results: ReadResult[] = [];
  for (const response of responses) {
    const result = typeof response === "string" ? toCode({ code: response }) : toFound(response);
    if (result === undefined) return undefined;
    results.push(result);
  }
  return results;
}

function toFound(response: Exclude<ReadResponse, string>): ReadResult {
  return "data" in response ? { data: response.data, stat: toStat(response.stat) } : response;
}
