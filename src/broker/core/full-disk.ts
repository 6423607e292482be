/**
 * What is refused while the disk of the store is full: everything that would be new there. What is left of the disk is for
 * acks, deletions, and whoever comes for what is stored.
 */
import { fullDiskWillBytesMax } from "../../base/limits.ts";
import type { Coordinator } from "../../coordinator/coordinator.ts";
import { encodeWill, type WillRecord } from "../../mail/will-record.ts";

export const fullDiskWords = "the disk of the broker's store is full";

/** What CONNECT asks the store to keep. */
export interface Kept {
  /** In seconds; 0: the session ends with its connection. */
  readonly expiryInterval: number;
  readonly will: Omit<WillRecord, "epoch"> | undefined;
  /** The store has the client's session already. */
  readonly isStored: boolean;
}

/** Why a client cannot be let in while the disk is full, in words; undefined: it can, or the disk is not full. */
export function connectRefusal(
  { isFull }: Pick<Coordinator, "isFull">,
  { expiryInterval, will, isStored }: Kept,
): string | undefined {
  if (isFull !== true) return undefined;
  if (expiryInterval > 0 && !isStored) return `${fullDiskWords}: it takes no new sessions`;
  if (will === undefined) return undefined;
  // Whoever comes for its mail brings its will along, and shall not have to do without it.
  const willBytesMax = isStored ? fullDiskWillBytesMax : 0;
  if (encodeWill({ ...will, epoch: 0 }).length <= willBytesMax) return undefined;
  return `${fullDiskWords}: it takes no new wills${isStored ? ` above ${willBytesMax} bytes` : ""}`;
}
