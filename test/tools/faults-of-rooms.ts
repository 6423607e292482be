/** Faults in single parts of the broker's rooms, which the unit tests of the room must notice at once. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "room peers: the highest epochs are read as something else",
    file: "src/broker/peers/stamps.ts",
    find: "10 * epoch + (byte - 0x30)",
    replace: "10 * epoch + byte - 0x30",
    tests: "test/unit/rooms/peers.test.ts",
  },
  {
    what: "room peers: an answer to an earlier question lets SUBACK go",
    file: "src/broker/peers/subscription-barrier.ts",
    find: "if (this.#round?.number === number) this.#passedBy(peer);",
    replace: "if (this.#round !== undefined) this.#passedBy(peer);",
    tests: "test/unit/rooms/peers.test.ts",
  },
  {
    what: "room publish: a part of what a refused publish would have cost stays set aside",
    file: "src/broker/publish/publish-admission.ts",
    find: "    payment?.close();\n    retainedPayment?.close();\n",
    replace: "    retainedPayment?.close();\n",
    tests: "test/unit/rooms/publish.test.ts",
  },
  {
    what: "room publish: a publisher whom two subscribers hold goes on when one of them has drained",
    file: "src/broker/publish/back-pressure.ts",
    find: "for (const stall of this.#stalls.values()) if (stall.publishers.has(publisher)) return;\n",
    replace: "\n",
    tests: "test/unit/rooms/publish.test.ts",
  },
  {
    what: "room publish: an answer of the store that comes too late counts for the next question",
    file: "src/broker/publish/catching-up.ts",
    find: "if (round === this.#round) this.#go();",
    replace: "if (round > 0) this.#go();",
    tests: "test/unit/rooms/publish.test.ts",
  },
  {
    what: "room delivery: what waits for the store goes on though it is behind again",
    file: "src/broker/delivery/store-back-pressure.ts",
    find: "      if (this.#mustWait) return;\n",
    replace: "",
    tests: "test/unit/rooms/delivery.test.ts",
  },
  {
    what: "room core: a branch that was closed pays on",
    file: "src/broker/core/bank-account.ts",
    find: "const reservation = this.account.isOpen ? this.account.reserve(credits) : undefined;",
    replace: "const reservation = this.account.reserve(credits);",
    tests: "test/unit/rooms/core.test.ts",
  },
];
