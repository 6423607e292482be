/** The limits of the bank, and how often it is looked after. */

/**
 * Packet ids of unfinished publishes at QoS 2 that are paid for with a session: so its client can publish at QoS 2, one
 * message at a time, where nobody can pay for more. Each further one is paid for.
 */
export const heldIdsFreeMax = 1;
/**
 * Slips at QoS 2 whose messages may be gone, and whose packet ids the client has not given back, that are paid for with
 * a session: so many messages at QoS 2 are under way to its client even where nobody can pay for more.
 */
export const slipsFreeMax = 1;
/**
 * Slips for what lies in mail drops that are paid for with a session, where there are mail drops: so its client gets
 * what lies there one by one even where nobody can pay for more.
 */
export const dropSlipsFreeMax = 1;
/** Bytes of the texts in such a slip that are paid for with a session: the path of a message, mainly. */
export const dropSlipTextsFreeMax = 256;
/** A session that needs more slips at QoS 2 pays for so many times as many as it has. */
export const slipsTimesMax = 4;
/** The time for which a session must not have needed what it pays for them before that is given back. */
export const slipsIdleMs = 10_000;
/** The time after which it tries again when nobody could pay for more. */
export const slipsRetryMs = 1_000;
/** Credits that a bank may have: in thousandths, and with prices added, they are exact in a double. */
export const bankCapitalCreditsMax = 1_000_000_000_000;
/**
 * The bank is nearly empty when less than this part of the capital is free: then a user may hold no more than is left.
 */
export const bankScarcePartMin = 1 / 16;
/** Percent of the capital that one of several users may bind, where the operator does not say. */
export const bankShareOfManyMax = 25;
/** The part of a user's share that each broker of a cluster may bind for him without a claim. */
export const shareSparePartMin = 1 / 64;
/** The part of the capital that it may bind for him if that is more, so that few users have claims. */
export const shareSpareOfCapitalMin = 1 / 1024;
/** The part of a user's share that is claimed at once, at least, when more is needed. */
export const shareStepPartMin = 1 / 16;
/** Times that a claim is tried again when another broker has changed the accounts meanwhile. */
export const claimsTriesMax = 100;
/** Characters of a user's name as it stands in what the bank keeps: longer names are cut, and told apart by a hash. */
export const payerLengthMax = 64;
/** A branch of the bank asks the vault for more when less than this part of the capital is free here. */
export const bankLowPartMin = 1 / 64;
/** How often a branch asks the other brokers for what they do not need, when the vault is empty. */
export const bankAskMs = 50;
/** A branch that was asked leaves the vault to others so long, unless it cannot pay for what is published here. */
export const bankYieldMs = 3_000;
/** The time that other brokers have to hand over credits for a publish that waits; then the vault is asked again. */
export const bankHopeMs = 1_000;
/** How often a publish that waits for the vault's answer is tried. */
export const bankHopeRetryMs = 20;
/** Answers of the vault that are remembered. */
export const vaultAnswersMax = 64;
/** How often a branch looks at its account: whether it has too little or too much, and whether messages are gone. */
export const bankLookMs = 1_000;
/** Messages that a branch looks for each time, to see whether they are gone. */
export const bankVerifyMax = 200;
/** Messages that it looks for in all when its credits are short. */
export const bankVerifyBusyMax = 5_000;
/** Messages that other brokers are told to be gone, in one frame. */
export const freedPathsMax = 500;
/** How often the teller walks through the tree. */
export const sweepMs = 30_000;
/** A broker's branch is closed when it has been gone for so long. */
export const branchCloseMs = 60_000;
/** Holders of credits that a statement has in memory at once; for others the store is walked over again. */
export const statementHoldersMax = 50_000;
