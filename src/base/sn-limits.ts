/** The limits of MQTT-SN: each queue, table and wait that its clients can fill or bring about. */

/** Topic ids of one client; the one that was not used for longest makes room for a new one. */
export const snTopicIdsMax = 512;
/** Requests of one client that wait for the broker's answer; more are answered with "congestion". */
export const snRequestsMax = 16;
/** Packets of one client that wait while the broker does not read it; more are refused, or dropped at QoS 0. */
export const snUnreadMax = 16;
/** QoS 1 and 2 messages that the broker hands over before the client has acknowledged one of them. */
export const snReceiveMax = 16;
/** QoS 0 messages that wait for a client; more are dropped. */
export const snQueuedMax = 32;
/** Answers that are kept for a client, in case it asks the same again. */
export const snAnswersMax = 8;
/** How long a message that says that it comes again (DUP) counts as the one before. */
export const snAgainMs = 120_000;
/** How long one that does not say so counts as doubled by the network. */
export const snDoubledMs = 2_000;
/** Clients whose addresses have not shown that they hear us; the oldest makes room for a new one. */
export const snUnprovenMax = 16_384;
/** Clients that have begun to connect and have not said what their wills are. */
export const snWillsPendingMax = 1_024;
/** How long such a client may take. */
export const snWillPendingMs = 30_000;
/** Clients in a second that are looked for in the store since they wake and are not known here. */
export const snWakesMax = 200;
/** Addresses of clients that have just left, which are told so again; and clients that were lost, by their ids. */
export const snLeftMax = 4_096;
/** How often a client is told so. */
export const snLeftAnswersMax = 4;
/** How often a message to a client is sent again before it counts as lost (Nretry: 3 to 5). */
export const snRetriesMax = 4;
/** The pause before a client that is awake is looked at again while the broker reads its mailbox. */
export const snMailLookMs = 10;
/** How long a client is kept awake while its mailbox is being read and nothing comes. */
export const snMailWaitMs = 5_000;
/** How long the session of a client that began with a clean one is kept if the broker dies. */
export const snCleanSessionMs = 86_400_000;
/** Durations up to which a client may be late by half; it may be by a tenth of longer ones (7.2). */
export const snShortDurationMs = 60_000;
/** The longest client id: it stands in tables here. */
export const snClientIdMax = 256;
/** Wireless node ids of forwarders. */
export const snNodeBytesMax = 64;
/** The receive buffer of the socket. */
export const snReceiveBufferBytes = 8 * 1024 * 1024;
/** How often a gateway advertises itself to a multicast group (Tadv: more than 15 minutes). */
export const snAdvertiseMs = 900_000;
/** The pause before a tool sends again what was not answered; networks of tools are faster than those of devices. */
export const snClientRetryMs = 2_000;
/** A sender of protected packets that needs counters again within this time is granted twice as many ahead. */
export const snCountersRangeMs = 1_000;
/** Counters that a sender is granted ahead at most: so many may be lost to it when its broker ends. */
export const snCountersAheadMax = 1_024;
/** Protected packets of one sender that wait for the store; more are lost. */
export const snCountersHeldMax = 16;
