/** The limits of traces. */

/** Traces that one broker follows at once, for whoever has asked. */
export const tracesMax = 4;
/** How long a trace lasts at most, and where nobody says, in seconds. */
export const traceSecondsMax = 3600;
export const traceSecondsPlain = 60;
/** Events of one trace at each broker: so many in a second, and in all. */
export const traceRateMax = 500;
export const traceEventsMax = 100_000;
/** Bytes of a payload that are shown at most. */
export const tracePayloadBytesMax = 1024;
/** Characters of the words of one event. */
export const traceTextMax = 1024;
/** Connections whose packets one broker reads along at once. */
export const tracedConnectionsMax = 1000;
/** Bytes that may wait for whoever reads a trace: a second of several brokers. */
export const traceStreamBytesMax = 2 * 1024 * 1024;
/** Events that wait for the broker that has asked; how often it asks; after which silence a broker follows no more. */
export const traceWaitingMax = 2000;
export const traceAskMs = 250;
export const traceSilenceMs = 15_000;
