/** Limits of what is read of other brokers' files, all in one place with their units in their names. */

/** A configuration of mosquitto's, with the files that it includes: each file's bytes, files, settings in all. */
export const foreignConfigBytesMax = 4 * 1024 * 1024;
export const foreignConfigsMax = 1_000;
export const foreignConfigLinesMax = 100_000;
/** The bytes of a password file, and of an access list. */
export const foreignAccessBytesMax = 64 * 1024 * 1024;
