/**
 * Memory: about how much of it what clients make the broker keep takes, in bytes, so that it can be counted; and what
 * is done at which part of `--max-memory`. The figures were measured on Bun 1.4.5, and rounded up.
 */

/** A connection that has nothing under way: its socket and our objects. 3,700 were measured. */
export const connectionMemoryBytes = 4_096;
/** A session that outlives its connection, beside its subscriptions and messages. 6,100 were measured. */
export const lastingSessionMemoryBytes = 6_144;
/** A subscription, beside its filter. */
export const subscriptionMemoryBytes = 1_024;
/** Each character of a filter: its text, and each level for itself. */
export const filterCharacterMemoryBytes = 12;
/** A subscription whose retained messages are on their way. */
export const feedMemoryBytes = 128;
/** A message that waits or is under way, beside its bytes: to a client, or from one until it is answered. */
export const messageMemoryBytes = 512;
/** A packet id of the QoS 2 flow that is kept until PUBREL. */
export const packetIdMemoryBytes = 32;
/** A slip of a mailbox whose client is connected. */
export const slipMemoryBytes = 256;
/** A topic alias, and what the access list says of a topic, beside the topic's characters. */
export const topicMemoryBytes = 96;
/** The memory of a text or packet that is decoded, for each of its bytes: as it came, and what was read of it. */
export const decodedMemoryBytes = 2;

/**
 * The part of a client's limit from which further subscriptions of it are refused. The rest is for what is under way,
 * such as the packet that asks for them: without it, whoever was refused would be beyond the limit.
 */
export const clientRefusePartMin = 0.75;
/** How often it is looked how much memory each client takes, where there are not too many of them. */
export const memoryLookMs = 1_000;
/** The part of a user's, or a client's, limit that may be received before it is looked sooner; and how soon. */
export const lookReceivedPartMax = 1 / 8;
export const memoryLookMinMs = 50;
/** Connections and sessions that are looked at in a second: a look at so many takes some 30 ms. */
export const memoryLooksPerSecondMax = 20_000;
/** Clients that are looked at in one step. */
export const memoryLookedAtOnce = 32;

/** How often the process is asked how much memory it has, where there is a limit; it takes some microseconds. */
export const pressureLookMs = 50;
/** Part of `--max-memory` from which the log warns; below it everybody is served again. */
export const memoryWarnPartMin = 0.7;
/** Part from which those who take most are refused what takes more. */
export const memoryRefusePartMin = 0.8;
/** Part from which their clients are disconnected, until it is down to where they are refused. */
export const memoryEndPartMin = 0.9;
/** The part of a user's own limit from which he is refused, and the one below which he is served again. */
export const userRefusePartMin = 0.9;
export const userServePartMax = 0.8;
/** One more is refused when the process has grown by this part of it since. */
export const refuseGrowthPartMin = 1 / 32;
/** How long somebody is refused at least; if that has not helped after as long, his clients are disconnected. */
export const memoryRefusedMs = 5_000;
/** Time of one turn that it may take to find out who takes most, and to disconnect clients, where memory is short. */
export const memoryTurnMs = 20;
/** The process is asked at once, in whatever turn, when this part of `--max-memory` has been received since. */
export const receivedPartMax = 1 / 32;
/** Connections that are told that they are turned away for want of memory, at once; others are just closed. */
export const refusedForMemoryMax = 64;
/** The part of `--max-memory` below which nobody is judged for what he takes, before all of it is used up. */
export const spenderPartMin = 1 / 64;
/** The memory below which nobody is disconnected for what others take, in bytes. */
export const spenderBytesMin = 64 * 1024;
/** The time until memory that clients have given back is garbage that can be collected. */
export const memorySettleMs = 200;
/** Garbage is collected again when the process has grown by this part of `--max-memory` since. */
export const collectGrowthPartMin = 1 / 8;
/** The pause after garbage was collected, in times of what that has taken: so much is left for everybody else. */
export const collectPauseTimes = 5;
/** The longest that nothing is collected where memory is short and does not grow. */
export const collectPauseMs = 10_000;
/** How often the log names those who take most. */
export const memoryLogMs = 10_000;
/** The part of a control group's limit that `--max-memory` is by default: what grows fast must find some left. */
export const groupLimitPart = 0.85;
/** The part of `--max-memory` that queues may take at most, and unsent output as much. */
export const queueMemoryPartMax = 0.25;
/** The largest CONNECT of a connection that is only read to be told why it is turned away. */
export const refusedConnectBytesMax = 16 * 1024;
/** Bytes of a will that stays in memory while it waits for its delay; a larger one is read back from the store. */
export const delayedWillBytesMax = 1_024;
/** Wills that are due and are read back from the store at the same time; each may be as large as a packet. */
export const dueWillsMax = 16;
/** The longest that such a will keeps others waiting: it may have to wait for credits, or for a slow receiver. */
export const dueWillMs = 1_000;
