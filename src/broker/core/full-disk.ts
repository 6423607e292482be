/**
 * Refusals while the disk of the store is full: everything that would be new there is refused. The space that is left
 * serves acks, deletions, and clients that come for what is stored for them.
 */
import { fullDiskWillBytesMax } from "../../base/store-limits.ts";
import type { Coordinator } from "../../coordinator/coordinator.ts";
import { encodeWill, type WillRecord } from "../../mail/will-record.ts";

/** The reason that clients and the log are told. */
export const fullDiskWords = "the disk of the broker's store is full";

/** The state that a CONNECT asks the store to keep: a session and a will. */
export interface Kept {
  /** Session Expiry Interval in seconds; 0: the session ends with its connection. */
  readonly expiryInterval: number;
  readonly will: Omit<WillRecord, "epoch"> | undefined;
  /** True if the store has the client's session already. */
  readonly isStored: boolean;
}

/**
 * Returns why a client cannot be let in while the disk is full, in words; undefined if it can, or the disk is not full.
 */
export function connectRefusal(
  { isFull }: Pick<Coordinator, "isFull">,
  { expiryInterval, will, isStored }: Kept,
): string | undefined {
  if (isFull !== true) return undefined;
  if (expiryInterval > 0 && !isStored) return `${fullDiskWords}: it takes no new sessions`;
  if (will === undefined) return undefined;
  // A client that comes for its mail brings its will along, and must not have to do without it.
  const willBytesMax = isStored ? fullDiskWillBytesMax : 0;
  if (encodeWill({ ...will, epoch: 0 }).length <= willBytesMax) return undefined;
  return `${fullDiskWords}: it takes no new wills${isStored ? ` above ${willBytesMax} bytes` : ""}`;
}
