/**
 * The topics that are the broker's own: it alone publishes on them, however a message comes in (PUBLISH, a will, a
 * link, the store). Other topics that begin with `$` are the clients' to use, under the access list.
 */

/** The words for a client that publishes on one of them, or wants its will published there. */
export const ownTopicWords = "topics below $SYS and $share are the broker's own";

/** `$SYS`, where the broker tells of itself, and `$share`, which begins filters of shared subscriptions. */
const ownTopic = /^\$(?:SYS|share)(?:\/|$)/;

/** The topics below `$SYS` on which bridges tell others whether they are connected, as mosquitto has them. */
const bridgeState = /^\$SYS\/broker\/connection\/[^/]+\/state$/;

/** Returns true for topics on which only the broker publishes. */
export function isOwnTopic(topic: string): boolean {
  // Nearly all topics are told apart by their first character, "$".
  return topic.charCodeAt(0) === 0x24 && ownTopic.test(topic) && !bridgeState.test(topic);
}
