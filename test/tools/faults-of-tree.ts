/** Faults in what stands between the broker and its tree, ZooKeeper's answers and foreign znodes above all. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "tree: an error of our own is taken for the socket's",
    file: "src/net/transport.ts",
    find: "received: (owner, bytes) => orCrash(() => events.received(owner, bytes)),",
    replace: "received: (owner, bytes) => events.received(owner, bytes),",
    tests: "test/unit/crash.test.ts",
  },
  {
    what: "tree: a doubt is ended by a read alone",
    file: "src/zookeeper/commit-count.ts",
    find: "    this.#client.submitWrite([this.next()], (error) => {\n      if (error === undefined) {",
    replace:
      "    if (attempt > 0) return this.look({ attempt, inDoubt: true }, done);\n    this.#client.submitWrite([this.next()], (error) => {\n      if (error === undefined) {",
    tests: "test/zookeeper/doubt.test.ts",
  },
  {
    what: "tree: whoever changes the count of commits is a rival",
    file: "src/zookeeper/commit-count.ts",
    find: "if (writer?.incarnation === this.#incarnation) {",
    replace: "if (writer?.incarnation === this.#incarnation && writer.attempt === attempt) {",
    tests: "test/zookeeper/doubt.test.ts",
  },
  {
    what: "tree: a refusal that says nothing of the tree is never asked again",
    file: "src/zookeeper/zookeeper-coordinator.ts",
    find: "    this.#alarm.wake();\n",
    replace: "",
    tests: "test/zookeeper/doubt.test.ts",
  },
];
