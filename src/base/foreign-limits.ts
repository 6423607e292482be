/** Limits of what is read of other brokers' files, all in one place with their units in their names. */

/** A configuration of mosquitto's, with the files that it includes: each file's bytes, files, settings in all. */
export const foreignConfigBytesMax = 4 * 1024 * 1024;
export const foreignConfigsMax = 1_000;
export const foreignConfigLinesMax = 100_000;
/** The bytes of a password file, and of an access list. */
export const foreignAccessBytesMax = 64 * 1024 * 1024;
/** The bytes of a file in which another broker keeps sessions and messages. It is read into memory as a whole. */
export const foreignStoreBytesMax = 1024 * 1024 * 1024;
/** Sessions, and messages, that are under way at once while they are brought into the store. */
export const importSessionsAtOnce = 64;
export const importMessagesAtOnce = 256;
/** Receivers with whom a message is stored once; more have a copy of their own. */
export const importReceiversMax = 64;
/** How often, and after how many milliseconds each time, the bank is asked again for credits that it may have. */
export const importCreditTries = 500;
export const importCreditWaitMs = 10;
