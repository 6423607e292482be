/**
 * Every limit that is not an option of the broker: each queue, window, batch, buffer, cache and wait has its
 * constant here, with its unit in its name. Options and their defaults stand in `src/broker/core/options.ts`; the
 * limits of logins and access are in `access-limits.ts`, those of memory in `memory-limits.ts`, those of the client
 * library and of `bench` in `client-limits.ts`, those of the stores in `store-limits.ts`, those of MQTT-SN in
 * `sn-limits.ts`.
 */

// --- Packets and connections ---
/** The time in which a client that has connected must have sent its whole CONNECT. */
export const connectDeadlineMs = 10_000;
/** A client that has been silent for too long is looked at once more after this: what it has sent may lie unread. */
export const silenceLookMs = 100;
/** A look that comes so late says that the process was held up; it is not the last one. */
export const silenceLateMs = 50;
/** Looks that are taken at most, however late they come. */
export const silenceLooksMax = 50;
/** The largest CONNECT, whatever `--max-packet-size` says: it comes from strangers. */
export const connectBytesMax = 256 * 1024;
/** MQTT's own limit on a packet's remaining length (2.1.4). */
export const remainingLengthMax = 268_435_455;
/** Topic aliases that a client may set (3.2.2.3.8); as many may the broker set, if the client allows. */
export const topicAliasMax = 64;
/** Messages under way to a bridge before MQTT 5, which cannot say how many: mosquitto's takes 20, and no more. */
export const bridgeReceiveMax = 20;
/** Characters at which user names, client ids and the like are cut in log lines. */
export const logTextMax = 128;
/** Characters of a line of the log; of a longer one each text is cut to `logFieldCharactersMax`. */
export const logLineCharactersMax = 4_000;
export const logFieldCharactersMax = 1_000;
/** The wait for an address of a host before the next one is dialled as well (RFC 8305, 5). */
export const happyEyeballsMs = 250;
/** The time that a peer is given to close a connection that we have closed. */
export const lingerMs = 1_000;
/** Connections that are kept only until they have been told why they are turned away; others are just closed. */
export const refusedConnectionsMax = 1_000;

// --- WebSocket, PROXY headers, HTTP ---
/** How often a WebSocket that has too much unsent is asked whether it has less. */
export const webSocketDrainCheckMs = 10;
/** The longest HTTP request, and the longest answer to it, with which a WebSocket may begin. */
export const webSocketRequestBytesMax = 8 * 1024;
/** The payload of one WebSocket frame that we send; its length fits into two bytes. */
export const webSocketFrameBytes = 32 * 1024;
/** The time in which a load balancer must have said for whom it speaks. */
export const proxyHeaderMs = 5_000;
/** The longest header in which a load balancer may say so. */
export const proxyHeaderBytesMax = 4 * 1024;
/** The longest body of a request to the HTTP port. */
export const httpBodyBytesMax = 64 * 1024;
/** How long such a body may take to come. */
export const httpBodyMs = 5_000;
/** How long a request's connection may be silent while its answer is worked out, or is read by nobody. */
export const httpAnswerMs = 45_000;

// --- Topics, subscriptions and routes ---
/**
 * Levels of a topic or filter, whatever `--topic-levels-max` says, from clients or in the store: the recursion of the
 * trie is bounded.
 */
export const topicLevelsMax = 200;
/** Single-level wildcards that a filter may have wherever they stand, whatever other filters there are. */
export const wildcardsPlainMax = 2;
/** Shapes (`mqtt/filter-shape.ts`) with more of them, of all filters here: a match takes so many ways, and few more. */
export const wildcardShapesMax = 1_024;
/** Shapes of the filters of one session: so many of them, at most, can match one topic. */
export const shapesPerSessionMax = 256;
/** Shapes of its shared subscriptions, in each group for itself: so often, at most, is it sent one message. */
export const sharedShapesPerSessionMax = 64;
/** Bytes in all the paths from a topic's first level to each of its levels, since each is a znode; more is refused. */
export const topicTreeBytesMax = 256 * 1024;
/** Filters in one session together, in characters. Beyond it SUBACK carries 0x97 (Quota exceeded). */
export const subscriptionTextPerSessionMax = 16 * 1024 * 1024;
/** Topics whose route is cached. At this many the cache starts anew. */
export const routeCacheEntriesMax = 65_536;
/** Bytes of the topics whose route is cached. At this many the cache starts anew. */
export const routeCacheBytesMax = 16 * 1024 * 1024;
/** Cached routes that are looked at when a subscription ends: those that are stale are forgotten. */
export const routesCleanedMax = 8;
/** The longest that SUBACK waits, beyond the keeper session timeout, for a broker that does not answer. */
export const fencePatienceMs = 2_000;
/** Subscriptions of one client whose retained messages are on their way to it; then SUBACK carries 0x97. */
export const retainedFeedsMax = 65_536;
/** The longest that a subscription waits for what others have just retained; then it gets what is held here. */
export const retainedPatienceMs = 1_000;
/** A retained message that took so long to another broker is late: a newer one may be there (`claimUnlinkedMs`). */
export const retainedLateMs = 200;
/** Where one was late it is looked again after this whether it is still what is retained. */
export const retainedLookMs = 1_000;

