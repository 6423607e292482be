/** Limits of what is sent to an OpenTelemetry collector (`--otlp`). */

/** How many spans, and log lines, may wait for the OTLP collector; more are dropped. */
export const otlpWaitingMax = 4096;
/** The most log lines in one request to it. */
export const otlpBatchMax = 512;
/** The most spans in one request to it: some 350 KB, written in a few ms. */
export const otlpSpanBatchMax = 1024;
/** How long spans, and log lines, are gathered. */
export const otlpBatchMs = 1000;
/** How long spans are gathered after a batch of more than `otlpManySpans`. */
export const otlpManyMs = 5000;
export const otlpManySpans = 50;
/** How often metrics are sent to it. */
export const otlpMetricsMs = 15_000;
/** How long it may take to answer. */
export const otlpTimeoutMs = 5000;
/** How long it is waited for at the end. */
export const otlpCloseMs = 2000;
/** The most messages that are traced in a second. */
export const tracesPerSecondMax = 500;
/** The most deliveries of one message that have spans. */
export const tracedDeliveriesMax = 32;
