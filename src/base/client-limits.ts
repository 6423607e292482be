/** The limits of the client library and of `bench`, which are no options: as in `limits.ts`. */

/** Server References that a client follows before it turns to the brokers that it was given. */
export const referencesFollowedMax = 8;
/** A client's unsent messages, where a program publishes faster than the broker takes it, and does not wait. */
export const backlogBytesMax = 256 * 1024 * 1024;
/** Topics that a client remembers as text. */
export const topicTextsMax = 1024;
/** Topics of which a client remembers whom they interest. */
export const topicInterestsMax = 4096;
/** Topics of stored messages that a subscription with several patterns remembers, to hand out each once. */
export const storedTopicsMax = 65_536;
/** A client in a browser waits so long for its store, which the page before may still have. */
export const storeLockMs = 2000;
/** Statuses that wait for an iterator that is slow; the oldest go. */
export const statusBacklogMax = 64;
/** Messages of a load that one publisher writes in a turn. */
export const loadBatchMax = 256;
/** Unsent output with which a publisher of a load waits. */
export const loadUnsentBytesMax = 256 * 1024;
/** Sequences that a load remembers of one publisher as not received; what comes later counts as a duplicate. */
export const gapsPerStreamMax = 65_536;
