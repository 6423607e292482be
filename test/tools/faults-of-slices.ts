/**
 * Faults with which one client holds up the others: what should be done in slices is done at once, or not to its end.
 */
import type { Fault } from "./faults.ts";

const slices = "test/unit/slices.test.ts";
const attacks = "test/broker/attacks.test.ts";

const wide = "test/unit/rooms/wide-fanouts.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "slices: all answers of the store in a chunk are handled in one turn",
    file: "src/net/in-pieces.ts",
    find: "        if (waiting.length > 0 && now() >= until) break;\n",
    replace: "",
    tests: "test/unit/in-pieces.test.ts",
  },
  {
    what: "slices: a long password file is read in one step",
    file: "src/access/password-file.ts",
    find: "    if (index % linesPerStepMax === linesPerStepMax - 1) yield;\n",
    replace: "",
    tests: "test/unit/access.test.ts",
  },
  {
    what: "a store that is behind holds those who make no work for it",
    file: "src/broker/inbound.ts",
    find: 'if (channel.phase === "open" && !isIdle)',
    replace: 'if (channel.phase === "open")',
    tests: "test/unit/rooms/store-behind.test.ts",
  },
  {
    what: "fan-out: a message to very many receivers is delivered in one turn",
    file: "src/broker/publish/wide-fanouts.ts",
    find: "    if (at > 0 && at % fanoutStepMax === 0) yield;\n",
    replace: "",
    tests: wide,
  },
  {
    what: "fan-out: the publisher is acknowledged while it is on its way to many",
    file: "src/broker/publish/delivery-plan.ts",
    find: "    settlement.waitFor();\n    this.#publish = settlement.publish;",
    replace: "    this.#publish = settlement.publish;\n    queueMicrotask(() => settlement.waitFor());",
    tests: wide,
  },
  {
    what: "fan-out: a publisher is told that nobody subscribes, since nobody was found in the first turn",
    file: "src/broker/publish/handle-publish.ts",
    find: "    const delivery = this.#fanout.deliver(publish, route, client, how);\n",
    replace: "    const delivery = { ...this.#fanout.deliver(publish, route, client, how) };\n",
    tests: wide,
  },
  {
    what: "fan-out: what came first on a topic does not go first",
    file: "src/broker/publish/wide-fanouts.ts",
    find: "next.unshift(...waiting)",
    replace: "next.push(...waiting.reverse())",
    tests: wide,
  },
  {
    what: "fan-out: what a link brings overtakes a message that is on its way to many",
    file: "src/broker/cluster/arriving.ts",
    find: "    if (route !== undefined && this.#fanout.isUnderWay(route))\n      return this.#wait(peer, route, packets, (kept) => this.#takeBundle(peer, id, kept));\n",
    replace: "",
    tests: wide,
  },
  {
    what: "fan-out: a session that moves meanwhile loses the message",
    file: "src/broker/publish/fanout.ts",
    find: "      if (moved.size > 0 && !plan.isRefused) this.#addMoved(plan, route, moved);\n",
    replace: "",
    tests: wide,
  },
  {
    what: "fan-out: a session that ends meanwhile gets the message into a mailbox that nobody empties",
    file: "src/broker/publish/fanout.ts",
    find: "localSessions.get(clientId) === subscriber && mayStill(subscriber)",
    replace: "mayStill(subscriber)",
    tests: wide,
  },
  {
    what: "fan-out: a publish on the topic does not wait",
    file: "src/broker/inbound.ts",
    find: "    this.#context.metrics.packetsReceived--;\n    return true;",
    replace: "    return false;",
    tests: "test/unit/rooms/inbound.test.ts",
  },
  {
    what: "slices: work is never left before it is done",
    file: "src/base/slices.ts",
    find: "    if (clock.now() >= until) return false;\n",
    replace: "",
    tests: slices,
  },
  {
    what: "slices: all that waits has its share in one turn, however many there are",
    file: "src/base/slices.ts",
    find: "left > 0 && !this.isOver(startedAt);",
    replace: "left > 0;",
    tests: slices,
  },
  {
    what: "slices: a pipeline of packets is handled to its end",
    file: "src/broker/inbound.ts",
    find: "        if (framer.pending && slices.isOver(startedAt)) this.#holdForOthers(connection);\n",
    replace: "",
    tests: "test/unit/rooms/inbound.test.ts",
  },
  {
    what: "slices: who does not read its answers ends the broker",
    file: "src/broker/handle-subscribe.ts",
    find: "      if (!(error instanceof ProtocolError)) throw error;\n      return this.#fail(connection, error);",
    replace: "      throw error;",
    tests: attacks,
    needsBuild: true,
  },
  {
    what: "slices: a filter list is read where its chunk lay",
    file: "src/mqtt/filter-list.ts",
    find: "this.#bytes = ownBytes(bytes, at, end);",
    replace: "this.#bytes = bytes.subarray(at, end);",
    tests: "test/unit/codec.test.ts",
  },
  {
    what: "slices: retained messages that cannot be sent are all looked through at once",
    file: "src/broker/delivery/retained-feed.ts",
    find: "if (++steps % stepsMax !== 0 || !slices.isOver(startedAt)) continue;",
    replace: "if (++steps >= 0 || !slices.isOver(startedAt)) continue;",
    tests: "test/unit/rooms/delivery.test.ts",
  },
  {
    what: "slices: a retained message that came while a feed was under way is sent twice",
    file: "src/broker/delivery/retained-feed.ts",
    find: "value === undefined || value.number > feed.upTo",
    replace: "value === undefined",
    tests: "test/unit/rooms/delivery.test.ts",
  },
  {
    what: "slices: what a client publishes between its SUBSCRIBE and SUBACK reaches it twice",
    file: "src/broker/delivery/retained-feed.ts",
    find: "value.wasLive && value.number > feed.liveAfter",
    replace: "value.number > Infinity",
    tests: "test/broker/retained-and-wills.test.ts",
  },
  {
    what: "slices: a group is looked for among all of its topic, for each message of a member that is gone",
    file: "src/broker/publish/regrouping.ts",
    find: "    return group.members.size > 0 ? group : this.#groupsOf",
    replace: "    return this.#groupsOf",
    tests: "test/unit/rooms/shared.test.ts",
  },
  {
    what: "slices: what has come of ZooKeeper's packet is copied with each chunk",
    file: "src/zookeeper/packets.ts",
    find: "    held.set(chunk.subarray(at, at + count), this.#heldLength);\n",
    replace:
      "    held.set(held.slice(0, this.#heldLength));\n    held.set(chunk.subarray(at, at + count), this.#heldLength);\n",
    tests: "test/unit/keeper-packets.test.ts",
  },
  {
    what: "slices: a long access list is read in one turn",
    file: "src/access/acl.ts",
    find: "      if (++number % linesPerStepMax === 0) yield;",
    replace: "      if (++number < 0) yield;",
    tests: "test/unit/operator-files.test.ts",
  },
  {
    what: "slices: a file that is read again is read to its end at once",
    file: "src/server/operator-files.ts",
    find: "systemClock.now() + sliceShareMs",
    replace: "Infinity",
    tests: "test/unit/operator-files.test.ts",
  },
  {
    what: "slices: what a file said before it was changed once more takes its place in the end",
    file: "src/server/operator-files.ts",
    find: "const isCurrent = (): boolean => reading === followed.readings;",
    replace: "const isCurrent = (): boolean => reading > 0;",
    tests: "test/unit/operator-files.test.ts",
  },
  {
    what: "a large packet at QoS 0 is copied for each of its receivers",
    file: "src/broker/publish/fanout.ts",
    find: "    if (run.isApart) writer.lend(run.bytes, run.start, run.end);\n    else writer",
    replace: "    writer",
    tests: "test/unit/rooms/wide-fanouts.test.ts",
  },
];
