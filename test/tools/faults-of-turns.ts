/**
 * Faults with which what is stored or subscribed decides how long one packet holds the event loop: limits on topics and
 * filters that do not hold.
 */
import type { Fault } from "./faults.ts";

const limits = "test/broker/limits.test.ts";
const watch = "test/unit/turn-watch.test.ts";
const access = "test/unit/access.test.ts";
const codec = "test/unit/codec.test.ts";
const router = "test/unit/router.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "turns: filters are taken however differently their wildcards stand",
    file: "src/session/session.ts",
    find: "    return this.#shapes.hasRoomFor(filter);",
    replace: "    return this.#shapes !== undefined;",
    tests: limits,
  },
  {
    what: "turns: a session's filters make no room when they are given up",
    file: "src/session/session.ts",
    find: "    this.#shapes?.count(subscription.filter, -1);\n",
    replace: "",
    tests: limits,
  },
  {
    what: "turns: all sessions together may have filters of any shape",
    file: "src/router/router.ts",
    find: "return this.#trie.shapes < wildcardShapesMax ||",
    replace: "return this.#trie.shapes < Infinity ||",
    tests: `${limits} ${router}`,
  },
  {
    what: "turns: shapes are never counted down",
    file: "src/router/filter-trie.ts",
    find: "    this.#countShape(levels, -1);\n",
    replace: "",
    tests: router,
  },
  {
    what: "turns: a node of the trie loses its levels when the one above it goes",
    file: "src/router/filter-trie.ts",
    find: "      child!.from = node.from;\n",
    replace: "",
    tests: router,
  },
  {
    what: "turns: topics may have any number of levels",
    file: "src/broker/inbound.ts",
    find: "const isDeep = levelsIn(topicBytes, topicStart, topicEnd) > options.topicLevelsMax;",
    replace: "const isDeep = levelsIn(topicBytes, topicStart, topicEnd) > Infinity;",
    tests: `${limits} test/unit/rooms/inbound.test.ts`,
  },
  {
    what: "turns: filters that the store keeps may have any number of bytes",
    file: "src/broker/handle-subscribe.ts",
    find: "encodeUtf8(text).length <= filterBytesMax",
    replace: "encodeUtf8(text).length <= Infinity",
    tests: `${limits} -t bytes`,
  },
  {
    what: "turns: who had a filter that is too long now is refused it",
    file: "src/broker/handle-subscribe.ts",
    find: "    if (session.subscriptions.has(text)) return undefined;\n",
    replace: "",
    tests: `${limits} -t bytes`,
  },
  {
    what: "turns: a turn that the machine has spent on others is counted as ours",
    file: "src/base/turn-watch.ts",
    find: "Math.min(ms, this.#cpuMs - before)",
    replace: "ms",
    tests: watch,
  },
  {
    what: "turns: a flood of long turns is a flood of lines in the log",
    file: "src/base/turn-watch.ts",
    find: "    if (stands === 0) return;\n",
    replace: "",
    tests: watch,
  },
  {
    what: "turns: all that is due at one moment is done in one turn",
    file: "src/base/timers.ts",
    find: "      if (isOver()) return;\n",
    replace: "",
    tests: "test/unit/slices.test.ts",
  },
  {
    what: "turns: topics are remembered without a limit on their text",
    file: "src/access/rule-list.ts",
    find: " || this.#characters + topic.length > this.#limit.charactersMax) {",
    replace: ") {",
    tests: access,
  },
  {
    what: "turns: patterns that all share go before a user's own rules",
    file: "src/access/acl.ts",
    find: '      this.#ownOf(subject.username ?? ""),\n      denials,\n',
    replace: '      denials,\n      this.#ownOf(subject.username ?? ""),\n',
    tests: access,
  },
  {
    what: "turns: permissions of before count until a client logs in again",
    file: "src/broker/delivery/kept-session.ts",
    find: "    if (renew === undefined) return this.#permissions;\n",
    replace: "    if (renew === undefined || this.#identity !== undefined) return this.#permissions;\n",
    tests: "test/broker/revoked.test.ts",
  },
  {
    what: "turns: each work that is begun in one turn has a slice of its own",
    file: "src/base/slices.ts",
    find: "      (this.#turns.beganAt ?? now) + sliceMs,",
    replace: "      now + sliceMs,",
    tests: "test/unit/slices.test.ts",
  },
  {
    what: "turns: a packet may have any number of filters",
    file: "src/mqtt/validate.ts",
    find: "    if (count > filtersPerPacketMax)",
    replace: "    if (count > Infinity)",
    tests: codec,
  },
  {
    what: "turns: a packet may have any number of properties",
    file: "src/mqtt/properties.ts",
    find: "    if (++count > propertiesPerPacketMax)",
    replace: "    if (++count > Infinity)",
    tests: codec,
  },
  {
    what: "turns: an erasure ends with its first page",
    file: "src/broker/connect/session-erasure.ts",
    find: "const done = next < removals.length ? goOn : how.done!;",
    replace: "const done = next < 0 ? goOn : how.done!;",
    tests: "test/broker/session.test.ts",
  },
  {
    what: "turns: any number of subscriptions may wait for their retained messages",
    file: "src/broker/handle-subscribe.ts",
    find: "client.feedsPending >= retainedFeedsMax",
    replace: "client.feedsPending >= Infinity",
    tests: "test/unit/rooms/handle-subscribe.test.ts",
  },
  {
    what: "turns: a message to thousands is written in one turn",
    file: "src/net/writer.ts",
    find: "at < writers.length && clock.now() < until",
    replace: "at < writers.length && until > 0",
    tests: "test/unit/turn.test.ts",
  },
  {
    what: "turns: what is written later is what has come meanwhile",
    file: "src/net/writer.ts",
    find: "      writer.defer();\n",
    replace: "",
    tests: "test/unit/turn.test.ts",
  },
  {
    what: "turns: nobody is told of room that the kernel has made without a word",
    file: "src/net/writer.ts",
    find: "if (this.unsent >= outputBytesLow) this.#wasFull = true;",
    replace: "this.#wasFull = false;",
    tests: "test/broker/room.test.ts",
  },
  {
    what: "turns: the client's output is never said to have room where the kernel took all of it",
    file: "src/client/connection.ts",
    find: "() =>\n      this.drained(),\n",
    replace: "() => {},\n",
    tests: "test/broker/room.test.ts",
  },
  {
    what: "turns: large messages to many are handed to the kernel in one turn",
    file: "src/net/writer.ts",
    find: "        turn.lentRoom -= taken;\n",
    replace: "",
    tests: "test/unit/turn.test.ts",
  },
  {
    what: "turns: a reader of large messages comes before those that have had no turn",
    file: "src/net/writer.ts",
    find: 'this.taken === before ? "first" : "last"',
    replace: '"last"',
    tests: "test/unit/turn.test.ts",
  },
  {
    what: "turns: the clock is not asked while routes are worked out",
    file: "src/broker/inbound.ts",
    find: "const newRouteCost = quickPacketsMax;",
    replace: "const newRouteCost = 1;",
    tests: "test/unit/rooms/inbound.test.ts",
  },
  {
    what: "turns: a client may have subscriptions of any size together",
    file: "src/broker/handle-subscribe.ts",
    find: "if (isNearLimit) return",
    replace: "if (isNearLimit && maxMemoryPerClient < 0) return",
    tests: "test/broker/memory.test.ts",
    needsBuild: true,
  },
  {
    what: "turns: nobody looks how much memory a client takes",
    file: "src/broker/connect/memory-watch.ts",
    find: "if (bytes > options.maxMemoryPerClient) this.#endClient(connection, bytes);",
    replace: "if (bytes > Infinity) this.#endClient(connection, bytes);",
    tests: "test/broker/memory.test.ts",
    needsBuild: true,
  },
  {
    what: "turns: an alias that is set anew counts twice",
    file: "src/session/topic-aliases.ts",
    find: "      this.memoryBytes += before === undefined ? topicMemoryBytes : -before.length;\n",
    replace: "      this.memoryBytes += before === undefined ? topicMemoryBytes : 0;\n",
    tests: "test/unit/session.test.ts",
  },
];
