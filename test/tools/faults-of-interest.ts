/** Planted faults: what brokers say of their interest, and the formats in which they write. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "the newest broker decides on the format, not the oldest",
    file: "src/broker/membership.ts",
    find: "Math.min(formats.newest, ...this.members().map((peer) => peer.formats.newest))",
    replace: "formats.newest",
    tests: "test/simulation/formats.test.ts",
  },
  {
    what: "a tree in a newer format is read all the same",
    file: "src/broker/tree-format.ts",
    find: "if (!canStepDown) throw tooNew(format);",
    replace: "",
    tests: "test/simulation/formats.test.ts",
  },
  {
    what: "a foreign node below /brokers counts as a broker",
    file: "src/broker/peer.ts",
    find: 'return typeof linkHost === "string" && typeof linkPort === "number" ? (facts as BrokerFacts) : undefined;',
    replace: "return facts as BrokerFacts;",
    tests: "test/simulation/formats.test.ts",
  },
];
