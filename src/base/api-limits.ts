/** The limits of the HTTP API. */

/** Most rows of one page, and as many as there are where nobody says. */
export const pageRowsMax = 1000;
export const pageRowsPlainMax = 100;
/** A page ends early once its rows are so many bytes of JSON; one row is always there. */
export const pageBytesMax = 1024 * 1024;
/** Requests that are being answered at once; others are told to come later. */
export const apiRequestsMax = 32;
/** A request's path with its query, in characters, and the values of its parameters. */
export const apiTargetMax = 16 * 1024;
/** Refusals, and changes, that are remembered for those who ask. */
export const recentRefusalsMax = 500;
export const recentChangesMax = 1000;
/** Characters of a text that is remembered with a refusal or a change. */
export const rememberedTextMax = 256;
/** Clients for which drops are remembered, topics of each and cause, and how often a flood is looked at. */
export const droppedClientsMax = 500;
export const droppedTopicsMax = 16;
export const dropLookMs = 100;
/** Take-overs of one client id are in a row if no more time than this is between them. */
export const takeOversApartMs = 60_000;
/** Bearer tokens that are valid at once, of all users, and how long one is. */
export const apiTokensMax = 1000;
export const apiTokenMs = 12 * 3600 * 1000;
/** Characters of a key in a cursor; a longer one is named by its hash. */
export const cursorKeyMax = 256;
/** How long a change may take before who asked for it is told that it is not done yet. */
export const apiPatienceMs = 30_000;
/** How long the store may take to count mailboxes; what it has not told by then is told as the broker knows it. */
export const mailCountMs = 2000;
/** The samples that a broker remembers of its last hour: one each so often, for so long. */
export const historyStepMs = 10_000;
export const historyMs = 3600 * 1000;
/** Retained messages that one request clears at most, and topics that it names. */
export const clearedAtOnceMax = 1000;
export const clearedNamesMax = 100;
/** Messages of one page of a mailbox, and as many as there are where nobody says; read at once; told of a payload. */
export const mailRowsMax = 100;
export const mailRowsPlainMax = 20;
export const mailReadAtOnce = 10;
export const shownPayloadBytesMax = 1024;
/** The largest message of which the price is told, in bytes: the largest packet of MQTT. */
export const quotedBytesMax = 268_435_460;
/** Messages that one who watches topics is told of in a second. */
export const watchedPerSecondMax = 50;
/** Answers that go on: how many at once, what may wait for one reader, how long one lasts, and how often it beats. */
export const apiStreamsMax = 16;
export const streamBytesMax = 64 * 1024;
export const streamMs = 3600 * 1000;
export const streamBeatMs = 15_000;
/** How long another broker may take to answer, how many of its questions are answered at once, and answers' bytes. */
export const peerAnswerMs = 5_000;
export const peerQuestionsMax = 64;
export const peerAnswerBytesMax = 4 * 1024 * 1024;
/** Events that a broker keeps for others that ask for them, and their bytes of JSON; how long it does so unasked. */
export const feedEventsMax = 500;
export const feedBytesMax = 256 * 1024;
export const feedKeptMs = 15_000;
/** How long a question for events waits for one, and an event for others; how soon a broker is asked again in vain. */
export const feedWaitMs = 2_000;
export const feedBatchMs = 50;
export const feedRetryMs = 2_000;
/** Refusals and drops that are no older are told among what is not well, and so many of a kind. */
export const troubleRecentMs = 600_000;
export const troublesOfKindMax = 5;
/** Brokers whose clocks differ by more are named to the operator. */
export const clocksApartMs = 1_000;
/** For how long a measurement of another clock counts, though later ones were not as quick. */
export const clockSampleMs = 10_000;
