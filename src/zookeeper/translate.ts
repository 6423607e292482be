/** Between the port's terms and ZooKeeper's: operations, results and error codes. */
import { OperatingError } from "../base/errors.ts";
import type {
  CoordinatorErrorCode,
  ReadOperation,
  ReadResult,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import type { ZooKeeperError, ZooKeeperErrorCode } from "./codes.ts";
import type { ReadRequest, ReadResponse, Stat, WriteRequest, WriteResponse } from "./records.ts";

const modes = {
  persistent: "persistent",
  ephemeral: "ephemeral",
  container: "container",
  sequential: "persistentSequential",
} as const;

/** What a ZooKeeper error means to whoever only knows the port. */
const codes: Partial<Record<ZooKeeperErrorCode, CoordinatorErrorCode>> = {
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
};

export function isDoubtful(error: ZooKeeperError): boolean {
  return error.outcomeUnknown || error.code === "SessionExpired" || error.code === "SessionMoved";
}

export function sizeOf(operation: WriteOperation): number {
  // Path, lengths, header and access control list.
  return 64 + operation.path.length * 2 + ("data" in operation ? operation.data.length : 0);
}

export function toRequest(operation: WriteOperation): WriteRequest {
  if (operation.kind === "create") return { ...operation, mode: modes[operation.mode] };
  if (operation.kind === "set") return { ...operation, kind: "setData" };
  return operation;
}

export function toReadRequest({ kind, path }: ReadOperation): ReadRequest {
  return { kind: kind === "get" ? "getData" : "getChildren", path };
}

/** What each operation has left behind. */
export function toWriteResults(
  operations: readonly WriteOperation[],
  responses: readonly WriteResponse[],
): WriteResult[] {
  return responses.map(({ path, stat }, index) => ({ path, version: versionOf(operations[index]!, stat) }));
}

function versionOf({ kind }: WriteOperation, stat: Stat | undefined): number {
  return kind === "create" ? 0 : kind === "set" ? stat!.version : -1;
}

export function toStat({ czxid, mzxid, version, numChildren }: Stat) {
  return { czxid, mzxid, version, childCount: numChildren };
}

/** The port's code. Throws `OperatingError` for what ZooKeeper says of itself or of us, not of the tree. */
export function toCode(error: ZooKeeperError): CoordinatorErrorCode {
  const code = codes[error.code];
  if (code === undefined) throw new OperatingError("EZOOKEEPER", `ZooKeeper refused a request: ${error.message}`);
  return code;
}

export function toReadResult(response: ReadResponse): ReadResult {
  if (typeof response === "string") return codes[response] ?? "NoNode";
  return "data" in response ? { data: response.data, stat: toStat(response.stat) } : response;
}
