/**
 * Faults with which one client holds up the others: what should be done in slices is done at once, or not to its end.
 */
import type { Fault } from "./faults.ts";

const slices = "test/unit/slices.test.ts";
const attacks = "test/broker/attacks.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "slices: work is never left before it is done",
    file: "src/base/slices.ts",
    find: "      if (this.#clock.now() >= until) return false;\n",
    replace: "",
    tests: `${slices} ${attacks}`,
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
    tests: attacks,
  },
  {
    what: "slices: who does not read its answers ends the broker",
    file: "src/broker/handle-subscribe.ts",
    find: "      if (!(error instanceof ProtocolError)) throw error;\n      return this.#fail(connection, error);",
    replace: "      throw error;",
    tests: attacks,
  },
  {
    what: "slices: a filter list is read where its chunk lay",
    file: "src/mqtt/filter-list.ts",
    find: "this.#bytes = ownBytes(bytes, at, end);",
    replace: "this.#bytes = bytes.subarray(at, end);",
    tests: "test/unit/codec.test.ts",
  },
];