// --- Output to clients, and slow subscribers ---
/** A connection's output buffer begins with this many bytes and grows by doubling. */
export const writerBytesMin = 2 * 1024;
/** Output larger than this is written at once instead of at the end of the turn. */
export const writerFlushBytes = 64 * 1024;
/** Buffers kept for reuse, of each size class. */
export const writerPoolBytesMax = 4 * 1024 * 1024;
/** The largest buffer that is kept for reuse. */
export const writerPooledBufferBytesMax = 256 * 1024;
/** QoS 0 for a subscriber that has this much unsent output is dropped and counted. */
export const outputBytesMax = 16 * 1024 * 1024;
/** Control packets and acks may exceed `outputBytesMax` by this much; then the client is disconnected. */
export const outputBytesReserve = 4 * 1024 * 1024;
/** A subscriber with this much unsent output holds its publishers back, as long as it drains fast. */
export const outputBytesHigh = 1024 * 1024;
/** A subscriber that was found slow is waited for again when its output has fallen to this. */
export const outputBytesLow = 256 * 1024;
/** A subscriber drains fast if at least this much has left its output since the last look. */
export const stallProgressBytesMin = 256 * 1024;
/** How often that is looked at: a publisher waits no longer for a subscriber that is stuck. */
export const stallCheckMs = 250;
/** How often it is looked whether clients that are not read are there: one that has gone is kept for twice as long. */
export const heldLookMs = 5_000;
/** A connection that is not read for that long is listened to again, as long as no more than this waits of it. */
export const heldUnreadBytesMax = 64 * 1024;
/** The kernel asks the other side of such a connection whether it is there when it has been silent for so long. */
export const heldProbeMs = 10_000;
/** Deliveries that wait in memory for a session that ends with its connection, in bytes of payload. */
export const queueBytesMax = 64 * 1024 * 1024;

// --- From PUBLISH to the store: owed acks, the journal ---
/** Unsettled publishes of one connection, in bytes; beyond it the connection is not read. */
export const owedBytesMax = 16 * 1024 * 1024;
/** Unsettled publishes of one connection; beyond it the connection is not read. */
export const owedAcksMax = 4096;
/** Bytes handed to the store and not yet committed; beyond Max clients that need the store are not read, until Low. */
export const journalBytesMax = 32 * 1024 * 1024;
export const journalBytesLow = 8 * 1024 * 1024;
/** Units handed to the store and not yet committed; beyond Max such clients are not read, until Min. */
export const journalUnitsMax = 16_384;
export const journalUnitsMin = 4_096;
/** Room kept free in a unit, besides messages and what their topics need. */
export const unitBytesReserve = 64 * 1024;
/** The largest piece of a payload that does not fit into a unit and is stored in pieces. */
export const partBytesMax = 512 * 1024;
/** Pieces of a payload that are read at once. */
export const partsReadMax = 8;
/** Pieces that no message names are removed when that has been so for so long, and their broker is gone. */
export const orphanPartsMs = 60_000;
/** Pieces that no message names are removed after this where their broker lives: it may be about to store it. */
export const orphanPartsBusyMs = 600_000;
/** Operations of one unit where many may be committed in several: subscriptions, removals. */
export const pageOperationsMax = 250;
/** Bytes of such a unit. */
export const pageBytesMax = 256 * 1024;
/** Level nodes that the journal remembers as existing. At this many it starts anew. */
export const journalKnownNodesMax = 300_000;
/** Times that a unit whose parents vanish under it is tried again before it is given up. */
export const journalRetriesMax = 10;
/** The journal takes a level for granted so long after it has put something below it, where others write too. */
export const levelsKnownMs = 500;
/** Refused publishes are told of in a line of the log no more often than this, for each cause. */
export const refusalsLogMs = 10_000;
/** Clients that are refused, or break the protocol: lines of one cause and one address within that time. */
export const linesPerCauseMax = 5;
/** Lines of one cause within that time, from however many addresses. */
export const linesOfCauseMax = 20;
/** The number of refused publishes is written into the tree no more often than this. */
export const refusalsReportMs = 2_000;
/** How often a held publish is tried again. */
export const refusedRetryMs = 250;

