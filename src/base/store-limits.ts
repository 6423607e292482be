/** Limits of the two stores: the embedded one with its disk, and ZooKeeper. All others: `limits.ts`. */

// --- The embedded store, and its disk ---
/** Bytes that the embedded store takes in one submission and, unless a single one is larger, in one transaction. */
export const storeUnitBytesMax = 4 * 1024 * 1024;
/** The time for which the embedded store waits for a tool that has it locked; then the commit is tried again. */
export const storeBusyMs = 2_000;
/** Rows of the embedded store, and their bytes, that are read at once while all of it is verified. */
export const scanRowsMax = 1_000;
export const scanBytesMax = 4 * 1024 * 1024;
/** A store larger than this is not read as a whole after a clean end: its rows are verified as they are read. */
export const scanStoreBytesMax = 2 * 1024 * 1024 * 1024;
/** While a store is read as a whole, it is told this often how far that has come. */
export const scanReportMs = 2_000;
/** Place on the embedded store's disk that is kept for acks and deletions when it is full. */
export const diskReserveBytesMax = 64 * 1024 * 1024;
export const diskReserveBytesMin = 2 * 1024 * 1024;
/** The part of a small disk that is kept. */
export const diskReservePartMax = 1 / 8;
/** Bytes of it that are written at once. */
export const diskReserveStepBytes = 1024 * 1024;
/** How often it is looked how much room the disk has, for the reserve too. */
export const diskLookMs = 250;
/** The largest will that a client which comes back to its stored session may bring while the disk is full. */
export const fullDiskWillBytesMax = 4096;
/** Pages that the embedded store's log grows to before it is written into the database. */
export const logPagesMax = 4_000;
/**
 * The memory in which the embedded store keeps pages of its database: as much as its log holds, for what devices that
 * come and go write is soon removed, all over the tree. SQLite's own 2 MB are read anew again and again.
 */
export const storeCacheBytesMax = 16 * 1024 * 1024;
/** How far acknowledged commits went is brought to disk, beside the commits themselves, no later than this. */
export const witnessSyncMs = 500;
/** One block between a tool and the broker that it asks. */
export const controlFrameBytesMax = 512 * 1024 * 1024;

// --- ZooKeeper ---
/** Requests to ZooKeeper that wait for a connection. */
export const keeperQueuedMax = 100_000;
/** A request that ZooKeeper refuses for a reason of its own (a quota, or overload) is sent again after this. */
export const keeperRefusedMs = 500;
/** Times that what a broker asks at its start is asked again when contact is lost over it. */
export const keeperInsistMax = 20;
/** The largest answer that is taken from ZooKeeper. */
export const keeperReplyBytesMax = 256 * 1024 * 1024;
/** ZooKeeper's own limit on a request, jute.maxbuffer, as it is by default. */
export const keeperPacketBytesMax = 1024 * 1024 - 1;
/** Paths of watches in one packet after a reconnect, as ZooKeeper's own client splits them. */
export const keeperWatchesBytesMax = 128 * 1024;
/** Waits between rounds of dialling all ZooKeeper servers: each is twice the one before, with jitter. */
export const keeperBackoffMinMs = 50;
export const keeperBackoffMaxMs = 1_000;
/** Submissions that are committed together, in bytes (a single one may be larger). */
export const keeperGroupBytesMax = 512 * 1024;
/** Operations of submissions that are committed together: what each brings about is done in one turn. */
export const keeperGroupOperationsMax = 1_000;
/** Reads in one multi-read. */
export const keeperReadOperationsMax = 512;
