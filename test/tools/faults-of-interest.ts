/** Planted faults: what brokers say of their interest, and the formats in which they write. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "the newest broker decides on the format, not the oldest",
    file: "src/broker/peers/membership.ts",
    find: "Math.min(formats.newest, ...members.map((peer) => peer.formats.newest))",
    replace: "formats.newest",
    tests: "test/simulation/formats.test.ts",
  },
  {
    what: "a tree in a newer format is read all the same",
    file: "src/broker/peers/tree-format.ts",
    find: "if (!canStepDown) throw tooNew(format);",
    replace: "",
    tests: "test/simulation/formats.test.ts",
  },
  {
    what: "a foreign node below /brokers counts as a broker",
    file: "src/broker/peers/peer.ts",
    find: "return isPlaced && Array.isArray(mailDrops) ? (facts as BrokerFacts) : undefined;",
    replace: "return isPlaced ? (facts as BrokerFacts) : (facts as BrokerFacts);",
    tests: "test/simulation/formats.test.ts",
  },
  {
    what: "the announcements of brokers are ephemeral",
    file: "src/mail/operations.ts",
    find: 'case "announce":\n      return { kind: "create", path, data: operation.data, mode: "persistent", withLevels };',
    replace:
      'case "announce":\n      return { kind: "create", path, data: operation.data, mode: "ephemeral", withLevels };',
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements of a dead broker are routed by",
    file: "src/broker/assembly.ts",
    find: "!isPeer(remote) || remote.isMember",
    replace: "!isPeer(remote) || remote.id !== undefined",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements of an earlier incarnation count",
    file: "src/broker/peers/peer.ts",
    find: "stamp >= (this.facts?.since ?? this.epoch)",
    replace: "stamp > 0",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements of a broker that has lost its keeper session do not count until they are written anew",
    file: "src/broker/peers/peer.ts",
    find: "this.facts?.since ?? this.epoch",
    replace: "this.epoch",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements of a dead broker stay for ever",
    file: "src/broker/cluster/leftovers.ts",
    find: "if (!peer.isMember) await",
    replace: "if (peer.isMember) await",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements that somebody has removed are not made again",
    file: "src/broker/peers/interest.ts",
    find: "    this.#missing.add(text);\n",
    replace: "",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "the announcements of topics published on grow without bound",
    file: "src/broker/cluster/publishers.ts",
    find: "      if (this.#bytes + bytes > bytesMax) continue;\n",
    replace: "",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "watched levels are looked for before each commit",
    file: "src/mail/levels.ts",
    find: "this.#isTold(parent) || this.#isKnown(parent)) continue",
    replace: "this.#isKnown(parent)) continue",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "watched levels that others have removed are taken for granted",
    file: "src/broker/peers/subscription-directory.ts",
    find: "if (isLevel(path)) journal.levels.forget([path]);",
    replace: "if (isLevel(path)) return;",
    tests: "test/simulation/interest.test.ts",
  },
  {
    what: "interest: the clients of a broker of format 1 are nobody's",
    file: "src/mail/stamp.ts",
    find: 'if (data.length === 0) return "unnamed";',
    replace: "if (data.length === 0) return undefined;",
    tests: "test/unit/rooms/peers.test.ts",
  },
];