// --- Mail ---
/** Mail fetched from the store at once, for a session that has come back. */
export const mailPageSlips = 256;
/** Slips that are removed in one commit when their session ends. */
export const discardedSlipsMax = 64;
/** Bytes of mail fetched at once: fewer messages where they are large. */
export const mailPageBytesMax = 4 * 1024 * 1024;
/** Mail is fetched ahead only while the session's output is below this. */
export const pumpOutputBytesMax = 256 * 1024;
/** How often each connected session is looked at whether mail waits for it that nobody sends. */
export const mailWatchMs = 10_000;
/** Sessions that are looked at for that at once. */
export const mailWatchMax = 256;
/** A mailbox whose slips have reached this number is made anew when it is empty. */
export const slipNumberOldMin = 2 ** 30;
/** A mailbox whose slips have reached this number is full until then: the store can hardly count further. */
export const slipNumberMax = 2 ** 31 - 2 ** 20;
/** A mailbox that is filled to this part of `maxQueued` is warned of, once until it has fallen to the other part. */
export const mailboxHighPartMin = 0.8;
export const mailboxLowPartMax = 0.6;
/** How often mailboxes that are filled that far are counted in the store, so many at once. */
export const mailboxHighLookMs = 10_000;
export const mailboxHighLookMax = 256;
/** A mailbox that has used up its numbers ends its session when it has not been emptied for so long. */
export const mailboxSpentMs = 5_000;
/** How long after its end it is looked whether mail has come for a session from who had not heard of it. */
export const mailboxRemainsMs = 2_000;
/** How long a full mailbox whose session could not be ended now is left alone. */
export const mailboxFullRetryMs = 1_000;
/** Notices of ended sessions that wait for their clients; beyond it the oldest go. */
export const endedSessionsMax = 2_000;
/** The longest client id, in bytes of UTF-8, for which there is such a notice. */
export const endedClientIdBytesMax = 128;
/** The longest that it waits: 30 days. */
export const endedNoticeMs = 30 * 86_400_000;
/** Slips that are stored in another broker's session's mailbox before the mailbox is counted again. */
export const mailCountEveryMax = 500;

// --- Mail drops ---
/** Messages in mail drops, and their bytes, that are read from the store for a subscriber at once. */
export const dropFetchMax = 64;
export const dropFetchBytesMax = 1024 * 1024;
/** Messages from mail drops that are put into a mailbox at once. */
export const dropTakeMax = 128;
/** The delay with which it is written down how far a session has come with what is not promised to it. */
export const dropSaveMs = 500;
/** Clients whose places in mail drops nobody could pay for that are looked at again at once. */
export const latePlacesTryMax = 64;
/** A mail drop is closed when no live broker has asked for it for so long. */
export const dropCloseMs = 60_000;

/** A message that nobody has removed is removed by the teller when its time has been over for so long. */
export const sweepGraceMs = 60_000;

/**
 * Bytes of memory that a znode without data takes in a ZooKeeper server, besides path and name: its objects in two hash
 * tables. 298 were measured for a leaf, 400 for a level. A fixed part of each price.
 */
export const znodeBytes = 448;
/** Bytes of the id of a stored message, or of a payload in parts. */
export const idBytesMax = 40;
/** The path of a session's znode is taken for at least as long, in bytes, in the price of a slip. */
export const slipPathBytesMin = 128;

