/**
 * The numbers of ZooKeeper's protocol: operation types, error codes, event types (ZooDefs.java, KeeperException.java).
 */

export const OpCode = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getAcl: 6,
  setAcl: 7,
  getChildren: 8,
  sync: 9,
  ping: 11,
  getChildren2: 12,
  check: 13,
  multi: 14,
  create2: 15,
  removeWatches: 18,
  createContainer: 19,
  createTtl: 21,
  multiRead: 22,
  auth: 100,
  setWatches2: 105,
  addWatch: 106,
  closeSession: -11,
  error: -1,
} as const;

/** Transaction ids of requests that are no client's own. */
export const Xid = { watchEvent: -1, ping: -2, auth: -4 } as const;

export const EventType = {
  created: 1,
  deleted: 2,
  dataChanged: 3,
  childrenChanged: 4,
  dataWatchRemoved: 5,
  childWatchRemoved: 6,
  persistentWatchRemoved: 7,
} as const;

/** The server's codes, and two of the client's own making. */
const errorNames = {
  [-1]: "SystemError",
  [-2]: "RuntimeInconsistency",
  [-3]: "DataInconsistency",
  [-4]: "ConnectionLoss",
  [-5]: "MarshallingError",
  [-6]: "Unimplemented",
  [-7]: "OperationTimeout",
  [-8]: "BadArguments",
  [-13]: "NewConfigNoQuorum",
  [-14]: "ReconfigInProgress",
  [-100]: "ApiError",
  [-101]: "NoNode",
  [-102]: "NoAuth",
  [-103]: "BadVersion",
  [-108]: "NoChildrenForEphemerals",
  [-110]: "NodeExists",
  [-111]: "NotEmpty",
  [-112]: "SessionExpired",
  [-113]: "InvalidCallback",
  [-114]: "InvalidAcl",
  [-115]: "AuthFailed",
  [-118]: "SessionMoved",
  [-119]: "NotReadOnly",
  [-120]: "EphemeralOnLocalSession",
  [-121]: "NoWatcher",
  [-122]: "RequestTimeout",
  [-123]: "ReconfigDisabled",
  [-124]: "SessionClosedRequireSaslAuth",
  [-125]: "QuotaExceeded",
  [-127]: "ThrottledOp",
} as const;

export type ZooKeeperErrorCode =
  | (typeof errorNames)[keyof typeof errorNames]
  | "UnknownError"
  | "Closed"
  | "QueueFull"
  | "PacketTooLarge";

export function errorCode(number: number): ZooKeeperErrorCode {
  return (errorNames as Record<number, ZooKeeperErrorCode>)[number] ?? "UnknownError";
}

export const readOnly = "it is in read-only mode: it has lost contact with the other servers";

/** Describes the number with which a server answers a handshake. */
export function whyRefused(number: number): string {
  const code = errorCode(number);
  return code === "NotReadOnly" ? readOnly : `it refuses the session: ${code}`;
}

/** The error that a request to ZooKeeper fails with. */
export class ZooKeeperError extends Error {
  override readonly name = "ZooKeeperError";
  readonly code: ZooKeeperErrorCode;
  readonly path: string;
  /** The place of the operation that failed in a multi. */
  readonly index: number;

  constructor(code: ZooKeeperErrorCode, path: string, index = 0) {
    super(`${code}${path === "" ? "" : ` ${path}`}`);
    this.code = code;
    this.path = path;
    this.index = index;
  }

  /** True if what was asked may have happened all the same: the answer is lost, not the request. */
  get outcomeUnknown(): boolean {
    return this.code === "ConnectionLoss" || this.code === "OperationTimeout" || this.code === "RequestTimeout";
  }
}
