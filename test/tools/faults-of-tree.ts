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
  {
    what: "tree: what is above U+FFFF stands in names as it is",
    file: "src/coordinator/paths.ts",
    find: "  // What is more than one unit of UTF-16",
    replace: "  if (char.length > 1) return false;\n  //",
    tests: "test/broker/names.test.ts",
  },
  {
    what: "tree: a name that is no UTF-8 when it is decoded throws",
    file: "src/coordinator/paths.ts",
    find: "  } catch {\n    return name;\n  }",
    replace: "  } finally {\n  }",
    tests: "test/unit/paths.test.ts",
  },
  {
    what: "tree: the embedded store takes names that ZooKeeper refuses",
    file: "src/coordinator/valid-path.ts",
    find: "\\ud800-\\uf8ff",
    replace: "\\ue000-\\uf8ff",
    tests: "test/contract/zookeeper.test.ts",
  },
  {
    what: "tree: names that an earlier version has stored are not found any more",
    file: "src/embedded/encode-names.ts",
    find: "rename.run(encodeAstral(parent), encodeAstral(name), parent, name)",
    replace: "rename.run(parent, encodeAstral(name), parent, name)",
    tests: "test/broker/names.test.ts",
  },
  {
    what: "tree: a stranger's record is read without a look at its lengths",
    file: "src/mail/records.ts",
    find: '  if (propertiesEnd > bytes.length) throw badFormat("is a message that ends early");\n',
    replace: "",
    tests: "test/unit/strangers.test.ts",
  },
  {
    what: "tree: a slip may name anything to be removed with it",
    file: "src/mail/records.ts",
    find: 'throw badFormat("is a slip for what is no message");',
    replace: "0;",
    tests: "test/unit/strangers.test.ts",
  },
  {
    what: "tree: a stranger's record is an error of our own",
    file: "src/broker/strangers.ts",
    find: "if (!isBadFormat(error)) throw error;",
    replace: "if (error !== undefined) throw error;",
    tests: "test/unit/strangers.test.ts",
  },
  {
    what: "tree: what stands in the way of a commit ends the broker",
    file: "src/mail/unit.ts",
    find: "return inTheWay.includes(code);",
    replace: 'return code === "TooLarge" && inTheWay.includes(code);',
    tests: "test/broker/strangers.test.ts",
  },
];