// --- The tree ---
/** The sessions' shards: no listing of clients grows without bound. */
export const sessionShards = 256;
/** Level nodes that are empty are removed when they have been so for this long, or twice as long. */
export const emptyLevelsMs = 1_000;
/** Level nodes that are removed in one commit. */
export const emptyLevelsSweptMax = 500;
/** Znodes read at once where a whole part of the tree is read: the larger they are, the fewer. */
export const mirrorPageMax = 512;
export const mirrorPageMin = 16;
/** Bytes that are read at once there, about. */
export const mirrorPageBytesMax = 4 * 1024 * 1024;
/** Znodes of strangers that are told apart. */
export const strangersMax = 1_000;
/** Znodes of strangers that `/readyz` names. */
export const strangersShownMax = 5;
/** Znodes of strangers that the log names within `strangersLogMs`. */
export const strangersLoggedMax = 10;
export const strangersLogMs = 10_000;
/** How often it is looked for topics that are published on, to register them. */
export const publisherLookMs = 5_000;
/** Topics that are registered at once. */
export const publisherBatchMax = 500;
/** Topics that are registered in all. */
export const publisherTopicsMax = 10_000;
/** Bytes of the tree that registered topics take, where each level is a node of its own. */
export const publisherTreeBytesMax = 4 * 1024 * 1024;
/** The part of the bank's capital that pays for them, at most. */
export const publisherPartMax = 1 / 64;
/** A topic is registered until nobody has published on it for so long. */
export const publisherForgetMs = 600_000;

// --- Links between brokers ---
/** One frame between brokers: the largest packet, with what is written around it. */
export const linkFrameBytesMax = 300 * 1024 * 1024;
/** One frame from somebody who has not proved yet to be a broker. */
export const linkStrangerBytesMax = 64 * 1024;
/** Connections to the link port that have not shaken hands. */
export const linkStrangersMax = 256;
/** The time in which a connection between brokers must have shaken hands. */
export const linkHandshakeMs = 3_000;
/** QoS 0 packets that travel in one frame. */
export const linkRunBytesMax = 32 * 1024;
/** Frames that another broker has not acknowledged; beyond it publishers that send to it are not read. */
export const linkUnacknowledgedBytesMax = 16 * 1024 * 1024;
/** How often a link that is silent is pinged. */
export const linkPingMs = 1_000;
/** A link is given up when nothing came for so long. */
export const linkSilenceMs = 4_000;
/** Waits between dials of a broker that does not answer: each is twice the one before, with jitter. */
export const linkBackoffMinMs = 25;
export const linkBackoffMaxMs = 1_000;
/** When a link has been down for so long, messages for persistent sessions there go to their mailboxes. */
export const linkPatienceMs = 2_000;

// --- Sessions and subscriptions of other brokers ---
/** The longest that a clean session waits for brokers that do not answer; others wait as long as SUBACK may. */
export const claimPatienceMs = 3_000;
/** The longest that it waits when a link is down: then the versions of the sessions' znodes decide alone. */
export const claimUnlinkedMs = 300;
/** A client that is back waits so long for its will to arrive over a link; then it is stored instead. */
export const willHurryMs = 1_000;
/** Members to which a message for a shared subscription that no member's broker takes is given; then it is stored. */
export const reassignmentsMax = 4;
/** Messages of members that are gone, which wait for another member, or for credits; beyond it they are dropped. */
export const regroupBytesMax = 16 * 1024 * 1024;
/** How often a client's wills at brokers that cannot be asked are looked at, while they change. */
export const silentWillTriesMax = 5;
/** Messages that wait for a session on the move. */
export const movingMessagesMax = 10_000;
/** Brokers, by their processes, of whose QoS 2 publishes by name it is remembered how far they have come. */
export const namingBrokersMax = 1000;
/** Such publishes of one broker that others have sent again; of more it is not known that they have come. */
export const namedAheadMax = 10_000;
/** Sessions read at once while those without a keeper are looked for. */
export const adoptionPageMax = 170;
/** The time in which another broker adopts a broker's sessions after it has gone. */
export const orphansMs = 60_000;
/** A broker that has gone may come back under its name within this time; then it adopts its sessions itself. */
export const adoptAfterMs = 200;
/** Sessions that have expired and are erased at the same time; the others wait for their turn. */
export const expiringMax = 256;
/** Filters that a broker announces anew, or no longer, in one page; the next one waits until it is committed. */
export const interestPageMax = 500;
/** Filters of another broker that are passed over in one turn when it has come back as a new incarnation. */
export const interestSweepMax = 10_000;
/** A broker that is alone announces a filter when it has been wanted for so long. */
export const interestLateMs = 1_000;
/** Znodes that a broker left in the tree are removed when it has not come back for so long. */
export const leftoversAfterMs = 10_000;
/** Nodes of it that are removed in one page. */
export const leftoversPageMax = 500;
/** How often a broker without contact looks whether there is contact again. */
export const fencedLookMs = 100;

// --- Wills, and leaving ---
/** The time in which a client that was sent to another broker must come there; then its will is published. */
export const movedWillMs = 10_000;
/** The time that a client has to come back when its broker has died, or was restarted, from when that was noticed. */
export const willGraceMs = 5_000;
/** A will that is due while nobody knows whether its client is back is looked at again so late. */
export const willRetryMs = 500;
/** Clients of a cluster that have connected last and are remembered, for when a broker dies. */
export const arrivalsRememberedMax = 100_000;
/** How often a broker that is about to leave looks which clients it may send away. */
export const drainLookMs = 20;
/** The time for which a client may wait for what it is owed before it is sent away. */
export const drainOwedMs = 1_000;
/** The wait, when the last client has gone, for what is on its way into the store or to other brokers. */
export const drainSettleMs = 5_000;
/** A broker that ends removes what it has announced for so long; others remove the rest. */
export const leaveTidyMs = 2_500;
/** The longest that an orderly end waits for the store and for clients' sockets. */
export const shutdownWaitMs = 5_000;
/** The time that a service manager is to wait longer, whenever it is told that a broker starts, or ends. */
export const serviceLifeMs = 60_000;

// --- Clocks, probes, figures ---
/** The most by which the clocks of brokers and of ZooKeeper may differ; a broker beyond it goes by ZooKeeper's. */
export const clockToleranceMs = 5_000;
/** How often a broker says so. */
export const clockReportMs = 600_000;
/** How often `$SYS` is refreshed. */
export const sysIntervalMs = 10_000;
/** How often it is measured how late the event loop is, where metrics are served. */
export const lagLookMs = 500;
/** How often it is looked whether the broker can go on by itself. */
export const livenessBeatMs = 10_000;
/** Looks for which the same thing may stand still though there is contact with the store: five minutes. */
export const livenessBeatsMax = 30;
/** Looks that a start may take: an hour. */
export const startBeatsMax = 360;

// --- Turns of the event loop, and their slices ---
/** A turn that has lasted so long is named in the log, with who has made it so long. */
export const turnLongMs = 50;
/** How often the processor's time is asked for, so that of long turns it is known how much they have had. */
export const turnSampleMs = 5;
/** The time after which work that would hold up everybody else is left, to go on in a later turn of the event loop. */
export const sliceMs = 10;
/** How long datagrams are handled in one turn of the event loop. */
export const datagramTurnMs = 5;
/** Datagrams that wait for the next turn; what comes besides is lost. */
export const datagramsWaitingMax = 1024;
export const datagramsWaitingBytesMax = 1024 * 1024;
/** The share of it that each has where several such works take turns. */
export const sliceShareMs = 2;
/** Receivers of a message, here, that are served in one turn whatever it costs; more are served in steps. */
export const fanoutAtOnceMax = 256;
/** Receivers that are served in one step. */
export const fanoutStepMax = 64;
/** Bytes from another broker that wait for such a fan-out, before it is told to send less. */
export const fanoutWaitingBytesMax = 1024 * 1024;
/** Slips of a message at QoS 1 that are stored in one unit, with a copy of it. */
export const slipsPerUnitMax = 500;
/** Publishes at QoS 0 to one receiver after which the clock is asked whether a connection's slice is over. */
export const quickPacketsMax = 512;
/** Filters of one SUBSCRIBE or UNSUBSCRIBE that are handled, and committed, in one step. */
export const filtersPerStepMax = 32;
/** Filters of one SUBSCRIBE or UNSUBSCRIBE: all of them are checked before any is handled. */
export const filtersPerPacketMax = 65_536;
/** Properties of one packet; there may be any number of User Properties, and each is checked. */
export const propertiesPerPacketMax = 4_096;
/** The most that a client may send in a packet that is neither PUBLISH nor a list of filters: it is decoded at once. */
export const controlBytesMax = 256 * 1024;
/** Bytes of the store's answers that are handled at once; then it is looked whether the slice is over. */
export const pieceBytes = 16 * 1024;
/** A chunk of so many bytes is one of several that have come: the connection is not read again in the same turn. */
export const restBytesMin = 256 * 1024;
/** How often a packet that is handled a little at a time looks whether the store has caught up. */
export const storeLookMs = 20;
